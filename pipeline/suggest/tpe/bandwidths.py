"""The widths of many kernels along one axis, kept up to date as kernels come and go."""

from __future__ import annotations

import math

import numpy as np

from .axes import Axis
from .mixture import Settings, deviations, gaps

EXACT = 4096
"""Kernels up to which equal centres are ordered as in Optuna: by an unstable sort of all of them, which need not be the
same on all processors. With more, the older of two equal centres comes first."""


class Line:
    """The kernels of one axis; rows are places in the arrays that all axes share.

    Attributes:
        widths: Standard deviations by row.
    """

    def __init__(self, axis: Axis, settings: Settings):
        self._axis, self._settings = axis, settings
        self.widths = np.ones(0)
        self.narrowest = settings.narrowest(axis, EXACT)
        self._values, self._rows, self._count = np.empty(0), np.empty(0, dtype=np.int64), 0
        self._sorted = False
        self._ties = bool(axis.step)

    def build(self, centres: np.ndarray, order: np.ndarray, capacity: int) -> None:
        """Begin anew; ``centres`` by row, ``order``: the rows, oldest trial first."""
        self.widths = np.ones(capacity)
        mine = centres[order]
        place = np.argsort(mine, kind="stable")
        ordered = mine[place]
        self._ties = bool(self._axis.step) or bool((ordered[1:] == ordered[:-1]).any())
        if self._ties and len(order) <= EXACT:
            self._sorted = False
            self.widths[order] = deviations(mine, self._axis, self._settings)
            return
        self._sort(ordered, order[place], capacity)
        self.widths[self._rows[: self._count]] = self._clipped(gaps(ordered, self._axis, self._settings.endpoints))

    def _sort(self, ordered: np.ndarray, rows: np.ndarray, capacity: int) -> None:
        self._count, self._sorted = len(ordered), True
        self._values, self._rows = np.empty(capacity), np.empty(capacity, dtype=np.int64)
        self._values[: self._count], self._rows[: self._count] = ordered, rows

    def grow(self, capacity: int) -> None:
        more = capacity - len(self.widths)
        self.widths = np.concatenate([self.widths, np.ones(more)])
        if self._sorted:
            self._values = np.concatenate([self._values, np.empty(more)])
            self._rows = np.concatenate([self._rows, np.empty(more, dtype=np.int64)])

    def change(
        self,
        dropped: list[tuple[int, float]],
        added: list[int],
        centres: np.ndarray,
        numbers: np.ndarray,
        order: np.ndarray,
    ) -> np.ndarray:
        """Rows went (each with the centre it had) and came; returns those whose width changed, the new ones among them.

        Args:
            numbers: Of the trials, by row; those that went keep theirs until this was called.
            order: The rows that are left, oldest trial first.
        """
        if self._ties and len(order) <= EXACT:
            self._sorted = False
            return self._anew(centres, order, added)
        if not self._sorted:
            place = np.argsort(centres[order], kind="stable")
            self._sort(centres[order][place], order[place], len(self.widths))
            return self._anew(centres, order, added)
        touched: set[int] = set(added)
        for row, centre in dropped:
            at = self._place(centre, int(numbers[row]), numbers)
            touched.update(self._around(at))
            self._shift(at, -1)
        for row in added:
            at = self._place(float(centres[row]), int(numbers[row]), numbers)
            self._shift(at, 1)
            self._values[at], self._rows[at] = centres[row], row
            self._ties = self._ties or self._equal(at)
            touched.update(self._around(at))
        if self._ties and len(order) <= EXACT:
            self._sorted = False
            return self._anew(centres, order, added)
        touched.difference_update(row for row, _ in dropped if row not in added)
        return self._refresh(sorted(touched), set(added), centres, numbers)

    def _shift(self, place: int, by: int) -> None:
        end = self._count
        if by > 0:
            self._values[place + 1 : end + 1] = self._values[place:end]
            self._rows[place + 1 : end + 1] = self._rows[place:end]
        else:
            self._values[place : end - 1] = self._values[place + 1 : end]
            self._rows[place : end - 1] = self._rows[place + 1 : end]
        self._count += by

    def _place(self, centre: float, number: int, numbers: np.ndarray) -> int:
        values = self._values[: self._count]
        left = int(values.searchsorted(centre, "left"))
        right = int(values.searchsorted(centre, "right"))
        if left == right:
            return left
        return left + int(numbers[self._rows[left:right]].searchsorted(number, "left"))

    def _around(self, place: int) -> list[int]:
        rows: list[int] = self._rows[max(0, place - 1) : min(self._count, place + 2)].tolist()
        return rows

    def _equal(self, place: int) -> bool:
        near = self._values[max(0, place - 1) : min(self._count, place + 2)]
        return bool((near[1:] == near[:-1]).any())

    def _refresh(self, rows: list[int], new: set[int], centres: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        changed = []
        for row in rows:
            width = self._width(self._place(float(centres[row]), int(numbers[row]), numbers))
            if row in new or width != self.widths[row]:
                self.widths[row] = width
                changed.append(row)
        return np.array(changed, dtype=np.int64)

    def _width(self, place: int) -> float:
        values, last = self._values, self._count - 1
        endpoints = self._settings.endpoints
        found = -np.inf
        if place > 0 or endpoints or last < 1:
            found = float(values[place] - (values[place - 1] if place > 0 else self._axis.low))
        if place < last or endpoints or last < 1:
            found = max(found, float((values[place + 1] if place < last else self._axis.high) - values[place]))
        return min(max(found, self.narrowest), self._axis.width)

    def _clipped(self, found: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(found, self.narrowest, self._axis.width))

    def _anew(self, centres: np.ndarray, order: np.ndarray, added: list[int]) -> np.ndarray:
        if self._sorted:
            order = self._rows[: self._count]
            found = self._clipped(gaps(self._values[: self._count], self._axis, self._settings.endpoints))
        else:
            found = deviations(centres[order], self._axis, self._settings)
        self.widths[added] = math.nan  # differs from whatever comes
        changed: np.ndarray = order[found != self.widths[order]]
        self.widths[order] = found
        return changed
