"""Checks the keys about ranks of ``trial:`` together, and says them in words."""

from __future__ import annotations

from ...errors import UserError
from ...grammar import count as counted
from ...yamlfile import YamlFile
from ..trial.protocol import ObjectiveSpec
from ..worker.command.template import command_fields
from .rank_counts import WITHOUT_LAUNCHER, SizeProblem
from .schema import TrialOptions


def with_ranks(trial: TrialOptions, source: YamlFile, *, command: bool) -> TrialOptions:
    """The options with a core for each rank on one node, where ``cores`` is not given.

    Args:
        trial: The options.
        source: The study file.
        command: The objective is a command.

    Raises:
        UserError: The numbers of ranks do not agree with each other, or with other keys.
    """
    try:
        counts = trial.rank_counts
    except SizeProblem as problem:
        raise source.error(str(problem.args[0]), f"trial.{problem.key}") from None
    if trial.launcher == WITHOUT_LAUNCHER and trial.nodes > 1:
        message = f"must be a launcher where a trial has {trial.nodes} nodes, but is none; leave it out for the site's"
        raise source.error(message, "trial.launcher")
    if not command:
        _check_function(trial, source)
    if trial.nodes == 1 and "cores" not in trial.model_fields_set:
        return trial.model_copy(update={"cores": counts.per_node})
    return trial


def _check_function(trial: TrialOptions, source: YamlFile) -> None:
    """Raise UserError where a Python objective cannot have such ranks."""
    problem: UserError | None = None
    if trial.launcher not in (None, WITHOUT_LAUNCHER) and trial.nodes == 1 and not trial.ranked:
        message = "starts ranks, and the trial has none: say how many with trial.ranks, or leave it out"
        problem = source.error(message, "trial.launcher")
    elif trial.ranked and not trial.isolate:
        message = "must be true for a trial with ranks, since each is a process of its own"
        problem = source.error(message, "trial.isolate")
    if problem is not None:
        raise problem


def ranks_in_words(options: TrialOptions) -> list[str]:
    """How many ranks a trial has and what starts them, in words."""
    counts = options.rank_counts
    if options.nodes > 1:
        parts = [f"{counted(counts.per_node, 'rank')} a node"] if counts.per_node > 1 else []
    else:
        parts = [counted(counts.ranks, "rank")] if counts.ranks > 1 else []
    if options.launcher is not None:
        parts.append(f"ranks started by {'the worker' if options.launcher == WITHOUT_LAUNCHER else options.launcher}")
    elif options.nodes > 1 and options.ranked:
        parts.append("ranks started by the site's launcher")
    return parts


def rank_notes(options: TrialOptions, objective: ObjectiveSpec) -> list[str]:
    """Notes on ranks that share a core, and on a command that runs once, on its first node.

    That is not an error: the command may be a script that starts the ranks itself with ``$PILOTUNE_LAUNCHER``.
    """
    command, counts = objective.command, options.rank_counts
    notes = []
    if options.nodes == 1 and options.cores < counts.per_node:
        notes.append(
            f"the {counted(counts.per_node, 'rank')} of a trial on a node share {counted(options.cores, 'core')}; with "
            f"trial.cores: {counts.per_node} each has one"
        )
    if not command or (options.nodes == 1 and counts.ranks == 1) or "launcher" in command_fields(command):
        return notes
    if options.nodes > 1:
        notes.append(
            f"each trial has {options.nodes} nodes, but the command runs on the first of them: begin it with "
            "{launcher}, or start the ranks in it with $PILOTUNE_LAUNCHER"
        )
    elif not command_fields(command) & {"ranks", "ranks_per_node"}:
        notes.append(
            f"each trial has {counts.ranks} ranks, but the command is started once: set trial.launcher and begin it "
            "with {launcher}, or give {ranks} to a program that starts them"
        )
    return notes
