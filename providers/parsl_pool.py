"""The real pool: trials as Parsl apps on HighThroughputExecutors, reports over one encrypted socket."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import parsl
import zmq
from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

from ..pipeline.campaign.events import (
    Action,
    Capacity,
    Ended,
    Event,
    Lost,
    PoolFailed,
    Reply,
    StopAttempt,
    Submit,
)
from ..pipeline.trial.channel import make_keys
from ..pipeline.trial.protocol import (
    Message,
    Outcome,
    Report,
    Started,
    Stop,
    Suggest,
    Suggested,
    Verdict,
)
from . import htex
from .blocks import Blocks
from .channel_server import ChannelServer
from .kernel import Kernel
from .site import Site
from .worker import run_attempt

log = logging.getLogger(__name__)

LOOK_WHILE_STARTING, LOOK_WHILE_RUNNING = 0.05, 2.0
"""Seconds between looks at how many workers are connected."""

LATENCY = 0.05
"""Seconds from the end of one trial to the start of the next on the same worker, as measured on a local pool."""


class ParslPool:
    """A site's workers through Parsl; implements :class:`~pilotune.pipeline.campaign.pool.Pool`.

    Parsl's own processes boot in the background from the constructor on, on a local site the workers too; :meth:`start`
    waits for them. Until then nothing is submitted to a scheduler.

    Args:
        site: Where to run. Its pools become executors.
        folder: For Parsl's and the blocks' files; created with mode 0700.
        key_file: Where the campaign's channel keys are written (0600).
        cores: Cores of one trial.
        gpus: GPUs of one trial.

    Raises:
        SiteError: The site cannot run such trials.
    """

    def __init__(self, site: Site, folder: Path, key_file: Path, *, cores: int = 1, gpus: int = 0):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.site, self.folder = site, folder
        self.channel = ChannelServer(key_file, make_keys(key_file))
        self._arrived: deque[tuple[str, Future[Any]]] = deque()
        self._workers_of: dict[str, bytes] = {}  # token -> identity on the channel
        self._submitted: set[str] = set()
        self._capacity, self._looked = 0, -1e18
        self._failed = self._closed = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poller = zmq.Poller()
        self._poller.register(self.channel.socket, zmq.POLLIN)
        self._poller.register(self._wake_read, zmq.POLLIN)
        executors = {pool.name: htex.executor(site, pool, folder, cores, gpus) for pool in site.pools}
        self._blocks = {pool.name: Blocks(executors[pool.name], max(1, pool.blocks.init)) for pool in site.pools}
        eager = self._start_blocks if site.scheduler == "local" else lambda: None
        self._kernel = Kernel(self._config(list(executors.values())), then=eager)

    def _config(self, executors: list[htex.Executor]) -> parsl.Config:
        return parsl.Config(
            executors=executors,
            run_dir=str(self.folder),
            strategy="none",
            retries=0,
            exit_mode="skip",
            usage_tracking=0,
            initialize_logging=False,
        )

    def start(self) -> None:
        """Ask for the first blocks. Raises SiteError where Parsl itself could not be started."""
        self._app = parsl.python_app(run_attempt, data_flow_kernel=self._kernel.ready())
        if self.site.scheduler != "local":
            self._start_blocks()

    def _start_blocks(self) -> None:
        for blocks in self._blocks.values():
            blocks.start()

    # -- Pool ---------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return time.time()

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def wake(self) -> None:
        """End the current wait; may be called from a signal handler or another thread."""
        try:
            os.write(self._wake_write, b"!")
        except OSError:  # full: it will wake anyway; or closed: nobody waits any more
            pass

    def wait(self, timeout: float) -> list[Event]:
        look_in = self._looked + self._look_period - time.monotonic()
        if not self._arrived:
            self._poller.poll(int(1000 * max(0.0, min(timeout, look_in))))
        self._drain_wakes()
        events: list[Event] = []
        for identity, message in self.channel.drain():
            self._hear(identity, message, events)
        while self._arrived:
            events.append(self._result(*self._arrived.popleft()))
        if time.monotonic() >= self._looked + self._look_period:
            self._look(events)
        return events

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Submit):
                self._submit(action)
            elif isinstance(action, Reply):
                self._reply(action)
            elif isinstance(action, StopAttempt):
                self._send(action.token, Stop(action.token, action.how))
                if action.token not in self._submitted:
                    self._workers_of.pop(action.token, None)

    def close(self) -> None:
        """End every block, and Parsl. May be called again."""
        if self._closed:
            return
        self._closed = True
        self._kernel.wait()
        clean = all(blocks.executor.interchange_alive for blocks in self._blocks.values())
        for blocks in self._blocks.values():
            blocks.cancel() if clean else blocks.shut_down()
        self._kernel.close(clean)
        self.channel.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    # -- submitting and answering -------------------------------------------------------------------------------------

    def _submit(self, action: Submit) -> None:
        token = action.spec.token
        self._submitted.add(token)
        future: Future[Any] = self._app(action.spec.to_dict())
        future.add_done_callback(lambda done: self._arrive(token, done))

    def _arrive(self, token: str, future: Future[Any]) -> None:
        """Called in a thread of Parsl's."""
        self._arrived.append((token, future))
        self.wake()

    def _reply(self, action: Reply) -> None:
        message: Message
        if action.suggested:
            message = Suggested(action.token, action.request, action.value, action.error)
        else:
            message = Verdict(action.token, action.request, action.stop)
        self._send(action.token, message)

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
        self._submitted.discard(token)
        error = future.exception()
        if error is None:
            self._workers_of.pop(token, None)
            for blocks in self._blocks.values():
                blocks.progress()
            return Ended(Outcome.from_dict(future.result()))
        if isinstance(error, (ManagerLost, WorkerLost)):
            return Lost(token, f"its worker was lost ({error})")
        if isinstance(error, BadStateException):
            return PoolFailed(f"site {self.site.name}: {error}")
        return Lost(token, f"the worker could not run it ({type(error).__name__}: {error})")

    def _drain_wakes(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass

    # -- workers and blocks -------------------------------------------------------------------------------------------

    @property
    def _look_period(self) -> float:
        return LOOK_WHILE_RUNNING if self._capacity else LOOK_WHILE_STARTING

    def _look(self, events: list[Event]) -> None:
        """See how many workers are connected, and whether what feeds them is alive."""
        self._looked = time.monotonic()
        if self._failed:
            return
        workers = 0
        for name, blocks in self._blocks.items():
            connected, reason = blocks.look()
            workers += connected
            if reason:
                self._failed = True
                events.append(PoolFailed(f"site {self.site.name}, pool {name}: {reason}"))
                return
        if workers != self._capacity:
            self._capacity = workers
            events.append(Capacity(workers, LATENCY))


def batch_scripts(site: Site, study_file: Any) -> list[tuple[str, str]]:
    """What a run would start, by pool: on ``local`` the shell script of a block. Nothing is started.

    Args:
        site: The machine.
        study_file: Its ``trial`` says how many cores and GPUs a trial takes.
    """
    scripts = []
    for pool in site.pools:
        provider = htex.provider(site, pool)
        workers = htex.workers_per_node(pool, study_file.trial.cores, study_file.trial.gpus)
        head = f"# {max(1, pool.blocks.init)} block(s) of {pool.nodes_per_block} node(s), {workers} worker(s) a node"
        body = (
            f"{htex.launch_program()} --max_workers_per_node={workers} ...  # options that Parsl fills in at the start"
        )
        scripts.append((pool.name, f"{head}\n{provider.worker_init}\n{body}\n"))
    return scripts
