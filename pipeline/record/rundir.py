"""The run directory of a campaign: every file in it that is not a trial's is named here, and nowhere else."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from ...errors import SiteError, UserError
from ...filesystems import NO_ROOM, why_not
from ..trial.files import TrialFiles


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

        Raises UserError when it cannot, SiteError where there is no room for it.
        """
        try:
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
