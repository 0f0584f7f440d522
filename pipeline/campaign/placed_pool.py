"""A pool that gives each attempt to the one of several pools where it should run, by what it costs there.

It stands between the campaign and the pools of a site. Attempts wait here rather than in a queue of one pool, and a
worker that becomes free takes the one that :class:`~pilotune.pipeline.placement.Placement` chooses for its pool.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...exit_codes import FINISHED
from ...grammar import named
from ..placement import Placement, PoolRoom
from ..trial.protocol import AttemptSpec, Report, Started
from .cost_learner import CostLearner
from .events import Action, Capacity, Ended, Event, Lost, PoolCapacity, Scale, StopAttempt, StopRequested, Submit
from .limits import UNLIMITED, ahead
from .pool import Pool

GIVEN_UP = "the pool that could run it was given up"
"""Why an attempt that waited was lost."""

MOST_STRANDED = 64
"""Most attempts that wait for pools without workers, in addition to those that others can run."""

UNPAID = 10.0
"""Seconds after which the campaign ends where nothing runs, and no pool where it would run gets another block."""

RECENT = 64
"""Attempts from which it is known how many of the next ones may run in each pool."""

GAPS = 5
"""Last times for which a pool had no workers, from which it is expected when it has some again."""

OVERDUE = 3.0
"""After so many times as long, trials wait for it no more, and want workers of other pools again."""

UNASKED = 20.0
"""Seconds without a new attempt for a pool with free workers after which none is expected there, so that no idle block
is kept for it. Shorter than the 60 s after which idle blocks may be ended."""


class PlacedPool:
    """Several pools as one, whose attempts are placed. Implements :class:`.pool.Pool`.

    Args:
        inner: Runs the attempts. It says what each pool can run (``Capacity.pools``), and runs an attempt in the pool
            that ``Submit.pool`` names.
        placement: Chooses.
        learner: Learns what attempts cost; by its costs ``placement`` chooses.
        memory: Pool -> bytes that a trial can have there; a pool that is not named has unknown memory.

    ::

        costs = Costs(["cpu", "gpu"])
        pool = PlacedPool(parsl_pool, Placement("learned", costs), CostLearner(costs), {"cpu": 4e9})
    """

    def __init__(
        self, inner: Pool, placement: Placement, learner: CostLearner, memory: Mapping[str, float] | None = None
    ):
        self.inner, self.placement, self.learner, self._memory = inner, placement, learner, memory or {}
        self._waiting: dict[str, AttemptSpec] = {}  # by token, in their order
        self._homes: dict[str, str] = {}  # token -> pool, of those that were given to one
        self._load: Counter[str] = Counter()  # how many of them each pool has
        self._allowed: dict[str, tuple[str, ...] | None] = {}  # of those that wait, as ``placement`` was told
        self._rooms: dict[str, PoolCapacity] = {}
        self._gone: dict[str, float] = {}  # pool without workers -> since when
        self._gaps: dict[str, deque[float]] = {}  # pool -> for how long it had none, the last times
        self._overdue: set[str] = set()  # pools without workers of which none is expected soon
        self._latency = 0.0
        self._recent: deque[tuple[str, ...]] = deque(maxlen=RECENT)  # the pools that may run recent attempts
        self._asked: dict[str, float] = {}  # pool -> when an attempt last came that may run there
        self._unasked: set[str] = set()  # pools for which nothing has come for a while
        self._capacity: Capacity | None = None  # the last that the campaign got
        self._spent: frozenset[str] = frozenset()  # pools whose next block the budget in node-hours cannot pay
        self._unpaid: float | None = None  # since when nothing can run
        self._lost: list[Event] = []
        self._scale: Scale | None = None  # the last that the pools got
        self._demand: Scale | None = None  # the last of the campaign's
        self._done_with: set[str] = set()  # pools whose free workers nothing took since the last trial was asked for

    # -- Pool ---------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.inner.now()

    def pause(self, seconds: float) -> None:
        self.inner.pause(seconds)

    def close(self) -> None:
        self.inner.close()

    def wait(self, timeout: float) -> list[Event]:
        events, self._lost = self._lost, []
        events += [self._seen(event) for event in self.inner.wait(0.0 if events else timeout)]
        self._place()
        self._rescale()
        self._add_stranded(events)
        return events

    def perform(self, actions: Sequence[Action]) -> None:
        passed: list[Action] = []
        for action in actions:
            if isinstance(action, Submit):
                self._put(action.spec)
            elif isinstance(action, StopAttempt) and action.token in self._waiting:
                self._lose(action.token, "it was stopped before it had begun")
            elif isinstance(action, Scale):
                self._spent, self._demand = action.spent, action
                self._tell_rooms()
            else:
                passed.append(action)
        self.inner.perform(passed)
        self._place()
        self._rescale()

    def _rescale(self) -> None:
        """Tell the pools how many workers can be kept busy, where that has changed."""
        if self._demand is not None:
            self._unasked = self._unasked_pools()
            scale = replace(self._demand, most=self._most(self._demand.workers))
            if scale != self._scale:
                self._scale = scale
                self.inner.perform([scale])

    # -- what waits ---------------------------------------------------------------------------------------------------

    def _put(self, spec: AttemptSpec) -> None:
        """An attempt waits from now on."""
        if self._given_up(spec):
            self._lost.append(Lost(spec.token, GIVEN_UP))
            return
        self._waiting[spec.token] = spec
        self._recent.append(tuple(spec.pools))
        self._asked |= dict.fromkeys(spec.pools or self._rooms, self.now())
        self._tell(spec)

    def _tell(self, spec: AttemptSpec) -> None:
        allowed = self._allowed[spec.token] = self._may_run(spec)
        self.placement.put(spec.token, spec.params, self.now(), allowed)

    def _may_run(self, spec: AttemptSpec) -> tuple[str, ...] | None:
        """The pools that may run an attempt, without those that have no host but such as it avoids; None for all."""
        named = tuple(spec.pools) or None
        if not spec.avoid:
            return named
        rooms = [room for room in self._rooms.values() if named is None or room.name in named]
        others = tuple(room.name for room in rooms if not room.hosts or not room.hosts <= set(spec.avoid))
        return others or named

    def _given_up(self, spec: AttemptSpec) -> bool:
        """Whether all pools that may run an attempt were given up."""
        return bool(self._rooms and spec.pools) and not any(name in self._rooms for name in spec.pools)

    def _lose(self, token: str, reason: str) -> None:
        """An attempt that waits will not begin."""
        del self._waiting[token], self._allowed[token]
        self.placement.remove(token)
        self._lost.append(Lost(token, reason))

    def _place(self) -> None:
        """Give waiting attempts to pools with room, first to the one that has the most of it."""
        overdue = self._found_overdue()
        if overdue != self._overdue:
            self._overdue = overdue
            self._tell_rooms()
        given: list[Action] = []
        coming = self._coming()
        self.placement.coming(coming)
        if coming != 0:
            self._done_with.clear()
        elif not self._waiting:
            self._done_with.update(self._rooms)
        rooms = {room.name: room for room in self._rooms.values() if room.workers}
        while self._waiting and rooms:
            name = max(rooms, key=lambda name: self._free(rooms[name]) / rooms[name].workers)
            token = self.placement.take(name, self.now()) if self._free(rooms[name]) > 0 else None
            if token is None:
                if coming == 0 and self._free(rooms[name]) > 0:
                    self._done_with.add(name)
                del rooms[name]
            else:
                self._done_with.discard(name)
                given.append(self._give(str(token), name))
        if given:
            self.inner.perform(given)

    def _coming(self) -> int | None:
        """How many attempts will be put besides those that wait; None: there is no limit on trials."""
        if self._demand is None or self._demand.workers >= UNLIMITED:
            return None
        return max(0, self._demand.workers - len(self._waiting) - len(self._homes))

    def _give(self, token: str, pool: str) -> Submit:
        spec = self._waiting.pop(token)
        del self._allowed[token]
        self._homes[token] = pool
        self._load[pool] += 1
        return Submit(self.learner.submitted(spec, pool), pool)

    def _free(self, room: PoolCapacity) -> int:
        """How many more attempts a pool can take, with what is given to it ahead of its workers."""
        more = ahead(room.workers, self._latency, self.learner.median(room.name))
        return (room.workers if room.in_flight is None else room.in_flight) + more - self._load[room.name]

    def _most(self, workers: int) -> dict[str, int]:
        """How many of so many workers could be kept busy in each pool; without those where all of them could.

        What runs in a pool stays there, what waits may begin where it is allowed, and what the campaign has still to
        ask for is like recent attempts. In a pool that the end of the campaign does not need: those that are busy, and
        what only such pools may run.
        """
        found, waiting = {}, self._pools_of_waiting()
        future = max(0, workers - len(waiting) - len(self._homes))
        recent = self._pools_of_recent()
        for name in self._rooms:
            if name in self._done_with:
                only = [pools for pools in waiting if pools <= self._done_with | self._overdue]
                found[name] = self._load[name] + sum(name in pools for pools in only)
                continue
            may = sum(name in allowed for allowed in recent)
            here = self._load[name] + sum(name in allowed for allowed in waiting)
            if name not in self._unasked and future:
                here += -(-future * may // len(recent)) if recent else future
                if may == len(recent) and all(name in allowed for allowed in waiting):
                    continue
            found[name] = here
        return found

    def _unasked_pools(self) -> set[str]:
        """The pools with free workers, for which nothing waits and has come for a while; until something comes.

        None while nothing runs or waits, and no other pool may run what recent attempts are like: without any worker
        the campaign asks for nothing, so nothing would come.
        """
        now, idle = self.now(), self._rooms.keys() - set().union(*self._pools_of_waiting())
        idle = {name for name in idle if self._recent and now - self._asked[name] >= UNASKED}
        found = {name for name in idle if name in self._unasked or self._load[name] < self._rooms[name].workers}
        if self._homes or self._waiting:
            return found
        others = self._rooms.keys() - found
        return found if others & set().union(*(self._pools_of_recent() or [others])) else set()

    def _add_stranded(self, events: list[Event]) -> None:
        """Let the campaign ask for as many more attempts as wait for pools without workers, or end if nothing can run.

        Otherwise those that only a pool may run whose blocks are queued would keep all others from being asked for.
        """
        choice = self._choice()
        if self._capacity is not None and self._capacity.choice != choice:
            self._capacity = replace(self._capacity, choice=choice)
            events.append(self._capacity)
        if any(map(self.learner.has_begun, self._homes)):
            self._unpaid = None
            return
        left = self._pools_of_waiting() + [{pool} for pool in self._homes.values()]
        unpaid = all(pools and self._without_workers(pools) and pools <= self._spent for pools in left)
        if not left or not unpaid:
            self._unpaid = None
        elif self._unpaid is None:
            self._unpaid = self.now()
        elif self.now() - self._unpaid > UNPAID:
            self._unpaid = self.now()
            which = named("pool", sorted(set().union(*left)))
            reason = f"the budget in node-hours pays for no further block of {which}, where what is left would run"
            events.append(StopRequested("finish", reason, FINISHED))

    def _choice(self) -> int:
        """How many attempts may wait: those to choose from, and those that wait for pools without workers."""
        stranded = sum(map(self._without_workers, self._pools_of_waiting()))
        return self.placement.ahead + min(MOST_STRANDED, stranded)

    def _pools_of_waiting(self) -> list[set[str]]:
        """Of each attempt that waits, the pools where it should run."""
        return [set(self.placement.fits(token) or pools or self._rooms) for token, pools in self._allowed.items()]

    def _pools_of_recent(self) -> list[set[str]]:
        """Of each recent attempt, the pools that may run it; without those whose pools were all given up.

        Such say nothing of where the next ones may run.
        """
        found = [set(pools or self._rooms) & self._rooms.keys() for pools in self._recent]
        return [pools for pools in found if pools]

    def _found_overdue(self) -> set[str]:
        """The pools without workers of which none is expected soon."""
        now, usual = self.now(), {name: self._usual_gap(name) for name in self._gone}
        return {name for name, gap in usual.items() if gap is None or now - self._gone[name] > OVERDUE * gap}

    def _usual_gap(self, name: str) -> float | None:
        """For how long a pool has no workers, on average; None where that is not known."""
        gaps = self._gaps.get(name)
        return sum(gaps) / len(gaps) if gaps else None

    def _without_workers(self, pools: set[str]) -> bool:
        return not any(name in pools and room.workers for name, room in self._rooms.items())

    # -- what happens -------------------------------------------------------------------------------------------------

    def _seen(self, event: Event) -> Event:
        """Take note of an event; returns what the campaign gets."""
        if isinstance(event, Capacity):
            return self._on_capacity(event)
        if isinstance(event, Started):
            self.learner.started(event.token, self.now())
        elif isinstance(event, Report):
            seconds = self.learner.reported(event.token, [int(step) for step, *_ in event.reports], self.now())
            if seconds is not None:
                self.placement.foreseen(event.token, seconds)
        elif isinstance(event, Ended):
            self.learner.ended(event.outcome.token, event.outcome, self.now())
            self._leave(event.outcome.token)
        elif isinstance(event, Lost):
            self.learner.ended(event.token, None, self.now())
            self._leave(event.token)
        return event

    def _leave(self, token: str) -> None:
        """An attempt has left its pool."""
        pool = self._homes.pop(token, None)
        if pool is not None:
            self._load[pool] -= 1
            self.placement.ended(token, self.now())

    def _tell_rooms(self) -> None:
        """Tell the placement of the pools, without those that have no workers and get no further block."""
        self.placement.pools(
            {
                name: PoolRoom(room.workers, self._memory.get(name), back=self._back(name))
                for name, room in self._rooms.items()
                if room.workers or name not in self._spent
            }
        )

    def _back(self, name: str) -> float | None:
        """When a pool without workers is expected to have some; None where it is not, or is overdue."""
        gap = self._usual_gap(name)
        return None if gap is None or name not in self._gone or name in self._overdue else self._gone[name] + gap

    def _note_gaps(self, now: float) -> None:
        """Learn for how long pools have no workers."""
        self._gone = {name: since for name, since in self._gone.items() if name in self._rooms}
        for name, room in self._rooms.items():
            if not room.workers:
                self._gone.setdefault(name, now)
            elif name in self._gone:
                self._gaps.setdefault(name, deque(maxlen=GAPS)).append(now - self._gone.pop(name))

    def _on_capacity(self, event: Capacity) -> Capacity:
        self._rooms, self._latency = {room.name: room for room in event.pools}, event.latency
        self._asked = {name: self._asked.get(name, self.now()) for name in self._rooms}
        self._note_gaps(self.now())
        self._tell_rooms()
        for token, spec in list(self._waiting.items()):
            if self._given_up(spec):
                self._lose(token, GIVEN_UP)
            elif self._may_run(spec) != self._allowed[token]:
                self._tell(spec)
        self._capacity = replace(event, choice=self._choice())
        return self._capacity
