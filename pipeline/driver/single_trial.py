"""Runs one trial of a study in this process, without workers and without a database, for ``pilotune try``."""

from __future__ import annotations

import contextlib
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, json_to_distribution

from ...errors import PilotuneError, UserError
from ...yamlfile import YamlFile
from ..campaign.flight import seed_of
from ..distributions import describe
from ..studyfile import SizeProblem, StudyFile, TrialOptions
from ..studyfile.params_file import FittedParams, fit_params
from ..studyfile.schedule_file import ScheduleStage, is_schedule, read_schedule
from ..suggest import make_sampler
from ..trial.artifacts import sizes_in
from ..trial.exceptions import ObjectiveError
from ..trial.fixed import fitted
from ..trial.link import Stopping
from ..trial.offline import OfflineConnection
from ..trial.protocol import AttemptSpec
from ..worker.foreground import ForegroundFiles, run_in_foreground
from ..worker.objective.ending import Ending, first_line
from ..worker.objective.load import load_objective

TRIES = 2000
"""Configurations that are drawn to find one that meets the constraints."""


class TrialListener(Protocol):
    """Is told what the trial does, as it happens."""

    def on_start(self, trial: SingleTrial) -> None:
        """The objective is about to be imported and called."""

    def on_report(self, step: int, value: float) -> None:
        """The objective has reported."""

    def on_suggest(self, name: str, value: Any, distribution: str, given: bool) -> None:
        """It was suggested a parameter; ``distribution`` in words. ``given``: the value is the user's."""

    def on_attr(self, key: str, value: Any) -> None:
        """It has set a user attribute."""


@dataclass
class SingleTrial:
    """One trial outside of any campaign. :func:`try_study` makes it and runs it.

    Attributes:
        study_file: The study.
        checkpoints: The checkpoint folder.
        temporary: It is deleted when the trial has ended.
        params: The configuration; grows where the objective defines its space as it runs.
        drawn: The names whose values the sampler drew.
        notes: Sentences on what is not as in the study file, or not as in a campaign.
        reports: ``(step, value)`` of each report.
        user_attrs: What the objective has set or returned beside its value.
        stage: Which stage of a schedule runs, in words; empty for a trial without one.
        ending: How it ended; None before.
        seconds: How long it ran.
        artifacts: Bytes of each file that it has kept, by name.
    """

    study_file: StudyFile
    checkpoints: Path
    temporary: bool
    params: dict[str, Any] = field(default_factory=dict)
    drawn: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reports: list[tuple[int, float]] = field(default_factory=list)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    stage: str = ""
    ending: Ending | None = None
    seconds: float = 0.0
    artifacts: dict[str, int] = field(default_factory=dict)


def try_study(
    study_file: StudyFile,
    listener: TrialListener,
    *,
    given: YamlFile | None = None,
    checkpoints: Path | None = None,
    artifacts: Path | None = None,
    on_error: Callable[[BaseException], None] | None = None,
) -> SingleTrial:
    """Run one trial of a study here and now, and return what came of it.

    What no one gives is the study file's first point, or drawn by its sampler. Nothing is pruned, no limit is enforced.

    Args:
        study_file: The study.
        listener: Is told what happens.
        given: Values by name that the trial is to have, or a schedule of such values, as ``read_params`` returns them.
        checkpoints: The checkpoint folder; None for a temporary one. For a schedule it must be empty.
        artifacts: The folder of its artifacts; None for a temporary one.
        on_error: Called with an exception of the objective, with its traceback.

    Raises:
        UserError: A given value does not fit the study, or the sampler cannot be made.
        KeyboardInterrupt: Ctrl-C was pressed, or a debugger was quit.
    """
    if given is not None and is_schedule(given):
        return _replay(study_file, listener, read_schedule(given), checkpoints, artifacts, on_error)
    study = _study(study_file, enqueue=given is None)
    with _folders(study_file, checkpoints, artifacts) as files:
        trial = SingleTrial(study_file, files.checkpoints, checkpoints is None, notes=_differences(study_file))
        answers: Mapping[str, Any] = {}
        if study_file.space is not None:
            fit = fit_params(given, study_file, study_file.space) if given else FittedParams(study_file.space)
            trial.params, trial.drawn, notes = _draw(study, fit)
            trial.notes = [*notes, *trial.notes]
        elif given is not None:
            answers = given.data
        connection = ForegroundConnection(trial, listener, answers, study.ask if study_file.space is None else None)
        listener.on_start(trial)
        began = time.monotonic()
        trial.ending = run_in_foreground(_spec(trial, files), files, connection, on_error)
        trial.seconds = time.monotonic() - began
        trial.user_attrs |= trial.ending.user_attrs
        trial.artifacts = sizes_in(files.artifacts(1))
        if given is not None and study_file.space is None:
            trial.notes += [
                f"{name} in {given.path.name} was not used: the objective did not suggest it"
                for name in answers
                if name not in trial.params
            ]
    return trial


