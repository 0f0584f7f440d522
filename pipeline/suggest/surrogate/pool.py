"""Candidates, with the means and variances that the model has there, kept up to date as rows and results come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .factor import Factor

LEAST_VARIANCE = 1e-12


@dataclass
class Candidates:
    """Configurations that may be suggested.

    Attributes:
        places, features: A row each, as the encoding has them.
        solved: L^-1 times their covariances with the rows of the factor, a column each.
        variances: That the rows leave, without noise.
        means: By target and candidate, of what the model learns.
        offsets: What is added to the first target: what was known before.
    """

    places: np.ndarray
    features: np.ndarray
    solved: np.ndarray
    variances: np.ndarray
    means: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(
        cls, factor: Factor, places: np.ndarray, features: np.ndarray, offsets: np.ndarray | None = None
    ) -> Candidates:
        """Candidates at some places, seen by a model. ``offsets``: None if nothing was known before."""
        solved = factor.forward(factor.kernel.cross(factor.features, features))
        variances = factor.kernel.variance - np.einsum("ij,ij->j", solved, solved)
        offsets = np.zeros(len(places)) if offsets is None else offsets
        return cls(places, features, solved, variances, factor.weights[: factor.size].T @ solved, offsets)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def expected(self) -> np.ndarray:
        """The mean of the objective at each."""
        found: np.ndarray = self.means[0] + self.offsets
        return found

    @property
    def deviations(self) -> np.ndarray:
        """The standard deviation at each."""
        found: np.ndarray = np.sqrt(np.maximum(self.variances, LEAST_VARIANCE))
        return found

    def take(self, index: np.ndarray) -> Candidates:
        """Some of them."""
        return Candidates(
            self.places[index],
            self.features[index],
            self.solved[:, index],
            self.variances[index],
            self.means[:, index],
            self.offsets[index],
        )

    def joined(self, other: Candidates) -> Candidates:
        """These and others, seen by the same model."""
        return Candidates(
            np.concatenate([self.places, other.places]),
            np.concatenate([self.features, other.features]),
            np.concatenate([self.solved, other.solved], axis=1),
            np.concatenate([self.variances, other.variances]),
            np.concatenate([self.means, other.means], axis=1),
            np.concatenate([self.offsets, other.offsets]),
        )

    def follow(self, factor: Factor) -> None:
        """Bring them up to date after rows were added to the model and it was solved again."""
        for row in range(len(self.solved), factor.size):
            new = factor.kernel.cross(factor.features[row : row + 1], self.features)[0]
            new -= factor.lower[row, :row] @ self.solved
            new /= factor.lower[row, row]
            self.solved = np.concatenate([self.solved, new[None, :]])
            self.variances = self.variances - new * new
        self.means = factor.weights[: factor.size].T @ self.solved
