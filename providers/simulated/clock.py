"""A virtual clock that jumps from one scheduled call to the next; any number of simulated pools may share it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class VirtualTime:
    """The physical time of a simulation. Simulated clocks may be set; this never goes backwards.

    Args:
        now: Seconds at the start.

    Attributes:
        now: Seconds.

    >>> time = VirtualTime()
    >>> time.at(5.0, lambda: print("five"))
    >>> time.advance(10.0)
    five
    >>> time.now
    10.0
    """

    def __init__(self, now: float = 0.0):
        self.now = now
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, delay: float, what: Callable[[], None]) -> None:
        """Call ``what`` in ``delay`` seconds; calls of the same moment are made in the order of scheduling."""
        heapq.heappush(self._agenda, (self.now + delay, next(self._order), what))

    def step(self, end: float) -> bool:
        """Move to the next scheduled moment, but not beyond ``end``, and make all calls of that moment.

        Returns False where nothing is scheduled until ``end``; the time is then ``end``.
        """
        if not self._agenda or self._agenda[0][0] > max(end, self.now):
            self.now = max(self.now, end)
            return False
        self.now = max(self.now, self._agenda[0][0])
        while self._agenda and self._agenda[0][0] <= self.now:
            heapq.heappop(self._agenda)[2]()
        return True

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, and make every call that is scheduled in them."""
        end = self.now + seconds
        while self.step(end):
            pass
