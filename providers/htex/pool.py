"""Runs trials on a site's workers through Parsl: attempts as Parsl apps, reports over one encrypted socket."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zmq
from parsl.app.python import PythonApp
from parsl.config import Config

from ...pipeline.campaign.events import (
    Action,
    BlocksSeen,
    BlockView,
    Capacity,
    Charged,
    Ended,
    Event,
    LastTrial,
    Lost,
    PoolCapacity,
    PoolCharge,
    PoolFailed,
    PoolNote,
    Quarantine,
    Reply,
    Scale,
    StopAttempt,
    Submit,
)
from ...pipeline.trial.protocol import (
    AttemptSpec,
    Attributes,
    ChannelAddress,
    Message,
    Query,
    Report,
    Started,
    Stop,
    Suggest,
)
from ...pipeline.worker.node.channel import make_keys
from ..blocks.batch_scripts import node_command, shapes_of
from ..blocks.job_log import JobLog
from ..blocks.monitor import ManagedPool, PoolMonitor, PoolSnapshot
from ..blocks.orphaned_jobs import OrphanedJob, end_orphaned_jobs
from ..blocks.pool_blocks import PoolBlocks
from ..blocks.resources import TrialResources, usable_pools
from ..node.tasks import NotPlaced
from ..schedulers.batch import BatchBlocks
from ..schedulers.network import driver_addresses
from ..site import PoolSpec, Site
from .app import run_attempt
from .channel_server import ChannelServer
from .executors import executor
from .kernel import Kernel
from .packed import PackedAttempts, specification
from .task_result import event_of

log = logging.getLogger(__name__)

CLOSE_PAUSES = (2.0, 8.0, 0.0)
"""Seconds after each try to end all jobs at the end of a campaign, if the scheduler did not end some."""

LATENCY = 0.05
"""Seconds from the end of one trial to the start of the next on the same worker, measured on a local pool."""


@dataclass(frozen=True)
class PoolFiles:
    """Where a pool keeps its files, all in the run directory.

    Attributes:
        parsl: Folder for Parsl's files.
        blocks: Folder for the blocks' scripts and output.
        jobs: File that records submitted jobs.
        keys: File for the keys of the report channel (0600).
    """

    parsl: Path
    blocks: Path
    jobs: Path
    keys: Path


class ParslPool:
    """A site's workers, through Parsl. Implements :class:`~pilotune.pipeline.campaign.pool.Pool`.

    The constructor starts Parsl's own processes in the background, on a local site the workers too. :meth:`start` waits
    for them; before it nothing is submitted to a scheduler. Attempts go in with :meth:`perform`; what happens to them
    comes out of :meth:`wait` as events::

        pool = ParslPool(load_site("local"), files, TrialResources(), label="digits-1a2b3c")
        pool.start()
        try:
            pool.perform([Scale(workers=8, expected=None), Submit(spec)])
            events = pool.wait(timeout=1.0)
        finally:
            pool.close()

    Args:
        site: The site.
        files: Where everything is kept.
        resources: What one trial takes.
        label: The first part of job names.
        pools: The pools to use; by default those that are on and can run such trials. Each gets an executor of its own.
        interchange: From :func:`.interchange_start.interchange_ahead`, for the first executor.
        metered: Pools whose blocks a budget in node-hours limits: none of them is submitted before a Scale allows it.

    Attributes:
        specs: The pools that are used.
        monitor: Watches and scales the pools in a thread of its own.
        job_log: The jobs of the campaign.
        channel: The report channel.
        packed: The attempts and the nodes, where trials take different shares of a node; else None.
        cleaned: What became of the jobs that dead drivers left; None before that is known.
        left: After :meth:`close`, the ids of jobs that the scheduler did not end.
        given_up: Empty: a campaign does not go on without its only site.

    Raises:
        SiteError: No pool of the site can run such trials, or its network interface does not exist here.
    """

    def __init__(
        self,
        site: Site,
        files: PoolFiles,
        resources: TrialResources,
        label: str,
        pools: Sequence[PoolSpec] | None = None,
        interchange: subprocess.Popen[bytes] | None = None,
        metered: Collection[str] = (),
    ):
        self._metered = frozenset(metered)
        files.parsl.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.site, self.files, self.resources, self.label = site, files, resources, label
        self.addresses = driver_addresses(site)
        self._arrived: deque[tuple[str, Future[Any]]] = deque()
        self._waiting: deque[AttemptSpec] = deque()
        self._withdrawn: list[Event] = []
        self._homes: dict[str, str] = {}  # token -> pool, of attempts that were submitted and have not ended
        self._load: Counter[str] = Counter()
        self._workers_of: dict[str, bytes] = {}  # token -> identity on the channel
        self._apps: dict[tuple[str, Callable[..., Any]], Callable[..., Future[Any]]] = {}
        self._reported = PoolSnapshot()  # the last snapshot that events were made of
        self._records: tuple[Path, ...] = ()
        self.cleaned: list[OrphanedJob] | None = None
        self._capacity = Capacity(0, LATENCY)
        self._epoch = time.time() - time.monotonic()
        self._kernel: Kernel | None = None
        self._closed = False
        self.given_up: dict[str, str] = {}
        self.left: list[str] = []
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.specs = pools = tuple(usable_pools(site, resources) if pools is None else pools)
        self.packed = PackedAttempts(resources, pools) if resources.packed else None
        self.job_log = JobLog(
            None if site.scheduler == "local" else files.jobs,
            site.scheduler,
            0.0 if site.scheduler == "local" else site.poll,
        )
        self.monitor = PoolMonitor(
            {pool.name: self._managed(pool) for pool in pools}, self.job_log, self._replace, self.wake
        )
        self.channel = ChannelServer(files.keys, make_keys(files.keys), self.addresses.interface, self.addresses.listed)
        self._poller = zmq.Poller()
        self.watch(self._poller)
        self._allowed = site.scheduler == "local"
        next(iter(self.monitor.pools.values())).executor.interchange_ahead = interchange
        self._kernel = Kernel(self._config(), self._work)

    def _managed(self, pool: PoolSpec) -> ManagedPool:
        shapes = shapes_of(self.site, pool, self.resources, metered=pool.name in self._metered)
        for shape in shapes:
            shape.provider.place(self.files.blocks, self.label)
        provider = shapes[0].provider
        launch = provider.files("").launch
        blocks = PoolBlocks(pool, shapes, self.job_log, command=lambda block: node_command(launch, block))
        blocks.leaving.packed = self.resources.packed
        return ManagedPool(blocks, self._executor(pool, provider, pool.name))

    def _executor(self, pool: PoolSpec, provider: BatchBlocks, label: str) -> Any:
        launch = provider.files("").launch
        return executor(self.site, pool, provider, self.resources, self.addresses, launch, self.files.parsl, label)

    def _config(self) -> Config:
        return Config(
            executors=[managed.executor for managed in self.monitor.pools.values()],
            run_dir=str(self.files.parsl),
            strategy="none",
            retries=0,
            exit_mode="skip",
            usage_tracking=0,
            initialize_logging=False,
        )

    def _work(self, closing: threading.Event) -> None:
        """Run the monitor, in the kernel's thread. Nothing is submitted to a scheduler before :meth:`start`."""
        while not self._allowed and not closing.wait(0.05):
            pass
        if not closing.is_set():
            self.cleaned = self.clean_up(self._records)
            self.monitor.run(closing)

    @staticmethod
    def clean_up(dead: Sequence[Path]) -> list[OrphanedJob] | None:
        """End the jobs that dead drivers of the study left: they would start for nothing. Submits nothing.

        Args:
            dead: The job files of dead drivers.

        Returns:
            What became of the jobs that were not recorded as ended; None where that could not be found out.
        """
        try:
            found = end_orphaned_jobs(dead, patience=0.0)
        except Exception as error:  # must not stop the campaign; pilotune clean can end them later
            log.warning("could not end the jobs that dead drivers left: %s", error)
            return None
        for left in found:
            log.info("job %s of a dead driver: %s %s", left.job.job or left.job.name, left.fate, left.words)
        return found

    def _replace(self, name: str, generation: int) -> Any:
        """Another executor for the pool ``name``. Called in the kernel's thread."""
        assert self._kernel is not None
        blocks = self.monitor.pools[name].blocks
        replacement = self._executor(blocks.pool, blocks.provider, f"{name}-{generation}")
        self._kernel.ready().add_executors([replacement])
        return replacement

    def start(self, dead: Sequence[Path] = ()) -> None:
        """Submit the first blocks, after ending the jobs that dead drivers left.

        Args:
            dead: The job files of dead drivers.

        Raises:
            SiteError: Parsl could not be started.
        """
        assert self._kernel is not None
        self._records = tuple(dead)
        self._kernel.ready()
        self._allowed = True

    # -- beside others (SitesPool) ------------------------------------------------------------------------------------

    @property
    def address(self) -> ChannelAddress:
        """Where the workers reach the driver."""
        return self.channel.address

    def charges(self) -> dict[str, PoolCharge]:
        """For how long each pool's blocks have held their nodes."""
        return self.monitor.charges()

    def views(self, now: float) -> tuple[BlockView, ...]:
        """The blocks as the user sees them at this moment (Unix seconds)."""
        return self.monitor.views(now)

    def serves(self, workers: int) -> int:
        """How many of so many workers the blocks serve, or will; at most, until the monitor has answered this.

        Where it did not serve all of another demand, it serves no more of this one.
        """
        demand, served = self.monitor.served
        if demand is not None and (workers <= demand or served < demand):
            return min(workers, served)
        most = sum(each.blocks.pool.blocks.max * each.blocks.shapes.most_trials for each in self.monitor.pools.values())
        return min(workers, most)

    def watch(self, poller: zmq.Poller) -> None:
        """Register with a poller what ends a :meth:`wait`: messages of workers, and :meth:`wake`."""
        poller.register(self.channel.socket, zmq.POLLIN)
        poller.register(self._wake_read, zmq.POLLIN)

    # -- Pool ---------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self._epoch + time.monotonic()

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def wake(self) -> None:
        """End the current :meth:`wait`. May be called from a signal handler or another thread."""
        try:
            os.write(self._wake_write, b"!")
        except OSError:  # the pipe is full, so wait() ends anyway; or closed, so nobody waits
            pass

    def wait(self, timeout: float) -> list[Event]:
        if not self._arrived and not self._withdrawn:
            self._poller.poll(int(1000 * max(0.0, timeout)))
        self._drain_wakes()
        events, self._withdrawn = self._withdrawn, []
        for identity, message in self.channel.drain():
            self._on_message(identity, message, events)
        while self._arrived:
            events.append(self._result(*self._arrived.popleft()))
        self._add_changes(events)
        return events

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Submit):
                if self.packed:
                    self.packed.submit(action.spec, action.pool)
                elif action.pool:
                    self._submit_to(action.spec, action.pool)
                else:
                    self._waiting.append(action.spec)
            elif isinstance(action, Reply):
                self._send(action.message.token, action.message)
                self._forget(action.message.token)
            elif isinstance(action, StopAttempt):
                if self.packed and self.packed.withdraw(action.token):
                    self._withdrawn.append(Lost(action.token, "it was stopped before it had begun"))
                self._send(action.token, Stop(action.token, action.how))
                self._forget(action.token)
            elif isinstance(action, Scale):
                self.monitor.demand, self.monitor.expected = action.workers, action.expected
                self.monitor.allow(action.blocks, action.spent)
                self.monitor.most, self.monitor.final = action.most, action.final
                self.monitor.last = self._by_pool(action.last)
                self._size_blocks()
                self.monitor.wakeup.set()
            elif isinstance(action, Quarantine):
                self.monitor.quarantine(action.host)
        self._submit_waiting()

    def close(self) -> None:
        """End every block and Parsl's processes. Calling it again has no effect."""
        if self._closed or self._kernel is None:
            return
        self._closed = True
        self.monitor.wakeup.set()
        self._kernel.closing.set()
        self._kernel.stop_working()
        pools = list(self.monitor.pools.values())
        for pause in CLOSE_PAUSES:
            self.left = [job for managed in pools for job in managed.blocks.cancel()]
            if not self.left:
                break
            time.sleep(pause)
        if self.left:
            log.error("the scheduler did not end the jobs %s; run pilotune clean to end them", ", ".join(self.left))
        self._kernel.close(clean=all(managed.executor.interchange_alive for managed in pools))
        for managed in pools:
            if managed.executor.interchange_alive:
                managed.executor.shutdown()
        self.channel.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    # -- submitting and answering -------------------------------------------------------------------------------------

    def _size_blocks(self) -> None:
        """Tell the monitor how many trials of the sizes that they have a block runs, and which pools they need."""
        if self.packed:
            for name, managed in self.monitor.pools.items():
                for shape in managed.blocks.shapes:
                    shape.trials = self.packed.trials_per_block(name, shape.pool.nodes_per_block)
                managed.blocks.only_here = self.packed.only_in(name)

    def _by_pool(self, last: Sequence[LastTrial]) -> dict[str, tuple[LastTrial, ...]]:
        found: dict[str, tuple[LastTrial, ...]] = {}
        for trial in last:
            if trial.token in self._homes:
                found[self._homes[trial.token]] = (*found.get(self._homes[trial.token], ()), trial)
        return found

    def _submit_waiting(self) -> None:
        if self.packed:
            for spec, placement in self.packed.ready():
                self._submit(spec, placement.pool, specification(placement))
        while self._waiting:
            home = self._choose(self._waiting[0])
            if home is None:
                return
            self._submit(self._waiting.popleft(), home)

    def _submit_to(self, spec: AttemptSpec, pool: str) -> None:
        """Submit an attempt to the pool that was chosen for it, which may have been given up meanwhile."""
        managed = self.monitor.pools[pool]
        if managed.dropped or managed.executor.bad_state_is_set:
            self._withdrawn.append(Lost(spec.token, f"pool {pool} was given up before the attempt could begin"))
        else:
            self._submit(spec, pool)

    def _choose(self, spec: AttemptSpec) -> str | None:
        """The pool with the largest share of free workers, among those with a host that the attempt need not avoid.

        None while no pool has a worker: the attempt then waits here, not in the queue of one pool.
        """
        names = [name for name, managed in self.monitor.pools.items() if not managed.dropped]
        names = [name for name in names if not self.monitor.pools[name].executor.bad_state_is_set]
        if len(self.monitor.pools) == 1:
            return names[0] if names else None
        snapshot = self.monitor.snapshot
        workers = snapshot.workers
        names = [name for name in names if workers.get(name)]
        if spec.avoid:
            avoid = set(spec.avoid)
            names = [name for name in names if any(host not in avoid for host in snapshot.hosts[name])] or names
        return max(names, key=lambda name: 1 - self._load[name] / workers[name], default=None)

    def _submit(self, spec: AttemptSpec, home: str, placed: dict[str, Any] | None = None) -> None:
        self._homes[spec.token] = home
        self._load[home] += 1
        token = spec.token
        wanted = placed or _nodes_of(spec)
        options = {"parsl_resource_specification": wanted} if wanted else {}
        future = self.call(home, run_attempt, spec.to_dict(), **options)
        future.add_done_callback(lambda done: self._arrive(token, done))

    def call(self, home: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """Run a function on a worker of the pool ``home``. The function must be importable there."""
        label = self.monitor.pools[home].executor.label
        if (label, function) not in self._apps:
            assert self._kernel is not None
            kernel = self._kernel.ready()
            self._apps[label, function] = PythonApp(function, data_flow_kernel=kernel, executors=[label])
        return self._apps[label, function](*arguments, **options)

    def _arrive(self, token: str, future: Future[Any]) -> None:
        """Take over the end of a task. Called in a thread of Parsl's."""
        self._arrived.append((token, future))
        self.wake()

    def _forget(self, token: str) -> None:
        """Forget the worker of an attempt that is over. A worker that sends a message for it again is noted again."""
        if token not in self._homes:
            self._workers_of.pop(token, None)

    def _send(self, token: str, message: Message) -> None:
        identity = self._workers_of.get(token)
        if identity is not None:
            self.channel.send(identity, message)

    # -- events -------------------------------------------------------------------------------------------------------

    def _on_message(self, identity: bytes, message: Message, events: list[Event]) -> None:
        if isinstance(message, Started | Report | Suggest | Query | Attributes):
            self._workers_of[message.token] = identity
            events.append(message)

    def _result(self, token: str, future: Future[Any]) -> Event:
        """The event for a task that has ended, after updating the books of its pool."""
        home = self._homes.pop(token, None)
        if home is not None:
            self._load[home] -= 1
        event = event_of(token, home, future)
        if self.packed:
            if isinstance(future.exception(), NotPlaced):
                self.packed.refused(token)
            else:
                self.packed.end(token)
        if future.exception() is None:
            self._workers_of.pop(token, None)
        if home is not None and isinstance(event, Ended):
            if event.outcome.kind != "declined":
                self.monitor.pools[home].blocks.attempt_ended()
            manager = event.outcome.worker.partition("/")[0]
            if event.outcome.signalled:
                self.monitor.signalled(home, manager)
            if event.outcome.leaving:
                self.monitor.hold(home, manager)
        return event

    def _drain_wakes(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass

    def _add_changes(self, events: list[Event]) -> None:
        """Add events for what has changed in the monitor's snapshot since the last call."""
        snapshot, reported = self.monitor.snapshot, self._reported
        if snapshot is reported:
            if self.packed:
                self._add_capacity(events, reported)
            return
        self._reported = snapshot
        if snapshot.charges != reported.charges:
            events.append(Charged(snapshot.charges))
        if snapshot.failure:
            if not reported.failure:
                events.append(PoolFailed(f"site {self.site.name}, {snapshot.failure}"))
            return
        if snapshot.views != reported.views:
            events.append(BlocksSeen(snapshot.views))
        events += [leave for leave in snapshot.leaves if leave not in reported.leaves]
        if snapshot.note != reported.note:
            events.append(PoolNote(snapshot.note))
        if self.packed:
            self.packed.follow(snapshot.nodes)
            given_up = "the pool that could run it was given up"
            events += [Lost(token, given_up) for token in self.packed.stranded(snapshot.nodes)]
        self._add_capacity(events, snapshot)

    def _add_capacity(self, events: list[Event], snapshot: PoolSnapshot) -> None:
        """Let attempts begin where there is room now, and add an event for a capacity that has changed."""
        self._submit_waiting()
        hosts = frozenset().union(*snapshot.hosts.values())
        equal = Capacity(snapshot.capacity, LATENCY, hosts)
        capacity = self.packed.capacity(LATENCY, hosts) if self.packed else equal
        if len(self.monitor.pools) > 1:
            capacity = replace(capacity, pools=self._pool_capacities(snapshot))
        if capacity != self._capacity:
            self._capacity = capacity
            events.append(capacity)

    def _pool_capacities(self, snapshot: PoolSnapshot) -> tuple[PoolCapacity, ...]:
        """What each pool can run now that has not been given up."""
        if self.packed:
            return self.packed.pool_capacities(snapshot.hosts)
        return tuple(PoolCapacity(name, workers, snapshot.hosts[name]) for name, workers in snapshot.workers.items())


def _nodes_of(spec: AttemptSpec) -> dict[str, Any]:
    """The nodes of a trial on several, for Parsl's MPI executor; empty for one."""
    nodes, ranks = spec.nodes, spec.ranks_per_node
    return {"num_nodes": nodes, "ranks_per_node": ranks, "num_ranks": nodes * ranks} if nodes > 1 else {}
