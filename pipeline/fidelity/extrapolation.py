"""A pruner that extrapolates learning curves, and ends trials that will hardly become the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from .table_pruner import Table, TablePruner

POWERS = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Exponents of the curves that fall as a power of the step."""
TIMES = (0.03, 0.1, 0.3, 1.0)
"""Times in which others fall by a factor of e, as shares of the last step."""
MOST_POINTS = 64
"""Reports of a trial that a curve is fitted to; of more, some are left out evenly."""
RECENT = 1.0
"""A report counts by the power RECENT of its step, since curves of any family fit the end of a curve best."""
LEVEL, HEIGHT = 2.0, 5.0
"""Prior standard deviations of where a curve ends, beyond the last report, and how far it falls, as multiples of the
range of the trial's reports."""
MOST_COMPARED, LATE = 200, 0.1
"""Complete trials that are looked at for improvements after a step, and the share of them that makes one likely."""
NOISE, CERTAINTY = 0.05, 1.0
"""Prior noise in the same unit, and how many reports it counts as."""


class CompleteTrials(Table):
    """The complete trials of a study: their losses, and their reports.

    Attributes:
        losses: Their values, or minus these where they are maximized, by trial id.
        reports: Their reports as the study has them, by trial id.
        best: The least loss; infinite where there is no complete trial.
    """

    def __init__(self) -> None:
        super().__init__()
        self.losses: dict[int, float] = {}
        self.reports: dict[int, Mapping[int, float]] = {}
        self.best = math.inf

    def refresh(self, study: Study) -> None:
        """Bring the table up to date."""
        changes = self.watch.refresh(study)
        if changes.whole:
            self.losses, self.reports = {}, {}
        sign = sign_of(study)
        for gone in changes.gone:
            self._remove(gone)
        for trial in changes.trials:
            self._remove(trial._trial_id)
            if trial.state == TrialState.COMPLETE and trial.values:
                self.losses[trial._trial_id] = sign * trial.values[0]
                self.reports[trial._trial_id] = trial.intermediate_values
        if changes.whole or changes.gone or changes.trials:
            self.best = min(self.losses.values(), default=math.inf)

    def _remove(self, trial_id: int) -> None:
        self.losses.pop(trial_id, None)
        self.reports.pop(trial_id, None)

    def share_improved(self, step: int, improvement: float, sign: float) -> float:
        """The share of the newest complete trials whose loss fell by at least ``improvement`` after ``step``.

        0 where none of them has reported that step.
        """
        newest = list(self.losses)[-MOST_COMPARED:]
        falls = [sign * self.reports[each][step] - self.losses[each] for each in newest if step in self.reports[each]]
        return sum(fall >= improvement for fall in falls) / len(falls) if falls else 0.0


def sign_of(study: Study) -> float:
    """What values are multiplied with to be losses."""
    return -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0


def chance(reports: Mapping[int, float], last: int, target: float) -> float:
    """The probability that a trial's loss is below ``target`` at the step ``last``.

    A mixture of curves c + a g(step), where g falls as a power or exponentially at some fixed rates, or is linear or
    logarithmic. For each, c, a and the noise have a conjugate prior, so that its weight and its prediction, a Student
    distribution, are exact and need no sampling.

    Args:
        reports: Losses by step, finite.
        last: The step of the prediction.
        target: A loss.

    >>> falling = {step: 1.0 / step for step in range(1, 21)}
    >>> chance(falling, 100, 0.03) > 0.5, chance(falling, 100, -0.5) < 0.05
    (True, True)
    """
    from scipy.special import stdtr

    steps = np.array(sorted(reports))
    if len(steps) > MOST_POINTS:
        steps = steps[np.unique(np.linspace(0, len(steps) - 1, MOST_POINTS).round().astype(int))]
    losses = np.array([reports[step] for step in steps.tolist()])
    largest = max(float(np.abs(losses).max()), abs(target)) or 1.0
    losses, target = losses / largest, target / largest  # so that no difference overflows
    unit = float(losses.max() - losses.min()) or 1.0
    y, wanted = (losses - losses[-1]) / unit, (target - losses[-1]) / unit
    weights = ((steps + 1.0) / (steps[-1] + 1.0)) ** RECENT
    shapes, ends = _shapes(steps, last)

    # The sums of a weighted regression on [1, g], a row for each shape.
    total, cross, square = weights.sum(), shapes @ weights, (shapes * shapes) @ weights
    left, right = weights @ y, shapes @ (weights * y)
    a, b, c = total + LEVEL**-2, cross, square + HEIGHT**-2
    determinant = a * c - b * b
    level, height = (c * left - b * right) / determinant, (a * right - b * left) / determinant
    freedom = 0.5 * (CERTAINTY + total)
    scale = 0.5 * CERTAINTY * NOISE**2 + 0.5 * np.maximum(weights @ (y * y) - level * left - height * right, 0.0)
    evidence = -0.5 * np.log(determinant) - freedom * np.log(scale)
    share = np.exp(evidence - evidence.max())
    share /= share.sum()
    spread = np.sqrt(scale / freedom * (1.0 + (c - 2.0 * b * ends + a * ends * ends) / determinant))
    return float(share @ stdtr(2.0 * freedom, (wanted - level - height * ends) / spread))


