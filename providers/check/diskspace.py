"""Checks how much can still be written where run directories go: free space and quota."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ...filesystems import Mount, filesystem_of
from ..schedulers.commands import run
from .facts import Finding, State

LOW_BYTES, LOW_FILES = 5e9, 10_000
"""Bytes and files below which space is called low: checkpoints and files of trials soon use them up."""

PATIENCE = 20.0
"""Seconds for the command that prints quotas."""

QUOTA_COMMANDS = {"lustre": ("lfs", "quota", "-q", "-u", "{user}", "{point}")}
OTHER_QUOTA_COMMAND = ("quota", "-w")
"""Commands that print the user's quota, by type of file system. Their output has the same columns."""


@dataclass(frozen=True)
class DiskSpace:
    """How much can still be written.

    Attributes:
        free: Free bytes of the file system.
        files: Free files of the file system; None when it does not limit them.
        left: Bytes that are left of the user's quota; None when no quota is known.
    """

    free: float
    files: int | None = None
    left: float | None = None


def disk_space_finding(folder: Path) -> Finding:
    """Whether there is enough space in ``folder``, which must exist."""
    mount = filesystem_of(folder)
    state, text = assess(disk_space(folder, mount))
    return Finding("space", state, f"{text} on {mount.name} ({mount.point or folder})")


def disk_space(folder: Path, mount: Mount) -> DiskSpace:
    """The space in ``folder``, which lies on ``mount``."""
    status = os.statvfs(folder)
    free = float(status.f_bavail) * status.f_frsize
    return DiskSpace(free, status.f_favail if status.f_files else None, _left_of_quota(mount))


def assess(disk_space: DiskSpace) -> tuple[State, str]:
    """Whether the space is enough, and a sentence with the amounts."""
    amounts = [f"{gigabytes(disk_space.free)} free"]
    if disk_space.left is not None:
        amounts.append(f"{gigabytes(max(0.0, disk_space.left))} left of your quota")
    if disk_space.files is not None and disk_space.files < LOW_FILES:
        amounts.append(f"{disk_space.files} more files")
    text = ", ".join(amounts)
    bytes_left = min(disk_space.free, disk_space.free if disk_space.left is None else disk_space.left)
    if bytes_left <= 0 or disk_space.files == 0:
        return State.FAILED, f"{text}: nothing can be written; delete files, or set another runs: folder"
    if bytes_left < LOW_BYTES or len(amounts) > 2 or (disk_space.files or LOW_FILES) < LOW_FILES:
        return State.WARNING, f"{text}: low; delete files, or set another runs: folder"
    return State.OK, text


def gigabytes(amount: float) -> str:
    """Bytes in words.

    >>> gigabytes(2.5e9), gigabytes(1.2e12)
    ('2.5 GB', '1.2 TB')
    """
    return f"{amount / 1e12:.3g} TB" if amount >= 1e12 else f"{amount / 1e9:.3g} GB"


def _left_of_quota(mount: Mount) -> float | None:
    words = QUOTA_COMMANDS.get(mount.kind, OTHER_QUOTA_COMMAND)
    if shutil.which(words[0]) is None:
        return None
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    answer = run([word.format(user=user, point=mount.point) for word in words], timeout=PATIENCE)
    return read_quota(answer.out, {mount.point, mount.source})


def read_quota(text: str, names: Collection[str]) -> float | None:
    """Bytes left of a quota, from the output of ``quota`` or ``lfs quota``; None when there is no quota.

    The name of the file system is followed by the kilobytes used (with a star when they exceed the quota), the soft and
    the hard limit, 0 for none. A long name is on a line of its own.

    Args:
        text: The output.
        names: Names that the file system may have in it.
    """
    words = text.split()
    for at, word in enumerate(words):
        numbers = [re.fullmatch(r"\[?(\d+)\]?\*?", each) for each in words[at + 1 : at + 4]]
        if word in names and len(numbers) == 3 and all(numbers):
            used, soft, hard = (1024.0 * int(match[1]) for match in numbers if match)
            limits = [limit for limit in (soft, hard) if limit]
            return min(limits) - used if limits else None
    return None
