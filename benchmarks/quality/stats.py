"""The arithmetic of the report: ranks, pairwise comparisons, bootstrap intervals, Friedman's and Nemenyi's tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LARGE = 1e300
"""Stands for an infinite regret where differences are taken."""


def places(regrets: np.ndarray) -> np.ndarray:
    """Ranks along the first axis, 1 for the least regret; ties share the mean of their ranks."""
    less = (regrets[None] < regrets[:, None]).sum(axis=1)
    same = (regrets[None] == regrets[:, None]).sum(axis=1)
    return less + (same + 1) / 2


def interval(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray] | None = None, share: float = 0.95
) -> tuple[float, float]:
    """A bootstrap interval of a statistic of `values`, always the same for the same values.

    Args:
        values: The sample, drawn from with replacement.
        statistic: Of each row of a matrix; None: the median.
        share: The probability that the interval is to have.
    """
    rng = np.random.default_rng(0)
    drawn = values[rng.integers(len(values), size=(RESAMPLES, len(values)))]
    found = np.sort(np.median(drawn, axis=1) if statistic is None else statistic(drawn))
    low = int((1 - share) / 2 * RESAMPLES)
    return float(found[low]), float(found[RESAMPLES - 1 - low])


@dataclass(frozen=True)
class Comparison:
    """Two samplers on one problem, seed by seed.

    Attributes:
        wins: Seeds on which ours has the lower regret; likewise `ties` and `losses`.
        p: Of Wilcoxon's signed-rank test, two-sided: the probability of such differences where none is better.
        low: With `high`, the 95 % interval of the median of their regret minus ours: below 0, ours is worse.
    """

    wins: int
    ties: int
    losses: int
    p: float
    low: float
    high: float


def compared(ours: np.ndarray, theirs: np.ndarray) -> Comparison:
    """Compare the regrets of two samplers, which have the same seeds in the same order."""
    differences = np.minimum(theirs, LARGE) - np.minimum(ours, LARGE)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    low, high = (x if abs(x) < LARGE / 2 else math.copysign(math.inf, x) for x in interval(differences))
    return Comparison(wins, len(differences) - wins - losses, losses, signed_rank(differences), low, high)


def signed_rank(differences: np.ndarray) -> float:
    """The two-sided p of Wilcoxon's signed-rank test; 1 where there is no difference. Ties of zero are left out."""
    from scipy.stats import wilcoxon

    differing = differences[differences != 0]
    if not len(differing):
        return 1.0
    return float(wilcoxon(differing).pvalue)


def sign_test(wins: int, losses: int) -> float:
    """The two-sided p of the sign test: of so unequal numbers where each outcome has probability 1/2."""
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


@dataclass(frozen=True)
class Critical:
    """A critical-difference summary of mean ranks over problems.

    Attributes:
        ranks: The mean rank of each sampler over problems.
        p: Of Friedman's test that all are equal; NaN with fewer than three samplers or two problems.
        difference: Nemenyi's critical difference at 5 %: mean ranks that are closer do not differ significantly.
        groups: Sets of samplers, by their places in `ranks`, that do not differ; each as large as possible.
    """

    ranks: tuple[float, ...]
    p: float
    difference: float
    groups: tuple[tuple[int, ...], ...]


def critical(medians: np.ndarray) -> Critical:
    """Compare samplers over problems by Friedman's and Nemenyi's tests (Demsar 2006).

    Args:
        medians: The median regret of each sampler on each problem: (samplers, problems).
    """
    from scipy.stats import friedmanchisquare, studentized_range

    count, problems = medians.shape
    ranks = places(medians)
    means = ranks.mean(axis=1)
    tested = count >= 3 and problems >= 2 and not (ranks == ranks[0]).all()
    p = float(friedmanchisquare(*ranks).pvalue) if tested else math.nan
    spread = float(studentized_range.ppf(0.95, count, np.inf)) / math.sqrt(2) if count > 1 else math.nan
    difference = spread * math.sqrt(count * (count + 1) / (6 * problems))
    return Critical(tuple(map(float, means)), p, difference, _groups(means, difference))


def _groups(means: np.ndarray, difference: float) -> tuple[tuple[int, ...], ...]:
    order = np.argsort(means, kind="stable")
    found: list[tuple[int, ...]] = []
    for first in range(len(order)):
        near = tuple(int(i) for i in order[first:] if means[i] - means[order[first]] < difference)
        if len(near) > 1 and not any(set(near) <= set(group) for group in found):
            found.append(near)
    return tuple(found)
