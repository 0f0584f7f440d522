"""Keeps a site's pools at work, beside the campaign: a scheduler that takes its time must not hold up a report."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from parsl.executors.high_throughput.errors import CommandClientBadError, CommandClientTimeoutError

from ...errors import SiteError
from ...pipeline.campaign.events import BlockView
from .job_log import JobLog
from .pool_blocks import Blocks

log = logging.getLogger(__name__)

LOOK_WHILE_STARTING, LOOK_WHILE_RUNNING = 0.05, 2.0
"""Seconds between looks at a pool on this machine; elsewhere nothing is worth the first."""

LOOKED_AT = 512
"""Worker pools that are looked at in a second, about: each look asks Parsl for all of them."""

LONGEST_PAUSE = 5.0
"""Seconds that what asks for a look has to wait for it, at most, where there are thousands of worker pools."""

REPLACEMENTS = 3
"""Executors that Parsl may give up on before it is not chance any more."""


@dataclass(frozen=True)
class PoolSnapshot:
    """What the last look showed.

    Attributes:
        workers: Pool -> workers that may take a trial.
        capacity: Trials that can run at once, in all pools.
        hosts: Pool -> hosts whose workers take trials.
        views: All blocks.
        note: What the user should know.
        failure: Why no pool can go on any more.
    """

    workers: dict[str, int] = field(default_factory=dict)
    capacity: int = 0
    hosts: dict[str, frozenset[str]] = field(default_factory=dict)
    views: tuple[BlockView, ...] = ()
    note: str = ""
    failure: str = ""


@dataclass
class ManagedPool:
    """A pool with the executor that serves it now."""

    blocks: Blocks
    executor: Any
    replacements: int = 0
    broken: str = ""  # why Parsl gave up the last one
    dropped: bool = False  # it failed, and its tasks were handed back


class PoolMonitor:
    """Looks at the pools in turns, and scales them.

    Args:
        pools: By name.
        book: All jobs.
        replace: Makes and starts another executor for a pool.
        changed: Called when what is seen has changed.

    Attributes:
        demand: Workers that could be kept busy; None while nobody has said.
        expected: Seconds that the next trial is expected to run.
        seen: The last look.
    """

    def __init__(
        self,
        pools: dict[str, ManagedPool],
        book: JobLog,
        replace: Callable[[str, int], Any],
        changed: Callable[[], None],
    ):
        self.pools, self.book, self.replace, self.changed = pools, book, replace, changed
        self.demand: int | None = None
        self.expected: float | None = None
        self.seen = PoolSnapshot()
        self.nudge = threading.Event()
        self._managers = 0  # connected at the last look
        self._slow = any(kept.blocks.pool.walltime for kept in pools.values())

    def run(self, closing: threading.Event) -> None:
        """Start the first blocks, then take turns until ``closing``, or until something goes wrong."""
        try:
            self._start(time.time())
            self._take_turns(closing)
        except Exception as error:  # nobody waits for this thread: what goes wrong in it must be told
            if not isinstance(error, SiteError):
                log.exception("keeping the blocks failed")
            self._see(PoolSnapshot(failure=str(error) or repr(error)))

    def _take_turns(self, closing: threading.Event) -> None:
        while not closing.is_set():
            self.turn(time.time())
            starting = not self._slow and not any(self.seen.workers.values())
            pause = self._managers / LOOKED_AT
            if not self.nudge.wait(LOOK_WHILE_STARTING if starting else max(LOOK_WHILE_RUNNING, pause)):
                continue
            closing.wait(min(pause, LONGEST_PAUSE))
            self.nudge.clear()

    def _start(self, now: float) -> None:
        for kept in self.pools.values():
            kept.blocks.start(now)

    def turn(self, now: float) -> None:
        """One look at everything, and what follows from it."""
        some = next(iter(self.pools.values())).blocks.provider
        self.book.ask(some.query, now)
        self._managers = 0
        for name, kept in self.pools.items():
            if not kept.dropped:
                self._look(name, kept, now)
        if self.demand is not None:
            left = self.demand
            for kept in self.pools.values():
                if not kept.dropped:
                    left = max(0, left - kept.blocks.scale(left, self.expected, self._hold(kept), now))
        self._see(self._sum_up(now))

    def _look(self, name: str, kept: ManagedPool, now: float) -> None:
        broken = self._broken(kept)
        managers: list[dict[str, Any]] = []
        if not broken:
            try:
                managers = kept.executor.connected_managers()
            except (CommandClientTimeoutError, CommandClientBadError):
                broken = "Parsl's interchange does not answer"
        if broken:
            self._mend(name, kept, broken)
            return
        self._managers += len(managers)
        kept.blocks.look(managers, now)
        if kept.blocks.failure:
            because = f" Parsl gave up its executor before: {kept.broken}" if kept.broken else ""
            kept.blocks.failure += because
            self._drop(kept, kept.blocks.failure)

    def _broken(self, kept: ManagedPool) -> str:
        if kept.executor.bad_state_is_set:
            return str(kept.executor.executor_exception)
        return "" if kept.executor.interchange_alive else "Parsl's interchange died"

    def _mend(self, name: str, kept: ManagedPool, reason: str) -> None:
        """Another executor for a pool whose executor is beyond repair; what ran there is handed back as lost."""
        kept.replacements += 1
        kept.broken = reason
        if kept.replacements > REPLACEMENTS:
            kept.blocks.failure = f"{reason}; {REPLACEMENTS} executors before it ended likewise"
            self._drop(kept, kept.blocks.failure)
            return
        log.warning("pool %s: %s; it gets another executor", name, reason)
        old, kept.executor = kept.executor, self.replace(name, kept.replacements)
        kept.blocks.abandon("its executor was replaced")
        hand_back(old, reason)

    def _drop(self, kept: ManagedPool, reason: str) -> None:
        kept.dropped = True
        log.error("pool %s is given up: %s", kept.blocks.pool.name, reason)
        kept.blocks.cancel()
        hand_back(kept.executor, reason)

    def _hold(self, kept: ManagedPool) -> Callable[[str], None]:
        def hold(manager: str) -> None:
            try:
                kept.executor.hold(manager)
            except (CommandClientTimeoutError, CommandClientBadError):
                log.warning("a worker pool could not be told to take no more trials; its workers decline them")

        return hold

    def leave(self, name: str, manager: str) -> None:
        """The block ends or is being ended: nothing more is sent there, where it would be declined, or lost with it."""
        kept = self.pools[name]
        if manager and not kept.dropped:
            self._hold(kept)(manager)

    def quarantine(self, host: str) -> None:
        """No more trials on this host. Called in the driver's thread."""
        for kept in self.pools.values():
            kept.blocks.quarantined |= {host}
        self.nudge.set()

    def _sum_up(self, now: float) -> PoolSnapshot:
        kept = list(self.pools.items())
        failures = {name: each.blocks.failure for name, each in kept if each.dropped}
        notes = [f"pool {name} is given up: {reason}" for name, reason in failures.items()]
        notes += [each.blocks.note for _, each in kept if each.blocks.note and not each.dropped]
        if self.book.away:
            notes.append(f"the scheduler does not answer ({self.book.away}); blocks go on")
        return PoolSnapshot(
            workers={name: each.blocks.workers for name, each in kept if not each.dropped},
            capacity=sum(each.blocks.capacity for _, each in kept if not each.dropped),
            hosts={name: each.blocks.hosts for name, each in kept if not each.dropped},
            views=tuple(view for _, each in kept for view in each.blocks.views(now)),
            note="; ".join(notes),
            failure="; ".join(f"pool {name}: {reason}" for name, reason in failures.items())
            if len(failures) == len(kept)
            else "",
        )

    def _see(self, seen: PoolSnapshot) -> None:
        before, self.seen = self.seen, seen
        if seen != before:
            self.changed()


def hand_back(executor: Any, reason: str) -> None:
    """Let all tasks of an executor fail, so that they can run elsewhere; Parsl's own way stops at one that is done."""
    for task, future in list(executor.tasks.items()):
        if future.done():
            executor.tasks.pop(task, None)
    try:
        executor.set_bad_state_and_fail_all(SiteError(reason))
    except Exception as error:  # one ended in this very moment; the others are found by the next call
        log.info("handing back the tasks of %s: %s", executor.label, error)
