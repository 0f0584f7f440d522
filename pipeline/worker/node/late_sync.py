"""Writes files to the disk behind a worker's back, since its next attempt need not wait for the disk."""

from __future__ import annotations

import contextlib
import os
import queue
import threading

_waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
_owner = 0


def sync_later(descriptor: int) -> None:
    """Have the file's content written to the disk soon, in a thread. The caller may close ``descriptor`` at once.

    Until then the content is safe from the death of any process, but not from that of the machine.
    """
    global _owner
    try:
        _waiting.put(os.dup(descriptor))
    except OSError:  # no descriptor is left
        os.fsync(descriptor)
        return
    if _owner != os.getpid():  # threads do not survive a fork
        _owner = os.getpid()
        threading.Thread(target=_sync, name="sync", daemon=True).start()


def _sync() -> None:
    while True:
        descriptor = _waiting.get()
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
        os.close(descriptor)
