"""The mixture of the members' predictions: its moments, its distribution and its quantiles.

Arrays have the members as their first axis: ``mean`` and ``std`` are K x N, or K x N x D for D outputs, of K Normal
distributions for each of N rows; ``probabilities`` are K x N x C for C classes. ``weights`` are K numbers that are not
negative; they are divided by their sum. None weighs all members equally.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


def normalized(weights: ArrayLike | None, members: int) -> np.ndarray:
    """K weights whose sum is one.

    Raises:
        ValueError: They are not as many as the members, negative, not finite, or all zero.

    Example:
        >>> normalized([1, 3], 2)
        array([0.25, 0.75])
    """
    if weights is None:
        return np.full(members, 1.0 / members)
    found = np.asarray(weights, dtype=float)
    if found.shape != (members,):
        raise ValueError(f"weights must be {members} numbers, one for each member, not an array of {found.shape}")
    if not np.isfinite(found).all() or (found < 0).any() or not found.any():
        raise ValueError("weights must be finite numbers of at least 0, and not all 0")
    found = found / found.max()  # so that the sum of very large or very small ones is finite and not zero
    return np.asarray(found / found.sum())


def mixture(mean: ArrayLike, std: ArrayLike, weights: ArrayLike | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``mean``, ``std`` and ``weights`` as arrays, without members of weight 0.

    Raises:
        ValueError: The shapes differ, or there is no member.
    """
    means, deviations = np.asarray(mean, dtype=float), np.asarray(std, dtype=float)
    if means.ndim not in (2, 3) or not len(means):
        raise ValueError(f"mean must have the shape K x N or K x N x D, not {means.shape}")
    if means.shape != deviations.shape:
        raise ValueError(f"mean has the shape {means.shape}, std {deviations.shape}; they must be equal")
    shares = normalized(weights, len(means))
    kept = shares > 0
    return means[kept], deviations[kept], shares[kept]


