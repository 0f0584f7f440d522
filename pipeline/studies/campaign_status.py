"""Campaigns as seen from outside: their ``status.json``, and whether their driver is still running."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...exit_codes import SITE, STOPPED
from ..record.liveness import SILENCE, start_time
from .formatting import timestamp

if TYPE_CHECKING:
    from ..driver.status import Status
    from .resolve import StudyLocation

POLL_INTERVAL = 0.5
"""Seconds between two reads of a campaign's status file."""


@dataclass(frozen=True)
class ObservedCampaign:
    """A campaign of this account, observed through its run directory.

    Attributes:
        status: What its driver wrote last.
        folder: Its run directory.
        alive: Whether its driver is running, as far as this host can tell.
    """

    status: Status
    folder: Path
    alive: bool

    @property
    def state(self) -> str:
        """The state in the status, or ``died``."""
        return self.status.state if self.alive or self.status.state == "ended" else "died"

    @property
    def word(self) -> str:
        """The state in a word: as :attr:`state`, but ``stopped`` for a campaign that did not come to its own end."""
        stopped = self.status.state == "ended" and self.status.code in (SITE, STOPPED)
        return "stopped" if stopped else self.state

    @property
    def state_text(self) -> str:
        """The state with its time, and how to resume a campaign that stopped or died."""
        status = self.status
        if self.alive:
            return f"{status.state} since {timestamp(status.started)}"
        if self.word == "stopped":
            return f"stopped at {timestamp(status.updated)}: {status.reason} – pilotune resume {status.study}"
        if status.state == "ended":
            return f"ended at {timestamp(status.updated)}"
        return f"died at {timestamp(status.updated)} – pilotune resume {status.study}"


def read_campaign(folder: Path) -> ObservedCampaign | None:
    """The campaign in a run directory; None if it has written no status yet, or a broken one."""
    from ..driver.status import Status
    from ..record import RunDirectory

    try:
        status = Status.from_json(RunDirectory(folder).status.read_text())
    except (OSError, ValueError):
        return None
    return ObservedCampaign(status, folder, status.state != "ended" and driver_alive(status))


def read_again(campaign: ObservedCampaign) -> ObservedCampaign:
    """The campaign as it is now; with the status that is known where its file is gone, as with a deleted folder."""
    known = dataclasses.replace(campaign, alive=campaign.alive and driver_alive(campaign.status))
    return read_campaign(campaign.folder) or known


def list_campaigns(runs: Path | None, name: str) -> list[ObservedCampaign]:
    """All campaigns of the study ``name`` under the folder ``runs``, newest first."""
    if runs is None or not (runs / name).is_dir():
        return []
    found = [campaign for folder in (runs / name).iterdir() if folder.is_dir() and (campaign := read_campaign(folder))]
    return sorted(found, key=lambda campaign: campaign.status.started, reverse=True)


def study_json(study: StudyLocation, campaigns: Sequence[ObservedCampaign]) -> dict[str, Any]:
    """A study and its campaigns for ``--json``. ``driver_jobs`` has the jobs of ``--in-job`` that have not ended."""
    from .driver_jobs import chain_json, unfinished_chains

    return {
        "study": study.name,
        "storage": study.storage,
        "study_file": str(study.study_file) if study.study_file else None,
        "runs": str(study.runs) if study.runs else None,
        "site": study.site,
        "campaigns": [
            {**dataclasses.asdict(campaign.status), "state": campaign.state, "alive": campaign.alive}
            for campaign in campaigns
        ],
        "driver_jobs": [chain_json(chain) for chain in unfinished_chains(study.folder)],
    }


def driver_alive(status: Status) -> bool:
    """Whether the driver that wrote ``status`` is running.

    On this host its process is looked up. A driver on another host counts as dead after SILENCE seconds.
    """
    if status.host != socket.gethostname():
        return time.time() - status.updated < SILENCE
    began = start_time(status.pid)
    # A process that began after the last status is another one with the same number.
    return began is not None and began <= status.updated + 1.0
