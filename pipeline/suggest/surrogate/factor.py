"""One lower Cholesky factor of the covariance of all rows, with spare rows; what it knows is always exact.

A row is a configuration, of a finished or of a pending trial. With K = L L', a vector w of one number a row stands for
the targets z = L w. A pending row has w = 0: its target is then the mean that the rows before it predict there, so it
lowers the variance around it and leaves the means alone. Adding a row costs O(rows), a result O(rows^2), and nothing is
factored anew. Several targets (the objective, and one for each constraint) share the factor.
"""

from __future__ import annotations

import numpy as np

from .kernel import Kernel


class Factor:
    """The factor of the rows' covariance, with what is known at each row.

    Args:
        kernel: Of the configurations.
        capacity: Most rows.
        targets: How many targets a row has.

    Attributes:
        size: The number of rows.
        weights: w by row and target, after :meth:`solve`.
    """

    def __init__(self, kernel: Kernel, capacity: int, targets: int = 1) -> None:
        from scipy.linalg import lapack

        self._trtrs, self._potrf = lapack.dtrtrs, lapack.dpotrf
        self.kernel, self.size = kernel, 0
        self._features = np.empty((capacity, kernel.layout.width))
        self._lower = np.zeros((capacity, capacity))
        self.noise = np.empty(capacity)
        self._targets = np.full((capacity, targets), np.nan)
        self.weights = np.zeros((capacity, targets))

    @property
    def capacity(self) -> int:
        """Most rows."""
        return len(self._features)

    @property
    def features(self) -> np.ndarray:
        """The features of all rows."""
        return self._features[: self.size]

    @property
    def lower(self) -> np.ndarray:
        """The factor L."""
        return self._lower[: self.size, : self.size]

    def forward(self, right: np.ndarray) -> np.ndarray:
        """L^-1 times a matrix."""
        if not self.size:
            return np.zeros((0, right.shape[1]))
        # LAPACK wants columns; the rows of L are the columns of its transpose, an upper triangle.
        found, failed = self._trtrs(self.lower.T, right, lower=0, trans=1)
        assert not failed, "the diagonal of a Cholesky factor has no 0"
        return np.asarray(found)

    def extend(self, features: np.ndarray, noise: np.ndarray) -> None:
        """Add rows, pending at first. ``noise``: of each, all of it."""
        first, last = self.size, self.size + len(features)
        covariance = self.kernel.cross(features, features)
        covariance[np.diag_indices(len(features))] = self.kernel.variance + noise
        if first:
            mixed = self.forward(self.kernel.cross(self.features, features))
            self._lower[first:last, :first] = mixed.T
            covariance -= mixed.T @ mixed
        own, failed = self._potrf(covariance, lower=1)
        if failed:  # rounding: more noise than was asked for, until it has a factor
            covariance[np.diag_indices(len(features))] += 1e-6 * self.kernel.variance
            own, failed = self._potrf(covariance, lower=1)
            assert not failed, "a covariance with noise on its diagonal is positive definite"
        self._lower[first:last, first:last] = np.tril(own)
        self._append(features, noise)

    def append(self, features: np.ndarray, solved: np.ndarray, variance: float, noise: float) -> float:
        """Add one pending row.

        Args:
            features: Of the row.
            solved: L^-1 times its covariance with all rows.
            variance: That the rows leave there, without noise.
            noise: Of the row, all of it.

        Returns:
            The row's entry on the diagonal of L.
        """
        diagonal = float(np.sqrt(max(variance, 0.0) + noise))
        self._lower[self.size, : self.size] = solved
        self._lower[self.size, self.size] = diagonal
        self._append(features[None, :], np.array([noise]))
        return diagonal

    def _append(self, features: np.ndarray, noise: np.ndarray) -> None:
        last = self.size + len(features)
        self._features[self.size : last], self.noise[self.size : last] = features, noise
        self._targets[self.size : last], self.weights[self.size : last] = np.nan, 0.0
        self.size = last

    def tell(self, rows: np.ndarray | int, targets: np.ndarray | float) -> None:
        """Set the targets of rows; NaN: pending. Takes effect at the next :meth:`solve`."""
        self._targets[rows] = targets

    def solve(self) -> None:
        """Compute the weights anew from the targets: exactly those of a factor made of these rows in this order.

        A pending row's weight is 0, so that only the rows that are not pending make equations.
        """
        for column in range(self._targets.shape[1]):
            known = np.flatnonzero(~np.isnan(self._targets[: self.size, column]))
            self.weights[: self.size, column] = 0.0
            if len(known):
                lower = self._lower[np.ix_(known, known)]
                found, failed = self._trtrs(lower.T, self._targets[known, column], lower=0, trans=1)
                assert not failed, "the diagonal of a Cholesky factor has no 0"
                self.weights[known, column] = found

    def means_at_rows(self) -> np.ndarray:
        """The means that the model has at its rows, by row and target: less noisy than their targets."""
        weights = self.weights[: self.size]
        alpha, failed = self._trtrs(self.lower.T, weights, lower=0, trans=0)
        assert not failed, "the diagonal of a Cholesky factor has no 0"
        means: np.ndarray = self.lower @ weights - self.noise[: self.size, None] * alpha
        return means
