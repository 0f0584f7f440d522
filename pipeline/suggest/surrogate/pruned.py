"""What a pruned trial would have reached: a line through those that went on, by rank among all that came as far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SLOPE_TRIALS, LEVEL_TRIALS, SPREAD_TRIALS = 4.0, 1.0, 4.0
"""How many trials the prior counts as: that the slope is 1, that the level is 0, and that the spread is SPREAD."""
SPREAD = 0.3
"""Variance of a final target around the line, before anything is known."""
MOST_STEPS = 24
"""Steps at which ranks are taken; a trial that ended between two counts at the lower one."""


@dataclass(frozen=True)
class Estimate:
    """What a trial that did not come to its end would have reached.

    Attributes:
        target: The standardized value.
        noise: Its variance.
    """

    target: float
    noise: float


def estimates(
    reports: Mapping[int, Mapping[int, float]], finals: Mapping[int, float], wanted: Sequence[int], sign: float
) -> dict[int, Estimate]:
    """Estimates of final targets from reports.

    From the highest step down, x is the normal score of a trial's rank among all that reported the step, and a line
    ``z = a + b x`` goes through the trials that have x and a target, a final one or one estimated at a higher step.

    Args:
        reports: By trial, its values by step.
        finals: By trial, the standardized value at its end, for those that came to it.
        wanted: The trials whose targets are to be estimated; those without a report are left out.
        sign: -1.0 where values are maximized.
    """
    steps = _steps(reports, wanted)
    ends = {trial: _last(reports[trial], steps) for trial in wanted if trial in reports}
    targets, found = dict(finals), dict[int, Estimate]()
    for step in reversed(steps):
        scores = _scores(
            {t: sign * each[step] for t, each in reports.items() if not math.isnan(each.get(step, math.nan))}
        )
        both = [trial for trial in scores if trial in targets]
        level, slope, noise = _line(np.array([scores[t] for t in both]), np.array([targets[t] for t in both]))
        for trial, end in ends.items():
            if end == step and trial in scores:
                found[trial] = Estimate(level + slope * scores[trial], noise)
                targets[trial] = found[trial].target
    return found


def _steps(reports: Mapping[int, Mapping[int, float]], wanted: Sequence[int]) -> list[int]:
    """The steps at which trials ended, ascending; of many, some."""
    lasts = sorted({max(reports[trial]) for trial in wanted if trial in reports})
    if len(lasts) <= MOST_STEPS:
        return lasts
    return sorted({lasts[round(i * (len(lasts) - 1) / (MOST_STEPS - 1))] for i in range(MOST_STEPS)} | {lasts[0]})


def _last(reports: Mapping[int, float], steps: Sequence[int]) -> int | None:
    """The highest of the steps that the trial reported."""
    return next((step for step in reversed(steps) if not math.isnan(reports.get(step, math.nan))), None)


def _scores(values: Mapping[int, float]) -> dict[int, float]:
    """Normal scores of the ranks of values; equal ones have the mean of their ranks."""
    from scipy.special import ndtri

    if not values:
        return {}
    found, counts = np.unique(np.array(list(values.values())), return_counts=True)
    ranks = np.cumsum(counts) - 0.5 * (counts - 1) - 0.5
    score = dict(zip(found.tolist(), ndtri(ranks / len(values)).tolist(), strict=True))
    return {trial: score[value] for trial, value in values.items()}


def _line(x: np.ndarray, z: np.ndarray) -> tuple[float, float, float]:
    """Level, slope (not negative) and variance of a line, with a prior of a few trials."""
    count = len(x)
    # Normal equations of sum (z - a - b x)^2 + LEVEL_TRIALS a^2 + SLOPE_TRIALS (b - 1)^2.
    a11, a12, a22 = count + LEVEL_TRIALS, float(x.sum()), float(x @ x) + SLOPE_TRIALS
    r1, r2 = float(z.sum()), float(x @ z) + SLOPE_TRIALS
    slope = (a11 * r2 - a12 * r1) / (a11 * a22 - a12 * a12)
    slope = max(slope, 0.0)
    level = (r1 - a12 * slope) / a11
    residuals = z - level - slope * x
    return level, slope, (float(residuals @ residuals) + SPREAD_TRIALS * SPREAD) / (count + SPREAD_TRIALS)
