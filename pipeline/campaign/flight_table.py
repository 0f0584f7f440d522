"""A campaign's attempts, kept so that no look at them costs more than what it finds."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping

from .flight import Flight


class FlightTable(Mapping[str, Flight]):
    """The attempts in flight, by token.

    Attributes:
        waiting: Those that no worker has begun, by token.
        running: Those that one has begun, by token, in the order in which they began.
    """

    def __init__(self) -> None:
        self._all: dict[str, Flight] = {}
        self._tokens: dict[int, str] = {}  # by trial id
        self.waiting: dict[str, Flight] = {}
        self.running: dict[str, Flight] = {}

    def __getitem__(self, token: str) -> Flight:
        return self._all[token]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def add(self, flight: Flight) -> None:
        """An attempt was submitted."""
        self._all[flight.token] = flight
        self._tokens[flight.trial_id] = flight.token
        (self.running if flight.running else self.waiting)[flight.token] = flight

    def begin(self, flight: Flight, now: float) -> None:
        """A worker has begun it."""
        flight.started = now
        self.running[flight.token] = self.waiting.pop(flight.token)

    def take(self, token: str) -> Flight | None:
        """It is over: no longer in flight. None where it was not."""
        flight = self._all.pop(token, None)
        if flight is not None:
            self._tokens.pop(flight.trial_id, None)
            self.waiting.pop(token, None)
            self.running.pop(token, None)
        return flight

    def of_trial(self, trial_id: int) -> Flight | None:
        """The attempt of a trial that is in flight."""
        token = self._tokens.get(trial_id)
        return None if token is None else self._all[token]

    @property
    def oldest(self) -> Flight | None:
        """Of those that run the one that began first."""
        return next(iter(self.running.values()), None)


class BackoffQueue:
    """Trials that are not to be submitted again before a time of their own, ``flight.not_before``."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Flight]] = []
        self._order = itertools.count()

    def __iter__(self) -> Iterator[Flight]:
        return (flight for _, _, flight in self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, flight: Flight) -> None:
        heapq.heappush(self._heap, (flight.not_before, next(self._order), flight))

    def ready(self, now: float) -> list[Flight]:
        """Those whose time has come, the first first; they are not here any more."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            found.append(heapq.heappop(self._heap)[2])
        return found

    def clear(self) -> None:
        self._heap.clear()
