"""Losses of ensembles that grow by one model at a time, for :mod:`.selection`.

A loss holds the predictions of all K models for N rows. A :class:`Sum` of it is an ensemble in which a model counts as
often as it was added. It keeps what the loss needs of its members as a sum over them, so that the losses with each of
the K models added cost O(K N), whatever the number of members:

=================== ============================================ ==================================================
loss                kept                                         cost of the losses with each model added
=================== ============================================ ==================================================
:class:`Nll`,       the sum of the members' densities, by row    K N logarithms
:class:`LogLoss`
:class:`Crps`,      the sums of a vector and a K x K matrix,     K; a new member's row of the matrix, N K, is
:class:`Rmse`       which the score is quadratic in              computed once
:class:`Accuracy`   the sum of the members' probabilities        K N C comparisons
=================== ============================================ ==================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from . import scores
from .combined import mixture


class Sum(Protocol):
    """An ensemble in which each model counts as often as it was added."""

    def add(self, model: int) -> None:
        """Add a model, by its index."""

    def with_each(self, models: np.ndarray) -> np.ndarray:
        """The loss that the ensemble would have with each of these models added."""


class Loss(Protocol):
    """A loss of ensembles of K models; smaller is better.

    Attributes:
        alone: The loss of each model by itself; K numbers.
    """

    alone: np.ndarray

    def empty(self) -> Sum:
        """An ensemble without members."""

    def of(self, weights: np.ndarray) -> float:
        """The loss of the ensemble with these weights."""


class LogMixture:
    """The mean negative logarithm of a mixture's density or probability.

    Args:
        logs: The logarithm of each model's density, or probability, at the truth; K x N.
    """

    def __init__(self, logs: np.ndarray):
        self.logs = np.ascontiguousarray(logs)
        self.alone = np.array([-each.mean() for each in self.logs])

    def empty(self) -> LogSum:
        return LogSum(self.logs)

    def of(self, weights: np.ndarray) -> float:
        from scipy.special import logsumexp

        members = members_of(weights)
        return float(-logsumexp(self.logs[members], axis=0, b=weights[members, None]).mean())


class LogSum:
    """A sum for :class:`LogMixture`; see :class:`Sum`."""

    def __init__(self, logs: np.ndarray):
        self.logs = logs
        self.members = 0
        self.total = np.empty(logs.shape[1])
        """The logarithm of the sum of the members' densities, by row."""
        self._larger, self._change = np.empty_like(self.total), np.empty_like(self.total)

    def add(self, model: int) -> None:
        self.total = np.logaddexp(self.total, self.logs[model]) if self.members else self.logs[model].copy()
        self.members += 1

    def with_each(self, models: np.ndarray) -> np.ndarray:
        if not self.members:
            return np.array([-self.logs[model].mean() for model in models])
        return np.array([self._with(model) for model in models])

    def _with(self, model: int) -> float:
        """As ``logaddexp``, in a third of its time: row by row in place, and without ``log1p``."""
        np.subtract(self.logs[model], self.total, out=self._change)
        np.maximum(self._change, 0.0, out=self._larger)
        np.abs(self._change, out=self._change)
        np.negative(self._change, out=self._change)
        np.exp(self._change, out=self._change)
        self._change += 1.0
        np.log(self._change, out=self._change)
        self._change += self._larger
        self._change += self.total
        return float(np.log(self.members + 1) - self._change.mean())


class Nll(LogMixture):
    """The negative log likelihood of a mixture of Normal distributions.

    Args:
        mean: K x N, or K x N x D for D outputs.
        std: The same shape.
        y: The true values; N or N x D.

    Example:
        >>> loss = Nll([[0.0], [2.0]], [[1.0], [1.0]], [1.0])
        >>> round(loss.of(np.array([0.5, 0.5])), 4)
        1.4189
    """

    def __init__(self, mean: ArrayLike, std: ArrayLike, y: ArrayLike):
        means, deviations, _ = mixture(mean, std, None)
        super().__init__(scores.log_densities(means, deviations, y))


