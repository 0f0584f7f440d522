"""``pilotune try``: run one trial in the foreground, in this process, without the database."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ....errors import UserError
from ....filesystems import size_in_words
from ....grammar import count
from ...studies.formatting import duration, exact, number, pairs, parameter
from ..options import json_option, set_option, study_argument
from ..output_file import writing
from ..stdout import echo_json

if TYPE_CHECKING:
    from ...driver.single_trial import SingleTrial
    from ...studyfile import StudyFile


@click.command("try")
@study_argument
@click.option(
    "--params",
    "params",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Run it with these values, or this schedule: YAML or JSON, as pilotune export --best or --schedule or "
    "pilotune best --json writes it.",
)
@set_option
@click.option(
    "--checkpoint-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The trial's checkpoint folder, which is kept; default: a temporary one.",
)
@click.option(
    "--artifact-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the files that it keeps with trial.artifact; default: a temporary one.",
)
@click.option("--pdb", "debug", is_flag=True, help="Open the debugger where the objective fails.")
@json_option
def try_command(
    study: str,
    params: Path | None,
    overrides: tuple[str, ...],
    checkpoint_dir: Path | None,
    artifact_dir: Path | None,
    debug: bool,
    as_json: bool,
) -> int:
    """Run one trial of the study in the file STUDY here: in the foreground, in this process, on this terminal.

    Nothing is written to a database. What the objective prints is shown, and breakpoint() in it opens the debugger.
    Its parameters are the study file's first point, or drawn by its sampler; --set space.lr=0.01 gives one of them,
    --params a file with several:

    \b
    pilotune try study.yaml                            does my objective run?
    pilotune export my-study --best -o best.yaml
    pilotune try study.yaml --params best.yaml --checkpoint-dir final

    The trial is not pruned, and trial.timeout and trial.memory do not apply. Exit code 0: the trial has a value, or
    ended itself by TrialPruned or TrialYield; 1: it failed.
    """
    from ...driver.single_trial import try_study
    from ...studies.resolve import split_overrides, study_path
    from ...studyfile import load_study_file
    from ...studyfile.params_file import read_params

    for_site, for_study = split_overrides(overrides)
    if for_site:
        raise UserError(f"--set {for_site[0]}: this key is of the site file, and `pilotune try` uses no site")
    study_file = load_study_file(study_path(study), for_study)
    given = read_params(params) if params is not None else None
    for folder in filter(None, (checkpoint_dir, artifact_dir)):
        with writing(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with output(as_json):
        trial = try_study(
            study_file,
            Shown(),
            given=given,
            checkpoints=checkpoint_dir,
            artifacts=artifact_dir,
            on_error=post_mortem if debug else None,
        )
    for name, size in trial.artifacts.items():
        where = f", in {artifact_dir}" if artifact_dir else " (deleted; --artifact-dir DIR keeps it)"
        say(f"artifact {name}, {size_in_words(size)}{where}")
    return conclude(trial, as_json)


@contextmanager
def output(as_json: bool) -> Iterator[None]:
    """With ``--json``, what the objective prints goes to stderr, so that stdout has the result alone.

    The objective may put other objects in the place of stdout and stderr; afterwards they are what they were.
    """
    streams = sys.stdout, sys.stderr
    sys.stdout.flush()
    kept = os.dup(1)
    if as_json:
        os.dup2(2, 1)  # of commands, and of code that is not Python
        sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def post_mortem(error: BaseException) -> None:
    """Open the debugger where the objective raised ``error``; not where it ended itself on purpose."""
    from ...trial.exceptions import TrialYield, is_pruned

    if isinstance(error, TrialYield) or is_pruned(error) or error.__traceback__ is None:
        return
    import pdb
    import traceback

    traceback.print_exception(error)
    pdb.post_mortem(error.__traceback__)


class Shown:
    """Shows on stderr what the trial does, as it happens (see :class:`.single_trial.TrialListener`)."""

    def on_start(self, trial: SingleTrial) -> None:
        file = trial.study_file
        if not trial.reports:
            say(f"one trial of {file.name}: {runs(file)}; nothing is written to the database")
        if trial.stage:
            say(trial.stage)
        if trial.params:
            say(pairs([(name, parameter(value) + origin(trial, name)) for name, value in trial.params.items()], "  "))
        kept = " (deleted afterwards; --checkpoint-dir DIR keeps one)" if trial.temporary else ""
        if not trial.reports:
            say(f"checkpoints in {trial.checkpoints}{kept}")
        for note in trial.notes:
            say(f"note: {note}")
        trial.notes.clear()

    def on_report(self, step: int, value: float) -> None:
        say(f"step {step}: {number(value)}")

    def on_suggest(self, name: str, value: Any, distribution: str, given: bool) -> None:
        say(f"suggested {name} = {parameter(value)}{' (given)' if given else ''}, from {distribution}")

    def on_attr(self, key: str, value: Any) -> None:
        say(f"attribute {key} = {exact(value)[:200]}")


def say(text: str) -> None:
    """Print a line on stderr, after what the objective has printed on stdout."""
    if sys.stdout is not None:  # the objective may have taken it away
        sys.stdout.flush()
    click.echo(text, err=True)


def runs(file: StudyFile) -> str:
    """The objective in words."""
    objective = file.objective
    if objective.command:
        return objective.command if isinstance(objective.command, str) else " ".join(objective.command)
    return f"{objective.file or objective.module}:{objective.function}"


def origin(trial: SingleTrial, name: str) -> str:
    """Where a parameter's value comes from, where that is not a file of parameters."""
    space = trial.study_file.space
    if space is not None and name in space.constants:
        return "  constant"
    return "  drawn" if name in trial.drawn else ""


def conclude(trial: SingleTrial, as_json: bool) -> int:
    """Print how the trial ended; returns the exit code."""
    ending = trial.ending
    assert ending is not None
    for note in trial.notes:
        say(f"note: {note}")
    values = dict(zip(metrics(trial.study_file), ending.values or (), strict=False))
    if as_json:
        echo_json(
            {
                "study": trial.study_file.name,
                "state": ending.kind,
                "values": values or None,
                "params": trial.params,
                "reports": [list(report) for report in trial.reports],
                "user_attrs": trial.user_attrs,
                "artifacts": trial.artifacts,
                "seconds": trial.seconds,
                "reason": ending.reason,
            }
        )
    if ending.failure == "setup":
        raise UserError(ending.reason)
    after = f"after {duration(trial.seconds)} and {count(len(trial.reports), 'report')}"
    if ending.kind == "failed":
        if ending.traceback:
            say(ending.traceback.rstrip())
        say(f"failed {after}: {ending.reason}")
        return 1
    if as_json:
        return 0
    if ending.kind == "complete":
        shown = ", ".join(f"{name} {exact(value)}" for name, value in values.items())
        click.echo(f"complete {after}: {shown}")
    elif ending.kind == "pruned":
        click.echo(f"pruned by the objective itself {after}: {ending.reason}")
    else:
        again = "" if not trial.temporary else "; with --checkpoint-dir DIR another call would continue it"
        click.echo(f"yielded by the objective itself {after}: {ending.reason}{again}")
    return 0


def metrics(file: StudyFile) -> tuple[str, ...]:
    """The names of a trial's values."""
    from ...analysis.reading import metric_names

    return metric_names(list(file.metrics), len(file.directions))
