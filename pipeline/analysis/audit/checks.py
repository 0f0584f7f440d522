"""Checks that a study's database does not contradict itself, whatever its workers wrote."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml

from ...attributes import ENDED_PAUSED
from ...noise import means
from ...record import RunDirectory
from ..trial_facts import STATES
from .database import Claims, RecordedTrial
from .findings import Audit, list_trials


def check_database(found: Audit, known: Claims, trials: Sequence[RecordedTrial]) -> None:
    """Run all checks of the database.

    Args:
        found: Gets the counts and the findings.
        known: The study's campaigns.
        trials: Its trials, by ascending number.
    """
    found.trials = len(trials)
    counts = Counter(trial.state for trial in trials)
    found.states = {state: counts[state] for state in STATES}
    _numbered(found, trials)
    for trial in trials:
        for what in _wrong(trial, known.directions):
            found.violation(f"trial {trial.number} {what}", trial.number)
    _unfinished(found, known, trials)
    _within_budget(found, known, trials)
    _drivers(found, known)


def _numbered(found: Audit, trials: Sequence[RecordedTrial]) -> None:
    """Trials are numbered from 0, without gaps or duplicates."""
    counts = Counter(trial.number for trial in trials)
    for number, count in counts.items():
        if count > 1:
            found.violation(f"{count} trials have the number {number}", number)
    missing = sorted(set(range(max(counts, default=-1) + 1)) - counts.keys())
    if missing:
        found.violation(f"the database has no {list_trials(missing)}")


def _wrong(trial: RecordedTrial, directions: int) -> Iterator[str]:
    """Contradictions within a trial."""
    if trial.state == "complete" and trial.objectives != list(range(directions)):
        yield f"is complete, but has {len(trial.values)} of {directions} values"
    if trial.values and trial.state not in ("complete", "pruned"):
        yield f"is {trial.state}, but has a value"
    attempts = [each.attempt for each in trial.repetitions]
    own = trial.copied is None and trial.learned is None  # else the attempts are the original's
    if own and (attempts != sorted(set(attempts)) or (attempts and attempts[-1] > trial.attempt)):
        yield f"has repetitions that ended with the attempts {attempts}, but its latest attempt is {trial.attempt}"
    if trial.state == "complete" and trial.repetitions and trial.values != means(trial.repetitions):
        yield f"has the values {trial.values}, but the means of its repetitions are {means(trial.repetitions)}"
    if trial.exit is None or trial.learned is not None:
        return
    if trial.final and trial.paused is not None:
        yield f"is {trial.state}, but is recorded as paused at step {trial.paused}"
    if (
        not (trial.exit in ENDED_PAUSED and trial.state == "pruned")
        and trial.exit != trial.state
        and (not trial.final or {trial.exit, trial.state} & {"complete", "pruned"})
    ):
        yield f"is {trial.state}, but its recorded end is: {trial.exit}"
    if trial.owner is not None and trial.attempts != trial.attempt:
        yield f"ended after attempt {trial.attempts}, but the latest attempt that began is {trial.attempt}"


def _unfinished(found: Audit, known: Claims, trials: Iterable[RecordedTrial]) -> None:
    """Note who will continue the trials that have not ended."""
    running: dict[str | None, list[int]] = defaultdict(list)
    waiting = []
    for trial in trials:
        if trial.state == "running":
            running[None if trial.owner is None else str(trial.owner)].append(trial.number)
        elif trial.state == "waiting":
            waiting.append(trial.number)
    resume = f"pilotune resume {found.study}"
    for owner, numbers in running.items():
        if owner is None:
            found.note(f"{list_trials(numbers)}: started by a program other than Pilotune, which must end them as well")
        elif owner not in known.alive:
            found.note(f"{resume} continues {list_trials(numbers)}, which campaign {owner} left")
    if waiting and not known.alive:
        found.note(f"{resume} starts {list_trials(waiting)}")


def _within_budget(found: Audit, known: Claims, trials: Iterable[RecordedTrial]) -> None:
    """No more trials have begun than the largest budget of any campaign."""
    budgets = [_budget(Path(lease.run)) for lease in known.leases.values()]
    if not budgets or None in budgets:
        return
    most = max(budget for budget in budgets if budget is not None)
    begun = [trial for trial in trials if trial.state != "waiting" and trial.learned is None]
    ours = sum(1 for trial in begun if trial.owner is not None)
    if ours > most:
        found.violation(f"{ours} trials have begun, but the largest budget was {most:g}")
    elif len(begun) > most:
        others = len(begun) - ours
        found.note(f"{len(begun)} trials have begun, {others} of them by another program; the budget was {most:g}")


def _budget(run: Path) -> float | None:
    """``budget.trials`` of a campaign's study file; infinite without a limit, None if the file cannot be read."""
    try:
        data = yaml.safe_load(RunDirectory(run).study_file.read_text(encoding="utf-8"))
        trials = data["budget"]["trials"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return None
    return math.inf if trials is None else float(trials) if type(trials) is int else None


def _drivers(found: Audit, known: Claims) -> None:
    """SQLite has one driver at a time; note drivers that died."""
    if known.single_driver and len(known.alive) > 1:
        several = ", ".join(sorted(known.alive))
        found.violation(f"{len(known.alive)} drivers work on the study, but SQLite allows one: {several}")
    for lease in known.dead:
        if lease.state == "running":
            found.note(f"the driver of campaign {lease.campaign} (process {lease.pid} on {lease.host}) died; "
                       f"pilotune resume {found.study} continues its work")  # fmt: skip