class LogLoss(LogMixture):
    """The negative log likelihood of the true classes.

    Args:
        probabilities: K x N x C.
        y: The true classes; N whole numbers.
    """

    def __init__(self, probabilities: ArrayLike, y: ArrayLike):
        super().__init__(scores.log_true(np.asarray(probabilities), y))


class Quadratic:
    """A loss ``f(w a + w B w)`` of the weights w.

    Args:
        linear: The vector a.
        row: Gives the row of the symmetric matrix B for a model.
        diagonal: Of B.
        final: The increasing function f.
    """

    def __init__(
        self,
        linear: np.ndarray,
        row: Callable[[int], np.ndarray],
        diagonal: np.ndarray,
        final: Callable[[np.ndarray], np.ndarray],
    ):
        self.linear, self.diagonal, self.final = linear, diagonal, final
        self.alone = final(linear + diagonal)
        self._row = row
        self._rows: dict[int, np.ndarray] = {}

    def row(self, model: int) -> np.ndarray:
        """The row of B for a model, computed once."""
        if model not in self._rows:
            self._rows[model] = self._row(model)
        return self._rows[model]

    def empty(self) -> QuadraticSum:
        return QuadraticSum(self)

    def of(self, weights: np.ndarray) -> float:
        square = sum(float(weights[member] * (self.row(member) @ weights)) for member in members_of(weights))
        return float(self.final(np.asarray(weights @ self.linear + square)))


class QuadraticSum:
    """A sum for :class:`Quadratic`; see :class:`Sum`."""

    def __init__(self, loss: Quadratic):
        self.loss = loss
        self.members = 0
        self.linear = self.square = 0.0
        self.rows = np.zeros(len(loss.linear))
        """The sum of the members' rows of the matrix."""

    def add(self, model: int) -> None:
        self.linear += float(self.loss.linear[model])
        self.square += float(2 * self.rows[model] + self.loss.diagonal[model])
        self.rows = self.rows + self.loss.row(model)
        self.members += 1

    def with_each(self, models: np.ndarray) -> np.ndarray:
        size = self.members + 1
        square = self.square + 2 * self.rows[models] + self.loss.diagonal[models]
        return self.loss.final((self.linear + self.loss.linear[models]) / size + square / size**2)


class Crps(Quadratic):
    """The continuous ranked probability score of a mixture of Normal distributions; see :func:`.scores.crps`.

    Args:
        mean: K x N, or K x N x D for D outputs.
        std: The same shape.
        y: The true values; N or N x D.

    Example:
        >>> loss = Crps([[0.0], [2.0]], [[1.0], [1.0]], [1.0])
        >>> round(loss.of(np.array([0.5, 0.5])), 4) == round(scores.crps([[0.0], [2.0]], [[1.0], [1.0]], [1.0]), 4)
        True
    """

    def __init__(self, mean: ArrayLike, std: ArrayLike, y: ArrayLike):
        means, deviations, _ = mixture(mean, std, None)
        values = scores.truth(y, means.shape[1:])

        def row(model: int) -> np.ndarray:
            pairs = zip(means, deviations, strict=True)
            apart = (
                scores.expected_distance(means[model] - center, np.hypot(deviations[model], deviation)).mean()
                for center, deviation in pairs
            )
            return -0.5 * np.fromiter(apart, float, len(means))

        from_truth = [
            scores.expected_distance(values - center, deviation).mean()
            for center, deviation in zip(means, deviations, strict=True)
        ]
        # Two draws of one Normal are 2 / sqrt(pi) of its standard deviation apart.
        within = np.array([-deviation.mean() / np.sqrt(np.pi) for deviation in deviations])
        super().__init__(np.array(from_truth), row, within, np.asarray)


class Rmse(Quadratic):
    """The root of the mean squared error of the mean.

    Args:
        mean: K x N, or K x N x D for D outputs.
        y: The true values; N or N x D.

    Example:
        >>> Rmse([[0.0], [4.0]], [1.0]).of(np.array([0.5, 0.5]))
        1.0
    """

    def __init__(self, mean: ArrayLike, y: ArrayLike):
        means = np.asarray(mean, dtype=float)
        errors = (means - scores.truth(y, means.shape[1:])).reshape(len(means), -1)
        count = errors.shape[1]
        squares = np.array([each @ each / count for each in errors])
        # Rounding may make the square of a small error negative.
        super().__init__(
            np.zeros(len(means)),
            lambda model: errors @ errors[model] / count,
            squares,
            lambda square: np.sqrt(np.maximum(square, 0.0)),
        )


