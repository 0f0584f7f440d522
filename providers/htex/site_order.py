"""Decides which of several sites gets further work first: the one whose blocks are expected to begin soonest."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ...pipeline.campaign.events import BlockView
from ..blocks.shapes import MEMORY, MUCH_SOONER, PATIENCE, RECENT, Wait


class SiteWaits:
    """Learns how long the blocks of one site wait.

    A block that is gone before it has begun counts with the time that it waited, and one that still waits with the time
    until now.

    >>> waits = SiteWaits()
    >>> waits.see([BlockView("cpu", "0", "j1", "queued", since=100.0)], now=100.0)
    >>> waits.expected(now=1000.0)
    900.0
    >>> waits.see([BlockView("cpu", "0", "j1", "running", since=1300.0, began=1300.0)], now=1310.0)
    >>> waits.expected(now=2000.0)
    600.0
    """

    def __init__(self) -> None:
        self._queued: dict[tuple[str, str], float] = {}  # pool and block -> when it was submitted
        self._over: deque[tuple[float, float, bool]] = deque(maxlen=RECENT)
        # when each was over, how long it waited, and whether it has begun

    def see(self, blocks: Sequence[BlockView], now: float) -> None:
        """Take over how the site's blocks are (``now``: Unix seconds)."""
        known = {(block.pool, block.block): block for block in blocks}
        for key, submitted in list(self._queued.items()):
            block = known.get(key)
            if block is None or block.state != "queued":
                began = None if block is None else block.began
                self._over.append((now, max(0.0, (now if began is None else began) - submitted), began is not None))
                del self._queued[key]
        for key, block in known.items():
            if block.state == "queued":
                self._queued.setdefault(key, block.since)

    def expected(self, now: float) -> float:
        """Seconds that the next block is expected to wait, see :class:`~pilotune.providers.blocks.shapes.Wait`."""
        over = [(seconds, begun) for at, seconds, begun in self._over if at >= now - MEMORY]
        waiting = [now - submitted for submitted in self._queued.values()]
        seconds = sum(waiting) + sum(seconds for seconds, _ in over)
        return Wait(seconds, begun=sum(begun for _, begun in over)).expected


def by_wait(waits: Sequence[float]) -> list[int]:
    """The order in which sites get work, from the seconds that the next block of each is expected to wait.

    It is their own, but a site goes before another whose blocks wait for over ten minutes, and over twice as long.

    >>> by_wait([0.0, 0.0]), by_wait([500.0, 0.0]), by_wait([900.0, 0.0]), by_wait([900.0, 500.0])
    ([0, 1], [0, 1], [1, 0], [0, 1])
    """
    found: list[int] = []
    for site, wait in enumerate(waits):
        place = len(found)
        while place and waits[found[place - 1]] > max(PATIENCE, MUCH_SOONER * wait):
            place -= 1
        found.insert(place, site)
    return found
