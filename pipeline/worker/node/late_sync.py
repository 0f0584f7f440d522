"""Writes files to the disk behind a worker's back, since its next attempt need not wait for the disk."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time

GATHERED = 0.5
"""Seconds for which files are gathered before they are written. A thread that wakes for each file would disturb the
worker's own more often."""

MOST_WAITING = 64
"""Files that may wait, each with an open descriptor; further ones are written at once."""

_waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
_owner = 0


def sync_later(descriptor: int) -> None:
    """Have the file's content written to the disk soon, in a thread. The caller may close ``descriptor`` at once.

    Until then the content is safe from the death of any process, but not from that of the machine.
    """
    global _owner
    try:
        kept = os.dup(descriptor) if _waiting.qsize() < MOST_WAITING else None
    except OSError:  # no descriptor is left
        kept = None
    if kept is None:
        os.fsync(descriptor)
        return
    _waiting.put(kept)
    if _owner != os.getpid():  # threads do not survive a fork
        _owner = os.getpid()
        threading.Thread(target=_sync, args=(_waiting,), name="sync", daemon=True).start()


def _sync(waiting: queue.SimpleQueue[int]) -> None:
    while True:
        descriptors = [waiting.get()]
        time.sleep(GATHERED)
        with contextlib.suppress(queue.Empty):
            while True:
                descriptors.append(waiting.get_nowait())
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.fsync(descriptor)
            os.close(descriptor)