def _replay(
    study_file: StudyFile,
    listener: TrialListener,
    stages: Sequence[ScheduleStage],
    checkpoints: Path | None,
    artifacts: Path | None,
    on_error: Callable[[BaseException], None] | None,
) -> SingleTrial:
    """Run a schedule: an attempt for each stage, which yields where the next one begins and hands on its checkpoint."""
    space = study_file.space
    if space is None:
        raise study_file.error("a schedule needs the parameters under `space:` in the study file", "space")
    if checkpoints is not None and checkpoints.is_dir() and any(checkpoints.iterdir()):
        raise UserError(
            f"{checkpoints} is not empty, and a schedule starts from nothing; name another --checkpoint-dir"
        )
    study, fits = _study(study_file, enqueue=False), [fit_params(stage.params, study_file, space) for stage in stages]
    ends = [*(stage.start for stage in stages[1:]), None]
    with _folders(study_file, checkpoints, artifacts) as files:
        trial = SingleTrial(study_file, files.checkpoints, checkpoints is None, notes=_differences(study_file))
        began = time.monotonic()
        for attempt, (fit, until) in enumerate(zip(fits, ends, strict=True), 1):
            trial.params, trial.drawn, notes = _draw(study, fit)
            trial.notes = [*notes, *trial.notes]
            trial.stage = f"stage {attempt} of {len(fits)}, from step {stages[attempt - 1].start + 1}"
            connection = ForegroundConnection(trial, listener, {}, None, until)
            listener.on_start(trial)
            trial.ending = run_in_foreground(_spec(trial, files, attempt), files, connection, on_error)
            trial.user_attrs |= trial.ending.user_attrs
            trial.artifacts = sizes_in(files.artifacts(attempt))
            if trial.ending.kind != "yielded":
                break
        trial.seconds = time.monotonic() - began
        if until is not None:
            trial.notes.append(f"it ended by step {until}, so the rest of the schedule was not run")
    return trial


def import_here(study_file: StudyFile) -> float:
    """Import a Python objective in this process, for ``pilotune check --import``; returns how many seconds it took.

    Raises:
        UserError: It cannot be imported or made; with the last place in the traceback.
    """
    began = time.monotonic()
    try:
        load_objective(study_file.objective)
    except KeyboardInterrupt:
        raise
    except ObjectiveError as error:
        raise study_file.error(str(error), "objective") from None
    except BaseException as error:  # a module may raise anything, SystemExit included
        frames = traceback.extract_tb(error.__traceback__)
        last = frames[-1] if frames else None
        text = f"importing the objective raises {first_line(error)}"
        raise UserError(text, file=last.filename if last else None, line=last.lineno if last else None) from error
    return time.monotonic() - began


@contextlib.contextmanager
def _folders(study_file: StudyFile, checkpoints: Path | None, artifacts: Path | None) -> Iterator[ForegroundFiles]:
    """The trial's folder, which is deleted at the end; the folders of checkpoints and artifacts stay where given."""
    with tempfile.TemporaryDirectory(
        prefix=f"pilotune-try-{study_file.name[:40]}-", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name).resolve()
        kept = artifacts.absolute() if artifacts else None
        yield ForegroundFiles(folder, checkpoints.absolute() if checkpoints else folder / "checkpoint-1", kept)


