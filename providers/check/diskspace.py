"""How much may still be written where run directories go: what the file system has, and what a quota leaves."""

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
"""Less than that is soon used up by checkpoints and by the files of trials."""

PATIENCE = 20.0
"""Seconds for the command that tells quotas."""

QUOTA_COMMANDS = {"lustre": ("lfs", "quota", "-q", "-u", "{user}", "{point}")}
OTHER_QUOTA_COMMAND = ("quota", "-w")
"""By type of file system. What they print has the same columns."""


@dataclass(frozen=True)
class Room:
    """What may still be written.

    Attributes:
        free: Bytes that the file system has left.
        files: Files that it has left; None where it does not count them.
        left: Bytes that the user's quota leaves; None where none is known.
    """

    free: float
    files: int | None = None
    left: float | None = None


def space(folder: Path) -> Finding:
    """Whether there is room in ``folder``, which has to exist."""
    mount = filesystem_of(folder)
    state, text = judge(room(folder, mount))
    return Finding("space", state, f"{text} on {mount.name} ({mount.point or folder})")


def room(folder: Path, mount: Mount) -> Room:
    status = os.statvfs(folder)
    free = float(status.f_bavail) * status.f_frsize
    return Room(free, status.f_favail if status.f_files else None, _left_of_quota(mount))


def judge(room: Room) -> tuple[State, str]:
    """A state and the amounts."""
    amounts = [f"{gigabytes(room.free)} free"]
    if room.left is not None:
        amounts.append(f"{gigabytes(max(0.0, room.left))} left of your quota")
    if room.files is not None and room.files < LOW_FILES:
        amounts.append(f"{room.files} more files")
    text = ", ".join(amounts)
    bytes_left = min(room.free, room.free if room.left is None else room.left)
    if bytes_left <= 0 or room.files == 0:
        return State.FAILED, f"{text}: nothing can be written; delete what is not needed, or name another runs: folder"
    if bytes_left < LOW_BYTES or len(amounts) > 2 or (room.files or LOW_FILES) < LOW_FILES:
        return State.WARNING, f"{text}: little; delete what is not needed, or name another runs: folder"
    return State.OK, text


def gigabytes(amount: float) -> str:
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
    """Bytes left of a quota, from what ``quota`` or ``lfs quota`` printed; None where it tells of none.

    After the name of the file system come kilobytes used (with a star behind them where they are too many), the soft
    and the hard limit, 0 for none. A long name stands on a line of its own.
    """
    words = text.split()
    for at, word in enumerate(words):
        numbers = [re.fullmatch(r"\[?(\d+)\]?\*?", each) for each in words[at + 1 : at + 4]]
        if word in names and len(numbers) == 3 and all(numbers):
            used, soft, hard = (1024.0 * int(match[1]) for match in numbers if match)
            limits = [limit for limit in (soft, hard) if limit]
            return min(limits) - used if limits else None
    return None
