"""The worker's side of the fork server: a forked process for each attempt, and one server kept between attempts."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from ...trial.files import TrialFiles
from ...trial.protocol import AttemptSpec, Message, ObjectiveSpec
from ..dialogue import Answer
from ..node.fencing import ProcessNote
from ..node.packets import arrived
from ..node.posix import in_job, signal_group
from ..objective.ending import Ending, crash, signal_name
from ..objective.execute import environment, hardware
from .messages import (
    Begin,
    Exited,
    Forked,
    ForkFailed,
    MessageStream,
    Preload,
    Ready,
    Terminate,
    YieldRequest,
    decode,
    encode,
)
from .spare import ForkedProgram, take_spare

FORK_WAIT = 0.05
"""Most seconds to wait for the fork of a process before the supervisor's first turn."""


class ForkServer:
    """A running ``pilotune.pipeline.worker.process.fork_server`` for one objective.

    Args:
        spec: The attempt whose objective, preloading and hardware it serves.

    Attributes:
        ready: It has imported the objective.
        control: The packet socket to it.
    """

    def __init__(self, spec: AttemptSpec) -> None:
        self.serves = _served(spec)
        self.owner = os.getpid()
        self.ready = False
        self.objective_file = spec.objective.file
        self.modified = _modified(self.objective_file)
        self.process: ForkedProgram | subprocess.Popen[bytes]
        self.process, self.control = take_spare() or _start_program()
        with contextlib.suppress(OSError):  # where it has died, receive() says so
            self.control.send(json.dumps(encode(Preload(spec.objective, spec.preload, hardware(spec)))).encode())

    def fits(self, spec: AttemptSpec) -> bool:
        """Whether it is alive and has imported this objective as it is on disk now."""
        return (
            self.owner == os.getpid()
            and self.serves == _served(spec)
            and self.process.poll() is None
            and _modified(self.objective_file) == self.modified
        )

    @property
    def hardware(self) -> dict[str, str | None]:
        """The variables of threads and GPUs that it has set (see :func:`.execute.hardware`)."""
        return self.serves[2]

    def fork(self, child: socket.socket) -> None:
        """Ask for a process whose socket to the worker is ``child``."""
        with contextlib.suppress(OSError):
            socket.send_fds(self.control, [b"fork"], [child.fileno()])

    def await_message(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for a message of it, or its end."""
        poller = select.poll()
        poller.register(self.control, select.POLLIN)
        poller.poll(timeout * 1000)

    def receive(self) -> tuple[list[Message], bool]:
        """Its messages since the last call, and whether it has died."""
        packets, died = arrived(self.control, 65536)
        found = [decode(json.loads(packet)) for packet in packets]
        for message in found:
            if isinstance(message, Ready):
                self.ready = True
                if not self.objective_file:
                    self.objective_file = message.file
                    self.modified = _modified(self.objective_file)
        return found, died

    def close(self) -> None:
        """End it; it kills the processes that it forked."""
        self.control.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _start_program() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a fork server as a program of its own, where this worker has none in waiting. Raises OSError."""
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pilotune.pipeline.worker.process.fork_server", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=not in_job(),
            process_group=0 if in_job() else None,
        )
    return process, control


def _served(spec: AttemptSpec) -> tuple[ObjectiveSpec, bool, dict[str, str | None]]:
    return spec.objective, spec.preload, hardware(spec)


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns if path else 0
    except OSError:
        return 0


_server: ForkServer | None = None


def fork_server(spec: AttemptSpec) -> ForkServer:
    """This worker's fork server for ``spec``'s objective: the present one where it fits, or a new one.

    Raises OSError where none can be started.
    """
    global _server
    if _server is not None and not _server.fits(spec):
        forget(_server)
    if _server is None:
        _server = ForkServer(spec)
    return _server


def forget(server: ForkServer) -> None:
    """End ``server``, so that the next attempt starts a new one."""
    global _server
    if server.owner == os.getpid():
        server.close()
    if _server is server:
        _server = None


def begin_of(spec: AttemptSpec, files: TrialFiles, server: ForkServer, outputs: tuple[Path, Path]) -> Begin:
    """What a process of the attempt is to run.

    Args:
        spec: The attempt, as this process sees it.
        files: The trial's files.
        server: What will fork it.
        outputs: The files that it prints to.
    """
    return Begin(
        spec,
        environment(spec, known=server.hardware),
        cores=sorted(os.sched_getaffinity(0)),
        note=ProcessNote(files, spec.attempt, spec.rank),
        work=str(files.work(spec.attempt)),
        outputs=(str(outputs[0]), str(outputs[1])),
    )


