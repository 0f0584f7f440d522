"""The end of a campaign: which trials a worker leaves to other pools, so that the last one ends early.

While many trials are still to come, no worker stays idle. Near the end, a long trial that begins in a slow pool is what
everybody waits for. So a pool begins only what probably ends before the last trial begins anywhere, or runs about as
fast there as anywhere; the longest first. Of what is left, a trial begins where it ends earliest: here, or in a faster
pool after what runs and waits there.

Approximate: durations are the mean predicted ones of the kinds, and the last trial begins when the linear program's
rate says so. A pool that has no workers at the moment is expected to have one as late as it usually has.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from .planner import Plan
from .waiting import Entry, PoolRoom

AS_FAST = 1.3
"""A pool is about as fast as another if a trial takes no more than so many times the seconds there."""

LATE = 0.25
"""A trial that runs for longer than predicted is expected to run on for this part of its time so far."""


def until_last_begins(plan: Plan, trials: int) -> float:
    """Seconds until the last of so many trials begins."""
    return trials / plan.shares.rate if plan.shares is not None and plan.shares.rate > 0 else math.inf


def is_near(plan: Plan, pool: str, seconds: float) -> bool:
    """Whether the last trial begins so soon that some kind of trial would end later in this pool."""
    place = plan.pools.index(pool)
    return bool((plan.seconds[plan.may[:, place], place] > seconds).any())


class Ending:
    """What a freed worker takes near the end.

    Args:
        plan: Kinds and their seconds.
        rooms: The pools, also those that are expected to have workers again.
        waiting: All trials that wait, the oldest first.
        seconds: Until the last trial begins.
        running: Of each trial that runs: its kind, its pool, and for how many seconds it has run. Read once at most.
        now: Seconds on the clock of all calls.
    """

    def __init__(
        self,
        plan: Plan,
        rooms: Mapping[str, PoolRoom],
        waiting: Sequence[Entry],
        seconds: float,
        running: Iterable[tuple[int, str, float]],
        now: float,
    ) -> None:
        self._plan, self._rooms, self._waiting, self._until, self._running = plan, rooms, waiting, seconds, running
        self._waits = {name: room.wait(now) for name, room in rooms.items()}
        self._seconds: list[dict[str, float]] = [
            dict(zip(plan.pools, row, strict=True)) for row in plan.seconds.tolist()
        ]
        # Thousands of trials may wait, which differ in these two only.
        self._best_of: dict[tuple[int, frozenset[str]], str | None] = {}

    def choose(self, pool: str, least_lost: Callable[[Iterable[int], int], int]) -> Entry | None:
        """The trial that begins in a pool; None: those that wait end earlier elsewhere.

        Args:
            pool: The pool.
            least_lost: Chooses between kinds that have no share in the pool of this column.
        """
        plan, place = self._plan, self._plan.pools.index(pool)
        fitting = [entry for entry in self._waiting if pool in entry.usable and self._fits(entry, pool)]
        assert plan.shares is not None
        due = [entry for entry in fitting if plan.shares.shares[entry.kind, place] > 0]
        if due:
            return max(due, key=lambda entry: self._seconds[entry.kind][pool])
        if fitting:
            kind = least_lost({entry.kind for entry in fitting}, place)
            return next(entry for entry in fitting if entry.kind == kind)
        gain, entry = max(
            ((ends - self._seconds[entry.kind][pool], entry) for entry, ends in self._ends() if pool in entry.usable),
            key=lambda each: each[0],
            default=(0.0, None),
        )
        return entry if gain > 0 else None

    def _fits(self, entry: Entry, pool: str) -> bool:
        best, seconds = self._best(entry), self._seconds[entry.kind]
        assert best is not None, "it may run in the pool that is asked about"
        return seconds[pool] <= max(self._until, AS_FAST * (self._waits[best] + seconds[best]))

    def _ends(self) -> Iterator[tuple[Entry, float]]:
        """Of each trial that waits, seconds until it ends where it runs fastest, after what runs and waits there."""
        free = self._free()
        for entry in self._waiting:
            name = self._best(entry)
            if name is not None:
                ends = free[name][0] + self._seconds[entry.kind][name]
                heapq.heapreplace(free[name], ends)
                yield entry, ends

    def _best(self, entry: Entry) -> str | None:
        """The pool in which a trial runs fastest, counted from when that has workers; None where it may run nowhere."""
        key = entry.kind, entry.fits
        if key not in self._best_of:
            seconds, pools = self._seconds[entry.kind], [name for name in self._rooms if name in entry.fits]
            self._best_of[key] = min(pools, key=lambda name: (self._waits[name] + seconds[name], name), default=None)
        return self._best_of[key]

    def _free(self) -> dict[str, list[float]]:
        """By pool, seconds until each of its workers has ended what it runs; heaps. One is expected where none is."""
        found: dict[str, list[float]] = {name: [] for name in self._rooms}
        for kind, pool, ran in self._running:
            if pool in found:
                found[pool].append(self._waits[pool] + max(self._seconds[kind][pool] - ran, LATE * ran))
        for name, ends in found.items():
            workers = max(1, self._rooms[name].workers)
            surplus, ends[workers:] = ends[workers:], [self._waits[name]] * (workers - len(ends))
            heapq.heapify(ends)
            for end in surplus:  # more run than there are workers now: they follow each other
                heapq.heapreplace(ends, ends[0] + end - self._waits[name])
        return found
