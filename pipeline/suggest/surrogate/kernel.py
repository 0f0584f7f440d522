"""The covariance of two configurations, and its hyperparameters: their prior, and how likely they make the data.

The kernel is ``signal * matern52(r) + additive / D * sum_d 1 / (1 + d_d^2 / (shape * l_d)^2)`` with
``r^2 = sum_d d_d^2 / l_d^2``, where ``d_d`` is the distance in parameter d and ``l_d`` its length scale. The second
part, a sum of functions of one parameter each with long tails, learns main effects from few trials. On the diagonal the
noise is added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .layout import Layout

ROOT5 = math.sqrt(5.0)

PRIORS = {"signal": (0.6, 1.0), "additive": (0.4, 1.0), "shape": (0.5, 0.7), "noise": (1e-4, 2.0)}
"""By hyperparameter: the median, and the standard deviation of its logarithm, which is normal."""
LENGTH_PRIOR = (0.4, 1.0)
"""Of a length scale, in units of the square root of the number of parameters."""
BOUNDS = {"length": (0.01, 30.0), "signal": (1e-3, 1e3), "additive": (1e-3, 1e3), "shape": (0.01, 100.0)}
NOISE_BOUNDS = (1e-7, 5.0)


@dataclass(frozen=True)
class Prior:
    """Normal priors of the logarithms of the hyperparameters: the length scales, then signal, additive, shape, noise.

    Attributes:
        mean, deviation: Of each logarithm.
        low, high: Bounds of each logarithm.
    """

    mean: np.ndarray
    deviation: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, dimensions: int) -> Prior:
        """The prior for a space of so many parameters."""
        medians = [LENGTH_PRIOR[0] * math.sqrt(dimensions)] * dimensions + [median for median, _ in PRIORS.values()]
        deviations = [LENGTH_PRIOR[1]] * dimensions + [deviation for _, deviation in PRIORS.values()]
        others = [BOUNDS["signal"], BOUNDS["additive"], BOUNDS["shape"], NOISE_BOUNDS]
        bounds = np.log(np.array([BOUNDS["length"]] * dimensions + others))
        low, high = bounds[:, 0], bounds[:, 1]
        return cls(np.clip(np.log(medians), low, high), np.array(deviations), low, high)


class Kernel:
    """The kernel with given hyperparameters.

    Args:
        layout: Of the features.
        logarithms: Of the hyperparameters, in the order of :class:`Prior`.

    Attributes:
        lengths: The length scale of each parameter.
        noise: The variance that is added on the diagonal.
        variance: The covariance of a configuration with itself, without noise.
    """

    def __init__(self, layout: Layout, logarithms: np.ndarray) -> None:
        self.layout, self.logarithms = layout, logarithms
        size = layout.dimensions
        values = np.exp(logarithms)
        self.lengths = values[:size]
        self._signal, self._additive, self._shape, self.noise = values[size:].tolist()
        self._inverse = (1.0 / self.lengths)[layout.owner]
        self.variance = self._signal + self._additive

    def scaled(self, features: np.ndarray) -> np.ndarray:
        """Features in units of the length scales."""
        found: np.ndarray = features * self._inverse
        return found

    def cross(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The covariance of each row of features of ``left`` with each of ``right``."""
        a, b = self.scaled(left), self.scaled(right)
        root = squared_distances(a, b)
        root *= 5.0
        np.sqrt(root, out=root)
        found = root / 3.0  # exp(-root) (1 + root + root^2 / 3), without new arrays
        found += 1.0
        found *= root
        found += 1.0
        np.negative(root, out=root)
        found *= np.exp(root, out=root)
        found *= self._signal
        a, b = a / self._shape, b / self._shape
        total, term = np.zeros_like(found), root
        for part in self.layout.parts():
            if part.stop - part.start == 1:
                np.subtract.outer(a[:, part.start], b[:, part.start], out=term)
                np.multiply(term, term, out=term)
            else:
                term = squared_distances(a[:, part], b[:, part])
            term += 1.0
            np.divide(1.0, term, out=term)
            total += term
        total *= self._additive / self.layout.dimensions
        found += total
        return found


def squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The squared distance of each row of ``left`` to each row of ``right``."""
    found: np.ndarray = left @ (-2.0 * right.T)
    found += np.einsum("ij,ij->i", left, left)[:, None]
    found += np.einsum("ij,ij->i", right, right)
    np.maximum(found, 0.0, out=found)
    return found


class Likelihood:
    """How likely hyperparameters are, given targets at some configurations: a function for an optimizer.

    Args:
        layout: Of the features.
        prior: Of the hyperparameters.
        features: A row for each configuration.
        targets: A value for each.
        noise: More variance for each, beyond the hyperparameter.
    """

    def __init__(
        self, layout: Layout, prior: Prior, features: np.ndarray, targets: np.ndarray, noise: np.ndarray
    ) -> None:
        from scipy.linalg import lapack

        self._lapack: Any = lapack
        self.prior, self._targets, self._noise = prior, targets, noise
        self._size, self._dimensions = len(features), layout.dimensions
        self._rows, self._columns = np.tril_indices(self._size, -1)
        # Squared distances by parameter and pair of configurations: they do not depend on the hyperparameters.
        self._squares = np.stack(
            [
                squared_distances(features[:, part], features[:, part])[self._rows, self._columns]
                for part in layout.parts()
            ]
        )

    @property
    def work(self) -> int:
        """About how many elementary operations one call is."""
        return (self._squares.size + 2 * self._size**2) * 8 + 40_000

    def __call__(self, logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the logarithm of the posterior density, up to a constant, and its gradient."""
        size, prior = self._dimensions, self.prior
        values = np.exp(logarithms)
        inverse = values[:size] ** -2.0
        signal, additive, shape, noise = values[size:].tolist()
        root = np.sqrt(5.0 * (inverse @ self._squares))
        decay = np.exp(-root)
        matern = decay * (1.0 + root + root * root / 3.0)
        shares = self._squares * (inverse / shape**2)[:, None]
        shares += 1.0
        np.divide(1.0, shares, out=shares)
        sums = shares.sum(axis=0) / size

        inverse_matrix, alpha, value = self._solved(signal * matern + additive * sums, signal + additive, noise)
        if inverse_matrix is None:
            return math.inf, np.zeros_like(logarithms)
        # d(value)/dK as weights of the pairs below the diagonal, each of which stands for two entries of K.
        weights = inverse_matrix[self._rows, self._columns] - alpha[self._rows] * alpha[self._columns]
        diagonal = 0.5 * (np.diagonal(inverse_matrix) - alpha * alpha).sum()
        gradient = np.empty_like(logarithms)
        gradient[:size] = (self._squares @ (weights * decay * (1.0 + root))) * (5.0 / 3.0 * signal * inverse)
        shares -= shares * shares
        slopes = (shares @ weights) * (2.0 * additive / size)
        gradient[:size] += slopes
        gradient[size] = signal * (weights @ matern + diagonal)
        gradient[size + 1] = additive * (weights @ sums + diagonal)
        gradient[size + 2] = slopes.sum()
        gradient[size + 3] = noise * diagonal
        away = (logarithms - prior.mean) / prior.deviation
        return value + 0.5 * float(away @ away), gradient + away / prior.deviation

    def _solved(self, pairs: np.ndarray, own: float, noise: float) -> tuple[np.ndarray | None, np.ndarray, float]:
        """The inverse of K (its lower half), K^-1 targets, and minus the log likelihood; None where K has no factor."""
        matrix = np.zeros((self._size, self._size), order="F")
        matrix[self._rows, self._columns] = pairs
        matrix.reshape(-1, order="F")[:: self._size + 1] = own + noise + self._noise
        factor, failed = self._lapack.dpotrf(matrix, lower=1, overwrite_a=1)
        if failed:
            return None, self._targets, math.inf
        alpha, _ = self._lapack.dpotrs(factor, self._targets, lower=1)
        value = 0.5 * float(self._targets @ alpha) + float(np.log(np.diagonal(factor)).sum())
        found, failed = self._lapack.dpotri(factor, lower=1, overwrite_c=1)
        return (None if failed else found), alpha, value
