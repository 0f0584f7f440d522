"""The file system of a path is found in the kernel's list of mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune import filesystems
from pilotune.filesystems import Mount, filesystem_of, mount_of

MOUNTS = """\
overlay / overlay rw,relatime,lowerdir=/a:/b 0 0
proc /proc proc rw,nosuid 0 0
tmpfs /dev/shm tmpfs rw 0 0
/dev/sda2 /var ext4 rw,relatime 0 0
/etc/auto.home /home autofs rw,fd=6,pgrp=1 0 0
filer:/vol/home /home nfs4 rw,vers=4.2,addr=10.0.0.9 0 0
10.1.0.2@o2ib:10.1.0.3@o2ib:/orion /lustre/orion lustre rw,flock 0 0
/dev/gpfs0 /gpfs gpfs rw 0 0
beegfs_nodev /mnt/beegfs beegfs rw 0 0
//win/share /mnt/win cifs rw 0 0
me@far:/x /mnt/far fuse.sshfs rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/sdb /scratch\\040of\\040all xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "name", "point", "network"),
    [
        ("/etc/passwd", "overlay", "/", False),
        ("/var/tmp/study.db", "ext4", "/var", False),
        ("/variable", "overlay", "/", False),
        ("/var", "ext4", "/var", False),
        ("/tmp/x", "tmpfs", "/tmp", False),
        ("/home/me/runs", "NFS", "/home", True),
        ("/lustre/orion/proj/runs", "Lustre", "/lustre/orion", True),
        ("/lustre/other", "overlay", "/", False),
        ("/gpfs/alpine", "GPFS", "/gpfs", True),
        ("/mnt/beegfs/me", "BeeGFS", "/mnt/beegfs", True),
        ("/mnt/win", "CIFS", "/mnt/win", True),
        ("/mnt/far/x", "SSHFS", "/mnt/far", True),
        ("/scratch of all/me", "xfs", "/scratch of all", False),
    ],
)
def test_the_longest_mount_point_above_a_path_is_its_mount(path: str, name: str, point: str, network: bool) -> None:
    found = mount_of(path, MOUNTS)
    assert (found.name, found.point, found.network) == (name, point, network)


def test_the_later_of_two_mounts_at_one_point_hides_the_other() -> None:
    assert mount_of("/home/me", MOUNTS).source == "filer:/vol/home"


def test_without_a_mount_the_file_system_is_unknown() -> None:
    found = mount_of("/home", "rubbish\n")
    assert (found, found.name, found.network) == (Mount(), "an unknown file system", False)


def test_links_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "mounts").write_text(f"/dev/a / ext4 rw 0 0\nx@tcp:/y {tmp_path}/real lustre rw 0 0\n")
    monkeypatch.setattr(filesystems, "MOUNTS", str(tmp_path / "mounts"))
    assert filesystem_of(tmp_path / "link" / "runs").name == "Lustre"
    monkeypatch.setattr(filesystems, "MOUNTS", str(tmp_path / "none"))
    assert filesystem_of(tmp_path) == Mount()
