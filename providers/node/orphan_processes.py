"""Ends what killed workers left running on a node. Uses the standard library only, see :mod:`.agent`."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection

ORPHAN_GRACE = 9.0
"""Seconds that the processes of a dead worker's trial get to end by themselves: a launcher must first end those that it
started on other nodes."""


class OrphanProcesses:
    """Ends processes that killed workers left behind.

    This process is their subreaper, so they have become its children, even those in sessions of their own.

    Args:
        others: Children that were there before the worker pool, such as daemons of the block's set-up. They are left
            alone.
    """

    def __init__(self, others: Collection[int]):
        self.others = set(others)
        self._first_seen: dict[int, float] = {}

    def end(self, present: Collection[int], now: float) -> None:
        """SIGKILL to those that have not ended by themselves for a while. To be called every LOOK seconds."""
        self._first_seen = {pid: self._first_seen.get(pid, now) for pid in set(present) - self.others}
        for pid, first_seen in self._first_seen.items():
            if now - first_seen >= ORPHAN_GRACE:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
