"""Keeps the trials' values at each rung of successive halving sorted, so that a verdict is a search, not a sort."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from optuna.pruners import SuccessiveHalvingPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sortedcontainers import SortedList

from .table_pruner import Table

PREFIX = "completed_rung_"
"""Optuna's pruner writes a trial's value at rung 0, 1, ... to system attributes that begin with this."""


@dataclass(frozen=True)
class _TrialRungs:
    """What the table knows of a trial: its number, its bracket, and its value at each rung by attribute."""

    number: int
    bracket: int
    values: dict[str, float]


class RungTable(Table):
    """The values at all rungs of one study, for each bracket by itself.

    Trials in every state count, as in Optuna. A refresh costs what changed since the last one, a query O(log n).
    """

    def __init__(self) -> None:
        super().__init__()
        self.longest: int | None = None  # the largest last step of all complete trials; None before there is one
        self._trials: dict[int, _TrialRungs] = {}
        self._sorted: dict[tuple[int, str], Any] = {}

    def refresh(self, study: Study, bracket_of: Callable[[FrozenTrial], int]) -> None:
        """Bring the table up to date. ``bracket_of`` gives the bracket of a trial that reached a rung."""
        changes = self.watch.refresh(study)
        if changes.whole:
            self._trials, self._sorted, self.longest = {}, {}, None
        for trial_id in changes.gone:
            self._remove(trial_id)
        added: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
        for trial in changes.trials:
            self._collect(trial, bracket_of, added)
            self._note_length(trial)
        for place, values in added.items():
            self._sorted.setdefault(place, SortedList()).update(values)

    def _note_length(self, trial: FrozenTrial) -> None:
        if trial.state == TrialState.COMPLETE and (step := trial.last_step) is not None:
            self.longest = step if self.longest is None else max(step, self.longest)

    def _collect(
        self,
        trial: FrozenTrial,
        bracket_of: Callable[[FrozenTrial], int],
        added: defaultdict[tuple[int, str], list[float]],
    ) -> None:
        """Collect the values of a trial in ``added``, unless the table has them."""
        values = {key: value for key, value in trial.system_attrs.items() if key.startswith(PREFIX)}
        known = self._trials.get(trial._trial_id)
        if known is None and not values:
            return
        same_number = known is not None and known.number == trial.number
        if known is not None and same_number and known.values == values:
            return
        bracket = known.bracket if known is not None and same_number else bracket_of(trial)
        self._remove(trial._trial_id)
        self._trials[trial._trial_id] = _TrialRungs(trial.number, bracket, values)
        for key, value in values.items():
            added[bracket, key].append(value)

    def _remove(self, trial_id: int) -> None:
        known = self._trials.pop(trial_id, None)
        if known is not None:
            for key, value in known.values.items():
                self._sorted[known.bracket, key].remove(value)

    def rank(self, bracket: int, key: str, value: float, direction: StudyDirection) -> tuple[int, int]:
        """How many values at the rung are better than ``value``, and how many there are in all.

        Args:
            key: The attribute of the rung.
        """
        rung = self._sorted.get((bracket, key))
        if rung is None:
            return 0, 0
        better = (
            len(rung) - rung.bisect_right(value) if direction == StudyDirection.MAXIMIZE else rung.bisect_left(value)
        )
        return better, len(rung)


def halve(
    rule: SuccessiveHalvingPruner,
    table: RungTable,
    bracket: int,
    bracket_of: Callable[[FrozenTrial], int],
    study: Study,
    trial: FrozenTrial,
    last: int | None = None,
) -> bool:
    """Decide whether to prune the trial after its last report; writes its value at each rung it reached to the study.

    At the last step there is nothing left to save, so nothing is pruned there, and no rung is reached. Optuna's pruner
    prunes there, too, where steps count from 1.

    Args:
        rule: Optuna's pruner with the rule's parameters; its ``min_resource`` must be known.
        table: Refreshed only when the trial reached a rung.
        bracket: The trial's, within which it competes.
        bracket_of: Gives the bracket of any trial.
        last: The last step. None: that of the longest complete trial, once there is one.
    """
    step = trial.last_step
    assert step is not None
    if last is not None and step >= last:
        return False
    assert rule._min_resource is not None
    value = trial.intermediate_values[step]
    first = rung = _rung(trial)
    while step >= rule._min_resource * rule._reduction_factor ** (rule._min_early_stopping_rate + rung):
        if rung == first:
            table.refresh(study, bracket_of)
            if last is None and table.longest is not None and step >= table.longest:
                return False
        if math.isnan(value):
            return True
        key = f"{PREFIX}{rung}"
        study._storage.set_trial_system_attr(trial._trial_id, key, value)
        better, others = table.rank(bracket, key, value, study.direction)
        count = others + 1
        # One in reduction_factor goes on; where that would be none, among the first few, the best one does.
        if count <= rule._bootstrap_count or better >= max(count // rule._reduction_factor, 1):
            return True
        rung += 1
    return False


def _rung(trial: FrozenTrial) -> int:
    """The index of the first rung that the trial has not reached."""
    rung = 0
    while f"{PREFIX}{rung}" in trial.system_attrs:
        rung += 1
    return rung


def longest(trials: Iterable[FrozenTrial]) -> int | None:
    """The largest last step of all complete trials; None where none has reported."""
    steps = (trial.last_step for trial in trials if trial.state == TrialState.COMPLETE)
    return max((step for step in steps if step is not None), default=None)
