"""What a pool knows of one of its blocks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...pipeline.campaign.events import BlockState, BlockView
from ..schedulers.jobs import End, Phase
from .held_time import HeldTime
from .release import Release


@dataclass(frozen=True)
class WorkerPoolSeen:
    """A connected worker pool, which is one node.

    Attributes:
        name: Its id.
        host: Its host.
        accepts: Whether it may be given trials.
    """

    name: str
    host: str
    accepts: bool


@dataclass
class Block:
    """One block as its pool knows it. Times are Unix seconds.

    A worker pool here is Parsl's process on one node, identified by its ``manager`` id.

    Attributes:
        number: Its number in the pool.
        job: The scheduler's id of its job.
        since: When it entered ``phase``.
        phase: Where its job is; ``running`` as soon as a worker pool has connected, whatever the scheduler says, except
            that it was suspended.
        reason: The scheduler's words on why it waits or how it ended.
        ends: When its walltime ends; None until it has started.
        was_connected: Whether any of its worker pools has ever connected.
        workers: Connected workers that may be given trials; some may be busy.
        tasks: Trials that run there.
        idle: Seconds for which it has had no trial.
        managers: Its connected worker pools: id -> whether it may be given trials.
        hosts: The same worker pools: id -> host.
        to_hold: Worker pools on quarantined hosts that Parsl must still be told to give no more trials.
        draining_tasks: Trials that run in worker pools that get no more.
        last_connected: When any worker pool was last connected.
        released: Why Pilotune ended the block; empty while the scheduler has not taken the order.
        release: What was done to end it.
        signalled: Whether it was being ended by somebody else before Pilotune gave the order, as its workers saw.
        end: How it ended; None while it has not.
        held: For how long its job has held its nodes.
        given_back: Whether its job was ended for good at the end of the campaign, and is not watched any more.
        shape: Its shape, as the number of one of the pool's.
        node_count: Its nodes; 0: as many as all blocks of its pool.
        submitted: When it was submitted.
        starts: When the scheduler expects it to begin; None where it does not say.
        left_for: Numbers of the blocks in which its trials go on, which have been asked to; empty for all other blocks.
    """

    number: str
    job: str
    since: float
    phase: Phase = Phase.QUEUED
    reason: str = ""
    ends: float | None = None
    was_connected: bool = False
    workers: int = 0
    tasks: int = 0
    idle: float = 0.0
    managers: dict[str, bool] | None = None
    hosts: dict[str, str] = field(default_factory=dict)
    to_hold: tuple[str, ...] = ()
    draining_tasks: int = 0
    last_connected: float = 0.0
    released: str = ""
    release: Release = field(default_factory=Release)
    signalled: bool = False
    end: End | None = None
    held: HeldTime = field(default_factory=HeldTime)
    given_back: bool = False
    shape: int = 0
    node_count: int = 0
    submitted: float = field(init=False)
    starts: float | None = None
    left_for: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.submitted = self.since

    @property
    def living(self) -> bool:
        """Whether it runs trials or will run them, perhaps after it was suspended."""
        return self.end is None and not self.unwanted and self.phase != Phase.ENDING

    @property
    def unwanted(self) -> bool:
        """Whether Pilotune has ended the block, or tries to."""
        return bool(self.released or self.release.why)

    @property
    def holds_nodes(self) -> bool:
        """Whether its job may still hold nodes."""
        return self.end is None

    @property
    def accepting_hosts(self) -> frozenset[str]:
        """The hosts of its worker pools that may be given trials."""
        return frozenset(self.hosts[name] for name, accepts in (self.managers or {}).items() if accepts)

    @property
    def nodes(self) -> list[WorkerPoolSeen]:
        """Its connected worker pools."""
        open_now = self.living and self.phase != Phase.SUSPENDED and self.workers > 0
        return [
            WorkerPoolSeen(name, self.hosts[name], accepts and open_now)
            for name, accepts in (self.managers or {}).items()
        ]

    @property
    def is_drained(self) -> bool:
        """Whether all its worker pools get no more trials, and none runs there any more."""
        return bool(self.managers) and not any((self.managers or {}).values()) and self.tasks == 0

    @property
    def state(self) -> BlockState:
        """Its state in the words of the campaign."""
        if self.end is not None or self.given_back:
            return "ended"
        if self.unwanted or self.phase == Phase.ENDING:
            return "ending"
        if self.phase == Phase.QUEUED:
            return "queued"
        if self.phase == Phase.SUSPENDED:
            return "suspended"
        return "running" if self.managers else "disconnected" if self.was_connected else "starting"

    def enter(self, phase: Phase, reason: str, now: float) -> None:
        """Take over the phase of its job, and the scheduler's reason for it."""
        if phase != self.phase:
            self.since = now
            self.held.follow(phase, now)
        self.phase, self.reason = phase, reason

    def update(self, managers: Sequence[Mapping[str, Any]], quarantined: Collection[str]) -> None:
        """Take over its connected worker pools.

        Args:
            managers: The worker pools, as Parsl describes them, each with its ``host``.
            quarantined: Hosts that get no more trials.
        """
        active = [each for each in managers if each["active"] and not each["draining"]]
        accepting = [each for each in active if each["host"] not in quarantined]
        names = {each["manager"] for each in accepting}
        self.managers = {each["manager"]: each["manager"] in names for each in managers}
        self.hosts = {each["manager"]: each["host"] for each in managers}
        self.to_hold = tuple(each["manager"] for each in active if each["manager"] not in names)
        self.workers = sum(each["worker_count"] for each in accepting)
        self.tasks = sum(each["tasks"] for each in managers)
        self.draining_tasks = self.tasks - sum(each["tasks"] for each in accepting)
        self.idle = min((each["idle_duration"] for each in managers), default=0.0)

    def view(self, pool: str) -> BlockView:
        """The block as the user sees it."""
        return BlockView(
            pool=pool,
            block=self.number,
            job=self.job,
            state=self.state,
            reason=(self.released if self.given_back else self.reason) or self.released or self.release.why,
            workers=self.workers,
            ends=self.ends,
            since=self.since,
            began=self.held.began,
            left=self.held.left,
            nodes=self.node_count,
        )
