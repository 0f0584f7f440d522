"""Defines the layout of a campaign's run directory, and checks that no other user can change what is in it.

Every file of a run directory that does not belong to a trial is named here, and nowhere else.
"""

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
"""Paths that the directives of all schedulers can name: without control characters, backslashes and wildcards."""


def new_campaign_id() -> str:
    """A new campaign id: local time and six random hexadecimal digits, so that ids sort by time.

    Example:
        >>> len(new_campaign_id())  # such as 20261121-143005-a1b2c3
        22
    """
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class RunDirectory:
    """The run directory ``<runs>/<study>/<campaign id>/``, mode 0700. Deleting it does not lose the study.

    Args:
        path: The directory; ``create`` makes it.

    Example:
        >>> run = RunDirectory(Path("/scratch/me/pilotune/digits/20261121-143005-a1b2c3"))
        >>> run.log.name
        'driver.log'
        >>> str(run.trial(7).directory.relative_to(run.path))
        'trials/7'
    """

    path: Path

    @property
    def study_file(self) -> Path:
        """The study file as the campaign used it, with overrides applied."""
        return self.path / "study.yaml"

    @property
    def site_file(self) -> Path:
        """The site file as the campaign used it."""
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
        """Control file: whoever writes it asks the campaign to stop."""
        return self.path / "stop"

    @property
    def parsl(self) -> Path:
        """Parsl's own run directory."""
        return self.path / "parsl"

    @property
    def blocks(self) -> Path:
        """The blocks' batch scripts and output."""
        return self.path / "blocks"

    @property
    def jobs(self) -> Path:
        """Log of all submitted jobs: one line of JSON for each event."""
        return self.path / "jobs.jsonl"

    @property
    def channel_key(self) -> Path:
        """The workers' part of the report channel's keys."""
        return self.path / "channel.key"

    def site_file_of(self, site: str) -> Path:
        """Of one of several sites, the site file as the campaign used it."""
        return self.path / f"site-{site}.yaml"

    def parsl_of(self, site: str) -> Path:
        """Parsl's own run directory of a campaign's second or further site."""
        return self.path / f"parsl-{site}"

    def channel_key_of(self, site: str) -> Path:
        """The workers' part of the report channel's keys of a campaign's second or further site."""
        return self.path / f"channel-{site}.key"

    @property
    def trials(self) -> Path:
        """The folder of all trials' directories."""
        return self.path / "trials"

    def trial(self, number: int) -> TrialFiles:
        """The directory of the trial with this number."""
        return TrialFiles(self.trials / str(number))

    def create(self) -> None:
        """Create the directory and its missing parents, all with mode 0700.

        Raises:
            UserError: It cannot be created, another user could change what is in it, or batch scripts cannot name it.
            SiteError: The file system is full, or the quota is used up.
        """
        self._check_name()
        try:
            make_trusted(self.path.parent)
            make_trusted(self.path)
            make_private(self.trials)
            make_private(self.blocks)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise SiteError(f"the run directory cannot be created: {why_not(error, existing(self.path))}") from None
            message = f"the run directory cannot be created: {error.strerror}"
            raise UserError(message, file=self.path) from None

    def check(self) -> None:
        """Raise UserError for what :meth:`create` would refuse, as far as that can be seen without creating it."""
        self._check_name()
        study = self.path.parent
        problem = why_untrusted(study) or (why_replaceable(study) if study.parent.is_dir() else "")
        if problem:
            raise UserError(f"{problem}; choose another folder with --runs", file=study)
        above = existing(study)
        inside = [each for each in (study, *study.parents) if each != above and each.is_relative_to(above)]
        blocked = next((each for each in inside if each.exists()), None)
        if blocked is not None:
            raise UserError("the run directory cannot be created: this is a file", file=blocked)
        if not os.access(above, os.W_OK | os.X_OK):
            raise UserError("the run directory cannot be created: you may not write to this folder", file=above)

    def _check_name(self) -> None:
        if not NAMEABLE.fullmatch(str(self.path)):
            shown = ascii(str(self.path))
            raise UserError(f"the run directory's path {shown} must not contain \\, *, ?, [ or control characters")


def existing(path: Path) -> Path:
    """``path`` or its nearest parent that is an existing folder."""
    return next(each for each in (path, *path.parents) if each.is_dir())


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents, with mode 0700."""
    for each in reversed([folder, *folder.parents]):
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)


def make_trusted(folder: Path) -> None:
    """Create a folder as ``make_private`` does, and check that other users cannot change what is in it.

    Raises UserError when they can, and OSError.
    """
    make_private(folder)
    problem = why_untrusted(folder) or why_replaceable(folder)
    if problem:
        raise UserError(f"{problem}; choose another folder with --runs", file=folder)


def why_untrusted(folder: Path) -> str:
    """Why the files in a folder may come from another user; empty when they do not, or there is no such folder."""
    try:
        found = [folder.lstat(), folder.stat()]  # of a symbolic link, both the link and its target
    except OSError:
        return ""
    others = [each.st_uid for each in found if each.st_uid not in (0, os.geteuid())]
    if others:
        return f"this folder belongs to {user_name(others[0])}, who could change a campaign's files in it"
    return "all users may write to this folder (fix: chmod o-w)" if found[1].st_mode & stat.S_IWOTH else ""


def why_replaceable(folder: Path) -> str:
    """Why other users could replace this folder by another one; empty when they cannot."""
    mode = folder.parent.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return f"all users may write to {folder.parent} and replace what is in it (fix: chmod o-w)"
    return ""


def why_no_regular_file(path: Path) -> str:
    """Why a database cannot be in this file: it is a folder, a device, a pipe or a socket; empty when there is none."""
    try:
        mode = path.stat().st_mode
    except OSError:  # there is nothing yet, or it cannot be seen; whoever opens it is told
        return ""
    if stat.S_ISDIR(mode):
        return "this is a folder; name a file for the database in it"
    return "" if stat.S_ISREG(mode) else "this is no regular file; name one, as in sqlite:///study.db"


def why_untrusted_database(path: Path) -> str:
    """Why a database file may come from another user; empty when it does not. Raises OSError."""
    found, folder_mode = path.stat(), path.parent.stat().st_mode
    if found.st_mode & stat.S_IWOTH:
        return "all users may write to this database (fix: chmod o-w)"
    if found.st_uid not in (0, os.geteuid()) and folder_mode & stat.S_IWOTH:
        return f"this database belongs to {user_name(found.st_uid)}, in a folder where all users may create files"
    return ""


def user_name(uid: int) -> str:
    """The login name of a user id, or ``user UID`` when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