class ForkedChild:
    """One process that the fork server was asked for.

    Args:
        server: Is asked here.
        begin: What the process is to run.

    Attributes:
        pid: 0 before it was forked.
        running: It was forked.
        status: Its exit status as ``subprocess`` gives it; None while it lives.
        failure: How it ended where its exit status does not say so.
        ended_at: When, in Unix seconds.
        peak_memory: Its peak memory in bytes, once it has ended; 0 where that is not known.
    """

    def __init__(self, server: ForkServer, begin: Begin) -> None:
        self.server = server
        self.pid, self.running = 0, False
        self.status: int | None = None
        self.failure: Ending | None = None
        self.ended_at = 0.0
        self.peak_memory = 0
        ours, theirs = socket.socketpair()
        self.stream = MessageStream(ours)
        # Sent before the process exists: it reads this when it starts. With long parameters only a part fits for now.
        self.stream.begin(begin)
        server.fork(theirs)
        theirs.close()

    def descriptors(self) -> list[int]:
        """Of its socket, while that is open."""
        return [] if self.stream.closed else [self.stream.fileno()]

    def terminate(self) -> None:
        """Send SIGTERM to its group."""
        self.stream.send(Terminate())  # so that the child knows this SIGTERM from the scheduler's
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to its group."""
        self.signal(signal.SIGKILL)
        if not self.running:  # the fork server hangs in the import
            self.server.process.kill()

    def signal(self, number: int) -> None:
        """Send a signal to its group, where it runs."""
        if self.pid and self.status is None:
            signal_group(self.pid, number)


class ForkedChildren:
    """The processes of one attempt, which one fork server forks in the order in which it was asked.

    Args:
        server: The fork server.
        children: Those that it was asked for, in order.
    """

    def __init__(self, server: ForkServer, children: Sequence[ForkedChild]) -> None:
        self.server, self.children = server, tuple(children)
        self._awaited = deque(children)  # what the server has not answered about
        until = time.monotonic() + FORK_WAIT
        # A server that is ready answers at once, which costs less to wait for here than a turn of the supervisor.
        while server.ready and self._awaited and (left := until - time.monotonic()) > 0:
            server.await_message(left)
            self.receive()

    def receive(self) -> None:
        """Take in what the server says of them. Their messages are to be read afterwards, to have all of them."""
        for child in self.children:
            child.stream.flush()
        messages, dead = self.server.receive()
        for message in messages:
            if isinstance(message, Forked):
                child = self._awaited.popleft()
                child.pid, child.running = message.pid, True
            elif isinstance(message, Exited):
                for child in self.children:
                    if child.pid == message.pid and child.status is None:
                        child.status, child.ended_at = message.status, message.at
                        child.peak_memory = message.memory
            elif isinstance(message, ForkFailed):
                child = self._awaited.popleft()
                child.status = 1
                reason = f"this worker cannot start another process: {message.reason}"
                child.failure = Ending("failed", failure="setup", reason=reason)
        if dead and any(child.status is None for child in self.children):
            self._on_server_death()

    def close(self) -> None:
        """End what still runs. The server is kept for the next attempt where nothing went wrong."""
        for child in self.children:
            child.stream.close()
        if any(child.status is None or child.failure is not None for child in self.children):
            for child in self.children:
                child.kill()
            forget(self.server)

    def _on_server_death(self) -> None:
        """The children died with it, by PR_SET_PDEATHSIG; the children's own children are killed here."""
        code = self.server.process.wait()
        how = f"was killed by {signal_name(-code)}" if code < 0 else f"exited with {code}"
        for child in self.children:
            if child.status is not None:
                continue
            child.signal(signal.SIGKILL)
            child.status, child.ended_at = code, time.time()
            if self.server.ready:
                reason = f"the fork server {how} and took the trial with it"
                child.failure = Ending("failed", failure="lost", reason=reason)
            else:
                died = crash(code, memory_limit=None, stderr="")
                reason = f"the process {how} while it imported the objective"
                child.failure = Ending("failed", failure=died.failure, reason=reason)


class ForkedProcess:
    """An attempt of a Python objective (see :class:`.process.Process`)."""

    takes_answers = True
    poll_interval = 1.0
    more_outputs: tuple[Path, ...] = ()

    def __init__(self, spec: AttemptSpec, files: TrialFiles) -> None:
        server = fork_server(spec)
        outputs = files.stdout(spec.attempt), files.stderr(spec.attempt)
        self._child = ForkedChild(server, begin_of(spec, files, server, outputs))
        self._children = ForkedChildren(server, [self._child])

    @property
    def running(self) -> bool:
        return self._child.running

    @property
    def status(self) -> int | None:
        return self._child.status

    @property
    def pids(self) -> list[int]:
        return [self._child.pid] if self._child.pid else []

    @property
    def peak_memory(self) -> int:
        return self._child.peak_memory

    def descriptors(self) -> list[int]:
        return [self._child.server.control.fileno(), *self._child.descriptors()]

    def receive(self) -> list[Message]:
        self._children.receive()
        return self._child.stream.receive()

    def answer(self, answer: Answer) -> None:
        self._child.stream.send(answer)

    def ask_to_yield(self) -> None:
        self._child.stream.send(YieldRequest())

    def terminate(self) -> None:
        self._child.terminate()

    def kill(self) -> None:
        self._child.kill()

    def ending(self, *, yielding: bool) -> Ending | None:
        return self._child.failure

    def kept_pids(self) -> set[int]:
        return {self._child.server.process.pid}

    def close(self) -> None:
        self._children.close()
