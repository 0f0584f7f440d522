"""Bandwidths of many kernels along one axis, updated as kernels are added and dropped.

A kernel is as wide as the distance to its farther neighbour. With the centres sorted, a new or dropped kernel changes
the bandwidths of its two neighbours only.
"""

from __future__ import annotations

import math

import numpy as np

from ..axes import Axis
from .mixture import KernelSettings, kernel_bandwidths, neighbour_gaps

EXACT_TIES_UP_TO = 4096
"""Kernels up to which equal centres are ordered as in Optuna: by numpy's unstable sort of all of them, whose result may
differ between processors. With more kernels, the older of two equal centres comes first."""


class Bandwidths:
    """The kernels' bandwidths along one axis. Rows are those of the mixture's arrays.

    Attributes:
        widths: The bandwidths (standard deviations, transformed), by row.
        min_width: The least bandwidth of a large mixture.
    """

    def __init__(self, axis: Axis, settings: KernelSettings):
        self._axis, self._settings = axis, settings
        self.widths = np.ones(0)
        self.min_width = settings.min_bandwidth(axis, EXACT_TIES_UP_TO)
        self._values, self._rows, self._count = np.empty(0), np.empty(0, dtype=np.int64), 0
        self._sorted = False
        self._ties = bool(axis.step)

    def build(self, centres: np.ndarray, order: np.ndarray, capacity: int) -> None:
        """Compute all bandwidths anew.

        Args:
            centres: The kernels' centres by row (transformed).
            order: The rows that have a kernel, oldest trial first.
            capacity: The number of rows.
        """
        self.widths = np.ones(capacity)
        mine = centres[order]
        position = np.argsort(mine, kind="stable")
        ordered = mine[position]
        self._ties = bool(self._axis.step) or bool((ordered[1:] == ordered[:-1]).any())
        if self._ties and len(order) <= EXACT_TIES_UP_TO:
            self._sorted = False
            self.widths[order] = kernel_bandwidths(mine, self._axis, self._settings)
            return
        self._sort(ordered, order[position], capacity)
        gaps = neighbour_gaps(ordered, self._axis, self._settings.endpoints)
        self.widths[self._rows[: self._count]] = self._clipped(gaps)

    def _sort(self, ordered: np.ndarray, rows: np.ndarray, capacity: int) -> None:
        """Keep the centres sorted from now on."""
        self._count, self._sorted = len(ordered), True
        self._values, self._rows = np.empty(capacity), np.empty(capacity, dtype=np.int64)
        self._values[: self._count], self._rows[: self._count] = ordered, rows

    def grow(self, capacity: int) -> None:
        """Enlarge the arrays to ``capacity`` rows."""
        more = capacity - len(self.widths)
        self.widths = np.concatenate([self.widths, np.ones(more)])
        if self._sorted:
            self._values = np.concatenate([self._values, np.empty(more)])
            self._rows = np.concatenate([self._rows, np.empty(more, dtype=np.int64)])

    def update(
        self,
        dropped: list[tuple[int, float]],
        added: list[int],
        centres: np.ndarray,
        numbers: np.ndarray,
        order: np.ndarray,
    ) -> np.ndarray:
        """Drop and add kernels. Returns the rows whose bandwidth changed, the added ones included.

        Args:
            dropped: Rows whose kernels are gone, each with the centre it had.
            added: Rows with new kernels.
            centres: The kernels' centres by row.
            numbers: The trials' numbers by row; dropped rows still have theirs.
            order: The rows that have a kernel now, oldest trial first.
        """
        if self._ties and len(order) <= EXACT_TIES_UP_TO:
            self._sorted = False
            return self._recompute_all(centres, order, added)
        if not self._sorted:
            position = np.argsort(centres[order], kind="stable")
            self._sort(centres[order][position], order[position], len(self.widths))
            return self._recompute_all(centres, order, added)
        touched: set[int] = set(added)
        for row, centre in dropped:
            at = self._position(centre, int(numbers[row]), numbers)
            touched.update(self._neighbours(at))
            self._shift(at, -1)
        for row in added:
            at = self._position(float(centres[row]), int(numbers[row]), numbers)
            self._shift(at, 1)
            self._values[at], self._rows[at] = centres[row], row
            self._ties = self._ties or self._has_tie(at)
            touched.update(self._neighbours(at))
        if self._ties and len(order) <= EXACT_TIES_UP_TO:
            self._sorted = False
            return self._recompute_all(centres, order, added)
        touched.difference_update(row for row, _ in dropped if row not in added)
        return self._recompute(sorted(touched), set(added), centres, numbers)

    def _shift(self, position: int, by: int) -> None:
        """Open a gap in the sorted arrays at ``position`` (``by`` 1), or close one (``by`` -1)."""
        end = self._count
        if by > 0:
            self._values[position + 1 : end + 1] = self._values[position:end]
            self._rows[position + 1 : end + 1] = self._rows[position:end]
        else:
            self._values[position : end - 1] = self._values[position + 1 : end]
            self._rows[position : end - 1] = self._rows[position + 1 : end]
        self._count += by

    def _position(self, centre: float, number: int, numbers: np.ndarray) -> int:
        """Where the kernel of the trial ``number`` is, or belongs, in the sorted arrays."""
        values = self._values[: self._count]
        left = int(values.searchsorted(centre, "left"))
        right = int(values.searchsorted(centre, "right"))
        if left == right:
            return left
        return left + int(numbers[self._rows[left:right]].searchsorted(number, "left"))

    def _neighbours(self, position: int) -> list[int]:
        """The rows at and next to ``position``."""
        rows: list[int] = self._rows[max(0, position - 1) : min(self._count, position + 2)].tolist()
        return rows

    def _has_tie(self, position: int) -> bool:
        """Whether the centre at ``position`` equals one next to it."""
        near = self._values[max(0, position - 1) : min(self._count, position + 2)]
        return bool((near[1:] == near[:-1]).any())

    def _recompute(self, rows: list[int], new: set[int], centres: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        changed = []
        for row in rows:
            width = self._width(self._position(float(centres[row]), int(numbers[row]), numbers))
            if row in new or width != self.widths[row]:
                self.widths[row] = width
                changed.append(row)
        return np.array(changed, dtype=np.int64)

    def _width(self, position: int) -> float:
        values, last = self._values, self._count - 1
        endpoints = self._settings.endpoints
        found = -np.inf
        if position > 0 or endpoints or last < 1:
            found = float(values[position] - (values[position - 1] if position > 0 else self._axis.low))
        if position < last or endpoints or last < 1:
            found = max(found, float((values[position + 1] if position < last else self._axis.high) - values[position]))
        return min(max(found, self.min_width), self._axis.width)

    def _clipped(self, found: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(found, self.min_width, self._axis.width))

    def _recompute_all(self, centres: np.ndarray, order: np.ndarray, added: list[int]) -> np.ndarray:
        """Compute all bandwidths; returns the rows where they changed."""
        if self._sorted:
            order = self._rows[: self._count]
            found = self._clipped(neighbour_gaps(self._values[: self._count], self._axis, self._settings.endpoints))
        else:
            found = kernel_bandwidths(centres[order], self._axis, self._settings)
        self.widths[added] = math.nan  # differs from any new bandwidth, so that added rows count as changed
        changed: np.ndarray = order[found != self.widths[order]]
        self.widths[order] = found
        return changed
