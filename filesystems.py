"""Finds the file system of a path, explains why writes to it fail, and names what a process has not finished.

Imports only the standard library, because workers use it too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MOUNTS = "/proc/self/mounts"
"""The kernel's list of mounted file systems."""

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
"""Beginning of a network file system's type, as the kernel names it -> its usual name."""

PROBE = 64 * 1024
"""Bytes written to test whether a file system accepts writes."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a write for which there is no space."""


@dataclass(frozen=True)
class Mount:
    """A mounted file system.

    Attributes:
        kind: Its type as the kernel names it (``ext4``, ``nfs4``); empty when unknown.
        point: Where it is mounted.
        source: What is mounted there: a device, or ``server:/path``.
    """

    kind: str = ""
    point: str = ""
    source: str = ""

    @property
    def network(self) -> bool:
        """Whether other hosts may mount it too, so that locks and caches differ between hosts."""
        return self.kind.startswith(tuple(NETWORK))

    @property
    def name(self) -> str:
        """Its usual name, for messages."""
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
    """The mount of a path on this host, with symbolic links resolved; an empty one when ``MOUNTS`` cannot be read."""
    try:
        mounts = Path(MOUNTS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Mount()
    return mount_of(os.path.realpath(path), mounts)


def _plain(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


# -- free space -------------------------------------------------------------------------------------------------------


def unwritable(folder: str | os.PathLike[str], size: int = PROBE) -> str:
    """Why a file of ``size`` bytes cannot be written in ``folder``, as the end of a sentence; empty when it can.

    A file is written and deleted, because no call reports quotas, and a network file system may report an error only
    when the file is closed.
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
    """Explain a failed write in ``folder``, as the end of a sentence.

    Args:
        error: What the write raised.
        folder: Where the file is.
    """
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
        return f"the folder {folder} no longer exists"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"no permission to write to the folder {folder} ({error.strerror})"
    return f"{place} failed the write ({error.strerror or error})"


def free(folder: str | os.PathLike[str]) -> str:
    """Free space for the user on a folder's file system, in words; empty when unknown."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return ""
    if found.f_files and not found.f_favail:
        return "no inodes"
    return size_in_words(found.f_bavail * found.f_frsize)


def size_in_words(size: float) -> str:
    """A size as ``512 B`` or ``3.2 GB``, in powers of ten as in study and site files.

    Example:
        >>> size_in_words(3_200_000_000)
        '3.2 GB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "B" else f"{size:.0f} B"
        size /= 1000
    return f"{size:.3g} TB"


def writer() -> str:
    """This process, for the name of a file or folder that is being written: its host and its number."""
    return f"{os.uname().nodename}-{os.getpid()}"


def has_ended(name: str) -> bool:
    """Whether a process that :func:`writer` has named is gone, so that nobody finishes what it was writing.

    False where that cannot be known: it ran on another host.

    >>> has_ended(writer()), has_ended("another-host-17")
    (False, False)
    """
    host, _, number = name.rpartition("-")
    if host != os.uname().nodename or not number.isascii() or not number.isdigit() or len(number) > 9:
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:  # another user's
        return False
    return False
