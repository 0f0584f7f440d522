"""The real pool: trials as Parsl apps on a site's executors, reports over one encrypted socket."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import parsl
import zmq
from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

from ...pipeline.campaign.events import (
    Action,
    BlocksSeen,
    Capacity,
    Ended,
    Event,
    Lost,
    PoolFailed,
    PoolNote,
    Quarantine,
    Reply,
    Scale,
    StopAttempt,
    Submit,
)
from ...pipeline.trial.protocol import AttemptSpec, Message, Outcome, Report, Started, Stop, Suggest
from ...pipeline.worker.node.channel import make_keys
from ..blocks.job_log import JobLog
from ..blocks.monitor import ManagedPool, PoolMonitor, PoolSnapshot
from ..blocks.orphaned_jobs import clean
from ..blocks.pool_blocks import Blocks
from ..blocks.resources import TrialNeeds, slots, usable_pools
from ..schedulers.batch import BatchBlocks
from ..schedulers.network import driver_addresses
from ..site import PoolSpec, Site
from . import executors as htex
from .app import run_attempt
from .channel_server import ChannelServer
from .kernel import Kernel

log = logging.getLogger(__name__)

LATENCY = 0.05
"""Seconds from the end of one trial to the start of the next on the same worker, as measured on a local pool."""


@dataclass(frozen=True)
class PoolFiles:
    """Where a pool keeps its files, all in the run directory.

    Attributes:
        parsl: Folder for Parsl's own.
        blocks: Folder for the blocks' scripts and output.
        jobs: The record of submitted jobs.
        keys: The campaign's channel keys (0600).
    """

    parsl: Path
    blocks: Path
    jobs: Path
    keys: Path


class ParslPool:
    """A site's workers through Parsl; implements :class:`~pilotune.pipeline.campaign.pool.Pool`.

    Parsl's own processes boot in the background from the constructor on, on a local site the workers too; :meth:`start`
    waits for them. Until then nothing is submitted to a scheduler.

    Args:
        site: Where to run. Its pools that can run such trials become executors.
        files: Where everything is kept.
        needs: What one trial takes.
        label: The campaign's part of job names.
        pools: Instead of those that can run such trials.

    Attributes:
        left: When it is closed, the jobs that the scheduler would not end.

    Raises:
        SiteError: The site cannot run such trials.
    """

    def __init__(
        self, site: Site, files: PoolFiles, needs: TrialNeeds, label: str, pools: Sequence[PoolSpec] | None = None
    ):
        files.parsl.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.site, self.files, self.needs, self.label = site, files, needs, label
        self.addresses = driver_addresses(site)
        self._arrived: deque[tuple[str, Future[Any]]] = deque()
        self._waiting: deque[AttemptSpec] = deque()
        self._homes: dict[str, str] = {}  # token -> pool, of what was submitted and has not come back
        self._load: Counter[str] = Counter()
        self._workers_of: dict[str, bytes] = {}  # token -> identity on the channel
        self._apps: dict[tuple[str, Callable[..., Any]], Callable[..., Future[Any]]] = {}
        self._told = PoolSnapshot()
        self._records: tuple[Path, ...] = ()
        self._capacity = Capacity(0, LATENCY)
        self._epoch = time.time() - time.monotonic()
        self._kernel: Kernel | None = None
        self._closed = False
        self.left: list[str] = []
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        pools = usable_pools(site, needs) if pools is None else pools
        self.book = JobLog(
            None if site.scheduler == "local" else files.jobs,
            site.scheduler,
            0.0 if site.scheduler == "local" else site.poll,
        )
        self.keeper = PoolMonitor({pool.name: self._keep(pool) for pool in pools}, self.book, self._replace, self.wake)
        self.channel = ChannelServer(files.keys, make_keys(files.keys), self.addresses.interface, self.addresses.listed)
        self._poller = zmq.Poller()
        self._poller.register(self.channel.socket, zmq.POLLIN)
        self._poller.register(self._wake_read, zmq.POLLIN)
        self._allowed = site.scheduler == "local"
        self._kernel = Kernel(self._config(), self._work)

    def _keep(self, pool: PoolSpec) -> ManagedPool:
        provider = htex.provider(self.site, pool, self.needs)
        provider.place(self.files.blocks, self.label)
        launch = provider.files("").launch
        blocks = Blocks(
            pool,
            slots(pool, self.needs),
            provider,
            self.book,
            command=lambda block: htex.node_command(launch, block),
            yield_before=self.needs.yield_before,
        )
        return ManagedPool(blocks, self._executor(pool, provider, pool.name))

    def _executor(self, pool: PoolSpec, provider: BatchBlocks, label: str) -> Any:
        launch = provider.files("").launch
        return htex.executor(self.site, pool, provider, self.needs, self.addresses, launch, self.files.parsl, label)

    def _config(self) -> parsl.Config:
        return parsl.Config(
            executors=[kept.executor for kept in self.keeper.pools.values()],
            run_dir=str(self.files.parsl),
            strategy="none",
            retries=0,
            exit_mode="skip",
            usage_tracking=0,
            initialize_logging=False,
        )

    def _work(self, closing: threading.Event) -> None:
        """In the kernel's thread. Nothing is submitted to a scheduler before :meth:`start`."""
        while not self._allowed and not closing.wait(0.05):
            pass
        if not closing.is_set():
            self._clean_up()
            self.keeper.run(closing)

    def _clean_up(self) -> None:
        """End what dead drivers of the study left in the queue: it would start for nothing."""
        try:
            for left in clean(self._records, patience=0.0):
                log.info("job %s of a dead driver: %s %s", left.job.job or left.job.name, left.fate, left.words)
        except Exception as error:  # pilotune clean is another chance, and the work goes before
            log.warning("what dead drivers left in the queue could not be ended: %s", error)

    def _replace(self, name: str, generation: int) -> Any:
        """In the kernel's thread."""
        assert self._kernel is not None
        blocks = self.keeper.pools[name].blocks
        executor = self._executor(blocks.pool, blocks.provider, f"{name}-{generation}")
        self._kernel.ready().add_executors([executor])
        return executor

    def start(self, dead: Sequence[Path] = ()) -> None:
        """Ask for the first blocks, after the jobs on the records of ``dead`` drivers have been ended.

        Raises SiteError where Parsl itself could not be started.
        """
        assert self._kernel is not None
        self._records = tuple(dead)
        self._kernel.ready()
        self._allowed = True

    # -- Pool ---------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self._epoch + time.monotonic()

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def wake(self) -> None:
        """End the current wait; may be called from a signal handler or another thread."""
        try:
            os.write(self._wake_write, b"!")
        except OSError:  # full: it will wake anyway; or closed: nobody waits any more
            pass

    def wait(self, timeout: float) -> list[Event]:
        if not self._arrived:
            self._poller.poll(int(1000 * max(0.0, timeout)))
        self._drain_wakes()
        events: list[Event] = []
        for identity, message in self.channel.drain():
            self._hear(identity, message, events)
        while self._arrived:
            events.append(self._result(*self._arrived.popleft()))
        self._look(events)
        return events

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Submit):
                self._waiting.append(action.spec)
            elif isinstance(action, Reply):
                self._send(action.message.token, action.message)
                self._forget(action.message.token)
            elif isinstance(action, StopAttempt):
                self._send(action.token, Stop(action.token, action.how))
                self._forget(action.token)
            elif isinstance(action, Scale):
                self.keeper.demand, self.keeper.expected = action.workers, action.expected
                self.keeper.nudge.set()
            elif isinstance(action, Quarantine):
                self.keeper.quarantine(action.host)
        self._submit_waiting()

    def close(self) -> None:
        """End every block, and Parsl. May be called again."""
        if self._closed or self._kernel is None:
            return
        self._closed = True
        self.keeper.nudge.set()
        self._kernel.closing.set()
        self._kernel.stop_working()
        pools = list(self.keeper.pools.values())
        self.left = [job for kept in pools for job in kept.blocks.cancel()]
        if self.left:
            log.error("the scheduler did not end the jobs %s; pilotune clean ends them", ", ".join(self.left))
        self._kernel.close(clean=all(kept.executor.interchange_alive for kept in pools))
        for kept in pools:
            if kept.executor.interchange_alive:
                kept.executor.shutdown()
        self.channel.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    # -- submitting and answering -------------------------------------------------------------------------------------

    def _submit_waiting(self) -> None:
        while self._waiting:
            home = self._choose(self._waiting[0])
            if home is None:
                return
            self._submit(self._waiting.popleft(), home)

    def _choose(self, spec: AttemptSpec) -> str | None:
        """The pool with most free workers, of those with hosts that are to run the attempt. While none has any worker,
        attempts wait here, not in the queue of one pool."""
        names = [name for name, kept in self.keeper.pools.items() if not kept.dropped]
        names = [name for name in names if not self.keeper.pools[name].executor.bad_state_is_set]
        if len(self.keeper.pools) == 1:
            return names[0] if names else None
        seen = self.keeper.seen
        workers = seen.workers
        names = [name for name in names if workers.get(name)]
        if spec.avoid:
            avoid = set(spec.avoid)
            names = [name for name in names if any(host not in avoid for host in seen.hosts[name])] or names
        return max(names, key=lambda name: 1 - self._load[name] / workers[name], default=None)

    def _submit(self, spec: AttemptSpec, home: str) -> None:
        self._homes[spec.token] = home
        self._load[home] += 1
        token = spec.token
        future = self.call(home, run_attempt, spec.to_dict(), **self._resources())
        future.add_done_callback(lambda done: self._arrive(token, done))

    def call(self, home: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """Run a function that workers can import on a worker of the pool ``home``."""
        label = self.keeper.pools[home].executor.label
        if (label, function) not in self._apps:
            assert self._kernel is not None
            kernel = self._kernel.ready()
            self._apps[label, function] = parsl.python_app(function, data_flow_kernel=kernel, executors=[label])
        return self._apps[label, function](*arguments, **options)

    def _resources(self) -> dict[str, Any]:
        """For Parsl's MPI executor."""
        nodes, ranks = self.needs.nodes, self.needs.ranks_per_node
        if nodes == 1:
            return {}
        return {
            "parsl_resource_specification": {
                "num_nodes": nodes,
                "ranks_per_node": ranks,
                "num_ranks": nodes * ranks,
            }
        }

    def _arrive(self, token: str, future: Future[Any]) -> None:
        """Called in a thread of Parsl's."""
        self._arrived.append((token, future))
        self.wake()

    def _forget(self, token: str) -> None:
        """Where an attempt's worker is need not be known once it is over; who speaks for it again says so anew."""
        if token not in self._homes:
            self._workers_of.pop(token, None)

    def _send(self, token: str, message: Message) -> None:
        identity = self._workers_of.get(token)
        if identity is not None:
            self.channel.send(identity, message)

    # -- listening ----------------------------------------------------------------------------------------------------

    def _hear(self, identity: bytes, message: Message, events: list[Event]) -> None:
        if isinstance(message, (Started, Report, Suggest)):
            self._workers_of[message.token] = identity
            events.append(message)

    def _result(self, token: str, future: Future[Any]) -> Event:
        home = self._homes.pop(token, None)
        if home is not None:
            self._load[home] -= 1
        error = future.exception()
        if error is None:
            self._workers_of.pop(token, None)
            try:
                outcome = Outcome.from_dict(future.result())
            except ValueError as problem:
                return Lost(token, f"what its worker returned is no outcome ({problem})")
            if outcome.token != token:
                return Lost(token, f"its worker returned the outcome of another attempt, {outcome.token[:80]!r}")
            if home is not None and outcome.kind != "declined":
                self.keeper.pools[home].blocks.progress()
            if home is not None and outcome.leaving:
                self.keeper.leave(home, outcome.worker.partition("/")[0])
            return Ended(outcome)
        if isinstance(error, WorkerLost):
            return Lost(token, f"its worker was lost ({error})", killed=True, host=error.hostname)
        if isinstance(error, ManagerLost):
            return Lost(token, f"its worker was lost ({error})")
        if isinstance(error, BadStateException):
            return Lost(token, f"pool {home} was given up or got another executor")
        return Lost(token, f"the worker could not run it ({type(error).__name__}: {error})")

    def _drain_wakes(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass

    def _look(self, events: list[Event]) -> None:
        """What the keeper has seen since the last time."""
        seen, told = self.keeper.seen, self._told
        if seen is told:
            return
        self._told = seen
        if seen.failure:
            if not told.failure:
                events.append(PoolFailed(f"site {self.site.name}, {seen.failure}"))
            return
        if seen.views != told.views:
            events.append(BlocksSeen(seen.views))
        if seen.note != told.note:
            events.append(PoolNote(seen.note))
        capacity = Capacity(seen.capacity, LATENCY, frozenset().union(*seen.hosts.values()))
        if capacity != self._capacity:
            self._capacity = capacity
            events.append(capacity)
        self._submit_waiting()