def moments(
    mean: ArrayLike, std: ArrayLike, weights: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mixture's mean and the two parts of its variance, by the law of total variance.

    Returns:
        The mean; the aleatoric part, which is the mean of the members' variances; the epistemic part, which is the
        variance of the members' means. Each is N or N x D. The mixture's variance is the sum of the parts.

    Example:
        >>> mean, aleatoric, epistemic = moments([[0.0], [2.0]], [[1.0], [3.0]])
        >>> mean.item(), aleatoric.item(), epistemic.item()
        (1.0, 5.0, 1.0)
    """
    means, deviations, shares = mixture(mean, std, weights)
    center = np.tensordot(shares, means, axes=1)
    return center, np.tensordot(shares, deviations**2, axes=1), np.tensordot(shares, (means - center) ** 2, axes=1)


def cdf(mean: ArrayLike, std: ArrayLike, at: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """The probability that the mixture gives to values of at most ``at``, which is N or N x D.

    Example:
        >>> cdf([[0.0], [2.0]], [[1.0], [1.0]], [1.0]).item()
        0.5
    """
    from scipy.special import ndtr

    means, deviations, shares = mixture(mean, std, weights)
    points = np.asarray(at, dtype=float)
    found = np.zeros(np.broadcast_shapes(points.shape, means.shape[1:]))
    with np.errstate(over="ignore"):
        for share, center, deviation in zip(shares, means, deviations, strict=True):
            found += share * ndtr((points - center) / deviation)
    return found


def quantile(mean: ArrayLike, std: ArrayLike, level: float, weights: ArrayLike | None = None) -> np.ndarray:
    """The value that the true mixture stays below with probability ``level``; N or N x D.

    Found by bisection to the precision of floats: the mixture's quantile lies between the least and the greatest of its
    members' quantiles.

    Raises:
        ValueError: ``level`` is not above 0 and below 1.

    Example:
        >>> round(quantile([[0.0], [0.0]], [[1.0], [1.0]], 0.975).item(), 3)
        1.96
    """
    from scipy.special import ndtri

    if not 0 < level < 1:
        raise ValueError(f"a quantile's level must be above 0 and below 1, not {level:g}")
    means, deviations, shares = mixture(mean, std, weights)
    ends = means + deviations * ndtri(level)
    low, high = ends.min(axis=0), ends.max(axis=0)
    while True:
        middle = low + (high - low) / 2
        if ((middle <= low) | (middle >= high)).all():  # no float lies between
            return np.asarray(middle)
        below = cdf(means, deviations, middle, shares) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)


@dataclass(frozen=True)
class Prediction:
    """What an ensemble predicts for N rows of a regression, as a mixture of Normal distributions.

    Args:
        means: Of each member; K x N or K x N x D.
        stds: The same shape.
        weights: Of each member; their sum is one.

    Example:
        >>> found = Prediction(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]]), np.array([0.5, 0.5]))
        >>> found.mean, found.aleatoric, found.epistemic
        (array([1.]), array([1.]), array([1.]))
        >>> low, high = found.interval(0.9)
        >>> round(low.item(), 2), round(high.item(), 2)
        (-1.28, 3.28)
    """

    means: np.ndarray
    stds: np.ndarray
    weights: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The mixture's mean; N or N x D."""
        return moments(self.means, self.stds, self.weights)[0]

    @property
    def aleatoric(self) -> np.ndarray:
        """The variance of the noise in the data: the weighted mean of the members' variances."""
        return moments(self.means, self.stds, self.weights)[1]

    @property
    def epistemic(self) -> np.ndarray:
        """The variance that comes from not knowing the model: the weighted variance of the members' means."""
        return moments(self.means, self.stds, self.weights)[2]

    @property
    def variance(self) -> np.ndarray:
        """The mixture's variance: the sum of both parts."""
        return np.asarray(self.aleatoric + self.epistemic)

    @property
    def std(self) -> np.ndarray:
        """The mixture's standard deviation."""
        return np.asarray(np.sqrt(self.variance))

    def quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """Quantiles of the true mixture, one row for each level; see :func:`quantile`."""
        return np.stack([quantile(self.means, self.stds, level, self.weights) for level in levels])

    def interval(self, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """The ends of the central interval, which holds the true value with probability ``level``."""
        low, high = self.quantiles([(1 - level) / 2, (1 + level) / 2])
        return low, high


@dataclass(frozen=True)
class ClassPrediction:
    """What an ensemble predicts for N rows of a classification.

    Args:
        members: The probabilities of each member; K x N x C.
        weights: Of each member; their sum is one.

    Example:
        >>> found = ClassPrediction(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]), np.array([0.75, 0.25]))
        >>> found.probabilities, found.classes
        (array([[0.75, 0.25]]), array([0]))
        >>> round(found.epistemic.item(), 3), found.aleatoric.item()
        (0.562, 0.0)
    """

    members: np.ndarray
    weights: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """The weighted mean of the members' probabilities; N x C."""
        return np.asarray(np.tensordot(self.weights, self.members, axes=1))

    @property
    def classes(self) -> np.ndarray:
        """The most probable class of each row, as its number."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def entropy(self) -> np.ndarray:
        """The entropy of the probabilities in nats; the sum of the aleatoric and the epistemic part."""
        return entropy(self.probabilities)

    @property
    def aleatoric(self) -> np.ndarray:
        """The weighted mean of the members' entropies, in nats: what each of them is unsure of."""
        return np.asarray(np.tensordot(self.weights, entropy(self.members), axes=1))

    @property
    def epistemic(self) -> np.ndarray:
        """The entropy that comes from the members' disagreement, in nats (the mutual information)."""
        return np.asarray(np.maximum(self.entropy - self.aleatoric, 0.0))


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """The entropy over the last axis, in nats.

    Example:
        >>> round(entropy(np.array([0.5, 0.5])).item(), 3)
        0.693
    """
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    return np.asarray(-(probabilities * logs).sum(axis=-1))
