"""What Python's multiprocessing keeps in shared places while a worker pool lives, and leaves there when it is killed.

Semaphores are files in ``/dev/shm``, and a manager's socket is in a folder ``pymp-...`` of the temporary folder. They
are found by who has them open, so that nothing else is touched. The standard library only: see :mod:`.node`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

SHARED = "/dev/shm"
SEMAPHORE = re.compile(r"^\S+ \S+ \S+ \S+ (\d+) +/dev/shm/sem\.", re.MULTILINE)
"""A semaphore in a process's map: its inode. The name there may be another than it has now."""

LISTENER = re.compile(r"/.*/pymp-[^/]+/listener-[^/]+")


def litter(group: int) -> set[Path]:
    """Semaphores' files and sockets' folders of the processes in a process group."""
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


def remove(left: set[Path]) -> None:
    """Delete what :func:`litter` found, when its processes have ended."""
    for path in left:
        with contextlib.suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _semaphores() -> dict[int, Path]:
    """Those of multiprocessing's by inode."""
    try:
        with os.scandir(SHARED) as entries:
            return {each.inode(): Path(each.path) for each in entries if each.name.startswith("sem.mp-")}
    except OSError:
        return {}


def _members(group: int) -> Iterator[int]:
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            if os.getpgid(int(name)) == group:
                yield int(name)


def _unix_sockets() -> Iterator[tuple[str, str]]:
    """Of each listening one that has a path, how a descriptor of it reads, and the path."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            fields = line.split(maxsplit=7)
            if len(fields) == 8:
                yield f"socket:[{fields[6]}]", fields[7]
