"""Files are written to the disk in a thread, some at a time, and at once where too many wait."""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path

import pytest

from pilotune.pipeline.worker.node import late_sync


def test_files_are_written_later_and_their_descriptors_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, all_written = [], threading.Event()

    def fsync(descriptor: int) -> None:
        file = os.readlink(f"/proc/self/fd/{descriptor}")
        if not file.startswith(f"{tmp_path}/"):
            return  # of a test before this one, whose thread still runs
        written.append(file)
        if len(written) == late_sync.MOST_WAITING + 1:
            all_written.set()

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(late_sync, "_waiting", queue.SimpleQueue())
    monkeypatch.setattr(late_sync, "_owner", os.getpid())  # no thread yet
    paths = [tmp_path / str(number) for number in range(late_sync.MOST_WAITING + 1)]
    for path in paths:
        with path.open("w") as file:
            late_sync.sync_later(file.fileno())
    assert written == [str(paths[-1])]  # there was no place for it
    monkeypatch.setattr(late_sync, "GATHERED", 0.0)
    threading.Thread(target=late_sync._sync, args=(late_sync._waiting,), daemon=True).start()
    assert all_written.wait(30)
    assert sorted(written) == sorted(map(str, paths))
