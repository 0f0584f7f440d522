"""Densities of single parameters over all trials but the good ones, from counts that are kept up to date."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .axes import Axis
from .history import NONE, History
from .truncnorm import log_mass

BINS = 256
"""Bins of a continuous range, or of one with more steps."""
SHARPEST = 100


class Counts:
    """How many trials have which values, for each of ``axes`` by itself.

    Values are counted in bins: choices and steps each in their own, other ranges in ``BINS`` equal parts of the model's
    coordinate. A count is spread with the least standard deviation of TPE's kernels, the range by one more than the
    number of kernels or by 100, and all trials count alike.
    """

    def __init__(self, history: History, axes: Sequence[Axis]):
        self._history, self.axes = history, tuple(axes)
        self._names = [axis.name for axis in axes]
        self._bins = [bins(axis) for axis in axes]
        self._seen, self._generation = -1, -1
        self._spreads: dict[tuple[int, int], np.ndarray] = {}

    def look(self) -> None:
        """Take in what changed in the history."""
        history = self._history
        changed = history.changed(self._seen) if self._generation == history.generation else None
        self._seen, self._generation = history.changes, history.generation
        if changed is None:
            self._places = np.full((len(history.state), len(self.axes)), -1, dtype=np.int32)
            self._counts = np.zeros((len(self.axes), max(self._bins)))
            numbers = np.arange(history.size)
        else:
            numbers = np.unique(np.array(changed, dtype=np.int64))
        if len(self._places) < len(history.state):
            more = np.full((len(history.state) - len(self._places), len(self.axes)), -1, dtype=np.int32)
            self._places = np.concatenate([self._places, more])
        self._count(self._places[numbers], -1.0)
        self._places[numbers] = self._found(numbers)
        self._count(self._places[numbers], 1.0)

    def _found(self, numbers: np.ndarray) -> np.ndarray:
        found = np.full((len(numbers), len(self.axes)), -1, dtype=np.int32)
        here = self._history.state[numbers] != NONE
        values, present = self._history.rows(self._names, numbers[here])
        if len(present):
            rows = np.flatnonzero(here)[np.searchsorted(numbers[here], present)]
            found[rows] = self.places(values)
        return found

    def places(self, values: np.ndarray) -> np.ndarray:
        """The bins of ``values`` (trials x axes, as numbers of the trials)."""
        return np.stack([self.place(i, values[:, i]) for i in range(len(self.axes))], axis=1)

    def place(self, i: int, values: np.ndarray) -> np.ndarray:
        """The bins of ``values`` on axis ``i``."""
        axis = self.axes[i]
        if axis.choices:
            found = values
        elif counted_apart(axis):
            found = np.rint((values - axis.bottom) / axis.step)
        else:
            found = (axis.kernel(values) - axis.low) / axis.width * self._bins[i]
        # Older trials may lie beyond a range that has become smaller.
        return np.asarray(np.clip(found, 0, self._bins[i] - 1), dtype=np.int64)

    def _count(self, places: np.ndarray, by: float) -> None:
        whole = places[:, 0] >= 0
        np.add.at(self._counts, (np.arange(len(self.axes)), places[whole]), by)

    def tables(self, good: Sequence[int]) -> list[np.ndarray]:
        """For each axis the logarithm of each bin's share in the trials that are not ``good``, and the prior."""
        self._count(self._places[list(good)], -1.0)
        found = [self._table(i) for i in range(len(self.axes))]
        self._count(self._places[list(good)], 1.0)
        return found

    def _table(self, i: int) -> np.ndarray:
        size = self._bins[i]
        counts = self._counts[i, :size]
        total = counts.sum()
        if self.axes[i].choices:
            shares = (counts + total / (total + 1)) / (1 + size / (total + 1)) + 1 / size
        else:
            shares = counts @ self._spread(size, total) + 1 / size
        return np.asarray(np.log(shares / (total + 1)))

    def _spread(self, size: int, total: float) -> np.ndarray:
        """How a count in one bin (rows) is spread over all."""
        parts = min(SHARPEST, int(total) + 2)
        if (size, parts) not in self._spreads:
            if len(self._spreads) > 8:
                self._spreads.clear()
            edges = np.arange(size + 1) / size
            reach = (edges[None, :] - (edges[:-1, None] + edges[1:, None]) / 2) * parts
            masses = np.exp(log_mass(reach[:, :-1], reach[:, 1:]))
            self._spreads[size, parts] = masses / masses.sum(axis=1, keepdims=True)
        return self._spreads[size, parts]


def counted_apart(axis: Axis) -> bool:
    """Whether each choice or step has a bin of its own."""
    return bool(axis.choices) or bool(axis.step and not axis.log and _steps(axis) <= BINS)


def bins(axis: Axis) -> int:
    """The number of bins of an axis: its choices, its steps, or ``BINS``."""
    if axis.choices:
        return axis.choices
    return _steps(axis) if counted_apart(axis) else BINS


def _steps(axis: Axis) -> int:
    return round((axis.top - axis.bottom) / axis.step) + 1
