"""Compares a study with what its attempts noted: finds results that are lost, doubled or wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from .attempt_record import AttemptRecord, attempt_of, score

KINDS = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}


@dataclass
class Findings:
    """Violations, a sentence each.

    Attributes:
        lost: Results that a worker wrote and the study does not hold.
        unheard: Reports that were made and the study does not hold, of attempts that the trial went on from.
        doubled: Results that count twice, and trials that ran on after theirs was kept.
        wrong: Anything else.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unheard: list[str] = field(default_factory=list)

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.wrong + other.wrong,
            self.unheard + other.unheard,
        )

    @property
    def all(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.wrong, *self.unheard]


def audit(trials: Sequence[FrozenTrial], record: AttemptRecord, budget: int, *, checkpoints: bool = True) -> Findings:
    """Find what is wrong with a study.

    Args:
        trials: All trials, as plain Optuna reads them.
        record: What their attempts noted.
        budget: The most trials that there may be.
        checkpoints: Whether checkpoints survived the fault, so that attempts go on from them.
    """
    found = Findings()
    if [trial.number for trial in trials] != list(range(len(trials))):
        found.doubled.append(f"the trials' numbers are {[trial.number for trial in trials]}")
    if len(trials) > budget:
        found.doubled.append(f"{len(trials)} trials where the budget is {budget}")
    for number in {start.number for start in record.starts} - {trial.number for trial in trials}:
        found.lost.append(f"trial {number} ran and is not in the study")
    for trial in trials:
        _result(trial, record, found)
        _reports(trial, record, found)
        _unheard(trial, record, found)
    if checkpoints:
        _checkpoints(record, found)
    return found


def _result(trial: FrozenTrial, record: AttemptRecord, found: Findings) -> None:
    """A trial has the result of its newest attempt, and no other."""
    number, newest = trial.number, record.newest(trial.number)
    kept = 0
    if trial.state in KINDS:
        kept = attempt_of(trial.values[0]) if trial.values else newest
        value = trial.value if trial.state == TrialState.COMPLETE else None
        if (number, kept) not in record.ends or record.ends[number, kept] != value:
            found.wrong.append(f"trial {number} is {trial.state.name} with {trial.values}, which no attempt came to")
        if kept < newest:
            found.doubled.append(f"trial {number} has the result of attempt {kept}, and attempt {newest} was begun")
    for other, attempt in record.ends:
        if other == number and attempt > kept and _written(trial, attempt):
            found.lost.append(f"trial {number} is {trial.state.name}, and attempt {attempt} wrote its result")


def _written(trial: FrozenTrial, attempt: int) -> bool:
    """Whether the worker wrote the result of that attempt to the file that drivers read."""
    path = Path(trial.user_attrs.get("pilotune:directory", ""), f"outcome-{attempt}.json")
    return path.exists() and json.loads(path.read_text())["kind"] in KINDS.values()


def _reports(trial: FrozenTrial, record: AttemptRecord, found: Findings) -> None:
    """Every report in the study was made, and each attempt's are there up to some step."""
    made = [(attempt, step) for number, attempt, step, _, _ in record.steps if number == trial.number]
    held = {step: attempt_of(value) for step, value in trial.intermediate_values.items()}
    for step, value in trial.intermediate_values.items():
        if (held[step], step) not in made or value != score(trial.number, step, held[step]):
            found.wrong.append(f"trial {trial.number} holds {value} at step {step}, which nobody reported")
    for attempt in {attempt for attempt, _ in made}:
        kept = [step in held for own, step in made if own == attempt]
        if True in kept[kept.index(False) :] if False in kept else False:
            found.wrong.append(f"trial {trial.number} holds a later report of attempt {attempt} and not an earlier one")


def _unheard(trial: FrozenTrial, record: AttemptRecord, found: Findings) -> None:
    """The study holds all reports of the attempts that an ended trial went on from, the first value of each step."""
    if not trial.state.is_finished():
        return
    starts = sorted((start.attempt, start.at) for start in record.starts if start.number == trial.number)
    last = record.newest(trial.number) if trial.state in KINDS else 0
    first: dict[int, float] = {}
    for number, attempt, step, value, at in record.made:
        later = [begun for other, begun in starts if other > attempt]
        if number == trial.number and (at < min(later) if later else attempt == last):
            first.setdefault(step, value)
    for step, value in first.items():
        if step not in trial.intermediate_values:
            found.unheard.append(f"trial {trial.number} lacks the report {value} at step {step}, which was made")
        elif trial.intermediate_values[step] != value:
            kept = trial.intermediate_values[step]
            found.wrong.append(f"trial {trial.number} holds {kept} at step {step}, where {value} was reported first")


def _checkpoints(record: AttemptRecord, found: Findings) -> None:
    """No attempt saves after its successor has begun, and none computes a step that an earlier one saved."""
    saved: dict[int, int] = {}  # trial -> the last step that was saved
    begun: dict[int, tuple[int, float]] = {}  # trial -> its newest attempt, and since when
    moments = [(start.at, start.number, start.attempt, 0, False) for start in record.starts]
    moments += [(at, number, attempt, step, kept) for number, attempt, step, kept, at in record.steps]
    for at, number, attempt, step, kept in sorted(moments):
        if step == 0:
            begun[number] = max(begun.get(number, (0, 0.0)), (attempt, at))
        elif kept and attempt < begun[number][0]:
            found.wrong.append(f"attempt {attempt} of trial {number} saved step {step} beside {begun[number][0]}")
        elif kept and step <= saved.get(number, 0):
            found.wrong.append(f"attempt {attempt} of trial {number} computed step {step} again")
        elif kept:
            saved[number] = step
