"""A fork server that its worker forks before it needs one, while it is young: it has imported everything but the
objective, and a process with threads, as the worker has later, cannot be forked safely."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Sequence

from ..node.posix import name_process, own_group
from . import fork_server

WAIT_INTERVAL = 0.005
"""Seconds between two looks whether a process has ended."""


class ForkedProgram:
    """A child process that was forked, with the part of :class:`subprocess.Popen` that a fork server needs.

    Args:
        pid: Its process id.

    Attributes:
        returncode: Its exit status as ``subprocess`` gives it; None while it is not known to have ended.
    """

    def __init__(self, pid: int):
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status; None while it lives."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # collected elsewhere
                pid, status = self.pid, 0
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit status. Raises TimeoutExpired after ``timeout`` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired("fork server", timeout or 0.0)
            time.sleep(WAIT_INTERVAL)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


_spare: tuple[int, ForkedProgram, socket.socket] | None = None


def fork_spare(inherited: Sequence[socket.socket]) -> None:
    """Fork a fork server for this process, which must have a single thread. Without one, :func:`take_spare` has none.

    Args:
        inherited: Sockets of this process that the fork server must not hold.
    """
    global _spare
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid = os.fork()
    except OSError:
        control.close()
        theirs.close()
        return
    if pid == 0:
        try:
            own_group()
            for each in (control, *inherited):
                each.close()
            name_process("fork server")
            fork_server.main(theirs.detach())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    theirs.close()
    _spare = (os.getpid(), ForkedProgram(pid), control)


def take_spare() -> tuple[ForkedProgram, socket.socket] | None:
    """The fork server in waiting and the socket to it, once; None where there is none."""
    global _spare
    spare, _spare = _spare, None
    if spare is None or spare[0] != os.getpid():
        return None
    _, process, control = spare
    if process.poll() is not None:
        with contextlib.suppress(OSError):
            control.close()
        return None
    return process, control
