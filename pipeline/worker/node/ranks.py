"""Signals for commands on several nodes, whose ranks run under a launcher (srun, mpiexec, aprun).

On SIGTERM srun and most mpiexec kill their ranks at once, but they pass SIGUSR1 on; so ranks are asked to yield by
SIGUSR1, which the wrapper ``rank.sh`` turns into SIGTERM. A launcher that is killed leaves its ranks running on the
other nodes; so it is first sent SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from pathlib import Path

from .posix import kill_group

RANK = Path(__file__).with_name("rank.sh")
"""The wrapper of each rank."""

LAUNCHER_WAIT = 5.0
"""Seconds that a launcher has to end its ranks before it is killed."""


def with_ranks(launcher: str) -> str:
    """A launcher's words followed by the wrapper that lets its ranks yield; empty without a launcher."""
    return f"{launcher} /bin/sh {shlex.quote(str(RANK))}" if launcher else ""


def ask_ranks_to_yield(group: int, launcher: str) -> bool:
    """Send SIGUSR1 to the launchers in a process group; whether there was one.

    Args:
        group: The command's process group.
        launcher: What :func:`with_ranks` returned.
    """
    name, asked = Path(launcher.split(" ", 1)[0]).name, False
    for pid in members(group):
        with contextlib.suppress(OSError):
            running = Path(f"/proc/{pid}/comm").read_text().startswith(name[:15])
            if running and os.fsencode(RANK) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGUSR1)
                asked = True
    return asked


def end_ranks(group: int) -> None:
    """Send SIGTERM to a process group, so that launchers end their ranks; then SIGKILL to what is left of it."""
    if members(group):
        kill_group(group, signal.SIGTERM)
    until = time.monotonic() + LAUNCHER_WAIT
    while members(group) and time.monotonic() < until:
        time.sleep(0.05)
    kill_group(group)


def members(group: int) -> list[int]:
    """Pids of a process group, without zombies."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            state, _, of, *_ = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            if int(of) == group and state not in "ZX":
                found.append(int(name))
    return found
