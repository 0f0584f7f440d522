"""Rules by which another driver is found to be dead: its silence, or the start time of its process.

On the same host a driver's process can be looked up, so its death is known at once. On another host only the time of
its last message tells: the heartbeat of its lease in the database, or the last write of ``status.json``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..worker.node.posix import process_start

SILENCE = 120.0
"""Seconds without a message after which a driver on another host counts as dead. Drivers write every few seconds; two
minutes are longer than a network file system or a database is usually unreachable."""


def start_time(pid: int) -> float | None:
    """When a process of this host started, in Unix seconds; None when there is none, or only a zombie.

    A process id may be given to another process later; that one has a later start time.
    """
    ticks = process_start(pid)
    try:
        up = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return None if ticks is None else time.time() - up + ticks / os.sysconf("SC_CLK_TCK")
