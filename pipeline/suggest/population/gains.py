"""What each member of a population gained in each of its intervals, and what a copy would gain by that."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from ...attributes import LEARNED, PARENT, STEP
from ..genes import Gene
from .bandit import Bandit, Floats

MOST_CHANGES = 128
"""The newest changes from which the model learns; a fit costs their number to the third power."""


class Change(NamedTuple):
    """One interval of one member.

    Attributes:
        time: When it began, in intervals.
        places: The member's numbers, from 0 to 1.
        before: Its value then; larger is better.
        gain: How much better its value was at the end.
    """

    time: int
    places: list[float]
    before: float
    gain: float


class Changes:
    """The newest changes of a study's members.

    Args:
        study: With one direction.
        interval: Steps of an interval.
        genes: The numbers that the members have.
    """

    def __init__(self, study: Study, interval: int, genes: list[Gene]) -> None:
        self._interval = interval
        self._sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
        found: list[Change] = []
        # By number of each trial without a value after its start: its places, and the value that it started with.
        self._waiting: dict[int, tuple[list[float], float | None]] = {}
        trials = study.get_trials(deepcopy=False)
        for trial in reversed(trials):
            if len(found) > 2 * MOST_CHANGES:  # older trials have older changes, but for those that run for long
                break
            if LEARNED in trial.user_attrs or not all(gene.name in trial.params for gene in genes):
                continue
            own = self._by_interval(trial)
            start, parent = trial.system_attrs.get(STEP, 0) // interval, trial.system_attrs.get(PARENT)
            parents = {} if parent is None else self._by_interval(trials[parent])
            known = {start: parents[start], **own} if start in parents else own
            places = [gene.place(trial.params[gene.name]) for gene in genes]
            if not own and not trial.state.is_finished():
                self._waiting[trial.number] = places, known.get(start)
            found += [
                Change(done - 1, places, known[done - 1], value - known[done - 1])
                for done, value in own.items()
                if done - 1 in known
            ]
        self._changes = sorted(found, key=lambda change: change.time)[-MOST_CHANGES:]
        befores = [change.before for change in self._changes]
        self._mean = float(np.mean(befores)) if befores else 0.0
        self._deviation = (float(np.std(befores)) if befores else 0.0) or 1.0

    @property
    def enough(self) -> bool:
        """Whether there are enough changes for a model."""
        return len(self._changes) > 1

    def ranked(self, candidates: Floats, trial: FrozenTrial, parent: FrozenTrial) -> list[int]:
        """The indices of the candidates for a copy, those with the highest upper confidence bound first.

        Args:
            candidates: Numbers from 0 to 1, shape (n, genes).
            trial: The copy.
            parent: The trial that it is a copy of.
        """
        known = self._by_interval(parent)
        before = self._scaled(known[max(known)]) if known else 0.0
        gains = np.array([change.gain for change in self._changes])
        bandit = Bandit(
            self._rows([(change.places, self._scaled(change.before)) for change in self._changes]),
            np.array([change.time for change in self._changes], dtype=float),
            (gains - gains.mean()) / (gains.std() or 1.0),
        )
        others = [
            (places, before if value is None else self._scaled(value))
            for number, (places, value) in self._waiting.items()
            if number != trial.number
        ]
        rows = np.column_stack([candidates, np.full(len(candidates), before)])
        pending = self._rows(others).reshape(-1, rows.shape[1])
        return bandit.ranked(rows, trial.system_attrs[STEP] // self._interval, pending)

    def _scaled(self, value: float) -> float:
        """A value where those before the changes have mean 0 and deviation 1."""
        return (value - self._mean) / self._deviation

    def _rows(self, members: list[tuple[list[float], float]]) -> Floats:
        return np.array([[*places, before] for places, before in members], dtype=float)

    def _by_interval(self, trial: FrozenTrial) -> dict[int, float]:
        """The first value at or after each interval's end, larger ones better, without NaN and infinite ones."""
        found: dict[int, float] = {}
        for step, value in sorted(trial.intermediate_values.items()):
            if step >= self._interval and math.isfinite(value):
                found.setdefault(step // self._interval, self._sign * value)
        return found
