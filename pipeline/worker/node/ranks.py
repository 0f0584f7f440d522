"""Commands on several nodes. Their launcher (srun, mpiexec, aprun) stands between the worker and the ranks.

srun and most mpiexec answer SIGTERM by killing their ranks at once, and hand SIGUSR1 on to them. One that is killed
leaves its ranks running on the other nodes.
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

LEAVING = 5.0
"""Seconds that a launcher has to end its ranks."""


def with_ranks(launcher: str) -> str:
    """A launcher's words, with what lets its ranks yield behind them."""
    return f"{launcher} /bin/sh {shlex.quote(str(RANK))}" if launcher else ""


def ask_ranks_to_yield(group: int, launcher: str) -> bool:
    """SIGUSR1 to the launchers that run in a process group; whether there was one.

    Args:
        group: The command's.
        launcher: The words of :func:`with_ranks`.
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
    """SIGTERM to a process group, on which launchers end their ranks; after a while SIGKILL to what is left of it."""
    if members(group):
        kill_group(group, signal.SIGTERM)
    until = time.monotonic() + LEAVING
    while members(group) and time.monotonic() < until:
        time.sleep(0.05)
    kill_group(group)


def members(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            state, _, of, *_ = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            if int(of) == group and state not in "ZX":
                found.append(int(name))
    return found
