"""Recognizes attempts that failed because their disk is full or their folder was deleted: the trial does not fail."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from ...filesystems import filesystem_of, free, unwritable
from .objective.ending import Ending

PERHAPS = frozenset({"exception", "exit", "signal", "value", "setup"})
"""Failures that a full disk may have caused; each language and library reports it in its own way."""

NO_ROOM_WORDS = ("no space left on device", "disk quota exceeded", "disk full")
"""The system's words for it, searched in lower case in the reason and the traceback."""

DELETED_WORDS = "no such file or directory"
"""The system's words, with the trial's folder, where that was deleted while the trial's process was made."""

LITTLE = 1e9
"""Bytes. With less free space than this the failed write was on this file system.

Space may be free again by now, since the trial may have deleted what it had written."""


def blame_disk(ending: Ending, directory: str) -> Ending:
    """The ending with failure ``disk`` where the file system of the trial's directory is full; else the same ending.

    So it is where the directory was deleted while the trial began.

    A full disk of the node's own (``/tmp``) does not count: the trial fails, as for any fault of its own.

    Args:
        ending: How the attempt ended.
        directory: The trial's folder; empty where it is unknown.
    """
    if ending.kind != "failed" or ending.failure not in PERHAPS or not directory:
        return ending
    why = unwritable(_nearest(directory) if ending.failure == "setup" else directory)
    said = f"{ending.reason}\n{ending.traceback}".lower()
    if not why and any(words in said for words in NO_ROOM_WORDS) and _little(directory, "quota" in said):
        mount = filesystem_of(directory)
        why = f"the file system {mount.point or directory} ({mount.name}) has no room for what it writes"
        left = free(directory)
        why += f" ({left} left)" if left else ""
    if not why and ending.failure == "setup" and directory in ending.reason and DELETED_WORDS in said:
        why = f"{directory} was deleted while the trial began"
    if not why:
        return ending
    return dataclasses.replace(ending, failure="disk", reason=f"{why}: {ending.reason}")


def _nearest(directory: str) -> str:
    """The folder, or its nearest ancestor that exists: the folder itself may not have been created."""
    path = Path(directory)
    return str(next((each for each in (path, *path.parents) if each.is_dir()), path))


def _little(directory: str, quota: bool) -> bool:
    """Whether the failed write can have been on the directory's file system."""
    if quota:  # nodes have no quota on their own disks, so it was the shared file system's
        return True
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < LITTLE
