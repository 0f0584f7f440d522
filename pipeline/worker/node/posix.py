"""Linux process control that the standard library lacks: prctl, process identity, ending all descendants."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import ctypes
import functools
import os
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from ...trial.block_env import NODE_DIR

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NAME = 15
"""Options of prctl(2): a signal at the parent's death; orphaned descendants become children of this process; its name.
"""

_libc = ctypes.CDLL(None)
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


def process_control(option: int, value: int) -> None:
    """Call prctl(2) with one argument."""
    _libc.prctl(option, value, 0, 0, 0)


def name_process(name: str) -> None:
    """Give this process a name of at most 15 characters, for ``ps -o comm`` and ``top``."""
    text = ctypes.create_string_buffer(name.encode()[:15])
    process_control(PR_SET_NAME, ctypes.addressof(text))


def handle_signal(number: int, handler: Callable[[int, Any], Any] | int) -> Any:
    """As :func:`signal.signal`, without its enumerations, for which a new process copies a hundred pages of memory."""
    return _signal.signal(number, handler if callable(handler) else int(handler))


def kill_group(group: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process group; ignored where the group is gone or belongs to another user."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def signal_group(leader: int, number: int) -> None:
    """Send a signal to the group of a process that makes one for itself; to the process alone before it has.

    Args:
        leader: Its pid; the caller has not collected it.
        number: The signal.
    """
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader, number)


@functools.cache
def place() -> str:
    """Boot id and pid namespace of this host: where two processes agree in both, pids mean the same to them."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def process_start(pid: int) -> int | None:
    """When a process of this host started, in clock ticks since boot; None where it does not run, or is a zombie.

    With its pid it identifies a process, since a later one with the same pid has another start time.
    """
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def process_state(pid: int) -> str:
    """The state letter of a process, such as ``T`` for one that is stopped; empty where there is none."""
    return (_stat(pid) or [""])[0]


def process_name(pid: int) -> str:
    """The name of a process, at most 15 characters; empty where there is none."""
    try:
        return _read(f"/proc/{pid}/comm").rstrip("\n")
    except OSError:
        return ""


def parents() -> dict[int, int]:
    """The parent of each process of this host."""
    each = ((int(name), _stat(name)) for name in os.listdir("/proc") if name.isdigit())
    return {pid: int(fields[1]) for pid, fields in each if fields is not None}


def in_job() -> bool:
    """Whether this process belongs to a batch job, on a node with an agent.

    All processes of a trial then stay in the job's session, each in a process group of its own: some schedulers stop,
    kill and account for the processes of that session only. Elsewhere a trial has a session of its own, so that it
    never sees the user's terminal.
    """
    return NODE_DIR in os.environ


def own_group(job: bool | None = None) -> None:
    """Make this process the leader of a new process group: in the job's session, or of a new session without a job.

    Args:
        job: Whether it is in a job; None to find out.
    """
    if in_job() if job is None else job:
        os.setpgid(0, 0)
    else:
        os.setsid()


def _stat(pid: int | str) -> list[str] | None:
    """The fields of ``/proc/<pid>/stat`` from the state on."""
    try:
        return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except OSError:
        return None


def _read(path: str) -> str:
    """The text of a file. Raises OSError."""
    descriptor, found = os.open(path, os.O_RDONLY | os.O_CLOEXEC), b""
    try:
        while piece := os.read(descriptor, 4096):
            found += piece
    finally:
        os.close(descriptor)
    return found.decode(errors="replace")


def children() -> set[int]:
    """Pids of this process's direct children."""
    own = os.getpid()
    try:
        return set(map(int, _read(f"/proc/self/task/{own}/children").split()))
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return {pid for pid, parent in parents().items() if parent == own}


def trees(roots: Iterable[int]) -> list[int]:
    """Pids of processes of this host and of all their descendants, those that have ended meanwhile left out."""
    found, left, all_parents = [], list(roots), None
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):  # a kernel without CONFIG_PROC_CHILDREN
        all_parents = parents()
    while left:
        pid = left.pop()
        if not os.path.exists(f"/proc/{pid}"):
            continue
        found.append(pid)
        if all_parents is not None:
            left += [each for each, parent in all_parents.items() if parent == pid]
        else:
            left += _children_of(pid)
    return found


def _children_of(pid: int) -> list[int]:
    """The direct children of a process, by whichever of its threads they were started."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has ended
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


@contextlib.contextmanager
def descendants() -> Iterator[set[int]]:
    """End every process that is started in this context when it closes, including daemons in sessions of their own.

    Yields a set of pids of children that are spared; the caller may add to it.
    """
    kept = children()
    process_control(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield kept
    finally:
        end_children(kept)
        process_control(PR_SET_CHILD_SUBREAPER, 0)


END_LIMIT = 5.0
"""Seconds to wait for killed processes; one that is still there hangs in the kernel."""


def end_children(spared: Collection[int]) -> None:
    """Kill and collect all children except those ``spared``, and those that become children meanwhile.

    In a subreaper these are descendants whose parent has ended, whatever session they are in.
    """
    left_alone, until = set(spared), time.monotonic() + END_LIMIT
    while (left := children() - left_alone) and time.monotonic() < until:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except PermissionError:  # it runs as another user
                left_alone.add(pid)
            except ProcessLookupError:
                pass
        if not any(collect_status(pid) for pid in left):
            time.sleep(0.01)


def collect_status(pid: int) -> bool:
    """Collect a child that has ended; whether it had."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
