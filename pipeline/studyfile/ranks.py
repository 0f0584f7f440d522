"""How many ranks a trial has, from ``trial.ranks``, ``trial.nodes`` and ``trial.ranks_per_node``.

A rank is one process of a trial that runs on several, as in MPI and ``torch.distributed``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import UserError
from ...grammar import count as counted
from ...yamlfile import YamlFile
from ..trial.protocol import ObjectiveSpec
from ..worker.command.template import command_fields

if TYPE_CHECKING:
    from .schema import TrialOptions

WITHOUT_LAUNCHER = "none"
"""The value of ``trial.launcher`` with which the worker itself starts the ranks of a trial on one node."""

TRIAL_LAUNCHERS = (WITHOUT_LAUNCHER, "srun", "mpiexec", "aprun")
"""The values of ``trial.launcher``."""


@dataclass(frozen=True)
class RankCounts:
    """The ranks of a trial.

    Attributes:
        ranks: In all.
        per_node: On each of its nodes.
    """

    ranks: int = 1
    per_node: int = 1


class RankProblem(ValueError):
    """Numbers of ranks and nodes that do not agree. The message is the end of a sentence.

    Attributes:
        key: The key below ``trial:`` that is wrong.
    """

    def __init__(self, key: str, message: str):
        super().__init__(message)
        self.key = key


def rank_counts(nodes: int, ranks: int | None, ranks_per_node: int | None) -> RankCounts:
    """The ranks of a trial.

    Args:
        nodes: Its nodes.
        ranks: Its ranks in all, where they are given.
        ranks_per_node: Its ranks on each node, where they are given.

    Raises:
        RankProblem: The numbers do not agree, or the ranks cannot be spread evenly.

    >>> rank_counts(2, None, 4), rank_counts(1, 4, None), rank_counts(2, None, None)
    (RankCounts(ranks=8, per_node=4), RankCounts(ranks=4, per_node=4), RankCounts(ranks=2, per_node=1))
    """
    if ranks is None:
        per_node = ranks_per_node or 1
        return RankCounts(nodes * per_node, per_node)
    if ranks % nodes:
        raise RankProblem("ranks", f"must be a multiple of nodes, but is {ranks} on {counted(nodes, 'node')}")
    if ranks_per_node is not None and ranks != nodes * ranks_per_node:
        product = f"{counted(nodes, 'node')} with ranks_per_node: {ranks_per_node} have {nodes * ranks_per_node}"
        raise RankProblem("ranks", f"is {ranks}, but {product}; leave one of the two out")
    return RankCounts(ranks, ranks // nodes)


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
    except RankProblem as problem:
        raise source.error(str(problem), f"trial.{problem.key}") from None
    if trial.launcher == WITHOUT_LAUNCHER and trial.nodes > 1:
        message = f"must be a launcher where a trial has {trial.nodes} nodes, but is none; leave it out for the site's"
        raise source.error(message, "trial.launcher")
    if not command:
        _check_function(trial, counts, source)
    if trial.nodes == 1 and "cores" not in trial.model_fields_set:
        return trial.model_copy(update={"cores": counts.per_node})
    return trial


def _check_function(trial: TrialOptions, counts: RankCounts, source: YamlFile) -> None:
    """Raise UserError where a Python objective cannot have such ranks."""
    problem: UserError | None = None
    if (trial.ranks or 1) > 1 or (trial.nodes == 1 and counts.ranks > 1):
        message = "a Python objective has one rank; run a program of several ranks as a `command`"
        problem = source.error(message, "trial.ranks" if trial.ranks else "trial.ranks_per_node")
    elif trial.launcher not in (None, WITHOUT_LAUNCHER):
        message = (
            "starts the ranks of a `command`; those of a Python objective are started without one, so leave it out"
        )
        problem = source.error(message, "trial.launcher")
    elif trial.nodes == 1 and counts.ranks > 1 and not trial.isolate:
        message = f"must be true where a trial has {counts.ranks} ranks, since each is a process of its own"
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
