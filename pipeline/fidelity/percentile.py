"""The median and percentile rules with Optuna's verdicts, at a cost that does not grow with the study.

Optuna's own pruners gather the values of all complete trials at each report. These keep each step's values sorted: a
verdict costs what changed in the study since the last one, and O(log n).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna.pruners
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sortedcontainers import SortedList

from .table_pruner import Table, Tabled


@dataclass
class _Step:
    """What complete trials reported at one step: the numbers, sorted, and how many reports were not a number."""

    values: Any = field(default_factory=SortedList)
    nans: int = 0

    def add(self, values: list[float]) -> None:
        numbers = [value for value in values if not math.isnan(value)]
        self.nans += len(values) - len(numbers)
        self.values.update(numbers)

    def take(self, value: float) -> None:
        if math.isnan(value):
            self.nans -= 1
        else:
            self.values.remove(value)

    def __len__(self) -> int:
        return len(self.values) + self.nans


class StepTable(Table):
    """The reports of a study's complete trials by step. A look costs what changed since the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.complete: dict[int, Mapping[int, float]] = {}
        self._steps: dict[int, _Step] = {}

    def look(self, study: Study) -> None:
        """Bring the table up to date."""
        changes = self.watch.look(study)
        if changes.whole:
            self.complete, self._steps = {}, {}
        for trial_id in changes.gone:
            self._take(trial_id)
        added: defaultdict[int, list[float]] = defaultdict(list)
        for trial in changes.trials:
            if trial.state == TrialState.COMPLETE:
                self._put(trial._trial_id, trial.intermediate_values, added)
            else:  # another driver may have finished it first, in another way
                self._take(trial._trial_id)
        for step, values in added.items():
            self._steps.setdefault(step, _Step()).add(values)

    def _put(self, trial_id: int, reports: Mapping[int, float], added: defaultdict[int, list[float]]) -> None:
        """Note what the table is to hold of the trial; its reports are ``added`` together with others', sorted once."""
        if trial_id in self.complete:
            if self.complete[trial_id] == reports:
                return
            self._take(trial_id)
        self.complete[trial_id] = reports
        for step, value in reports.items():
            added[step].append(value)

    def _take(self, trial_id: int) -> None:
        for step, value in self.complete.pop(trial_id, {}).items():
            self._steps[step].take(value)

    def percentile(self, step: int, percent: float, least: int) -> float:
        """The percentile of what complete trials reported at ``step``.

        NaN where fewer than ``least`` did, or no number. Reports that are not a number count for ``least`` alone.
        """
        reports = self._steps.get(step)
        if reports is None or len(reports) < least or not reports.values:
            return math.nan
        return interpolated(reports.values, percent)


def interpolated(values: Any, percent: float) -> float:
    """The percentile (0 to 100) of sorted numbers, linear between neighbours; rounded as ``numpy.percentile`` is."""
    at = (len(values) - 1) * (percent / 100)
    low = math.floor(at)
    before, after = values[low], values[min(low + 1, len(values) - 1)]
    part, gap = at - low, after - before
    return float(after - gap * (1 - part) if part >= 0.5 else before + gap * part)


class PercentilePruner(Tabled, optuna.pruners.PercentilePruner):
    """Prunes a trial whose best report is worse than a percentile of complete trials' at the same step.

    Arguments and defaults as in Optuna's class.
    """

    TABLE = StepTable
    _table: StepTable

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial is to stop after its last report."""
        step, reports = trial.last_step, trial.intermediate_values
        if step is None or step < self._n_warmup_steps or not self._due(step, reports):
            return False
        with self._lock:
            self._table.look(study)
            complete = len(self._table.complete)
            if not complete or complete < self._n_startup_trials:
                return False
            maximize = study.direction == StudyDirection.MAXIMIZE
            percent = 100 - self._percentile if maximize else self._percentile
            limit = self._table.percentile(step, percent, self._n_min_trials)
        best = _best(reports, maximize)
        if math.isnan(best):
            return True
        return best < limit if maximize else best > limit  # neither, where the limit is not a number

    def _due(self, step: int, reports: Mapping[int, float]) -> bool:
        """Whether ``step`` is the first report of its interval; with intervals of one step each is."""
        start = step - (step - self._n_warmup_steps) % self._interval_steps
        return start == step or all(other < start or other == step for other in reports)


def _best(reports: Mapping[int, float], maximize: bool) -> float:
    """The best of the reports that are numbers; NaN when none is."""
    values = [value for value in reports.values() if not math.isnan(value)]
    if not values:
        return math.nan
    return max(values) if maximize else min(values)


class MedianPruner(PercentilePruner, optuna.pruners.MedianPruner):
    """Prunes a trial whose best report is worse than the median of complete trials' at the same step.

    Arguments and defaults as in Optuna's class.
    """
