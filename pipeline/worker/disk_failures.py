"""Whether it was the file system that failed an attempt: a trial is not to be failed for a disk that is full."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from ...filesystems import filesystem_of, free, unwritable
from .objective.ending import Ending

PERHAPS = frozenset({"exception", "exit", "signal", "value", "setup"})
"""Failures that a full disk may be behind: each language and library puts it in its own way."""

NO_ROOM_WORDS = ("no space left on device", "disk quota exceeded", "disk full")
"""What the system calls it, in whatever a trial said last."""

LITTLE = 1e9
"""Bytes. A trial that was refused room may have freed what it had written in vain; where less is left, it was here."""


def blame_disk(ending: Ending, directory: str) -> Ending:
    """The same ending, or one with failure ``disk`` where the trial's directory takes no files.

    A disk of the node's own that is full is the node's fault, and the ending stays what it is.
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
    if not why:
        return ending
    return dataclasses.replace(ending, failure="disk", reason=f"{why}: {ending.reason}")


def _nearest(directory: str) -> str:
    """The folder itself, or the nearest above it that there is: it may be one that could not be made."""
    path = Path(directory)
    return str(next((each for each in (path, *path.parents) if each.is_dir()), path))


def _little(directory: str, quota: bool) -> bool:
    if quota:  # of the user's on a shared file system; nodes have none on their own disks
        return True
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < LITTLE
