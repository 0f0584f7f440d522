"""Which candidate is the most promising: bounds of confidence, expected improvement, probability of improvement."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

FINAL_KAPPA = 0.01
"""What kappa comes down to at the end of each period."""
LEAST_IMPROVEMENT = 0.01
"""What counts as an improvement, in standardized units, for ``ei`` and ``pi``."""
LEAST_DEVIATION = 1e-6
HEDGED = ("lcb", "ei", "pi")
"""What ``gp_hedge`` chooses between."""
ACQUISITIONS = ("qucb", *HEDGED, "gp_hedge")

Scores = Callable[[np.ndarray, np.ndarray], np.ndarray]


def decayed(kappa: float, period: int, results: int) -> float:
    """Kappa after some results: down to 0.01, exponentially, in each period anew.

    Args:
        kappa: At the start of each period.
        period: In results; 0: kappa stays.
        results: So many there are.

    >>> [round(decayed(1.96, 10, results), 2) for results in (0, 5, 9, 10)]
    [1.96, 0.14, 0.02, 1.96]
    """
    if period == 0 or kappa <= FINAL_KAPPA:
        return kappa
    return float(kappa * (FINAL_KAPPA / kappa) ** ((results % period) / period))


def scores(name: str, means: np.ndarray, deviations: np.ndarray, best: float, kappa: float) -> np.ndarray:
    """How promising candidates are: larger is better.

    Args:
        name: ``lcb``, ``ei`` or ``pi``.
        means, deviations: Of the loss, by candidate.
        best: The least loss so far.
        kappa: The weight of the deviation in ``lcb``.

    >>> means, deviations = np.array([0.0, 0.5]), np.array([0.1, 1.0])
    >>> [int(scores(name, means, deviations, 0.2, 1.96).argmax()) for name in HEDGED]
    [1, 1, 0]
    """
    if name == "lcb":
        return np.asarray(kappa * deviations - means)
    from scipy.special import ndtr

    deviations = np.maximum(deviations, LEAST_DEVIATION)
    improvement = best - LEAST_IMPROVEMENT - means
    u = improvement / deviations
    if name == "pi":
        return np.asarray(ndtr(u))
    return np.asarray(improvement * ndtr(u) + deviations * np.exp(-0.5 * u * u) / math.sqrt(2 * math.pi))


class Hedge:
    """Chooses between acquisitions by how good the configurations were that each would have chosen.

    GP-Hedge (Hoffman, Brochu and de Freitas, Portfolio Allocation for Bayesian Optimization, UAI 2011). What it has
    learnt is not in the database: a sampler that is made anew begins anew.

    Args:
        rng: Its random numbers.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng, self._gains = rng, np.zeros(len(HEDGED))

    def learn(self, losses: np.ndarray) -> None:
        """The losses that the model expects now of what each acquisition would have chosen last time."""
        self._gains -= losses

    def choose(self) -> int:
        """The number of the acquisition that is used."""
        shares = np.exp(self._gains - self._gains.max())
        return int(self._rng.choice(len(HEDGED), p=shares / shares.sum()))
