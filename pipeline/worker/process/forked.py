"""The worker's end of the fork server: an attempt's process, and the server kept from attempt to attempt."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

from ...trial.protocol import AttemptSpec
from ..node.jsonlines import Lines
from ..objective.ending import Ending, crash, signal_name
from ..objective.execute import change, environment, hardware


class ForkServer:
    """A running ``pilotune.pipeline.worker.process.fork_server`` that has imported, or is importing, one objective."""

    def __init__(self, spec: AttemptSpec) -> None:
        self.key = _key(spec)
        self.owner = os.getpid()
        self.ready = False
        self.origin = spec.objective.file
        self.modified = _modified(self.origin)
        surroundings = dict(os.environ)
        change(surroundings, hardware(spec))
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pilotune.pipeline.worker.process.fork_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=surroundings,
                start_new_session=True,
            )
        finally:
            theirs.close()
        with contextlib.suppress(OSError):  # its death is noticed where answers are read
            self.control.send(json.dumps({"objective": spec.objective.to_dict(), "preload": spec.preload}).encode())

    def fits(self, spec: AttemptSpec) -> bool:
        """Whether it is alive and holds this objective as it is on disk now."""
        return (
            self.owner == os.getpid()
            and self.key == _key(spec)
            and self.process.poll() is None
            and _modified(self.origin) == self.modified
        )

    def fork(self, child: socket.socket) -> None:
        """Ask for a process that talks over ``child``."""
        with contextlib.suppress(OSError):
            socket.send_fds(self.control, [b"fork"], [child.fileno()])

    def messages(self) -> tuple[list[dict[str, Any]], bool]:
        """What it has said, and whether it has died."""
        found: list[dict[str, Any]] = []
        while True:
            try:
                packet = self.control.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found, False
            except OSError:
                packet = b""
            if not packet:
                return found, True
            message = json.loads(packet)
            if "ready" in message:
                self.ready = True
                if not self.origin:
                    self.origin = message["ready"]
                    self.modified = _modified(self.origin)
            found.append(message)

    def close(self) -> None:
        """End it; it kills what it forked."""
        self.control.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _key(spec: AttemptSpec) -> str:
    return json.dumps([spec.objective.to_dict(), spec.preload, hardware(spec)], sort_keys=True)


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns if path else 0
    except OSError:
        return 0


_server: ForkServer | None = None


def fork_server(spec: AttemptSpec) -> ForkServer:
    """This worker's fork server for ``spec``'s objective: the one it has, or a new one. Raises OSError."""
    global _server
    if _server is not None and not _server.fits(spec):
        forget(_server)
    if _server is None:
        _server = ForkServer(spec)
    return _server


def forget(server: ForkServer) -> None:
    """Do without ``server`` from now on."""
    global _server
    if server.owner == os.getpid():
        server.close()
    if _server is server:
        _server = None


class ForkedProcess:
    """An attempt of a Python objective (see :class:`.process.Process`)."""

    patient = True
    interval = 1.0

    def __init__(self, spec: AttemptSpec) -> None:
        self.running = False
        self.status: int | None = None
        self._died: Ending | None = None
        self._pid = 0
        self._server = fork_server(spec)
        ours, theirs = socket.socketpair()
        self._lines = Lines(ours)
        # Sent before there is a process: it finds its description when it starts.
        cores = sorted(os.sched_getaffinity(0))
        self._lines.send({"spec": spec.to_dict(), "environment": environment(spec), "cores": cores})
        self._server.fork(theirs)
        theirs.close()

    def descriptors(self) -> list[int]:
        own = [] if self._lines.closed else [self._lines.fileno()]
        return [self._server.control.fileno(), *own]

    def pump(self) -> list[dict[str, Any]]:
        messages, dead = self._server.messages()
        for message in messages:
            if "forked" in message:
                self._pid, self.running = message["forked"], True
            elif message.get("exit") == self._pid and self._pid:
                self.status = message["status"]
            elif "failed" in message:
                self.status = 1
                reason = f"this worker cannot start another process: {message['failed']}"
                self._died = Ending("failed", failure="setup", reason=reason)
        if dead and self.status is None:
            self._server_died()
        return self._lines.here()  # after the status: what was said before the end is here by now

    def answer(self, reply: dict[str, Any]) -> None:
        self._lines.send(reply)

    def ask_to_yield(self) -> None:
        self._lines.send({"yield": True})

    def terminate(self) -> None:
        self._lines.send({"die": True})  # the child tells the worker's SIGTERM from the scheduler's by this
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if not self.running:  # hangs in the import
            self._server.process.kill()

    def ending(self, *, yielding: bool) -> Ending | None:
        return self._died

    def kept(self) -> set[int]:
        return {self._server.process.pid}

    def close(self) -> None:
        self._lines.close()
        if self.status is None or self._died is not None:
            self.kill()
            forget(self._server)

    def _signal(self, number: int) -> None:
        if self._pid and self.status is None:
            try:
                os.killpg(self._pid, number)
            except ProcessLookupError:  # it has not made its session yet
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, number)

    def _server_died(self) -> None:
        """With it died the child, by PR_SET_PDEATHSIG; the child's own children are killed here."""
        code = self._server.process.wait()
        self._signal(signal.SIGKILL)
        self.status = code
        how = f"was killed by {signal_name(-code)}" if code < 0 else f"exited with {code}"
        if self._server.ready:
            reason = f"the fork server {how} and took the trial with it"
            self._died = Ending("failed", failure="lost", reason=reason)
        else:
            died = crash(code, memory_limit=None, stderr="")
            reason = f"the process {how} while it imported the objective"
            self._died = Ending("failed", failure=died.failure, reason=reason)
