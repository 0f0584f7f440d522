"""The values that trials had at the rungs of successive halving, kept sorted: a verdict is a search, not a sort."""

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
"""Of the system attributes in which Optuna's pruner keeps a trial's value at each rung, 0, 1, ..."""


@dataclass(frozen=True)
class _Held:
    """What the table holds of a trial: its number, its bracket, and its value at each rung, by attribute."""

    number: int
    bracket: int
    values: dict[str, float]


class RungTable(Table):
    """All rungs' values of one study, each bracket's apart.

    As in Optuna, trials in every state count. A look costs what changed since the last one, a question O(log n).
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[int, _Held] = {}
        self._sorted: dict[tuple[int, str], Any] = {}

    def look(self, study: Study, bracket_of: Callable[[FrozenTrial], int]) -> None:
        """Bring the table up to date; ``bracket_of`` is asked once for each trial that reached a rung."""
        changes = self.watch.look(study)
        if changes.whole:
            self._held, self._sorted = {}, {}
        for trial_id in changes.gone:
            self._take(trial_id)
        added: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
        for trial in changes.trials:
            self._put(trial, bracket_of, added)
        for place, values in added.items():
            self._sorted.setdefault(place, SortedList()).update(values)

    def _put(
        self,
        trial: FrozenTrial,
        bracket_of: Callable[[FrozenTrial], int],
        added: defaultdict[tuple[int, str], list[float]],
    ) -> None:
        """Note what the table is to hold of the trial; its values are ``added`` together with others', sorted once."""
        values = {key: value for key, value in trial.system_attrs.items() if key.startswith(PREFIX)}
        held = self._held.get(trial._trial_id)
        if held is None and not values:
            return
        same_number = held is not None and held.number == trial.number
        if held is not None and same_number and held.values == values:
            return
        bracket = held.bracket if held is not None and same_number else bracket_of(trial)
        self._take(trial._trial_id)
        self._held[trial._trial_id] = _Held(trial.number, bracket, values)
        for key, value in values.items():
            added[bracket, key].append(value)

    def _take(self, trial_id: int) -> None:
        held = self._held.pop(trial_id, None)
        if held is not None:
            for key, value in held.values.items():
                self._sorted[held.bracket, key].remove(value)

    def place(self, bracket: int, key: str, value: float, direction: StudyDirection) -> tuple[int, int]:
        """How many values at the rung are better than ``value``, and how many there are."""
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
) -> bool:
    """Whether ``rule`` stops the trial after its last report; its value is written to the study at each rung reached.

    Args:
        rule: Its ``min_resource`` is known by now.
        table: Looks at the study when the trial reached a rung, and not otherwise.
        bracket: The trial's, within which it competes.
        bracket_of: The bracket of any trial.
    """
    step = trial.last_step
    assert step is not None
    assert rule._min_resource is not None
    value = trial.intermediate_values[step]
    first = rung = _rung(trial)
    while step >= rule._min_resource * rule._reduction_factor ** (rule._min_early_stopping_rate + rung):
        if math.isnan(value):
            return True
        if rung == first:
            table.look(study, bracket_of)
        key = f"{PREFIX}{rung}"
        study._storage.set_trial_system_attr(trial._trial_id, key, value)
        better, others = table.place(bracket, key, value, study.direction)
        count = others + 1
        # 1 in reduction_factor goes on; of the first few, where that would be none, the best.
        if count <= rule._bootstrap_count or better >= max(count // rule._reduction_factor, 1):
            return True
        rung += 1
    return False


def _rung(trial: FrozenTrial) -> int:
    """The first rung that the trial has not reached."""
    rung = 0
    while f"{PREFIX}{rung}" in trial.system_attrs:
        rung += 1
    return rung


def longest(trials: Iterable[FrozenTrial]) -> int | None:
    """The last step of the complete trial that went farthest; None when none has reported."""
    steps = (trial.last_step for trial in trials if trial.state == TrialState.COMPLETE)
    return max((step for step in steps if step is not None), default=None)
