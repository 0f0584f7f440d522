"""The median and percentile pruners with Optuna's verdicts, at a cost that does not grow with the study.

Optuna's own pruners collect the values of all complete trials at each report. These keep each step's values sorted: a
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

from .table_pruner import Table, TablePruner


@dataclass
class _StepValues:
    """What complete trials reported at one step.

    Attributes:
        values: The numbers, sorted.
        nans: How many reports were NaN.
    """

    values: Any = field(default_factory=SortedList)
    nans: int = 0

    def add(self, values: list[float]) -> None:
        """Add reports; many at once are sorted together, which is faster."""
        numbers = [value for value in values if not math.isnan(value)]
        self.nans += len(values) - len(numbers)
        self.values.update(numbers)

    def remove(self, value: float) -> None:
        """Remove one report."""
        if math.isnan(value):
            self.nans -= 1
        else:
            self.values.remove(value)

    def __len__(self) -> int:
        return len(self.values) + self.nans


class ReportTable(Table):
    """The reports of a study's complete trials by step. A refresh costs what changed since the last one.

    Attributes:
        complete: By id of a complete trial its reports, by step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.complete: dict[int, Mapping[int, float]] = {}
        self._steps: dict[int, _StepValues] = {}

    def refresh(self, study: Study) -> None:
        """Bring the table up to date."""
        changes = self.watch.refresh(study)
        if changes.whole:
            self.complete, self._steps = {}, {}
        for trial_id in changes.gone:
            self._remove(trial_id)
        added: defaultdict[int, list[float]] = defaultdict(list)
        for trial in changes.trials:
            if trial.state == TrialState.COMPLETE:
                self._collect(trial._trial_id, trial.intermediate_values, added)
            else:  # one that was complete may turn out to have failed: another driver may have ended it first
                self._remove(trial._trial_id)
        for step, values in added.items():
            self._steps.setdefault(step, _StepValues()).add(values)

    def _collect(self, trial_id: int, reports: Mapping[int, float], added: defaultdict[int, list[float]]) -> None:
        """Collect the reports of a trial in ``added``, unless the table has them."""
        if trial_id in self.complete:
            if self.complete[trial_id] == reports:
                return
            self._remove(trial_id)
        self.complete[trial_id] = reports
        for step, value in reports.items():
            added[step].append(value)

    def _remove(self, trial_id: int) -> None:
        for step, value in self.complete.pop(trial_id, {}).items():
            self._steps[step].remove(value)

    def percentile(self, step: int, percent: float, least: int) -> float:
        """The percentile of what complete trials reported at ``step``.

        Args:
            percent: 0 to 100.
            least: Trials that must have reported the step, NaN included; else the result is NaN.
        """
        reports = self._steps.get(step)
        if reports is None or len(reports) < least or not reports.values:
            return math.nan
        return interpolated(reports.values, percent)


def interpolated(values: Any, percent: float) -> float:
    """The percentile of sorted numbers, linear between neighbours, with the rounding errors of ``numpy.percentile``.

    Args:
        values: Sorted numbers, at least one.
        percent: 0 to 100.
    """
    at = (len(values) - 1) * (percent / 100)
    low = math.floor(at)
    before, after = values[low], values[min(low + 1, len(values) - 1)]
    part, gap = at - low, after - before
    return float(after - gap * (1 - part) if part >= 0.5 else before + gap * part)


class PercentilePruner(TablePruner, optuna.pruners.PercentilePruner):
    """Prunes a trial whose best report so far is worse than a percentile of the reports at the same step.

    Compares with complete trials only. Verdicts are those of ``optuna.pruners.PercentilePruner``.

    Args:
        percentile: 0 to 100; with 25, only trials among the best quarter go on.
        n_startup_trials: Nothing is pruned until this many trials are complete. Default 5.
        n_warmup_steps: Steps of a trial before it may be pruned. Default 0.
        interval_steps: Steps between checks, from the warm-up on. Default 1: at each report.
        n_min_trials: Trials that must have reported a step before any is pruned there. Default 1.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.fidelity import PercentilePruner
        >>> study = optuna.create_study(pruner=PercentilePruner(50.0, n_startup_trials=2))
        >>> verdicts = []
        >>> for loss in (0.1, 0.3, 0.5):
        ...     trial = study.ask()
        ...     trial.report(loss, step=1)
        ...     verdicts.append(trial.should_prune())
        ...     _ = study.tell(trial, loss)
        >>> verdicts
        [False, False, True]
    """

    TABLE = ReportTable
    _table: ReportTable

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to prune the trial after its last report."""
        step, reports = trial.last_step, trial.intermediate_values
        if step is None or step < self._n_warmup_steps or not self._due(step, reports):
            return False
        with self._lock:
            self._table.refresh(study)
            complete = len(self._table.complete)
            if not complete or complete < self._n_startup_trials:
                return False
            maximize = study.direction == StudyDirection.MAXIMIZE
            percent = 100 - self._percentile if maximize else self._percentile
            limit = self._table.percentile(step, percent, self._n_min_trials)
        best = _best(reports, maximize)
        if math.isnan(best):
            return True
        return best < limit if maximize else best > limit  # False where the limit is NaN

    def _due(self, step: int, reports: Mapping[int, float]) -> bool:
        """Whether ``step`` is the first report in its interval of ``interval_steps``."""
        start = step - (step - self._n_warmup_steps) % self._interval_steps
        return start == step or all(other < start or other == step for other in reports)


def _best(reports: Mapping[int, float], maximize: bool) -> float:
    """The best report, NaN left out; NaN where there is no other."""
    values = [value for value in reports.values() if not math.isnan(value)]
    if not values:
        return math.nan
    return max(values) if maximize else min(values)


class MedianPruner(PercentilePruner, optuna.pruners.MedianPruner):
    """Prunes a trial whose best report so far is worse than the median of the reports at the same step.

    The ``PercentilePruner`` with 50 %: the median stopping rule of Golovin et al., Google Vizier, KDD 2017.

    Args:
        n_startup_trials: Nothing is pruned until this many trials are complete. Default 5.
        n_warmup_steps: Steps of a trial before it may be pruned. Default 0.
        interval_steps: Steps between checks, from the warm-up on. Default 1: at each report.
        n_min_trials: Trials that must have reported a step before any is pruned there. Default 1.

    Raises:
        ValueError: An argument is out of range.
    """
