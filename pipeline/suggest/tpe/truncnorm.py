"""The truncated normal distribution: logarithms of masses, and quantiles, accurate in both tails.

All arguments are arrays that broadcast against each other. Bounds are in standard deviations from the mean.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

LOG_SQRT_2PI = 0.5 * float(np.log(2 * np.pi))


@functools.cache
def _special() -> Any:
    return importlib.import_module("scipy.special")  # imported late: slow, and only needed once trials are modelled


def log_mass(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The logarithm of the standard normal distribution's mass between ``low`` and ``high``."""
    special = _special()
    right = low > 0  # mirrored to the left tail, where the distribution function is close to 0 and so exact
    near, far = np.where(right, -low, high), np.where(right, -high, low)
    out: np.ndarray = np.empty(near.shape)
    tail = near <= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        if not tail.all():
            middle = ~tail
            out[middle] = np.log1p(-special.ndtr(far[middle]) - special.ndtr(-near[middle]))
        if tail.any():
            most = special.log_ndtr(near[tail])
            out[tail] = most + np.log1p(-np.exp(special.log_ndtr(far[tail]) - most))
    return out


NARROW = 1e-4
"""An interval that is so short, in units of one over its distance from the mean, has the mass of its middle's density
times its length. The difference of the distribution function at its ends would have too few digits, or none."""


def log_step_mass(low: np.ndarray, high: np.ndarray, size: np.ndarray) -> np.ndarray:
    """As :func:`log_mass`, also where ``low`` and ``high`` are nearly equal; ``size`` is their exact difference."""
    middle = 0.5 * (low + high)
    narrow = 0.5 * size * (1.0 + np.abs(middle)) < NARROW
    if not narrow.any():
        return log_mass(low, high)
    out: np.ndarray = np.empty(narrow.shape)
    z, half = middle[narrow], 0.5 * np.broadcast_to(size, narrow.shape)[narrow]
    out[narrow] = np.log(2.0 * half) - z**2 / 2.0 - LOG_SQRT_2PI + np.log1p((z**2 - 1.0) * half**2 / 6.0)
    wide = ~narrow
    if wide.any():
        out[wide] = log_mass(np.broadcast_to(low, out.shape)[wide], np.broadcast_to(high, out.shape)[wide])
    return out


def quantile(share: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The point with the part ``share`` (0 to 1) of the mass between ``low`` and ``high`` on its left."""
    special = _special()
    mass = log_mass(low, high)
    right = low >= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        portion = np.where(right, np.log1p(-share), np.log(share)) + mass
        level = np.logaddexp(special.log_ndtr(np.where(right, -high, low)), portion)
        found = special.ndtri_exp(np.minimum(level, 0.0))
    return np.asarray(np.minimum(np.maximum(np.where(right, -found, found), low), high))
