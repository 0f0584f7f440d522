"""Collections of flights, built so that no lookup costs more than what it finds."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping

from .flight import Flight
from .flight_states import IN_FLIGHT, Move, State, require


class FlightTable(Mapping[str, Flight]):
    """The attempts that the pool has, by token.

    Attributes:
        waiting: Attempts that no worker has begun (SUBMITTED), by token.
        running: Attempts that a worker has begun (RUNNING), by token, in the order in which they began.

    Each attempt is in exactly one of the two, and a trial has at most one.
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
        """The attempt was submitted, by this driver or by a dead one."""
        flight.move(Move.SUBMIT)
        self._all[flight.token] = flight
        self._tokens[flight.trial_id] = flight.token
        self.waiting[flight.token] = flight

    def begin(self, flight: Flight, now: float) -> None:
        """A worker has begun the attempt."""
        flight.move(Move.START)
        flight.started = flight.last_report = now
        self.running[flight.token] = self.waiting.pop(flight.token)

    def pop(self, token: str, move: Move) -> Flight | None:
        """Remove an attempt that is over (RETURN) or given up (LEAVE); None where there is none with this token."""
        flight = self._all.pop(token, None)
        if flight is not None:
            flight.move(move)
            self._tokens.pop(flight.trial_id, None)
            self.waiting.pop(token, None)
            self.running.pop(token, None)
        return flight

    def of_trial(self, trial_id: int) -> Flight | None:
        """The trial's attempt; None where it has none in flight."""
        token = self._tokens.get(trial_id)
        return None if token is None else self._all[token]

    @property
    def oldest(self) -> Flight | None:
        """The running attempt that began first."""
        return next(iter(self.running.values()), None)

    def validate(self) -> None:
        """Check the table and each flight in it. Raises BrokenInvariant with a sentence."""
        parts = len(self.waiting) + len(self.running)
        require(parts == len(self._all), f"{len(self._all)} attempts, but {parts} that wait or run")
        require(len(self._tokens) == len(self._all), f"{len(self._all)} attempts of {len(self._tokens)} trials")
        began = 0.0
        for token, flight in self._all.items():
            name = f"trial {flight.number} ({flight.state.name})"
            require(flight.token == token, f"{name} is kept under the token {token!r}, but has {flight.token!r}")
            require(self._tokens.get(flight.trial_id) == token, f"{name} is not found by its trial id")
            require(flight.state in IN_FLIGHT, f"{name} is among the attempts in flight")
            home = self.running if flight.state is State.RUNNING else self.waiting
            require(home.get(token) is flight, f"{name} is not kept where the attempts of its state are")
            flight.validate()
        for flight in self.running.values():
            require((flight.started or 0.0) >= began, f"trial {flight.number} is not in the order of starts")
            began = flight.started or 0.0


class BackoffQueue:
    """Trials that must not be submitted before their ``not_before``; a heap, earliest first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Flight]] = []
        self._order = itertools.count()

    def __iter__(self) -> Iterator[Flight]:
        return (flight for _, _, flight in self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, flight: Flight, not_before: float) -> None:
        """Keep the trial until then (Unix seconds)."""
        flight.move(Move.BACK_OFF)
        flight.not_before = not_before
        heapq.heappush(self._heap, (not_before, next(self._order), flight))

    def pop_ready(self, now: float) -> list[Flight]:
        """Remove and return the trials whose time has come, the earliest first."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            found.append(heapq.heappop(self._heap)[2])
        return found

    def clear(self) -> None:
        """Leave all of them to a later campaign."""
        for flight in self:
            flight.move(Move.LEAVE)
        self._heap.clear()

    def validate(self) -> None:
        """Check the heap and each flight in it. Raises BrokenInvariant with a sentence."""
        for place, (moment, _, flight) in enumerate(self._heap):
            name = f"trial {flight.number} ({flight.state.name})"
            require(flight.state is State.BACKED_OFF, f"{name} is in the backoff queue")
            require(flight.not_before == moment, f"{name} waits until {moment}, but says {flight.not_before}")
            require(self._heap[(place - 1) // 2][0] <= moment or not place, f"{name} is out of order in the heap")
            flight.validate()