class Accuracy:
    """The share of wrong rows, from 0 to 1.

    Many ensembles are wrong equally often, so a term of less than one row tells these apart: half the probability,
    on average, that they give to other classes than the true one.

    Args:
        probabilities: K x N x C.
        y: The true classes; N whole numbers.

    Example:
        >>> loss = Accuracy([[[0.9, 0.1], [0.2, 0.8]], [[0.4, 0.6], [0.9, 0.1]]], [0, 0])
        >>> loss.alone.round(4)
        array([0.6125, 0.5875])
    """

    def __init__(self, probabilities: ArrayLike, y: ArrayLike):
        found = np.asarray(probabilities)
        self.classes = scores.truth(y, found.shape[1:2])
        rows = np.arange(len(self.classes))
        self.true = found[:, rows, self.classes]
        """The probability of the true class; K x N."""
        others = np.ones(found.shape[1:], dtype=bool)
        others[rows, self.classes] = False
        self.others = np.ascontiguousarray(found[:, others].reshape(*found.shape[:2], -1).swapaxes(1, 2))
        """Those of the others, in their order; K x C-1 x N, so that a maximum over classes is fast."""
        self.alone = np.array([self.of_sum(*each) for each in zip(self.true, self.others, strict=True)])

    def of_sum(self, true: np.ndarray, others: np.ndarray, members: int = 1) -> float:
        """The loss of the ensemble whose members' probabilities have these sums."""
        largest = others.max(axis=0)
        wrong = np.count_nonzero(largest > true)
        if (equal := np.flatnonzero(largest == true)).size:  # then the first of the equal classes counts
            wrong += np.count_nonzero(others[:, equal].argmax(axis=0) < self.classes[equal])
        return float((wrong + 0.5 - 0.5 * true.mean() / members) / len(true))

    def empty(self) -> AccuracySum:
        return AccuracySum(self)

    def of(self, weights: np.ndarray) -> float:
        return self.of_sum(np.tensordot(weights, self.true, axes=1), np.tensordot(weights, self.others, axes=1))


class AccuracySum:
    """A sum for :class:`Accuracy`; see :class:`Sum`."""

    def __init__(self, loss: Accuracy):
        self.loss = loss
        self.members = 0
        self.true, self.others = np.zeros(loss.true.shape[1:]), np.zeros(loss.others.shape[1:])

    def add(self, model: int) -> None:
        self.true = self.true + self.loss.true[model]
        self.others = self.others + self.loss.others[model]
        self.members += 1

    def with_each(self, models: np.ndarray) -> np.ndarray:
        true, others, size = self.loss.true, self.loss.others, self.members + 1
        return np.array([self.loss.of_sum(self.true + true[k], self.others + others[k], size) for k in models])


def members_of(weights: np.ndarray) -> list[int]:
    """The models with a weight, by index."""
    return [int(each) for each in np.flatnonzero(weights)]


def of_normals(name: str, mean: ArrayLike, std: ArrayLike, y: ArrayLike) -> Loss:
    """The loss of this name (``nll``, ``crps`` or ``rmse``) for a regression. Raises KeyError."""
    made: dict[str, Callable[[], Loss]] = {
        "nll": lambda: Nll(mean, std, y),
        "crps": lambda: Crps(mean, std, y),
        "rmse": lambda: Rmse(mean, y),
    }
    return made[name]()


def of_classes(name: str, probabilities: ArrayLike, y: ArrayLike) -> Loss:
    """The loss of this name (``nll`` or ``accuracy``) for a classification. Raises KeyError."""
    made: dict[str, Callable[[], Loss]] = {
        "nll": lambda: LogLoss(probabilities, y),
        "accuracy": lambda: Accuracy(probabilities, y),
    }
    return made[name]()
