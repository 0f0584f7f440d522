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

from ..errors import SiteError
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
from .channel_server import ChannelServer
from .site import Site
from .worker import run_attempt

log = logging.getLogger(__name__)

LOOK_WHILE_STARTING, LOOK_WHILE_RUNNING = 0.05, 2.0
"""Seconds between looks at how many workers are connected."""

LATENCY = 0.05
"""Seconds from the end of one trial to the start of the next on the same worker, as measured on a local pool."""


class ParslPool:
    """A site's workers through Parsl; implements :class:`~pilotune.pipeline.campaign.pool.Pool`.

    Args:
        site: Where to run. Its pools become executors.
        folder: For Parsl's and the blocks' files; created with mode 0700.
        key_file: Where the campaign's channel keys are written (0600).

    Raises:
        SiteError: The site would not start workers.
    """

    def __init__(self, site: Site, folder: Path, key_file: Path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.site, self.folder = site, folder
        self.channel = ChannelServer(key_file, make_keys(key_file))
        self._arrived: deque[tuple[str, Future[Any]]] = deque()
        self._workers_of: dict[str, bytes] = {}  # token -> identity on the channel
        self._submitted: set[str] = set()
        self._capacity, self._looked = 0, -1e18
        self._failed = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poller = zmq.Poller()
        self._poller.register(self.channel.socket, zmq.POLLIN)
        self._poller.register(self._wake_read, zmq.POLLIN)
        self._executors = {pool.name: htex.executor(site, pool, folder) for pool in site.pools}
        self._start()

    def _start(self) -> None:
        config = parsl.Config(
            executors=list(self._executors.values()),
            run_dir=str(self.folder),
            strategy="none",
            retries=0,
            exit_mode="skip",
            usage_tracking=0,
            initialize_logging=False,
        )
        self._kernel = parsl.DataFlowKernel(config)
        self._app = parsl.python_app(run_attempt, data_flow_kernel=self._kernel)
        for pool in self.site.pools:
            self._executors[pool.name].scale_out_facade(max(1, pool.blocks.init))

    # -- Pool ---------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return time.time()

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def wake(self) -> None:
        """End the current wait; may be called from a signal handler or another thread."""
        try:
            os.write(self._wake_write, b"!")
        except BlockingIOError:
            pass

    def wait(self, timeout: float) -> list[Event]:
        look_in = self._looked + self._look_period - time.monotonic()
        if not self._arrived:
            self._poller.poll(1000 * max(0.0, min(timeout, look_in)))
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

    def close(self, *, kill: bool = False) -> None:
        """End every block. ``kill``: without a last chance for what still runs."""
        for name, executor in self._executors.items():
            process = executor.interchange_proc
            if process is not None and process.poll() is not None:
                log.warning("the interchange of pool %s was dead already", name)
                executor.set_bad_state_and_fail_all(SiteError("the interchange died"))
        self._cancel_blocks()
        self._kernel.cleanup()
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
        self._workers_of.pop(token, None)
        error = future.exception()
        if error is None:
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
        reason = self._broken()
        if reason:
            self._failed = True
            events.append(PoolFailed(f"site {self.site.name}: {reason}"))
            return
        workers = 0
        for executor in self._executors.values():
            for manager in executor.connected_managers():
                if manager["active"] and not manager["draining"]:
                    workers += manager["worker_count"]
        if workers != self._capacity:
            self._capacity = workers
            events.append(Capacity(workers, LATENCY))

    def _broken(self) -> str:
        """Why this pool cannot go on, or nothing."""
        for name, executor in self._executors.items():
            process = executor.interchange_proc
            if process is None or process.poll() is not None:
                return f"the interchange of pool {name} died; run the same command again to go on"
            if executor.bad_state_is_set:
                return str(executor.executor_exception)
            states = executor.status_facade
            if states and all(status.terminal for status in states.values()):
                return f"pool {name}: every block has ended. {self._words(executor)}"
        return ""

    def _words(self, executor: Any) -> str:
        """The last lines that the blocks themselves wrote on stderr."""
        for status in executor.status_facade.values():
            text = (status.stderr or "").strip() or (status.message or "").strip()
            if text:
                return "Its last words: " + " | ".join(text.splitlines()[-5:])
        return "It said nothing."

    def _cancel_blocks(self) -> None:
        for executor in self._executors.values():
            if not executor.bad_state_is_set:
                executor.scale_in_facade(len(executor.status_facade))
