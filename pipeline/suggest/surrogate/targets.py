"""What a model is to predict at each trial: a standardized number for the objective, and one for each constraint."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..tpe.pareto import non_dominated
from .failures import MOST_COMPARED, failure_noise
from .pruned import Estimate, estimates
from .trials import COMPLETE, FAILED, PRUNED, RUNNING, Trials
from .warp import Warp

LEAST_FINALS = 6
"""Complete trials (or as many as parameters, if more) from which on final values are the targets."""
MOST_BEYOND = 3.0
"""Most standardized units that a result may lie below all that the warp was made of."""
ALL_SHARE = 0.05
"""Weight of the sum in the augmented Chebyshev function of several objectives."""
LEAST_RANGE = 1e-6
"""Least reach of a Pareto front, in units of the distance from the median to the 5 % quantile."""
MOST_REPORTING = 2_000
"""Trials, the newest, whose reports estimates are made from."""


class Targets:
    """The targets of a study's trials, as of one moment; results that come later are warped in the same way.

    Several objectives become one: the largest of their distances from the best values, each times a random weight
    (Knowles, ParEGO, IEEE Transactions on Evolutionary Computation 2006). :meth:`reweigh` draws other weights.

    Args:
        trials: The trials.

    Attributes:
        columns: The number of targets: the objective, and one for each constraint.
        least: The least target.
        partial: Whether some trials were pruned, so that targets rest on estimates.
    """

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        complete, pruned = trials.rows(COMPLETE), trials.rows(PRUNED)
        self.partial = bool(len(pruned))
        several = len(trials.signs) > 1
        warps = Warp.scaling if several else Warp.of
        self._warps = [warps(column) for column in trials.losses[complete].T]
        self._estimates: dict[int, Estimate] = {}
        if self.partial:
            self._estimate(complete, np.concatenate([pruned, trials.rows(RUNNING)]))
        self._constraints = {
            name: _scale(column[: trials.size][~np.isnan(column[: trials.size])])
            for name, column in trials.constraints.items()
        }
        self.columns = 1 + len(self._constraints)
        self._weights: np.ndarray | None = None
        if several:
            self._measure(self._warped(complete))
            self._weights = np.full(len(trials.signs), 1.0 / len(trials.signs))
        self._scalar_warp = Warp()
        self._standardize(complete)

    def _estimate(self, complete: np.ndarray, partial: np.ndarray) -> None:
        trials, sign = self._trials, float(self._trials.signs[0])
        newest = np.concatenate([complete[-MOST_REPORTING // 2 :], partial[-MOST_REPORTING:]]).tolist()
        reports = {row: trials.reports[row] for row in newest if row in trials.reports}
        enough = max(LEAST_FINALS, len(trials.encoding.names))
        finals = dict(zip(complete.tolist(), self._warped(complete)[:, 0].tolist(), strict=True))
        wanted = partial.tolist()
        if len(complete) < enough:
            step = _highest(reports, enough)
            if step is not None:
                values = {
                    row: sign * each[step] for row, each in reports.items() if np.isfinite(each.get(step, np.nan))
                }
                warped = Warp.of(np.array(list(values.values())))(np.array(list(values.values())))
                at_step = dict(zip(values, warped.tolist(), strict=True))
                wanted = [row for row in wanted if row not in at_step]
                self._estimates = {row: Estimate(z, 0.0) for row, z in at_step.items()}
                finals = {**finals, **at_step}
                self._estimates |= {row: Estimate(finals[row], 0.0) for row in complete.tolist()}
        self._estimates |= estimates(reports, finals, wanted, sign)

    def reweigh(self, rng: np.random.Generator) -> bool:
        """Draw other weights for several objectives. Returns whether targets have changed."""
        if self._weights is None:
            return False
        self._weights = rng.dirichlet(np.ones(len(self._weights)))
        self._standardize(self._trials.rows(COMPLETE))
        return True

    def _standardize(self, complete: np.ndarray) -> None:
        """Find what targets lie between, and their unit where there are several objectives."""
        values = self._scalar(complete)
        if self._weights is not None:
            self._scalar_warp = Warp.of(values)
            values = self._scalar_warp(values)
        values = np.concatenate([values, [each.target for each in self._estimates.values()]])
        self.least, self._worst = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)

    def _measure(self, losses: np.ndarray) -> None:
        """Find the best values of several objectives, and how far the Pareto front reaches in each."""
        distinct = np.unique(losses, axis=0)
        front = distinct[non_dominated(distinct)] if len(distinct) else np.zeros((1, losses.shape[1]))
        self._ideal, self._range = front.min(axis=0), np.maximum(np.ptp(front, axis=0), LEAST_RANGE)

    def _warped(self, rows: np.ndarray) -> np.ndarray:
        losses = self._trials.losses[rows]
        return np.stack([warp(column) for warp, column in zip(self._warps, losses.T, strict=True)], axis=1)

    def _scalar(self, rows: np.ndarray) -> np.ndarray:
        warped = self._warped(rows)
        if self._weights is None:
            return warped[:, 0]
        distances = (warped - self._ideal) / self._range * self._weights
        found: np.ndarray = distances.max(axis=1) + ALL_SHARE * distances.sum(axis=1)
        return found

    def at(self, rows: np.ndarray) -> np.ndarray:
        """The targets of trials, by trial and target; NaN where nothing is known (yet)."""
        trials = self._trials
        found = np.full((len(rows), self.columns), np.nan)
        state = trials.state[rows]
        complete = state == COMPLETE
        values = self._scalar_warp(self._scalar(rows[complete]))
        found[complete, 0] = np.clip(values, self.least - MOST_BEYOND, max(self._worst, self.least + 1.0))
        found[state == FAILED, 0] = self._worst
        if self._estimates:
            nothing = Estimate(np.nan, 0.0)
            estimated = np.array([self._estimates.get(row, nothing).target for row in rows.tolist()])
            usable = ~np.isnan(estimated) & np.isin(state, (COMPLETE, PRUNED, RUNNING))
            found[usable, 0] = estimated[usable]
        for column, (name, scale) in enumerate(self._constraints.items(), start=1):
            found[:, column] = np.arcsinh(np.clip(trials.constraints[name][rows] / scale, -1e6, 1e6))
        return found

    def noise(self, rows: np.ndarray) -> np.ndarray:
        """The variance of each trial's target beyond that of a complete one."""
        trials = self._trials
        found = np.zeros(len(rows))
        failed = trials.state[rows] == FAILED
        if failed.any():
            ended, features = trials.rows(COMPLETE, PRUNED, FAILED)[-MOST_COMPARED:], trials.encoding.features
            found[failed] = failure_noise(
                features(trials.places[rows[failed]]), features(trials.places[ended]), trials.state[ended] == FAILED
            )
        if self._estimates:
            nothing = Estimate(0.0, 0.0)
            found += [self._estimates.get(row, nothing).noise for row in rows.tolist()]
        return found


def _scale(amounts: np.ndarray) -> float:
    """The unit of a constraint's amounts."""
    finite = np.abs(amounts[np.isfinite(amounts)])
    return float(np.median(finite)) or float(finite.max()) or 1.0 if len(finite) else 1.0


def _highest(reports: Mapping[int, Mapping[int, float]], enough: int) -> int | None:
    """The highest step that enough trials have reported."""
    counts: dict[int, int] = {}
    for each in reports.values():
        for step, value in each.items():
            counts[step] = counts.get(step, 0) + int(np.isfinite(value))
    return max((step for step, count in counts.items() if count >= enough), default=None)
