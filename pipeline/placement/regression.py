"""Linear regression on parameters and pools that few, censored and strange observations do not mislead.

A value is modelled as ``row @ (shared + own[pool])``: all pools share coefficients, and each pool differs from them by
its own. All coefficients have normal priors around 0, so the model needs no least number of observations. How wide a
prior is, is learned for each group of columns, by the evidence (MacKay 1992): what does not matter shrinks to nothing,
and a pool in which little has run is like the others. Noise has the heavy tails of Student's t. An observation that is
censored is replaced by its expectation above the bound.

Approximate: priors, noise and expectations are improved ``ROUNDS`` times, not until nothing changes. The noise is the
same in all pools and for all values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

ROUNDS = 8
"""How often priors, noise and the expectations of censored values are improved."""

FREEDOM = 4.0
"""Of Student's t: an observation five standard deviations away counts as a seventh of a usual one."""

LIKE_NORMAL = 1.15
"""With Student's t, the noise of normal values is estimated too small by this factor."""

FIRST_NOISE = 0.4
"""The noise's standard deviation before there are data; it counts as ``FIRST_COUNT`` observations."""

FIRST_COUNT = 2.0

INTERCEPT = 100.0
"""Prior variance of the overall mean."""

HALF_BELIEF = 20.0
"""With so many observations, a group without evidence has half the prior variance of the beginning."""

TINY = 1e-6
"""Least prior variance."""


@dataclass(frozen=True)
class Observations:
    """What a regression learns from.

    Attributes:
        rows: The features, a row each; the first column is one.
        pools: By row, the index of its pool.
        values: By row; a lower bound where ``censored``.
        censored: By row.
    """

    rows: np.ndarray
    pools: np.ndarray
    values: np.ndarray
    censored: np.ndarray


@dataclass(frozen=True)
class Regression:
    """A fitted model.

    Attributes:
        coefficients: By pool and column.
        covariances: Of the coefficients, by pool, column and column.
        noise: Standard deviation of a value around its expectation.
        error: Mean absolute error when each observation is predicted from all others.
    """

    coefficients: np.ndarray
    covariances: np.ndarray
    noise: float
    error: float

    def means(self, rows: np.ndarray) -> np.ndarray:
        """Expected values, by row and pool."""
        found: np.ndarray = rows @ self.coefficients.T
        return found

    def deviations(self, rows: np.ndarray) -> np.ndarray:
        """Standard deviations of the expected values, without noise, by row and pool."""
        variances = np.einsum("ni,pij,nj->np", rows, self.covariances, rows)
        found: np.ndarray = np.sqrt(np.maximum(variances, 0.0))
        return found


def fit(observed: Observations, groups: np.ndarray, pools: int, offset: float = 4.0) -> Regression:
    """The model of some observations.

    Args:
        observed: At least one.
        groups: By column, the number of its group; group 0 is the first column alone.
        pools: The number of pools; some may have no observations.
        offset: Prior variance of a pool's own mean, which is not learned: 4 lets it differ freely.

    Example:
        >>> rows = np.column_stack([np.ones(40), np.tile([-1.0, 1.0], 20)])
        >>> pools = np.repeat([0, 1], 20)
        >>> values = np.where(pools == 0, 3.0, 1.0) + 2.0 * rows[:, 1]
        >>> model = fit(Observations(rows, pools, values, np.zeros(40, dtype=bool)), np.array([0, 1]), 2)
        >>> model.means(np.array([[1.0, 1.0]])).round(1).tolist()
        [[5.0, 3.0]]
    """
    return _Fitting(observed, groups, pools, offset).done()


