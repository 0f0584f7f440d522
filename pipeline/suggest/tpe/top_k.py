"""The k smallest of a changing set of keys, without sorting all of them for each query."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable

Key = tuple[float, float, int]
"""Ranks a trial, the best first. It ends with the trial's number, so that no two keys are equal."""

MIN_KEPT = 128
"""Keys that are kept sorted at least: several times the 25 that TPE usually asks for, so that it rarely runs short."""


class TopK:
    """The smallest keys of a set that keys are added to and removed from.

    Keeps only the smallest keys, sorted. When removals leave too few for a query, it selects again from the whole set.

    Args:
        select: Returns the ``count`` smallest keys of the whole set, ascending.

    Attributes:
        count: The size of the whole set.
    """

    def __init__(self, select: Callable[[int], list[Key]]):
        self._select = select
        self._kept: list[Key] = []
        self._holds_all = True  # the kept keys are the whole set
        self._capacity = MIN_KEPT
        self.count = 0

    def add(self, key: Key) -> None:
        """Add a key that is not in the set."""
        self.count += 1
        if self._holds_all or (self._kept and key < self._kept[-1]):
            insort(self._kept, key)
            if len(self._kept) > 2 * self._capacity:
                del self._kept[self._capacity :]
                self._holds_all = False

    def remove(self, key: Key) -> None:
        """Remove a key that is in the set."""
        self.count -= 1
        place = bisect_left(self._kept, key)
        if place < len(self._kept) and self._kept[place] == key:
            del self._kept[place]

    def first(self, count: int) -> list[int]:
        """The trial numbers of the ``count`` smallest keys, ascending by key; fewer where the set is smaller."""
        count = min(count, self.count)
        if len(self._kept) < count:
            self._capacity = max(MIN_KEPT, 2 * count)
            self._kept = self._select(self._capacity)
            self._holds_all = len(self._kept) == self.count
        return [key[2] for key in self._kept[:count]]
