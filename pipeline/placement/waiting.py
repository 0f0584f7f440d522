"""What waits to be placed, and the pools as they are."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .features import Params


@dataclass(frozen=True)
class PoolRoom:
    """A pool as it is now.

    Attributes:
        workers: How many trials it runs at once.
        memory: Of one worker, in bytes; None where that is not known.
        size: How large a worker is compared with those of other pools; only SHADHO's rule asks. Pools of equal size are
            in the order in which they are named.
        back: Where it has no workers: when it is expected to have some, on the clock of all calls; None: not known.
    """

    workers: int
    memory: float | None = None
    size: float = 0.0
    back: float | None = None

    def wait(self, now: float) -> float:
        """Seconds until it has workers. One that is late is expected to be as late again."""
        return 0.0 if self.back is None else abs(self.back - now)


@dataclass
class Entry:
    """A trial that waits.

    Attributes:
        key: Its name.
        params: Its parameters.
        since: When it began to wait.
        allowed: The pools that it may run in; None: all.
        kind: For the policy that decides: the kind of trials that it belongs to.
        fits: For the same: the pools that it should run in, also those that have no workers at the moment; empty where
            the policy does not ask.
        usable: For the same: those of them that have workers.
        values: For the same: what must have run in a pool before this trial is nothing new there.
    """

    key: Hashable
    params: Params
    since: float
    allowed: frozenset[str] | None
    kind: int = 0
    fits: frozenset[str] = frozenset()
    usable: frozenset[str] = frozenset()
    values: frozenset[tuple[str, object]] = frozenset()

    def may(self, pool: str) -> bool:
        """Whether the study file lets it run in a pool."""
        return self.allowed is None or pool in self.allowed


class Rule(Protocol):
    """How a freed worker chooses."""

    def pools(self, rooms: dict[str, PoolRoom]) -> None:
        """The pools are these now."""

    def added(self, entry: Entry) -> None:
        """A trial waits."""

    def choose(self, pool: str, waiting: Iterable[Entry], now: float) -> Entry | None:
        """The trial that begins in the pool, of those that wait, the oldest first; None: none may run there."""

    def begun(self, entry: Entry, pool: str, now: float) -> None:
        """A trial was taken."""

    def ended(self, key: Hashable) -> None:
        """A trial that was taken has ended."""


class FirstCome:
    """The oldest trial that may run in the pool."""

    def pools(self, rooms: dict[str, PoolRoom]) -> None:
        """Nothing to do."""

    def added(self, entry: Entry) -> None:
        """Nothing to do."""

    def choose(self, pool: str, waiting: Iterable[Entry], now: float) -> Entry | None:
        """The oldest."""
        return oldest(waiting, pool)

    def begun(self, entry: Entry, pool: str, now: float) -> None:
        """Nothing to do."""

    def ended(self, key: Hashable) -> None:
        """Nothing to do."""


def oldest(waiting: Iterable[Entry], pool: str) -> Entry | None:
    """The first of the waiting trials that may run in a pool."""
    return next((entry for entry in waiting if entry.may(pool)), None)


def in_order(rooms: dict[str, PoolRoom]) -> Sequence[str]:
    """The pools' names, those with small workers first."""
    return sorted(rooms, key=lambda name: rooms[name].size)
