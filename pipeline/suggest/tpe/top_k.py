"""The best of many trials without sorting them all at each question."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable

Key = tuple[float, float, int]
"""What a trial is ranked by, the least first; at the end its number, so that no two are equal."""

ROOM = 128


class Best:
    """The first few of a growing, shrinking set of keys.

    Keeps ``ROOM`` of them in order, and asks for a fresh selection when it runs short.

    Args:
        select: Gives the first ``count`` keys of the whole set, in order.
    """

    def __init__(self, select: Callable[[int], list[Key]]):
        self._select = select
        self._kept: list[Key] = []
        self._all = True  # nothing was cut off
        self._room = ROOM
        self.count = 0

    def add(self, key: Key) -> None:
        self.count += 1
        if self._all or (self._kept and key < self._kept[-1]):
            insort(self._kept, key)
            if len(self._kept) > 2 * self._room:
                del self._kept[self._room :]
                self._all = False

    def remove(self, key: Key) -> None:
        self.count -= 1
        place = bisect_left(self._kept, key)
        if place < len(self._kept) and self._kept[place] == key:
            del self._kept[place]

    def first(self, count: int) -> list[int]:
        """The numbers of the first ``count``, or of all when there are not so many."""
        count = min(count, self.count)
        if len(self._kept) < count:
            self._room = max(ROOM, 2 * count)
            self._kept = self._select(self._room)
            self._all = len(self._kept) == self.count
        return [key[2] for key in self._kept[:count]]
