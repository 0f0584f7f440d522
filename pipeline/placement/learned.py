"""The policy ``learned``: workers take what is furthest behind its share of a linear program over learned costs.

:mod:`.planner` groups trials into kinds and says which part of a pool's time each kind should get. A freed worker
takes, in this order:

1. the oldest trial, where that has waited for three times as long as it would with first-come;
2. the oldest of those with a value of a parameter that has not run here yet (:mod:`.tried`);
3. of the kinds that have a share here, the oldest trial of the one that is furthest behind it;
4. of all others, the oldest trial of the kind that loses least here. No worker stays idle while something may run.

Near the end of a campaign :mod:`.ending` chooses instead: there, a worker leaves some trials to faster pools.

A trial runs in no pool whose memory it probably exceeds, and in none where trials like it failed by memory twice,
unless there is no other for it. For one that has no workers at the moment it waits.

Approximate: what is behind is counted in predicted seconds, not in those that passed. Plans are made anew when
predictions, pools or the mix may have changed, and what was behind is then forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from itertools import islice

import numpy as np

from .costs import Costs
from .ending import Ending, is_near, until_last_begins
from .features import Params
from .planner import RECENT, Plan, Planner
from .tried import Tried
from .waiting import Entry, PoolRoom, oldest

PATIENCE = 3.0
"""The oldest trial goes first after so many times the wait of first-come: a mean duration for each trial that waits,
divided by the workers, and at least one. With few workers the trials to choose from wait for many durations each. The
median would not do: where most trials are short and some long, a worker is busy with the long ones most of the time."""

GROWN = 1.5
"""A plan is made anew when so many times as many trials have waited, and then after half of ``RECENT``."""

ENOUGH = 10
"""Of kinds of which so many have ended in a pool, the trials that still run there tell nothing new."""

PART = 0.5
"""Nor do those without reports that have run for less than this part of the predicted seconds."""

LOOK_AGAIN = 0.3
"""Running trials are looked at when the time since the beginning has grown by this part."""

MOST_RUNNING = 300
"""Of so many, those that have run for longest."""


class Learned:
    """The policy; see the module.

    Args:
        costs: What trials cost, as it is learned meanwhile.

    Attributes:
        planner: Makes the plans.
    """

    def __init__(self, costs: Costs) -> None:
        self.planner = Planner(costs)
        self._costs = costs
        self._rooms: dict[str, PoolRoom] = {}
        self._plan: Plan | None = None
        self._version: int | None = None
        self._running: dict[Hashable, tuple[Params, str, float]] = {}
        self._kinds: dict[Hashable, int] = {}  # of what runs
        self._foreseen: dict[Hashable, float] = {}  # seconds of a whole trial, by the reports of what runs
        self._coming: int | None = None
        self._told: set[Hashable] = set()
        self._began: float | None = None
        self._look_at = -math.inf
        self._put = 0
        self._due = 0
        self._behind = np.zeros((0, 0))
        self._tried: Tried | None = None

    def pools(self, rooms: dict[str, PoolRoom]) -> None:
        """Plan anew if the pools have changed."""
        if rooms != self._rooms:
            self._rooms, self._version = rooms, None

    def absent(self, rooms: dict[str, PoolRoom], waiting: list[Entry]) -> None:
        """These pools have no workers at the moment: those trials that fit nowhere else wait for them."""
        if rooms != self.planner.absent:
            self.planner.absent, self._version = rooms, None
        if self._version is None:
            self._fit_in(waiting)

    def coming(self, trials: int | None) -> None:
        """So many more trials will wait; None: it is not known."""
        self._coming = trials

    def added(self, entry: Entry) -> None:
        """Note its parameters, and its kind."""
        self._put += 1
        self.planner.note((entry.params, entry.allowed))
        if self._version is not None:
            self._sort([entry])
        else:
            self._fit_in([entry])

    def begun(self, entry: Entry, pool: str, now: float) -> None:
        """Count it against its kind's share."""
        self._running[entry.key] = (entry.params, pool, now)
        self._kinds[entry.key] = entry.kind
        if self._tried is not None:
            self._tried.add(entry.params, pool)
        plan = self._plan
        if self._version is None or plan is None or plan.shares is None:
            return
        place = plan.pools.index(pool)
        seconds = plan.seconds[entry.kind, place]
        self._behind[:, place] += plan.shares.shares[:, place] * seconds
        self._behind[entry.kind, place] -= seconds

    def ended(self, key: Hashable) -> None:
        """Forget what runs."""
        self._running.pop(key, None)
        self._kinds.pop(key, None)
        self._foreseen.pop(key, None)

    def foreseen(self, key: Hashable, seconds: float) -> None:
        """By its reports, a trial that runs takes so long in all."""
        if key in self._running:
            self._foreseen[key] = seconds

    def choose(self, pool: str, waiting: Iterable[Entry], now: float) -> Entry | None:
        """The trial that a freed worker takes; see the module."""
        if len(self._rooms) + len(self.planner.absent) <= 1 or pool not in self._rooms:
            return oldest(waiting, pool)
        waiting = list(waiting)
        self._renew(waiting, now)
        usable = [entry for entry in waiting if pool in entry.usable]
        if not usable or len(self._rooms) + len(self.planner.returning) == 1:
            return usable[0] if usable else None
        ending = self._ending(pool, waiting, now)
        if ending is not None:
            return ending.choose(pool, self._loses_least)
        mean = self._costs.mean
        turns = max(1.0, len(waiting) / sum(room.workers for room in self._rooms.values()))
        starves = mean is not None and now - usable[0].since > PATIENCE * mean * turns
        if self._plan is None or self._plan.shares is None or starves:
            return usable[0]
        assert self._tried is not None, "it is made with the first plan"
        seen = self._tried.seen(pool)
        new = next((entry for entry in usable if not entry.values <= seen), None)
        if new is not None:
            return new
        by_kind: dict[int, Entry] = {}
        for entry in usable:
            by_kind.setdefault(entry.kind, entry)
        return by_kind[self._kind(by_kind, pool)]

    def _kind(self, waiting: Iterable[int], pool: str) -> int:
        """Of the kinds that wait, that of the trial which begins in a pool; the first one's is the oldest."""
        assert self._plan is not None
        assert self._plan.shares is not None
        place = self._plan.pools.index(pool)
        waiting = list(waiting)
        shares = self._plan.shares.shares[:, place]
        due = [kind for kind in waiting if shares[kind] > 0]
        if due:
            return max(due, key=lambda kind: float(self._behind[kind, place]))
        return self._loses_least(waiting, place)

    def _loses_least(self, kinds: Iterable[int], place: int) -> int:
        """Of kinds without a share in a pool, the one whose trial is worth most there for each second."""
        assert self._plan is not None
        assert self._plan.shares is not None
        worth = self._plan.shares.prices / self._plan.seconds[:, place]
        return max(kinds, key=lambda kind: float(worth[kind]))

    def _ending(self, pool: str, waiting: list[Entry], now: float) -> Ending | None:
        """How to choose near the end; None before it."""
        plan = self._plan
        if self._coming is None or plan is None or plan.shares is None:
            return None
        seconds = until_last_begins(plan, len(waiting) + self._coming)
        if not is_near(plan, pool, seconds):
            return None
        running = ((self._kinds[key], where, now - since) for key, (_, where, since) in self._running.items())
        rooms = {**self._rooms, **self.planner.returning}
        return Ending(plan, rooms, waiting, seconds, running, now)

    def _renew(self, waiting: list[Entry], now: float) -> None:
        """Plan anew where predictions, pools or the mix have changed, or long trials have run on."""
        if self._began is None:
            self._began = now
        if now >= self._look_at:
            self._look_at = now + LOOK_AGAIN * (now - self._began)
            self._tell_running(now)
        version = self._costs.version
        if version == self._version and self._put < self._due:
            return
        self._version = version
        self._due = min(math.ceil(GROWN * self._put), self._put + RECENT // 2) + 8
        self._plan = plan = self.planner.plan(self._rooms)
        if plan is not None:
            self._behind = np.zeros(plan.seconds.shape)
            if self._tried is None:
                self._tried = Tried(plan.trials)
                running = ((params, pool) for params, pool, _ in self._running.values())
                for params, pool in (*self._costs.ended, *running):
                    self._tried.add(params, pool)
            many = [params for params, _, _ in self._running.values()]
            self._kinds = dict(zip(self._running, self.planner.alike(plan, many), strict=True))
        self._sort(waiting)

    def _tell_running(self, now: float) -> None:
        """Tell the costs of trials that run, where too few of their kind have ended, and go on until they end."""
        plan = self._plan
        if plan is None:
            return
        running = dict(islice(self._running.items(), MOST_RUNNING))
        many = [params for params, _, _ in running.values()]
        for (key, (_, pool, since)), kind in zip(running.items(), self.planner.alike(plan, many), strict=True):
            if pool not in plan.pools:
                continue
            place = plan.pools.index(pool)
            late = now - since > PART * plan.seconds[kind, place]
            if plan.seen[kind, place] < ENOUGH and (late or key in self._foreseen):
                self._told.add(key)
        self._told &= running.keys()
        self._costs.running(
            [
                (params, pool, self._foreseen.get(key, now - since), key not in self._foreseen)
                for key, (params, pool, since) in running.items()
                if key in self._told
            ]
        )

    def _sort(self, entries: list[Entry]) -> None:
        """Give trials that wait their kinds, and the pools that they should run in."""
        if not entries or not self._rooms:
            return
        usable = self._fit_in(entries)
        many = [(entry.params, entry.allowed) for entry in entries]
        plan = self._plan
        kinds = [0] * len(many) if plan is None else self.planner.kinds_of(plan, many, usable[:, : len(plan.pools)])
        for entry, kind in zip(entries, kinds, strict=True):
            entry.kind = kind
            if self._tried is not None:
                entry.values = self._tried.values(entry.params)

    def _fit_in(self, entries: list[Entry]) -> np.ndarray:
        """Give trials that wait the pools that they should run in; returns them by trial and pool."""
        every = {**self._rooms, **self.planner.returning, **self.planner.absent}
        if not entries or not every:
            return np.zeros((len(entries), len(every)), dtype=bool)
        found = self.planner.usable([(entry.params, entry.allowed) for entry in entries], every)
        for entry, row in zip(entries, found.tolist(), strict=True):
            entry.fits = frozenset(name for name, good in zip(every, row, strict=True) if good)
            entry.usable = entry.fits & self._rooms.keys()
        return found
