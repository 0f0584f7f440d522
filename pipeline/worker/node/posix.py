"""What looking after processes on Linux needs and the standard library does not have."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import time
from collections.abc import Collection, Iterator
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None)


def process_control(option: int, value: int) -> None:
    """prctl(2)."""
    _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def kill_group(group: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process group; nothing happens when it is gone or somebody else's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def place() -> str:
    """Boot and process namespace of this host: where two agree, the numbers of processes mean the same."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def process_start(pid: int) -> int | None:
    """When a process of this host began, in clock ticks since boot; None when there is none, or only its corpse.

    A later process of the same number has another start.
    """
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def _stat(pid: int | str) -> list[str] | None:
    """The fields of a process's ``stat`` from its state on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def children() -> set[int]:
    """This process's direct children."""
    own = os.getpid()
    try:
        return set(map(int, Path(f"/proc/self/task/{own}/children").read_text().split()))
    except OSError:  # a kernel that does not list them
        each = ((int(name), _stat(name)) for name in os.listdir("/proc") if name.isdigit())
        return {pid for pid, fields in each if fields is not None and int(fields[1]) == own}


@contextlib.contextmanager
def descendants() -> Iterator[set[int]]:
    """What is started inside does not outlive it: daemons and others with a session of their own are ended as well.

    Gives the set of the children that are to stay, to which more may be added.
    """
    kept = children()
    process_control(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield kept
    finally:
        end_children(kept)
        process_control(PR_SET_CHILD_SUBREAPER, 0)


END_LIMIT = 5.0
"""Seconds for killed processes to end; one that is still there hangs in the kernel."""


def end_children(spared: Collection[int]) -> None:
    """SIGKILL to all children but those ``spared``, and to those that become children by that; takes their status.

    In a subreaper these are descendants that have lost their parent, sessions of their own notwithstanding.
    """
    left_alone, until = set(spared), time.monotonic() + END_LIMIT
    while (left := children() - left_alone) and time.monotonic() < until:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except PermissionError:  # it runs as somebody else
                left_alone.add(pid)
            except ProcessLookupError:
                pass
        if not any(take_status(pid) for pid in left):
            time.sleep(0.01)


def take_status(pid: int) -> bool:
    """Let the corpse of a child go; whether there was one."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
