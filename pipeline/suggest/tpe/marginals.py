"""TPE's densities of single parameters: g(x) from histograms that are updated incrementally, l(x) from the mixture.

Modelling each parameter by itself needs no kernels for the trials above the split: counts in bins, smoothed with the
kernel that all of them would have, come to nearly the same and cost nothing but the bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..axes import Axis
from .history import NONE, History
from .mixture import Mixture
from .truncnorm import log_mass

BINS = 256
"""Bins of a continuous range, or of one with more steps than this."""
MAX_PARTS = 100
"""The least bandwidth is the range over this, as TPE bounds it (the magic clip)."""


class Histograms:
    """Counts of the trials' values, for each of ``axes`` by itself.

    Each choice and each step has its own bin; other ranges have ``BINS`` bins of equal width on the transformed axis.
    Counts are smoothed with a normal kernel whose bandwidth is TPE's least: the range over the number of trials plus 2,
    or over 100 if that is wider. All trials weigh the same.
    """

    def __init__(self, history: History, axes: Sequence[Axis]):
        self._history, self.axes = history, tuple(axes)
        self._names = [axis.name for axis in axes]
        self._bin_counts = [bin_count(axis) for axis in axes]
        self._seen_changes, self._generation = -1, -1
        self._smoothing_kernels: dict[tuple[int, int], np.ndarray] = {}

    def refresh(self) -> None:
        """Update the counts with what changed in the history."""
        history = self._history
        changed = history.changed_since(self._seen_changes) if self._generation == history.generation else None
        self._seen_changes, self._generation = history.change_count, history.generation
        if changed is None:
            self._bin_of = np.full((len(history.state), len(self.axes)), -1, dtype=np.int32)
            self._counts = np.zeros((len(self.axes), max(self._bin_counts)))
            numbers = np.arange(history.size)
        else:
            numbers = np.unique(np.array(changed, dtype=np.int64))
        if len(self._bin_of) < len(history.state):
            more = np.full((len(history.state) - len(self._bin_of), len(self.axes)), -1, dtype=np.int32)
            self._bin_of = np.concatenate([self._bin_of, more])
        self._add(self._bin_of[numbers], -1.0)
        self._bin_of[numbers] = self._bins_of(numbers)
        self._add(self._bin_of[numbers], 1.0)

    def _bins_of(self, numbers: np.ndarray) -> np.ndarray:
        """The bins (trials x axes) of the trials ``numbers``; -1 for those that do not count or lack a parameter."""
        found = np.full((len(numbers), len(self.axes)), -1, dtype=np.int32)
        here = self._history.state[numbers] != NONE
        values, present = self._history.rows(self._names, numbers[here])
        if len(present):
            rows = np.flatnonzero(here)[np.searchsorted(numbers[here], present)]
            found[rows] = self.bin_indices(values)
        return found

    def bin_indices(self, values: np.ndarray) -> np.ndarray:
        """The bins of ``values`` (trials x axes, internal)."""
        return np.stack([self.bin_index(i, values[:, i]) for i in range(len(self.axes))], axis=1)

    def bin_index(self, i: int, values: np.ndarray) -> np.ndarray:
        """The bins of ``values`` (internal) on axis ``i``."""
        axis = self.axes[i]
        if axis.choices:
            found = values
        elif one_bin_per_value(axis):
            found = np.rint((values - axis.range_low) / axis.step)
        else:
            found = (axis.transform(values) - axis.low) / axis.width * self._bin_counts[i]
        # Older trials may lie outside a range that was narrowed.
        return np.asarray(np.clip(found, 0, self._bin_counts[i] - 1), dtype=np.int64)

    def _add(self, indices: np.ndarray, by: float) -> None:
        whole = indices[:, 0] >= 0
        np.add.at(self._counts, (np.arange(len(self.axes)), indices[whole]), by)

    def log_densities(self, below: Sequence[int]) -> list[np.ndarray]:
        """For each axis log g(x) in each bin: of all trials but those in ``below``, and the prior."""
        self._add(self._bin_of[list(below)], -1.0)
        found = [self._log_density(i) for i in range(len(self.axes))]
        self._add(self._bin_of[list(below)], 1.0)
        return found

    def _log_density(self, i: int) -> np.ndarray:
        size = self._bin_counts[i]
        counts = self._counts[i, :size]
        total = counts.sum()
        if self.axes[i].choices:
            shares = (counts + total / (total + 1)) / (1 + size / (total + 1)) + 1 / size
        else:
            shares = counts @ self._smoothing(size, total) + 1 / size
        return np.asarray(np.log(shares / (total + 1)))

    def _smoothing(self, size: int, total: float) -> np.ndarray:
        """The share of a count in one bin (rows) that smoothing gives to each bin (columns)."""
        parts = min(MAX_PARTS, int(total) + 2)
        if (size, parts) not in self._smoothing_kernels:
            if len(self._smoothing_kernels) > 8:
                self._smoothing_kernels.clear()
            edges = np.arange(size + 1) / size
            reach = (edges[None, :] - (edges[:-1, None] + edges[1:, None]) / 2) * parts
            masses = np.exp(log_mass(reach[:, :-1], reach[:, 1:]))
            self._smoothing_kernels[size, parts] = masses / masses.sum(axis=1, keepdims=True)
        return self._smoothing_kernels[size, parts]


class MarginalModel:
    """l(x) and g(x) of the parameters of a subspace, each by itself.

    Attributes:
        histograms: Give g(x).
    """

    def __init__(self, histograms: Histograms):
        self.histograms = histograms
        self._below: Mixture | None = None
        self._mixtures: list[Mixture] = []

    def mixtures(self, below: Mixture) -> list[Mixture]:
        """The marginals of ``below``, which is l(x): a one-dimensional mixture for each axis.

        Their densities compare with those of the histograms: probabilities where each value has a bin of its own, else
        densities over the axis, whose steps are ignored.
        """
        if self._below is not below:
            self._below = below
            self._mixtures = [
                Mixture((axis if one_bin_per_value(axis) else replace(axis, step=0.0),), below.weights, (kernels,))
                for axis, kernels in zip(below.axes, below.kernels, strict=True)
            ]
        return self._mixtures


def one_bin_per_value(axis: Axis) -> bool:
    """Whether each choice or step of the axis has its own bin."""
    return bool(axis.choices) or bool(axis.step and not axis.log and _steps(axis) <= BINS)


def bin_count(axis: Axis) -> int:
    """The number of bins of an axis: one for each choice or step, or ``BINS``."""
    if axis.choices:
        return axis.choices
    return _steps(axis) if one_bin_per_value(axis) else BINS


def _steps(axis: Axis) -> int:
    return round((axis.range_high - axis.range_low) / axis.step) + 1
