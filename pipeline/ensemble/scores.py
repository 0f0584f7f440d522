"""How good the predictions of an ensemble are, on rows whose true values are known.

All take the members' predictions, with the members as the first axis, as :mod:`.combined` describes them. One model is
an ensemble with one member::

    >>> mean, std, y = np.array([[0.0, 1.0]]), np.array([[1.0, 1.0]]), np.array([0.0, 1.0])
    >>> round(nll(mean, std, y), 4), rmse(mean, y)
    (0.9189, 0.0)

With D outputs, the density of a row is that of all its outputs together; CRPS, RMSE and coverages are means over them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .combined import cdf, mixture, moments, normalized

LEAST = float(np.finfo(float).tiny)
"""Probabilities and variances below it count as this, so that the logarithm of one that is zero is finite."""


def truth(y: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """The true values as an array.

    Raises:
        ValueError: Their shape is not that of one member's predictions.
    """
    found = np.asarray(y)
    if found.shape != shape:
        raise ValueError(f"y has the shape {found.shape}, each member's predictions {shape}; they must be equal")
    return found


def log_densities(mean: np.ndarray, std: np.ndarray, y: ArrayLike) -> np.ndarray:
    """The logarithm of each member's density at the true values; K x N."""
    with np.errstate(over="ignore"):
        found = -0.5 * ((truth(y, mean.shape[1:]) - mean) / std) ** 2 - np.log(std) - 0.5 * math.log(2 * math.pi)
    found = np.maximum(found, -1e100)  # finite where a square is not
    return np.asarray(found if found.ndim == 2 else found.sum(axis=2))


def log_true(probabilities: np.ndarray, y: ArrayLike) -> np.ndarray:
    """The logarithm of the probability that each member gives to the true classes; K x N."""
    classes = truth(y, probabilities.shape[1:2])
    found = probabilities[:, np.arange(len(classes)), classes].astype(float)  # LEAST is zero as a float32
    return np.asarray(np.log(np.maximum(found, LEAST)))


def nll(mean: ArrayLike, std: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The mean negative logarithm of the true mixture's density, in nats a row.

    Example:
        >>> round(nll([[0.0], [2.0]], [[1.0], [1.0]], [1.0]), 4)
        1.4189
    """
    from scipy.special import logsumexp

    means, deviations, shares = mixture(mean, std, weights)
    return float(-logsumexp(log_densities(means, deviations, y), axis=0, b=shares[:, None]).mean())


def nll_matched(mean: ArrayLike, std: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The same of one Normal distribution with the mixture's mean and variance, which most papers report.

    Example:
        >>> round(nll_matched([[0.0], [2.0]], [[1.0], [1.0]], [1.0]), 4)
        1.2655
    """
    center, aleatoric, epistemic = moments(mean, std, weights)
    return float(-log_densities(center[None], np.sqrt(np.maximum(aleatoric + epistemic, LEAST))[None], y).mean())


def expected_distance(center: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The expectation of \\|X\\| for a Normal X."""
    from scipy.special import ndtr

    with np.errstate(over="ignore", under="ignore"):
        scaled = center / std
        found = 2 * std * np.exp(-0.5 * scaled * scaled) / math.sqrt(2 * math.pi) + center * (2 * ndtr(scaled) - 1)
    return np.asarray(found)


def crps(mean: ArrayLike, std: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The continuous ranked probability score of the true mixture, in the unit of ``y``.

    In closed form (Grimit, Gneiting, Berrocal and Johnson, 2006): the expected distance of the mixture from the truth
    less half the expected distance of two draws of it from each other.

    Example:
        >>> round(crps([[0.0]], [[1.0]], [0.0]), 4)
        0.2337
    """
    means, deviations, shares = mixture(mean, std, weights)
    values = truth(y, means.shape[1:])
    total = 0.0
    for one, share in enumerate(shares):
        total += share * expected_distance(values - means[one], deviations[one]).mean()
        # Of each two members once; a member with itself counts half as much as a pair does.
        for other in range(one + 1):
            apart = expected_distance(means[one] - means[other], np.hypot(deviations[one], deviations[other])).mean()
            total -= share * shares[other] * apart * (0.5 if other == one else 1.0)
    return float(total)


def coverage(
    mean: ArrayLike, std: ArrayLike, y: ArrayLike, level: float = 0.9, weights: ArrayLike | None = None
) -> float:
    """The share of true values inside the true mixture's central interval of probability ``level``.

    Example:
        >>> coverage([[0.0, 0.0]], [[1.0, 1.0]], [0.0, 2.0])
        0.5
    """
    return calibration(mean, std, y, [level], weights)[0]


def calibration(
    mean: ArrayLike, std: ArrayLike, y: ArrayLike, levels: Sequence[float], weights: ArrayLike | None = None
) -> list[float]:
    """The coverage at each of several levels; a calibrated ensemble's are the levels themselves.

    A value lies in the central interval where the mixture's distribution there is close enough to a half, so no
    quantile has to be found.
    """
    means, deviations, shares = mixture(mean, std, weights)
    off_center = np.abs(2 * cdf(means, deviations, truth(y, means.shape[1:]), shares) - 1)
    return [float((off_center <= level).mean()) for level in levels]


def rmse(mean: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The root of the mean squared error of the mixture's mean, in the unit of ``y``.

    Example:
        >>> rmse([[0.0, 0.0], [2.0, 2.0]], [1.0, 3.0])
        1.4142135623730951
    """
    means = np.asarray(mean, dtype=float)
    center = np.tensordot(normalized(weights, len(means)), means, axes=1)
    return float(np.sqrt(((center - truth(y, center.shape)) ** 2).mean()))


def accuracy(probabilities: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The share of rows whose most probable class is the true one, from 0 to 1; the first of equal ones counts.

    Example:
        >>> accuracy([[[0.9, 0.1], [0.2, 0.8]]], [0, 0])
        0.5
    """
    found = mean_probabilities(probabilities, weights).argmax(axis=1)
    return float((found == truth(y, found.shape)).mean())


def log_loss(probabilities: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The mean negative logarithm of the true class's probability, in nats a row.

    Example:
        >>> round(log_loss([[[0.5, 0.5]]], [1]), 4)
        0.6931
    """
    return float(-log_true(mean_probabilities(probabilities, weights)[None], y).mean())


def reliability(
    probabilities: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None, bins: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """How often the most probable class is the true one, by how probable it is.

    Returns:
        By bin of equally many rows: the mean probability of the most probable class, and the share of rows where it is
        the true one. Both are equal for calibrated probabilities.

    Example:
        >>> reliability([[[0.9, 0.1], [0.2, 0.8]]], [0, 0], bins=1)
        (array([0.85]), array([0.5]))
    """
    found = mean_probabilities(probabilities, weights)
    right = found.argmax(axis=1) == truth(y, found.shape[:1])
    largest = found.max(axis=1)
    parts = np.array_split(np.argsort(largest, kind="stable"), min(bins, len(largest)))
    return np.array([largest[part].mean() for part in parts]), np.array([right[part].mean() for part in parts])


def mean_probabilities(probabilities: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """The members' probabilities together; N x C.

    Raises:
        ValueError: ``probabilities`` are not K x N x C.
    """
    found = np.asarray(probabilities, dtype=float)
    if found.ndim != 3 or not len(found):
        raise ValueError(f"probabilities must have the shape K x N x C, not {found.shape}")
    return np.asarray(np.tensordot(normalized(weights, len(found)), found, axes=1))
