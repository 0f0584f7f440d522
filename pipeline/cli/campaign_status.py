"""Campaigns as seen from outside: their ``status.json``, and whether their driver still lives."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..driver.status import Status

SILENCE = 120.0
"""Seconds without a new status after which a driver on another host is taken for dead."""


@dataclass(frozen=True)
class Live:
    """A campaign that was started from this account.

    Attributes:
        folder: Its run directory.
        alive: Its driver runs, as far as can be seen from here.
    """

    status: Status
    folder: Path
    alive: bool

    @property
    def state(self) -> str:
        """The status' state, or ``died``."""
        return self.status.state if self.alive or self.status.state == "ended" else "died"


def look(folder: Path) -> Live | None:
    """The campaign in a run directory; None where it wrote no status (yet)."""
    from ..driver.status import Status
    from ..record import RunDirectory

    try:
        status = Status.from_json(RunDirectory(folder).status.read_text())
    except (OSError, ValueError):
        return None
    return Live(status, folder, status.state != "ended" and driver_lives(status))


def campaigns(runs: Path | None, name: str) -> list[Live]:
    """All campaigns of a study under ``runs``, the newest first."""
    if runs is None or not (runs / name).is_dir():
        return []
    found = [live for folder in (runs / name).iterdir() if folder.is_dir() and (live := look(folder))]
    return sorted(found, key=lambda live: live.status.started, reverse=True)


def driver_lives(status: Status) -> bool:
    """Whether the driver that wrote ``status`` runs: by its process on this host, by its silence on another."""
    if status.host != socket.gethostname():
        return time.time() - status.updated < SILENCE
    began = process_start(status.pid)
    # A process that began after the last status has taken over the number of one that died.
    return began is not None and began <= status.updated + 1.0


def process_start(pid: int) -> float | None:
    """Unix seconds at which a process of this host began; None where there is none, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        up = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    if fields[0] in "ZX":
        return None
    return time.time() - up + int(fields[19]) / os.sysconf("SC_CLK_TCK")
