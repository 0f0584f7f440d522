"""Watches the pools of a site in a thread of its own, and scales their blocks.

The campaign's thread never waits for a scheduler: it sets the demand here and reads the last snapshot.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from parsl.executors.high_throughput.errors import CommandClientBadError, CommandClientTimeoutError

from ...errors import SiteError
from ...pipeline.campaign.events import BlockView, LastTrial, Leave, PoolCharge
from .block import WorkerPoolSeen
from .demand import SharedDemand
from .job_log import JobLog
from .pool_blocks import PoolBlocks

log = logging.getLogger(__name__)

STARTING_INTERVAL, RUNNING_INTERVAL = 0.05, 2.0
"""Seconds between two refreshes: while the workers of a local site start, and otherwise. A scheduler takes so long to
start a block that the shorter interval would gain nothing there."""

MANAGERS_PER_SECOND = 512
"""Worker pools whose state is asked for in a second, at most: each refresh asks Parsl for all of them."""

LONGEST_PAUSE = 5.0
"""Longest time in seconds that a requested refresh is delayed when there are thousands of worker pools."""

REPLACEMENTS = 3
"""Most executors of a pool that are replaced when Parsl gives them up; one more failure is no coincidence."""


@dataclass(frozen=True)
class PoolSnapshot:
    """The state of all pools at one refresh.

    Attributes:
        workers: Pool -> workers that may be given trials.
        capacity: Trials that can run at once in all pools.
        hosts: Pool -> hosts whose workers may be given trials.
        nodes: Pool -> its connected worker pools.
        views: All blocks, as the user sees them.
        note: What the user should know now; mostly empty.
        failure: Why no pool can continue; empty while one can.
        charges: Pool -> for how long its blocks have held their nodes.
        leaves: What trials were asked so far, so that their blocks can end.
    """

    workers: dict[str, int] = field(default_factory=dict)
    capacity: int = 0
    hosts: dict[str, frozenset[str]] = field(default_factory=dict)
    nodes: dict[str, tuple[WorkerPoolSeen, ...]] = field(default_factory=dict)
    views: tuple[BlockView, ...] = ()
    note: str = ""
    failure: str = ""
    charges: dict[str, PoolCharge] = field(default_factory=dict)
    leaves: tuple[Leave, ...] = ()


@dataclass
class ManagedPool:
    """A pool with the executor that runs its trials now.

    Attributes:
        blocks: The pool's blocks.
        executor: Parsl's executor.
        replacements: How many executors were replaced.
        broken: Why the last one was replaced; empty when none was.
        dropped: Whether the pool was given up and its tasks were failed.
    """

    blocks: PoolBlocks
    executor: Any
    replacements: int = 0
    broken: str = ""
    dropped: bool = False


class PoolMonitor:
    """Refreshes the state of all pools every two seconds, and scales their blocks to the demand.

    A pool whose executor Parsl gave up gets another one, three times at most. :meth:`run` is the thread's work; all
    other methods and attributes may be used from the campaign's thread::

        monitor = PoolMonitor(pools, job_log, replace=new_executor, changed=wake_the_campaign)
        threading.Thread(target=monitor.run, args=(closing,)).start()
        monitor.demand = 16
        monitor.wakeup.set()
        monitor.snapshot.workers  # {"cpu": 8}

    Args:
        pools: The pools by name.
        job_log: The jobs of the campaign.
        replace: Makes and starts another executor for a pool, from its name and the number of its replacement.
        changed: Called in the monitor's thread when the snapshot has changed.

    Attributes:
        demand: Workers that could be kept busy; None before the campaign has reported it.
        expected: Seconds that the next trial is expected to run; None when that is unknown.
        most: Pool -> how many workers could be kept busy there at most; others could have all of ``demand``.
        final: Whether the demand will not grow again.
        last: Pool -> all trials that run there, once nothing more will begin.
        snapshot: The state at the last refresh. It is replaced as a whole, never changed.
        served: A demand, and how much of it the blocks serve, or will once they start; at the last refresh.
        wakeup: Set it to request a refresh now.
    """

    def __init__(
        self,
        pools: dict[str, ManagedPool],
        job_log: JobLog,
        replace: Callable[[str, int], Any],
        changed: Callable[[], None],
    ):
        self.pools, self.job_log, self.replace, self.changed = pools, job_log, replace, changed
        self.demand: int | None = None
        self.expected: float | None = None
        self.most: Mapping[str, int] = {}
        self.served: tuple[int | None, int] = (None, 0)
        self.final = False
        self.last: Mapping[str, tuple[LastTrial, ...]] = {}
        self.snapshot = PoolSnapshot()
        self.wakeup = threading.Event()
        self._sharing = SharedDemand(pools)
        self._managers = 0  # connected at the last refresh
        self._has_walltimes = any(managed.blocks.pool.walltime for managed in pools.values())

    def run(self, closing: threading.Event) -> None:
        """Submit the first blocks, then refresh until ``closing`` is set. An error becomes the snapshot's failure."""
        try:
            self._start(time.time())
            self._loop(closing)
        except Exception as error:  # nobody waits for this thread, so an error must reach the campaign as a failure
            if not isinstance(error, SiteError):
                log.exception("the monitor of the pools failed")
            self._publish(PoolSnapshot(failure=str(error) or repr(error), charges=self.charges()))

    def _loop(self, closing: threading.Event) -> None:
        while not closing.is_set():
            self.refresh(time.time())
            starting = not self._has_walltimes and not any(self.snapshot.workers.values())
            pause = self._managers / MANAGERS_PER_SECOND
            if not self.wakeup.wait(STARTING_INTERVAL if starting else max(RUNNING_INTERVAL, pause)):
                continue
            closing.wait(min(pause, LONGEST_PAUSE))
            self.wakeup.clear()

    def _start(self, now: float) -> None:
        for managed in self.pools.values():
            managed.blocks.start(now)

    def refresh(self, now: float) -> None:
        """Update the state of all pools, submit and end blocks, and publish a snapshot."""
        provider = next(iter(self.pools.values())).blocks.provider
        self.job_log.refresh(provider.query, now)
        self._managers = 0
        for name, managed in self.pools.items():
            if not managed.dropped:
                self._refresh_pool(name, managed, now)
        demand = self.demand
        if demand is not None:
            self.served = (demand, self._share(demand, now))
        self._publish(self._summary(now))

    def _share(self, demand: int, now: float) -> int:
        """Scale the blocks of each pool to its part of the demand; returns how much of that they serve."""
        used = {name: managed for name, managed in self.pools.items() if not managed.dropped}

        def scale(name: str, workers: int) -> int:
            managed = used[name]
            managed.blocks.leaving.last = self.last.get(name, ())
            return managed.blocks.scale(workers, self.expected, self._hold_function(managed), now, self.final)

        for name, managed in used.items():
            self._sharing.see(name, managed.blocks.views(now), now)
        here = {name: managed.blocks.workers for name, managed in used.items()}
        return self._sharing.share(demand, here, scale, now, self.most)

    def _refresh_pool(self, name: str, managed: ManagedPool, now: float) -> None:
        broken = self._broken(managed)
        managers: list[dict[str, Any]] = []
        if not broken:
            try:
                managers = managed.executor.connected_managers()
            except (CommandClientTimeoutError, CommandClientBadError):
                broken = "Parsl's interchange does not answer"
        if broken:
            self._replace_executor(name, managed, broken, now)
            return
        self._managers += len(managers)
        managed.blocks.refresh(managers, now)
        if managed.blocks.failure:
            because = f" Parsl gave up its executor before: {managed.broken}" if managed.broken else ""
            managed.blocks.failure += because
            self._drop(managed, managed.blocks.failure)

    def _broken(self, managed: ManagedPool) -> str:
        """Why a pool's executor cannot be used any more; empty while it can."""
        if managed.executor.bad_state_is_set:
            return str(managed.executor.executor_exception)
        return "" if managed.executor.interchange_alive else "Parsl's interchange died"

    def _replace_executor(self, name: str, managed: ManagedPool, reason: str, now: float) -> None:
        """Give a pool another executor. The tasks of the old one fail, so that they can run elsewhere."""
        managed.replacements += 1
        managed.broken = reason
        if managed.replacements > REPLACEMENTS:
            managed.blocks.failure = f"{reason}; {REPLACEMENTS} executors before it failed as well"
            self._drop(managed, managed.blocks.failure)
            return
        log.warning("pool %s: %s; its executor is replaced", name, reason)
        old, managed.executor = managed.executor, self.replace(name, managed.replacements)
        managed.blocks.release_connected("its executor was replaced", now)
        fail_tasks(old, reason)

    def _drop(self, managed: ManagedPool, reason: str) -> None:
        managed.dropped = True
        log.error("pool %s is given up: %s", managed.blocks.pool.name, reason)
        managed.blocks.cancel()
        fail_tasks(managed.executor, reason)

    def _hold_function(self, managed: ManagedPool) -> Callable[[str], None]:
        def hold(manager: str) -> None:
            try:
                managed.executor.hold(manager)
            except (CommandClientTimeoutError, CommandClientBadError):
                log.warning("Parsl could not be told to give no more trials to a worker pool; its workers decline them")

        return hold

    def hold(self, name: str, manager: str) -> None:
        """Give no more trials to a worker pool whose block is ending: they would be declined there, or lost.

        Args:
            name: The pool.
            manager: Parsl's id of the worker pool; empty when it is unknown, and then nothing happens.
        """
        managed = self.pools[name]
        if manager and not managed.dropped:
            self._hold_function(managed)(manager)

    def signalled(self, name: str, manager: str) -> None:
        """A worker was told that its block is being ended, by somebody else unless Pilotune ended it.

        Args:
            name: The pool.
            manager: Parsl's id of the worker pool; empty when it is unknown, and then nothing happens.
        """
        if manager:
            self.pools[name].blocks.on_signalled(manager)

    def quarantine(self, host: str) -> None:
        """Give no more trials to a host."""
        for managed in self.pools.values():
            managed.blocks.quarantined |= {host}
        self.wakeup.set()

    def _summary(self, now: float) -> PoolSnapshot:
        pools = list(self.pools.items())
        failures = {name: each.blocks.failure for name, each in pools if each.dropped}
        notes = [f"pool {name} is given up: {reason}" for name, reason in failures.items()]
        notes += [each.blocks.note for _, each in pools if each.blocks.note and not each.dropped]
        if self.job_log.unreachable:
            notes.append(f"the scheduler does not answer ({self.job_log.unreachable}); blocks continue")
        return PoolSnapshot(
            workers={name: each.blocks.workers for name, each in pools if not each.dropped},
            capacity=sum(each.blocks.capacity for _, each in pools if not each.dropped),
            hosts={name: each.blocks.hosts for name, each in pools if not each.dropped},
            nodes={name: each.blocks.nodes for name, each in pools if not each.dropped},
            views=self.views(now),
            note="; ".join(notes),
            failure="; ".join(f"pool {name}: {reason}" for name, reason in failures.items())
            if len(failures) == len(pools)
            else "",
            charges=self.charges(),
            leaves=tuple(leave for _, each in pools for leave in each.blocks.leaving.leaves),
        )

    def views(self, now: float) -> tuple[BlockView, ...]:
        """The blocks as the user sees them at this moment (Unix seconds)."""
        return tuple(view for each in self.pools.values() for view in each.blocks.views(now))

    def charges(self) -> dict[str, PoolCharge]:
        """For how long each pool's blocks have held their nodes."""
        return {key: charge for each in self.pools.values() for key, charge in each.blocks.charges().items()}

    def allow(self, blocks: Mapping[str, int] | None, spent: Collection[str]) -> None:
        """Take over what a budget in node-hours allows.

        Args:
            blocks: Pool or shape -> blocks that may be submitted in all; None, and for one that is missing: no limit.
            spent: Pools, or shapes, whose next block it cannot pay.
        """
        for managed in self.pools.values():
            managed.blocks.shapes.allow(blocks, spent)

    def _publish(self, snapshot: PoolSnapshot) -> None:
        before, self.snapshot = self.snapshot, snapshot
        if snapshot != before:
            self.changed()


def fail_tasks(executor: Any, reason: str) -> None:
    """Let all tasks of an executor fail, so that their trials can run elsewhere.

    Tasks that are done are removed first: Parsl's own method stops at the first of them.
    """
    for task, future in list(executor.tasks.items()):
        if future.done():
            executor.tasks.pop(task, None)
    try:
        executor.set_bad_state_and_fail_all(SiteError(reason))
    except Exception as error:  # a task ended at this moment; the next call fails the others
        log.info("failing the tasks of %s: %s", executor.label, error)
