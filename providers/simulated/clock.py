"""A clock that moves from one thing that happens to the next, for any number of simulated pools."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class VirtualTime:
    """Physical time of a simulation: nobody's clock, and it never jumps.

    Attributes:
        now: Seconds.
    """

    def __init__(self, now: float = 0.0):
        self.now = now
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, delay: float, what: Callable[[], None]) -> None:
        """Have ``what`` happen ``delay`` seconds from now; of several at one moment, in the order of these calls."""
        heapq.heappush(self._agenda, (self.now + delay, next(self._order), what))

    def step(self, end: float) -> bool:
        """Move to the next moment at which anything happens, at most to ``end``, and let all of that moment happen.

        False where nothing happens until then; it is ``end`` now.
        """
        if not self._agenda or self._agenda[0][0] > max(end, self.now):
            self.now = max(self.now, end)
            return False
        self.now = max(self.now, self._agenda[0][0])
        while self._agenda and self._agenda[0][0] <= self.now:
            heapq.heappop(self._agenda)[2]()
        return True

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, with all that happens in them."""
        end = self.now + seconds
        while self.step(end):
            pass
