"""Which file system a path lies on, from the kernel's list of mounts. The standard library only: workers use it too."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MOUNTS = "/proc/self/mounts"

NETWORK: Mapping[str, str] = {
    "nfs": "NFS",
    "lustre": "Lustre",
    "gpfs": "GPFS",
    "beegfs": "BeeGFS",
    "cifs": "CIFS",
    "smb": "CIFS",
    "afs": "AFS",
    "panfs": "PanFS",
    "ceph": "CephFS",
    "fuse.ceph": "CephFS",
    "glusterfs": "GlusterFS",
    "fuse.glusterfs": "GlusterFS",
    "fuse.sshfs": "SSHFS",
    "fuse.dfuse": "DAOS",
    "orangefs": "OrangeFS",
    "pvfs2": "OrangeFS",
    "wekafs": "WekaFS",
    "dvs": "DVS",
    "9p": "9P",
}
"""How the types of file systems that several hosts share begin -> their names."""

PROBE = 64 * 1024
"""Bytes that are written to see whether a file system takes any."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a write fails with where there is no room for it."""


@dataclass(frozen=True)
class Mount:
    """A mounted file system.

    Attributes:
        kind: Its type as the kernel has it (``ext4``, ``nfs4``); empty where that is not known.
        point: Where it is mounted.
        source: What is mounted there: a device, or ``server:/path``.
    """

    kind: str = ""
    point: str = ""
    source: str = ""

    @property
    def network(self) -> bool:
        """Whether other hosts have it too: their locks and caches are not this host's."""
        return self.kind.startswith(tuple(NETWORK))

    @property
    def name(self) -> str:
        """As people call it."""
        known = [begin for begin in NETWORK if self.kind.startswith(begin)]
        return NETWORK[max(known, key=len)] if known else self.kind or "an unknown file system"


def mount_of(path: str | os.PathLike[str], mounts: str) -> Mount:
    """The mount that ``path`` (absolute) lies on: that with the longest mount point; of two the later, which hides the
    other.

    Args:
        path: It need not exist.
        mounts: Text like that of /proc/self/mounts, blanks in paths written as ``\\040``.
    """
    best = Mount()
    for line in mounts.splitlines():
        fields = [_plain(field) for field in line.split(" ")]
        if len(fields) < 3:
            continue
        source, point, kind = fields[:3]
        inside = str(path) == point or str(path).startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best.point):
            best = Mount(kind, point, source)
    return best


def filesystem_of(path: str | os.PathLike[str]) -> Mount:
    """The mount that a path really lies on here, links followed; an empty one where the kernel does not tell."""
    try:
        mounts = Path(MOUNTS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Mount()
    return mount_of(os.path.realpath(path), mounts)


def _plain(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


# -- room -------------------------------------------------------------------------------------------------------------


def unwritable(folder: str | os.PathLike[str], size: int = PROBE) -> str:
    """Why a file of ``size`` bytes cannot be written in ``folder``, as the end of a sentence; empty where it can.

    It is tried: quotas are seen by no question, and a network file system finds out when the file is closed.
    """
    path = os.path.join(folder, f".room-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            left = memoryview(os.urandom(size))
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return why_not(error, folder)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return ""


def why_not(error: OSError, folder: str | os.PathLike[str]) -> str:
    """What a failed write in ``folder`` says of its file system, as the end of a sentence."""
    mount = filesystem_of(folder)
    place = f"the file system {mount.point or folder} ({mount.name})"
    if error.errno == errno.ENOSPC:
        left = free(folder)
        return f"{place} is full ({left} left)" if left else f"{place} is full"
    if error.errno == errno.EDQUOT:
        return f"your disk quota on {place.removeprefix('the file system ')} is used up"
    if error.errno == errno.EROFS:
        return f"{place} is read-only"
    if error.errno == errno.ENOENT:
        return f"the folder {folder} does not exist any more"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"the folder {folder} may not be written to ({error.strerror})"
    return f"{place} does not take it ({error.strerror or error})"


def free(folder: str | os.PathLike[str]) -> str:
    """What is left for its user on a folder's file system, in words: bytes, or that no further file can be made."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return ""
    if found.f_files and not found.f_favail:
        return "no room for a further file"
    return size_in_words(found.f_bavail * found.f_frsize)


def size_in_words(size: float) -> str:
    """``512 B``, ``3.2 GB``: powers of ten, as in study and site files."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "B" else f"{size:.0f} B"
        size /= 1000
    return f"{size:.3g} TB"
