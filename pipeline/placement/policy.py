"""Which waiting trial a freed worker takes, by one of three policies.

``learned``: by learned costs (:mod:`.learned`). ``fifo``: the oldest. ``shadho``: by the freedom of the space
(:mod:`.shadho`). With one pool all of them take the oldest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from ..placement_policies import POLICIES
from .costs import Costs
from .features import Params
from .learned import Learned
from .planner import Planner
from .shadho import Shadho
from .table import PlanTable, plan_table
from .waiting import Entry, FirstCome, PoolRoom, Rule

AHEAD_A_POOL = 2
AHEAD = 16
"""With several pools, so many trials may wait, and ``AHEAD_A_POOL`` more for each pool: enough that a worker finds one
of the kind that it should run, and few enough that trials are asked for late."""


@dataclass(frozen=True)
class Running:
    """A trial that runs: since when, and where."""

    pool: str
    since: float


class Placement:
    """What waits, what runs, and who is next.

    Args:
        policy: One of ``POLICIES``.
        costs: What trials cost. The caller notes the attempts that end there.

    Raises:
        ValueError: There is no such policy.

    Example:
        >>> placement = Placement("fifo", Costs(["cpu", "gpu"]))
        >>> placement.pools({"cpu": PoolRoom(workers=2), "gpu": PoolRoom(workers=1)})
        >>> placement.put("trial 1", {"units": 16}, now=0.0)
        >>> placement.put("trial 2", {"units": 64}, now=0.0, allowed=["gpu"])
        >>> placement.take("gpu", now=1.0), placement.take("cpu", now=1.0)
        ('trial 1', None)
    """

    def __init__(self, policy: str, costs: Costs) -> None:
        if policy not in POLICIES:
            raise ValueError(f"the policy must be one of {', '.join(POLICIES)}, not {policy!r}")
        self.policy = policy
        self.costs = costs
        self._learned = Learned(costs)
        rules: dict[str, Callable[[], Rule]] = {"fifo": FirstCome, "shadho": Shadho, "learned": lambda: self._learned}
        self._rule: Rule = rules[policy]()
        self._rooms: dict[str, PoolRoom] = {}
        self._waiting: dict[Hashable, Entry] = {}
        self._running: dict[Hashable, Running] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._waiting

    @property
    def running(self) -> Mapping[Hashable, Running]:
        """The trials that were taken and have not ended."""
        return self._running

    @property
    def ahead(self) -> int:
        """How many suggestions may wait beyond the free workers."""
        pools = sum(room.workers > 0 for room in self._rooms.values())
        return 0 if self.policy == "fifo" or pools <= 1 else AHEAD_A_POOL * pools + AHEAD

    def pools(self, rooms: Mapping[str, PoolRoom]) -> None:
        """The pools are these now. Nothing runs in those without workers, but they are expected to have some again."""
        self._rooms = {name: room for name, room in rooms.items() if room.workers > 0}
        for name in rooms:
            self.costs.add_pool(name)
        self._rule.pools(self._rooms)
        if self._rule is self._learned:
            absent = {name: room for name, room in rooms.items() if name not in self._rooms}
            self._learned.absent(absent, list(self._waiting.values()))

    def coming(self, trials: int | None) -> None:
        """How many trials will be put, besides those that wait; None: it is not known. The end is prepared by this."""
        self._learned.coming(trials)

    def put(self, key: Hashable, params: Params, now: float, allowed: Sequence[str] | None = None) -> None:
        """A trial waits.

        Args:
            key: Its name; if it waits already, its place and time are kept, and the rest is replaced.
            params: Its parameters.
            now: Seconds on any clock, the same for all calls.
            allowed: The pools that it may run in; None: all.
        """
        before = self._waiting.get(key)
        since = now if before is None else before.since
        entry = Entry(key, params, since, None if allowed is None else frozenset(allowed))
        self._waiting[key] = entry
        self._rule.added(entry)

    def fits(self, key: Hashable) -> frozenset[str]:
        """The pools where a trial that waits should run, also those without workers; empty: all that are allowed."""
        return self._waiting[key].fits

    def recall(self, params: Params, allowed: Sequence[str] | None = None) -> None:
        """A trial ended before this campaign: those that will come are like it, in their parameters and pools."""
        self._learned.planner.recall((params, None if allowed is None else frozenset(allowed)))

    def remove(self, key: Hashable) -> None:
        """A trial no longer waits; nothing happens if it does not."""
        self._waiting.pop(key, None)

    def take(self, pool: str, now: float) -> Hashable | None:
        """The trial that a freed worker of a pool runs now; None: nothing that waits may run there."""
        entry = self._rule.choose(pool, self._waiting.values(), now)
        if entry is None:
            return None
        del self._waiting[entry.key]
        self._running[entry.key] = Running(pool, now)
        self._rule.begun(entry, pool, now)
        return entry.key

    def foreseen(self, key: Hashable, seconds: float) -> None:
        """By the steps that it has reported, a trial that was taken runs for so many seconds in all."""
        self._learned.foreseen(key, seconds)

    def ended(self, key: Hashable, now: float) -> None:
        """A trial that was taken has ended, or will be put again."""
        if self._running.pop(key, None) is not None:
            self._rule.ended(key)

    def table(self) -> PlanTable:
        """What is learned, as ``pilotune plan`` prints it; whatever the policy is."""
        planner = self._learned.planner if self._rule is self._learned else Planner(self.costs)
        return plan_table(planner, self._rooms)
