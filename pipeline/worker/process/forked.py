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

from ...trial.files import TrialFiles
from ...trial.protocol import AttemptSpec, Message, ObjectiveSpec
from ..dialogue import Answer
from ..node.fencing import ProcessNote
from ..node.packets import arrived
from ..node.posix import in_job
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


class ForkedProcess:
    """An attempt of a Python objective (see :class:`.process.Process`)."""

    takes_answers = True
    poll_interval = 1.0

    def __init__(self, spec: AttemptSpec, files: TrialFiles) -> None:
        self.running = False
        self.status: int | None = None
        self._ending: Ending | None = None
        self._pid = 0
        self._server = fork_server(spec)
        ours, theirs = socket.socketpair()
        self._stream = MessageStream(ours)
        # Sent before the process exists: it reads this when it starts. With long parameters only a part fits for now.
        self._stream.begin(
            Begin(
                spec,
                environment(spec, known=self._server.hardware),
                cores=sorted(os.sched_getaffinity(0)),
                note=ProcessNote(files, spec.attempt),
                work=str(files.work(spec.attempt)),
                outputs=(str(files.stdout(spec.attempt)), str(files.stderr(spec.attempt))),
            )
        )
        self._server.fork(theirs)
        theirs.close()
        if self._server.ready:  # it answers at once, which costs less to wait for here than a turn of the supervisor
            self._server.await_message(FORK_WAIT)
            self._receive_from_server()

    def descriptors(self) -> list[int]:
        own = [] if self._stream.closed else [self._stream.fileno()]
        return [self._server.control.fileno(), *own]

    def receive(self) -> list[Message]:
        self._stream.flush()
        self._receive_from_server()
        return self._stream.receive()  # after the status, so that everything sent before the exit is read

    def _receive_from_server(self) -> None:
        messages, dead = self._server.receive()
        for message in messages:
            if isinstance(message, Forked):
                self._pid, self.running = message.pid, True
            elif isinstance(message, Exited) and message.pid == self._pid:
                self.status = message.status
            elif isinstance(message, ForkFailed):
                self.status = 1
                reason = f"this worker cannot start another process: {message.reason}"
                self._ending = Ending("failed", failure="setup", reason=reason)
        if dead and self.status is None:
            self._server_died()

    def answer(self, answer: Answer) -> None:
        self._stream.send(answer)

    def ask_to_yield(self) -> None:
        self._stream.send(YieldRequest())

    def terminate(self) -> None:
        self._stream.send(Terminate())  # so that the child knows this SIGTERM from the scheduler's
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if not self.running:  # the fork server hangs in the import
            self._server.process.kill()

    def ending(self, *, yielding: bool) -> Ending | None:
        return self._ending

    def kept_pids(self) -> set[int]:
        return {self._server.process.pid}

    def close(self) -> None:
        self._stream.close()
        if self.status is None or self._ending is not None:
            self.kill()
            forget(self._server)

    def _signal(self, number: int) -> None:
        if self._pid and self.status is None:
            try:
                os.killpg(self._pid, number)
            except ProcessLookupError:  # it has not started its session yet
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, number)

    def _server_died(self) -> None:
        """The child died with it, by PR_SET_PDEATHSIG; the child's own children are killed here."""
        code = self._server.process.wait()
        self._signal(signal.SIGKILL)
        self.status = code
        how = f"was killed by {signal_name(-code)}" if code < 0 else f"exited with {code}"
        if self._server.ready:
            reason = f"the fork server {how} and took the trial with it"
            self._ending = Ending("failed", failure="lost", reason=reason)
        else:
            died = crash(code, memory_limit=None, stderr="")
            reason = f"the process {how} while it imported the objective"
            self._ending = Ending("failed", failure=died.failure, reason=reason)
