"""Shares demand among several sites, or pools: to the workers that there are, then to where blocks begin soonest.

Nothing here knows a scheduler or a clock, so that simulated campaigns share demand by the rule of real ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from ...pipeline.campaign.events import BlockView
from .shapes import MEMORY, MUCH_SOONER, PATIENCE, RECENT, Wait


class BlockWaits:
    """Learns how long the blocks of one site, or of one pool, wait.

    A block that is gone before it has begun counts with the time that it waited, and one that still waits with the time
    until now.

    >>> waits = BlockWaits()
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
        """Take over how its blocks are (``now``: Unix seconds)."""
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
    """The order in which sites or pools get work, from the seconds that the next block of each is expected to wait.

    It is their own, but one goes before another whose blocks wait for over ten minutes, and over twice as long.

    >>> by_wait([0.0, 0.0]), by_wait([500.0, 0.0]), by_wait([900.0, 0.0]), by_wait([900.0, 500.0])
    ([0, 1], [0, 1], [1, 0], [0, 1])
    """
    found: list[int] = []
    for number, wait in enumerate(waits):
        place = len(found)
        while place and waits[found[place - 1]] > max(PATIENCE, MUCH_SOONER * wait):
            place -= 1
        found.insert(place, number)
    return found


class SharedDemand:
    """Shares demand among several sites, or pools of one site.

    The workers that there are go on everywhere; what is left goes to one after the other, as far as each serves it,
    beginning with the one whose blocks start soonest.

    Args:
        names: In the order in which they get work while none of them has blocks that wait for long.

    Attributes:
        order: In which they got work the last time.

    >>> demand = SharedDemand(["theta", "polaris"])
    >>> told = {}
    >>> def serve(name, workers):
    ...     told[name] = workers
    ...     return min(workers, 8)
    >>> demand.share(20, {"theta": 0, "polaris": 2}, serve, now=0.0), told
    (16, {'theta': 18, 'polaris': 12})
    """

    def __init__(self, names: Iterable[str]):
        self._waits = {name: BlockWaits() for name in names}
        self.order = tuple(self._waits)

    def see(self, name: str, blocks: Sequence[BlockView], now: float) -> None:
        """Take over how the blocks of one of them are (``now``: Unix seconds)."""
        self._waits[name].see(blocks, now)

    def share(
        self,
        workers: int,
        here: Mapping[str, int],
        serve: Callable[[str, int], int],
        now: float,
        most: Mapping[str, int] | None = None,
    ) -> int:
        """Share the demand anew.

        Args:
            workers: How many could be kept busy in all.
            here: The workers that each of them has; those that are missing get none of the demand.
            serve: Called with each name and its part, in the order in which they get work; returns how many workers
                its blocks serve, or will once they start.
            now: Unix seconds.
            most: Name -> how many workers could be kept busy there at most; others could have all.

        Returns:
            How many of them are served.
        """
        left, own, most = workers, dict[str, int](), most or {}
        for name, there in here.items():
            own[name] = min(left, there, most.get(name, left))
            left -= own[name]
        names = list(here)
        self.order = tuple(names[i] for i in by_wait([self._waits[name].expected(now) for name in names]))
        for name in self.order:
            part = min(own[name] + left, most.get(name, workers))
            left -= max(0, min(part, serve(name, part)) - own[name])
        return workers - left
