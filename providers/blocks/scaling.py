"""How many blocks a pool should have, which of them go, and which take no more trials. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..schedulers.jobs import End, Phase
from ..site import BlockCounts

START_UP = 30.0
"""Seconds of a block that are gone before its first trial runs."""


@dataclass
class Block:
    """A block as its pool knows it. Times are Unix seconds.

    Attributes:
        number: In its pool.
        job: The scheduler's id.
        since: When it came into ``phase``.
        ends: When its walltime is over, once it has started.
        met: Whether any of its workers ever connected.
        workers: Connected, and free to take a trial some time.
        tasks: Trials there.
        idle: Seconds that it has been without a trial.
        managers: Its connected worker pools: id -> whether it takes trials.
        hosts: The same: id -> host.
        bad: Those on quarantined hosts that have not been told yet to take no more.
        lingering: Trials in those that take no more.
        seen: When any of them was last connected.
        released: Why Pilotune ended it; empty while it did not.
        end: How it ended.
    """

    number: str
    job: str
    since: float
    phase: Phase = Phase.QUEUED
    reason: str = ""
    ends: float | None = None
    met: bool = False
    workers: int = 0
    tasks: int = 0
    idle: float = 0.0
    managers: dict[str, bool] | None = None
    hosts: dict[str, str] = field(default_factory=dict)
    bad: tuple[str, ...] = ()
    lingering: int = 0
    seen: float = 0.0
    released: str = ""
    end: End | None = None

    @property
    def living(self) -> bool:
        """It runs trials, or will."""
        return self.end is None and not self.released and self.phase in (Phase.QUEUED, Phase.RUNNING)

    @property
    def holds_nodes(self) -> bool:
        return self.end is None

    @property
    def taking(self) -> frozenset[str]:
        """Hosts of its worker pools that take trials."""
        return frozenset(self.hosts[name] for name, takes in (self.managers or {}).items() if takes)

    @property
    def spent(self) -> bool:
        """Its workers were told to take no more, and it has nothing left to do."""
        return bool(self.managers) and not any((self.managers or {}).values()) and self.tasks == 0


def wanted(counts: BlockCounts, slots: int, demand: int | None, proven: bool) -> int:
    """Blocks that the pool should have.

    Args:
        counts: The site file's.
        slots: Trials that a block runs at a time.
        demand: Workers that could be kept busy; None while nobody has said.
        proven: Whether a worker has ever connected from this pool: until then no more than the first blocks are tried.
    """
    first = max(counts.init, counts.min)
    if demand is None:
        return first
    ceiling = counts.max if proven else min(counts.max, max(first, 1))
    return max(counts.min, min(math.ceil(demand / slots), ceiling))


def surplus(blocks: Sequence[Block], want: int, idle: float) -> list[Block]:
    """The blocks to let go where more live than wanted: the newest in the queue first, then the longest idle."""
    living = [block for block in blocks if block.living]
    excess = len(living) - want
    if excess <= 0:
        return []
    queued = [block for block in reversed(living) if block.phase == Phase.QUEUED and not block.met]
    resting = [block for block in living if block.met and block.tasks == 0 and block.idle >= idle]
    return [*queued, *sorted(resting, key=lambda block: -block.idle)][:excess]


def takes_no_more(block: Block, now: float, walltime: float, before: float, expected: float | None) -> bool:
    """Whether no further trial is to be started in the block.

    A trial that fits into a new block waits for one where it does not fit into what is left of this; one that fits
    into no block at all goes on from checkpoint to checkpoint, so it uses what is there, down to twice the lead.
    """
    if block.ends is None:
        return False
    left = block.ends - now
    fits_new = expected is not None and expected + before + START_UP <= walltime
    return left < max(2 * before, expected + before if fits_new and expected is not None else 0.0)
