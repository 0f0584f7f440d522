"""Measures the peak memory of an attempt: of its processes and of all that they have started.

The kernel keeps the peak of a process, and says it when the process has ended (:func:`peak_of`). That is exact, but of
several processes it is only the largest one's. Where there are several, :class:`MemoryWatch` looks now and then at what
all of them take together; pages that they share count once (``Pss`` in ``/proc/<pid>/smaps_rollup``).

Approximate: a peak between two looks is missed, except for the largest process. Processes that have left the tree
(daemons) are not seen. A process that was forked has its parent's pages from the beginning, so a command has at least
what the worker itself takes, some ten megabytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .posix import process_name, trees

if TYPE_CHECKING:
    from resource import struct_rusage

INTERVAL = 0.5
"""Seconds between two looks, at least."""

COST = 200.0
"""The time between two looks is at least so many times the processor time of one, since the kernel walks through all
pages of a process: about 20 ms for each gigabyte in small pages."""

ELSEWHERE = frozenset({"srun", "aprun", "jsrun", "flux", "pbsdsh", "ssh", "docker", "podman"})
"""Programs that run others outside of their own tree of processes."""


def peak_of(usage: struct_rusage) -> int:
    """Peak resident memory of a process that was collected, or of the largest one that it had collected; in bytes.

    Args:
        usage: What ``os.wait4`` has returned.
    """
    return usage.ru_maxrss * 1024


class MemoryWatch:
    """Looks at the memory of trees of processes now and then.

    Attributes:
        peak: The most that all processes had together when there were several, in bytes; 0 while there were none.
        elsewhere: A process was seen that runs others elsewhere, so their memory is not known.

    Example:
        >>> import os
        >>> watch = MemoryWatch()
        >>> watch.look([os.getpid()])
        >>> watch.elsewhere
        False
    """

    def __init__(self) -> None:
        self.peak = 0
        self.elsewhere = False
        self._next = 0.0

    def look(self, roots: Iterable[int]) -> None:
        """Look at processes and their descendants, unless the last look was just now.

        Args:
            roots: Pids of processes of this host.
        """
        if time.monotonic() < self._next:
            return
        began = time.thread_time()
        pids = trees(roots)
        self.elsewhere |= any(process_name(pid) in ELSEWHERE for pid in pids)
        if len(pids) > 1:
            self.peak = max(self.peak, sum(map(proportional, pids)))
        self._next = time.monotonic() + max(INTERVAL, COST * (time.thread_time() - began))


def proportional(pid: int) -> int:
    """What a process takes now in bytes, with its part of the pages that it shares; 0 where that cannot be read.

    >>> import os
    >>> proportional(os.getpid()) > 1_000_000
    True
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            line = next((line for line in file if line.startswith(b"Pss:")), b"")
    except OSError:  # it has ended, runs as another user, or the kernel is older than 4.14
        return 0
    return int(line.split()[1]) * 1024 if line else 0
