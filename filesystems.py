"""Which file system a path lies on, from the kernel's list of mounts. The standard library only: workers use it too."""

from __future__ import annotations

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
