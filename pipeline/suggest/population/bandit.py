"""A Gaussian process bandit whose function changes with time, for ``pb2``."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Length scales that are tried."""

FADINGS = (0.0, 0.05, 0.2)
"""How much less each interval says about the next: the correlation of two times is (1 - fading)^(distance / 2)."""

NOISES = (0.01, 0.1, 0.5)
"""Variances of the noise that are tried, where the values have variance 1."""


class Bandit:
    """Predicts a gain from a point and a time, and chooses the point with the highest upper confidence bound.

    The kernel is the squared exponential times a fading with time (Bogunovic et al. 2016, as in PB2). Length, fading
    and noise are the ones with the highest marginal likelihood of a small grid.

    Args:
        points: Shape (n, d).
        times: Shape (n,), in intervals.
        gains: Shape (n,), with mean 0 and deviation 1.

    Example:
        >>> points = np.linspace(0, 1, 9)[:, None]
        >>> bandit = Bandit(points, np.zeros(9), 1 - 8 * (points[:, 0] - 0.5) ** 2)
        >>> candidates = np.array([[0.05], [0.5], [0.95]])
        >>> bandit.ranked(candidates, 0, np.empty((0, 1)))[0]
        1
    """

    def __init__(self, points: Floats, times: Floats, gains: Floats) -> None:
        self._points, self._times = points, times
        squares, apart = _squares(points, points), np.abs(times[:, None] - times[None, :])
        best = -math.inf
        for length in LENGTHS:
            near = np.exp(-0.5 * squares / length**2)
            for fading in FADINGS:
                kernel = near * (1.0 - fading) ** (apart / 2)
                for noise in NOISES:
                    factor = np.linalg.cholesky(kernel + noise * np.eye(len(gains)))
                    half = np.linalg.solve(factor, gains)
                    likelihood = -0.5 * float(half @ half) - float(np.log(np.diag(factor)).sum())
                    if likelihood > best:
                        best, self._length, self._fading, self._noise = likelihood, length, fading, noise
                        self._factor, self._half = factor, half

    def ranked(self, candidates: Floats, now: float, pending: Floats) -> list[int]:
        """The indices of the candidates, the best first.

        Args:
            candidates: Shape (m, d).
            now: The time at which the gain is wanted.
            pending: Shape (p, d): points that were chosen for this time, and whose gains are not known yet. They lower
                the uncertainty near them, and leave the mean as it is.
        """
        mean, _ = self._predict(candidates, now, np.empty((0, candidates.shape[1])))
        _, variance = self._predict(candidates, now, pending)
        bound = math.sqrt(0.2 + max(0.0, math.log(0.4 * (now + 1.0))))
        order: list[int] = np.argsort(-(mean + bound * np.sqrt(variance)), kind="stable").tolist()
        return order

    def _predict(self, candidates: Floats, now: float, pending: Floats) -> tuple[Floats, Floats]:
        """Mean and variance; the mean is right only without ``pending``."""
        cross = self._kernel(candidates, np.full(len(candidates), now), self._points, self._times)
        solved = np.linalg.solve(self._factor, cross.T)
        mean, variance = solved.T @ self._half, 1.0 - (solved**2).sum(0)
        if len(pending):
            when = np.full(len(pending), now)
            theirs = np.linalg.solve(self._factor, self._kernel(pending, when, self._points, self._times).T)
            own = self._kernel(pending, when, pending, when) - theirs.T @ theirs + self._noise * np.eye(len(pending))
            between = self._kernel(candidates, np.full(len(candidates), now), pending, when) - solved.T @ theirs
            rest = np.linalg.solve(np.linalg.cholesky(own), between.T)
            variance = variance - (rest**2).sum(0)
        return mean, np.maximum(variance, 1e-12)

    def _kernel(self, a: Floats, a_times: Floats, b: Floats, b_times: Floats) -> Floats:
        near = np.exp(-0.5 * _squares(a, b) / self._length**2)
        found: Floats = near * (1.0 - self._fading) ** (np.abs(a_times[:, None] - b_times[None, :]) / 2)
        return found


def _squares(a: Floats, b: Floats) -> Floats:
    """Squared distances, shape (len(a), len(b))."""
    found: Floats = ((a[:, None, :] - b[None, :, :]) ** 2).sum(-1)
    return found
