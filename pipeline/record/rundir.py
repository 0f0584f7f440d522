"""The run directory of a campaign: every file in it that is not a trial's is named here, and nowhere else."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from ...errors import SiteError, UserError
from ...filesystems import NO_ROOM, why_not
from ..trial.files import TrialFiles

NAMEABLE = re.compile(r"[^\x00-\x1f\x7f\\*?\[\u0085\u2028\u2029\ud800-\udfff]*")
"""Paths that the directives of all schedulers can name, each in its own way, and no pattern of file names."""


def new_campaign_id() -> str:
    """Local time and six random hexadecimal digits, as in ``20261121-143005-a1b2c3``; sorts by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class RunDirectory:
    """``<runs>/<study>/<campaign id>/``, mode 0700. It can be deleted without losing the study."""

    path: Path

    @property
    def study_file(self) -> Path:
        """The study file as it ran, overrides applied."""
        return self.path / "study.yaml"

    @property
    def site_file(self) -> Path:
        """The site file as it ran."""
        return self.path / "site.yaml"

    @property
    def log(self) -> Path:
        """The driver's log."""
        return self.path / "driver.log"

    @property
    def status(self) -> Path:
        """The campaign's last snapshot, as JSON."""
        return self.path / "status.json"

    @property
    def stop(self) -> Path:
        """Control file: written by who wants the campaign to end."""
        return self.path / "stop"

    @property
    def parsl(self) -> Path:
        """Parsl's own run directory."""
        return self.path / "parsl"

    @property
    def blocks(self) -> Path:
        """The blocks' scripts and what they printed."""
        return self.path / "blocks"

    @property
    def jobs(self) -> Path:
        """Every job that was submitted, a JSON line an event."""
        return self.path / "jobs.jsonl"

    @property
    def channel_key(self) -> Path:
        """The workers' half of the report channel's keys."""
        return self.path / "channel.key"

    @property
    def trials(self) -> Path:
        return self.path / "trials"

    def trial(self, number: int) -> TrialFiles:
        return TrialFiles(self.trials / str(number))

    def create(self) -> None:
        """Make it, with the folders above it that are missing, all 0700.

        Raises UserError when it cannot, where somebody else could change what is in it, and for a path that batch
        scripts cannot name; SiteError where there is no room for it.
        """
        if not NAMEABLE.fullmatch(str(self.path)):
            shown = ascii(str(self.path))
            raise UserError(f"no run directory at {shown}: \\, *, ? and [ and control characters cannot be in its path")
        try:
            make_own(self.path.parent)
            make_own(self.path)
            make_private(self.trials)
            make_private(self.blocks)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise SiteError(f"the run directory cannot be made: {why_not(error, existing(self.path))}") from None
            message = f"the run directory cannot be made there: {error.strerror}"
            raise UserError(message, file=self.path) from None


def existing(path: Path) -> Path:
    """The nearest folder that there is, of ``path`` and those above it."""
    return next(each for each in (path, *path.parents) if each.is_dir())


def make_private(folder: Path) -> None:
    """Make a folder and those above it that are missing, mode 0700."""
    for each in reversed([folder, *folder.parents]):
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)


def make_own(folder: Path) -> None:
    """The same, for the folder of a study. Raises UserError where somebody else could change what is in it, OSError."""
    make_private(folder)
    problem = strangers_in(folder) or replaceable(folder)
    if problem:
        raise UserError(f"{problem}; name another folder with --runs", file=folder)


def strangers_in(folder: Path) -> str:
    """Why what lies in a folder may be somebody else's; empty where it is not, or where there is no such folder."""
    try:
        seen = [folder.lstat(), folder.stat()]  # of a link, both itself and where it leads
    except OSError:
        return ""
    others = [each.st_uid for each in seen if each.st_uid not in (0, os.geteuid())]
    if others:
        return f"this folder belongs to {user_name(others[0])}, who could change what a campaign keeps in it"
    return "everybody may write into this folder (chmod o-w ends that)" if seen[1].st_mode & stat.S_IWOTH else ""


def replaceable(folder: Path) -> str:
    """Why somebody else could put another folder in the place of this one; empty where nobody can."""
    mode = folder.parent.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return f"everybody may write into {folder.parent} and replace what is in it (chmod o-w ends that)"
    return ""


def strangers_file(path: Path) -> str:
    """Why what is in a database's file may be a stranger's; empty where it is not. Raises OSError."""
    found, around = path.stat(), path.parent.stat().st_mode
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write to this database; chmod o-w ends that"
    if found.st_uid not in (0, os.geteuid()) and around & stat.S_IWOTH:
        return f"this database belongs to {user_name(found.st_uid)}, in a folder where everybody may make files"
    return ""


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
