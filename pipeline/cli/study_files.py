"""What a study has outside its database: run directories, remembered options, and its line in the list of studies."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import CampaignRunning, SiteError, UserError

if TYPE_CHECKING:
    from ..record.known_studies import Entry
    from ..studies.resolve import StudyLocation

CAMPAIGN = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
"""Name of a run directory, as ``new_campaign_id`` makes them."""

DATABASE = "study.db"
"""File of the default database in the study's folder."""

LOGGERS = "loggers"
"""Folder of what the study's loggers write, in the study's folder."""


def require_idle(study: StudyLocation, what: str) -> None:
    """Refuse to ``what`` (delete, rename) a study with a driver, a driver's job, or jobs that a dead driver left.

    Raises:
        CampaignRunning: A driver works on it, or waits in a queue.
        SiteError: Jobs of dead drivers may still exist; their record is in the run directories.
    """
    from ...grammar import count
    from ...providers.blocks.orphaned_jobs import end_orphaned_jobs
    from ..studies.campaign_status import list_campaigns
    from ..studies.driver_jobs import active_chains, describe_chain

    campaigns = list_campaigns(study.runs, study.name)
    for campaign in campaigns:
        if campaign.alive:
            status = campaign.status
            raise CampaignRunning(
                f"campaign {status.campaign} of {study.name!r} is running (process {status.pid} on {status.host}); "
                f"stop it first: pilotune stop {study.name}"
            )
    for chain in active_chains(study.folder):
        raise CampaignRunning(f"{describe_chain(chain)}; end it first: pilotune stop {study.name}")
    records = [file for folder in run_directories(study.folder) if (file := folder / "jobs.jsonl").exists()]
    left = [job for job in end_orphaned_jobs(records, dry_run=True) if job.open]
    if left:
        raise SiteError(
            f"{count(len(left), 'job')} of {study.name!r} may still be queued or running; before you {what} it, end "
            f"them with pilotune clean {study.name}"
        )


def run_directories(folder: Path | None) -> list[Path]:
    """The run directories of a study, oldest first. ``folder``: ``<runs>/<name>``."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(each for each in folder.iterdir() if CAMPAIGN.fullmatch(each.name) and each.is_dir())


def require_own(folder: Path | None) -> None:
    """Raise UserError if another user could have put files into a study's folder."""
    from ..record.rundir import why_untrusted

    if folder is not None and (problem := why_untrusted(folder)):
        raise UserError(f"{problem}; only its owner can change it", file=folder)


def size_of(folder: Path | None) -> int:
    """Bytes of all files in a folder."""
    if folder is None:
        return 0
    sizes = (os.lstat(os.path.join(place, name)).st_size for place, _, files in os.walk(folder) for name in files)
    return sum(sizes)


def delete_folder(folder: Path, database: bool) -> list[Path]:
    """Delete what Pilotune put into a study's folder, and the folder if it is then empty.

    Args:
        folder: ``<runs>/<name>``.
        database: Delete the default database too.

    Returns:
        What was left, since Pilotune did not put it there.

    Raises:
        OSError: Something cannot be deleted.
    """
    left = []
    for each in sorted(folder.iterdir()):
        if each.is_symlink() or not is_pilotunes(each, database):
            left.append(each)
        elif each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink()
    if not left:
        folder.rmdir()
    return left


def is_pilotunes(file: Path, database: bool) -> bool:
    """Whether a file or folder in a study's folder is Pilotune's."""
    from ..record.artifacts import FOLDER as ARTIFACTS
    from ..studies.request import FILE
    from ..studyfile.written import is_written

    name = file.name
    if (
        CAMPAIGN.fullmatch(name)
        or name in (FILE, LOGGERS, ARTIFACTS)
        or name.startswith(("in-job-", "detached-"))
        or is_written(file)
    ):
        return True
    return database and name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal")


@dataclass(frozen=True)
class Move:
    """A study's folder under its old and its new name.

    Attributes:
        old: ``<runs>/<old name>``.
        new: ``<runs>/<new name>``.
    """

    old: Path
    new: Path

    def path(self, text: str) -> str:
        """The new path of a file of the study; others stay as they are.

        >>> Move(Path("/runs/a"), Path("/runs/b")).path("/runs/a/c1/trials/7")
        '/runs/b/c1/trials/7'
        """
        inside = text == str(self.old) or text.startswith(f"{self.old}/")
        return f"{self.new}{text[len(str(self.old)) :]}" if inside else text

    def url(self, url: str) -> str:
        """The database's new address: another one if its file is in the folder."""
        from ..record import sqlite_file, sqlite_url

        path = sqlite_file(url)
        return url if path is None or self.path(str(path)) == str(path) else sqlite_url(Path(self.path(str(path))))

    def folder(self) -> None:
        """Rename the folder, and adapt what is noted in it. Raises OSError."""
        if self.old.is_dir():
            self.old.rename(self.new)
        for folder in run_directories(self.new):
            self._rewrite_status(folder / "status.json")

    def _rewrite_status(self, file: Path) -> None:
        import json

        from ..trial.files import write_atomically

        try:
            status = json.loads(file.read_text())
            status |= {"study": self.new.name, "run_dir": self.path(status["run_dir"])}
            status["storage"] = self.url(status["storage"])
        except (OSError, ValueError, TypeError, KeyError):
            return  # a campaign that left no status, or a broken one
        write_atomically(file, json.dumps(status))


def save_entry(entry: Entry, name: str, storage: str, run_dir: Path) -> None:
    """Add a study to the list of studies, as ``entry`` has it, but with this name and these places."""
    from ..record import known_studies

    known_studies.save(
        name=name, study_file=entry.study_file, storage=storage, runs=entry.runs, site=entry.site, run_dir=run_dir
    )
