"""Finds and removes what Python's multiprocessing leaves on a node when a worker pool is killed.

These are semaphores, which are files in ``/dev/shm``, and the sockets of managers, which lie in folders ``pymp-...`` of
the temporary folder. They are found through the processes that have them open, so that nothing of anybody else is
touched. Uses the standard library only, see :mod:`.agent`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

SHARED = "/dev/shm"
SEMAPHORE = re.compile(r"^\S+ \S+ \S+ \S+ (\d+) +/dev/shm/sem\.", re.MULTILINE)
"""A semaphore in a process's memory map. Only its inode identifies it: the file may have been renamed."""

LOOKS = (3.0, 30.0, 300.0)
"""Seconds after the pool's start at which its files are noted. It makes them while it starts; a look takes some
milliseconds for each process."""

LISTENER = re.compile(r"/.*/pymp-[^/]+/listener-[^/]+")


class SharedFiles:
    """The shared files of a worker pool, noted early: a pool that is killed can no longer be asked what it had open.

    Args:
        group: The pool's process group.
    """

    def __init__(self, group: int):
        self.group, self._began, self._looks = group, time.monotonic(), list(LOOKS)
        self._found: set[Path] = set()

    def look(self, now: float) -> None:
        """Note what there is, at the times that LOOKS gives. ``now``: the monotonic clock, in seconds."""
        if self._looks and now >= self._began + self._looks[0]:
            self._looks.pop(0)
            self.note()

    def note(self) -> None:
        """Note what there is now."""
        self._found |= find_leaked(self.group)

    def remove(self) -> None:
        """Delete what was found. To be called after the pool's processes have ended."""
        remove_leaked(self._found)


def find_leaked(group: int) -> set[Path]:
    """The semaphore files and socket folders that the processes of the process group ``group`` have open."""
    sockets, semaphores = dict(_unix_sockets()), _semaphores()
    found = set()
    for pid in _members(group):
        with contextlib.suppress(OSError):
            inodes = SEMAPHORE.findall(Path(f"/proc/{pid}/maps").read_text())
            found |= {semaphores[inode] for inode in map(int, inodes) if inode in semaphores}
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    path = sockets.get(os.readlink(f"/proc/{pid}/fd/{name}"), "")
                    if LISTENER.fullmatch(path):
                        found.add(Path(path).parent)
    return found


def remove_leaked(leaked: set[Path]) -> None:
    """Delete what :func:`find_leaked` found. To be called after its processes have ended."""
    for path in leaked:
        with contextlib.suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _semaphores() -> dict[int, Path]:
    """The semaphores of multiprocessing on this node: inode -> file."""
    try:
        with os.scandir(SHARED) as entries:
            return {each.inode(): Path(each.path) for each in entries if each.name.startswith("sem.mp-")}
    except OSError:
        return {}


def _members(group: int) -> Iterator[int]:
    """The processes of a process group."""
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            if os.getpgid(int(name)) == group:
                yield int(name)


def _unix_sockets() -> Iterator[tuple[str, str]]:
    """Each Unix socket that has a path: the link of a descriptor of it (``socket:[INODE]``), and the path."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            fields = line.split(maxsplit=7)
            if len(fields) == 8:
                yield f"socket:[{fields[6]}]", fields[7]
