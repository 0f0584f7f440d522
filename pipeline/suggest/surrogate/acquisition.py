"""How promising a configuration is: the logarithm of the improvement that is to be expected there."""

from __future__ import annotations

import math

import numpy as np

TAIL = -25.0
"""Below so many standard deviations, the first terms of the asymptotic series are used."""


def log_expected_improvement(best: float, means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """The logarithm of the expected improvement below ``best``.

    Logarithms, since the improvement itself vanishes in floats where a maximum is to be told from its surroundings
    (Ament et al., Unexpected Improvements to Expected Improvement for Bayesian Optimization, NeurIPS 2023).
    """
    from scipy.special import erfcx

    u = (best - means) / deviations
    far = u < TAIL
    near = np.where(far, TAIL, u)
    # u Phi(u) + phi(u) = phi(u) (1 + u sqrt(pi / 2) erfcx(-u / sqrt(2))), whose last factor overflows for large u.
    with np.errstate(over="ignore"):
        small = np.minimum(near, 5.0)
        ratio = np.log(1.0 + small * math.sqrt(math.pi / 2) * erfcx(-small / math.sqrt(2.0)))
    log_phi = -0.5 * u * u - 0.5 * math.log(2.0 * math.pi)
    beyond = np.maximum(-u, -TAIL)
    found = np.where(far, log_phi - 2.0 * np.log(beyond) + np.log1p(-3.0 / beyond**2), log_phi + ratio)
    large = u > 5.0
    return np.asarray(np.log(deviations) + np.where(large, np.log(np.maximum(u, 1.0)), found))


def log_feasibility(means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """The logarithm of the probability that all constraints are met; ``means``: by constraint and configuration."""
    from scipy.special import log_ndtr

    found: np.ndarray = log_ndtr(-means / deviations).sum(axis=0)
    return found