def _study(study_file: StudyFile, *, enqueue: bool) -> optuna.Study:
    """A study in memory, with the study file's sampler and its first point."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=study_file.name,
        directions=[optuna.study.StudyDirection[word.upper()] for word in study_file.directions],
        sampler=make_sampler(study_file),
        pruner=optuna.pruners.NopPruner(),
    )
    for point in study_file.start_from.enqueue[:1] if enqueue else ():
        study.enqueue_trial(point)
    return study


def _draw(study: optuna.Study, fit: FittedParams) -> tuple[dict[str, Any], list[str], list[str]]:
    """A configuration with the given values; the names of those that were drawn; notes."""
    for _ in range(TRIES):
        params, drawn = _configuration(study, fit)
        unused = [name for name in fit.values if name not in params]
        notes = [*fit.notes, *(f"{name} is not used: it is inactive in this configuration" for name in unused)]
        broken = fit.space.broken(params)
        if broken is None:
            return params, drawn, notes
        if not drawn:
            return params, drawn, [*notes, f"these parameters do not meet the constraint '{broken.text}'"]
    raise PilotuneError(f"none of {TRIES:,} configurations that were drawn meets the study file's constraints")


def _configuration(study: optuna.Study, fit: FittedParams) -> tuple[dict[str, Any], list[str]]:
    """A configuration with the given values, and the names of those that the sampler drew."""
    drawn: list[str] = []
    try:
        trial = study.ask()

        def value(name: str, distribution: BaseDistribution) -> Any:
            if name in fit.values:
                return fit.values[name]
            drawn.append(name)
            return trial._suggest(name, distribution)

        return fit.space.walk(value), drawn
    except PilotuneError:
        raise
    except Exception as error:  # a user's own sampler may raise anything
        raise PilotuneError(f"the sampler failed: {type(error).__name__}: {error}") from error


def _differences(study_file: StudyFile) -> list[str]:
    """What a campaign does and this does not, where the study file asks for it."""
    options, notes = study_file.trial, []
    if options.nodes > 1:
        notes.append(f"a trial has {options.nodes} nodes, but this one runs on this host alone; {{launcher}} is empty")
    elif options.rank_counts.ranks > 1:
        notes.append(f"a trial has {options.rank_counts.ranks} ranks, but this one runs as rank 0 of 1")
    if options.gpus:
        notes.append(
            f"trial.gpus is {options.gpus}, but no GPU is assigned here: the objective sees all that this shell sees"
        )
    limits = [f"trial.{name}" for name in ("timeout", "memory") if getattr(options, name) is not None]
    if limits:
        notes.append(f"{' and '.join(limits)} {'is' if len(limits) == 1 else 'are'} not enforced here")
    return notes


def _spec(trial: SingleTrial, files: ForegroundFiles, attempt: int = 1) -> AttemptSpec:
    file = trial.study_file
    space, options = file.space, _options(trial)
    return AttemptSpec(
        token=f"0.{attempt}.try",
        study=file.name,
        number=0,
        attempt=attempt,
        params=space.for_objective(trial.params) if space else dict(trial.params),
        defines_space=space is None,
        directory=str(files.directory),
        seed=seed_of(file.seed, file.name, 0),
        n_values=len(file.directions),
        directions=list(file.directions),
        metrics=list(file.metrics),
        space_names=space.names if space else [],
        isolate=False,
        cores=options.cores,
        gpus=options.gpus,
        ranked=options.ranked and not file.objective.command,
        objective=file.objective,
        limits=options.limits,
    )


def _options(trial: SingleTrial) -> TrialOptions:
    """The trial's options, which may depend on its parameters. Raises UserError where it could take no such thing."""
    try:
        return trial.study_file.options_for(trial.params)
    except SizeProblem as problem:
        raise trial.study_file.error(str(problem.args[0]), f"trial.{problem.key}") from None


class ForegroundConnection:
    """Answers the objective in a driver's place (see :class:`.link.DriverConnection`).

    It ends no trial; a schedule's attempt yields where the next one begins.

    Args:
        trial: Is told everything.
        listener: Likewise.
        given: Values for parameters that the objective suggests, by name.
        ask: Makes a trial whose sampler draws the others; None where the space is in the study file.
        until: The step after which the attempt is to yield; None: it never is.
    """

    bound_to_process = True
    alone = True

    def __init__(
        self,
        trial: SingleTrial,
        listener: TrialListener,
        given: Mapping[str, Any],
        ask: Callable[[], optuna.Trial] | None,
        until: int | None = None,
    ) -> None:
        self._until, self._yields = until, False
        self._trial, self._listener, self._given, self._ask = trial, listener, given, ask
        self._asked: optuna.Trial | None = None
        self._empty = OfflineConnection()

    @property
    def reports(self) -> list[tuple[int, float]]:
        """Step and value of each report, in order."""
        return self._trial.reports

    def report(self, step: int, value: float) -> Stopping:
        self._trial.reports.append((step, value))
        self._listener.on_report(step, value)
        self._yields = self._until is not None and step >= self._until
        return "yield" if self._yields else ""

    def suggest(self, name: str, distribution: str) -> Any:
        wanted = json_to_distribution(distribution)
        if name in self._given:
            value = fitted(name, self._given[name], distribution, stacklevel=4)
        else:
            if self._asked is None:
                assert self._ask is not None
                self._asked = self._ask()
            value = self._asked._suggest(name, wanted)
            self._trial.drawn.append(name)
        self._trial.params[name] = value
        self._listener.on_suggest(name, value, describe(wanted), name in self._given)
        return value

    def ask(self, what: str, arguments: dict[str, Any]) -> Any:
        return self._empty.ask(what, arguments)  # of a study that has no trials yet

    def set_attr(self, key: str, value: Any, *, system: bool = False) -> None:
        if not system:
            self._trial.user_attrs[key] = value
            self._listener.on_attr(key, value)

    def yield_asked(self) -> bool:
        return self._yields