def _shapes(steps: np.ndarray, last: int) -> tuple[np.ndarray, np.ndarray]:
    """The functions g at the steps, a row each, and at the last step; all are 0 at the newest of the steps."""
    points = np.append(steps, last) + 1.0
    rows = [points**-power for power in POWERS]
    rows += [np.exp(-points / (share * (last + 1.0))) for share in TIMES]
    rows += [-np.log(points), -points]
    found = np.array(rows)
    found -= found[:, -2:-1]
    found /= np.maximum(np.abs(found).max(axis=1, keepdims=True), 1e-300)
    return found[:, :-1], found[:, -1]


class ExtrapolationPruner(TablePruner, BasePruner):
    """Prunes a trial whose learning curve, extrapolated to the last step, will hardly become the best.

    At each report, curves of several families are fitted to the trial's own reports. Each is weighted by how well it
    explains them, and predicts a distribution of the value at the last step. The trial is pruned where the probability
    is below ``threshold`` that this value is better than that of the best complete trial; unless more than a tenth of
    the complete trials improved, after the same step, by as much as it lacks. So good trials that start slowly go on,
    and so do all where curves stay flat for long and fall late, which no curve foresees from its own beginning.

    Where the value of a trial is not that of its last report, the prediction is of no use; choose another pruner then.

    Papers: Domhan et al., Speeding Up Automatic Hyperparameter Optimization of Deep Neural Networks by Extrapolation of
    Learning Curves, IJCAI 2015, whose families are sampled by MCMC; here all that is not fixed has a conjugate prior.

    Args:
        max_resource: The last step, at which trials are compared.
        threshold: Prune where the probability of becoming the best is below this. Default 0.05.
        n_warmup_steps: Reports that a trial must have made. Default 4.
        interval_steps: Look at each report, or at one in so many. Default 1.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.fidelity import ExtrapolationPruner
        >>> study = optuna.create_study(pruner=ExtrapolationPruner(100))
        >>> study.add_trial(optuna.trial.create_trial(value=0.1))
        >>> trial = study.ask()
        >>> for step in range(1, 20):
        ...     trial.report(0.5 + 1 / step, step)
        >>> trial.should_prune()
        True
    """

    TABLE = CompleteTrials
    _table: CompleteTrials

    def __init__(
        self, max_resource: int, threshold: float = 0.05, n_warmup_steps: int = 4, interval_steps: int = 1
    ) -> None:
        if max_resource < 1:
            raise ValueError(f"max_resource must be at least 1, but is {max_resource}")
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, but is {threshold}")
        if n_warmup_steps < 1 or interval_steps < 1:
            raise ValueError("n_warmup_steps and interval_steps must be at least 1")
        if n_warmup_steps >= max_resource:
            limit = f"less than max_resource ({max_resource})"
            raise ValueError(f"n_warmup_steps ({n_warmup_steps}) must be {limit}, or no trial is ever pruned")
        self._last, self._threshold = max_resource, threshold
        self._n_warmup_steps, self._interval_steps = n_warmup_steps, interval_steps

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to prune the trial after its last report."""
        step, reports = trial.last_step, trial.intermediate_values
        if step is None:
            return False
        if math.isnan(reports[step]):
            return True
        number = len(reports)
        if (
            step >= self._last
            or number < self._n_warmup_steps
            or (number - self._n_warmup_steps) % self._interval_steps
        ):
            return False
        sign = sign_of(study)
        losses = {at: sign * value for at, value in reports.items() if math.isfinite(value)}
        with self._lock:
            self._table.refresh(study)
            best = self._table.best
            if not math.isfinite(best) or step not in losses or len(losses) < self._n_warmup_steps:
                return False
            late = self._table.share_improved(step, losses[step] - best, sign)
        return late <= LATE and chance(losses, self._last, best) < self._threshold

    def __repr__(self) -> str:
        names: dict[str, Any] = {"max_resource": self._last, "threshold": self._threshold}
        return f"ExtrapolationPruner({', '.join(f'{name}={value}' for name, value in names.items())})"
