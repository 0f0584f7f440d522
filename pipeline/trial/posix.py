"""What looking after processes on Linux needs and the standard library does not have."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
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


def children() -> set[int]:
    """This process's direct children; empty where the kernel does not list them."""
    try:
        return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))
    except OSError:
        return set()