class _Fitting:
    """The rounds of one fit."""

    def __init__(self, observed: Observations, groups: np.ndarray, pools: int, offset: float) -> None:
        self._seen = observed
        self._groups, self._pools = groups, pools
        self._count, self._width = observed.rows.shape
        self._by_pool = [np.flatnonzero(observed.pools == pool) for pool in range(pools)]
        self._center = float(np.median(observed.values))
        self._values = observed.values - self._center
        self._noise = FIRST_NOISE
        self._weights = np.ones(self._count)
        self._shared = np.ones(self._width)
        self._own = np.full(self._width, 0.25)
        self._shared[0], self._own[0] = INTERCEPT, offset
        self._censored = np.flatnonzero(observed.censored)

    def done(self) -> Regression:
        for _ in range(ROUNDS):
            self._solve()
            self._improve()
        self._solve()
        coefficients = self._beta + self._gamma
        coefficients[:, 0] += self._center
        return Regression(coefficients, self._both, self._noise * LIKE_NORMAL, self._error())

    def _solve(self) -> None:
        """The posterior of the coefficients: of the shared ones, with the pools' own eliminated, and then of these."""
        width, pools = self._width, self._pools
        grams, moments = np.zeros((pools, width, width)), np.zeros((pools, width))
        for pool, which in enumerate(self._by_pool):
            rows = self._seen.rows[which]
            weighted = rows * (self._weights[which, None] / self._noise**2)
            grams[pool], moments[pool] = weighted.T @ rows, weighted.T @ self._values[which]
        alone = np.linalg.inv(grams + np.diag(1.0 / self._own))
        moved = grams @ alone  # what a pool's own coefficients take from the shared ones
        matrix = np.diag(1.0 / self._shared) + (grams - moved @ grams).sum(axis=0)
        self._common = np.linalg.inv(matrix)
        self._beta = self._common @ (moments - (moved @ moments[:, :, None])[:, :, 0]).sum(axis=0)
        self._gamma = (alone @ (moments - grams @ self._beta)[:, :, None])[:, :, 0]
        cross = -self._common @ moved
        turned = moved.transpose(0, 2, 1)
        self._particular = alone + turned @ self._common @ moved
        self._both = self._common + self._particular + cross + cross.transpose(0, 2, 1)

    def _improve(self) -> None:
        """Learn noise, weights, priors, and what censored values are."""
        means, leverage = self._fitted()
        self._impute(means)
        residuals = self._values - means
        whole = ~self._seen.censored
        known = self._weights * whole
        spent = float((leverage * whole).sum())
        total = float((known * residuals**2).sum()) + FIRST_COUNT * FIRST_NOISE**2
        count = max(float(whole.sum()) - spent, 0.2 * float(whole.sum())) + FIRST_COUNT
        self._noise = max(0.02, math.sqrt(total / count))
        self._weights = (FREEDOM + 1.0) / (FREEDOM + (residuals / self._noise) ** 2)
        believed = 1.0 / (1.0 + self._count / HALF_BELIEF)
        used = 1.0 - np.diag(self._common) / self._shared
        self._shared = self._learned(self._shared, self._beta**2, used, believed)
        used = (1.0 - np.diagonal(self._particular, axis1=1, axis2=2) / self._own).sum(axis=0)
        self._own = self._learned(self._own, (self._gamma**2).sum(axis=0), used, 0.25 * believed)

    def _learned(self, before: np.ndarray, squares: np.ndarray, used: np.ndarray, believed: float) -> np.ndarray:
        """The prior variances of columns from how far their coefficients are from 0, group by group."""
        size = int(self._groups.max()) + 1
        far = np.bincount(self._groups, squares, size) + believed
        number = np.bincount(self._groups, used, size) + 1.0
        found: np.ndarray = np.maximum(far / np.maximum(number, TINY), TINY)[self._groups]
        found[0] = before[0]
        return found

    def _fitted(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each observation, its expectation, and how much it counts in that."""
        means, leverage = np.zeros(self._count), np.zeros(self._count)
        for pool, which in enumerate(self._by_pool):
            rows = self._seen.rows[which]
            means[which] = rows @ (self._beta + self._gamma[pool])
            leverage[which] = ((rows @ self._both[pool]) * rows).sum(axis=1)
        return means, np.clip(leverage * self._weights / self._noise**2, 0.0, 0.99)

    def _impute(self, means: np.ndarray) -> None:
        for place in self._censored.tolist():
            bound = float(self._seen.values[place]) - self._center
            self._values[place] = expected_above(bound, float(means[place]), self._noise)

    def _error(self) -> float:
        means, leverage = self._fitted()
        whole = ~self._seen.censored
        if not whole.any():
            return math.inf
        return float(np.abs((self._values - means) / (1.0 - leverage))[whole].mean())


def expected_above(bound: float, mean: float, deviation: float) -> float:
    """The expectation of a normal value that is known to be above a bound.

    >>> round(expected_above(0.0, 0.0, 1.0), 3), round(expected_above(9.0, 0.0, 1.0), 3)
    (0.798, 9.108)
    """
    z = (bound - mean) / deviation
    if z > 8.0:  # the tail is too thin for the quotient
        return mean + deviation * (z + 1.0 / z - 2.0 / z**3)
    above = 0.5 * math.erfc(z / math.sqrt(2.0))
    return mean + deviation * math.exp(-0.5 * z * z) / (math.sqrt(2.0 * math.pi) * above)
