"""A driver in batch jobs of its own: what one leaves to the next, and when it hands over.

A relay is a folder beside the run directories of its study. It holds the scripts and the output of its jobs, the site
as it was resolved when the first was submitted, and a note of how far it is. Only one job of a relay is ever waiting or
running, and only that one, or who submitted it, writes the note; from anywhere else it is told to end by a file.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

from ..campaign.events import Asked, Signal
from ..record.rundir import strangers_in
from ..trial.files import write_atomically
from ..trial.from_json import build, read_json

log = logging.getLogger(__name__)

MOST = 1000
"""Jobs in one relay: a mistake somewhere must not go on for ever."""

PREFIX = "in-job-"

State = Literal["waiting", "running", "ended"]


@dataclass(frozen=True)
class JobChain:
    """How far a relay is.

    Attributes:
        folder: Its folder.
        study: The study's name.
        storage: URL of the study's database, without a password.
        scheduler: Where its jobs are.
        site: The site's name.
        label: Its part of the job names.
        words: The driver's command line.
        environment: Variables that its jobs get.
        generation: Number of its latest job, from 1.
        job: The scheduler's id of that.
        state: Of that job.
        reason: Why it ended.
        used: Seconds that the drivers of earlier jobs ran.
        updated: Unix seconds.
    """

    folder: Path
    study: str
    storage: str
    scheduler: str
    site: str
    label: str
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    generation: int = 1
    job: str = ""
    state: State = "waiting"
    reason: str = ""
    used: float = 0.0
    updated: float = field(default_factory=time.time)

    @property
    def note(self) -> Path:
        return self.folder / "relay.json"

    @property
    def site_file(self) -> Path:
        return self.folder / "site.yaml"

    @property
    def stop(self) -> Path:
        """Control file: one of finish, yield, now; from then on there is no successor."""
        return self.folder / "stop"

    @property
    def ended(self) -> bool:
        return self.state == "ended"

    def now(self, **changes: Any) -> Self:
        """The relay with these changes, written down."""
        changed = replace(self, **changes, updated=time.time())
        data = {**asdict(changed), "folder": str(changed.folder)}
        write_atomically(changed.note, json.dumps(data, indent=1))
        return changed

    def told(self) -> Signal | None:
        """What it was told by the control file."""
        try:
            word = self.stop.read_text().strip()
        except OSError:
            return None
        return word if word in get_args(Signal) else "finish"  # type: ignore[return-value]


def read_relay(folder: Path) -> JobChain | None:
    """The relay of a folder; None where its note is missing or broken."""
    try:
        chain = build(JobChain, read_json((folder / "relay.json").read_bytes()))
    except (OSError, ValueError):
        return None
    return replace(chain, folder=folder)


def relays(study_folder: Path | None) -> list[JobChain]:
    """All relays of the study whose run directories are in this folder, the newest first; none in somebody else's."""
    if study_folder is None or strangers_in(study_folder):
        return []
    found = [read_relay(folder) for folder in sorted(study_folder.glob(f"{PREFIX}*"), reverse=True)]
    return [chain for chain in found if chain is not None]


def margin(walltime: float) -> float:
    """Seconds before a job's end at which its driver hands over: 5 % of the walltime, from 2 to 15 minutes; of a very
    short job a third of it."""
    return min(max(120.0, walltime / 20), 900.0, walltime / 3)


class JobSlot:
    """The time that a driver has in its job.

    Args:
        relay: The relay that the job is of.
        end: When the job will end, in Unix seconds.
        walltime: Of the job, in seconds.

    Attributes:
        began: When it was made, in Unix seconds.
        over: The time is up: the driver is handing over.
        told: What the user said meanwhile; then there is no successor.
    """

    def __init__(self, chain: JobChain, end: float, walltime: float):
        self.chain, self.end, self.margin = chain, end, margin(walltime)
        self.began = time.time()
        self.over = False
        self.told: Signal | None = None
        self._hurried = False

    def asked(self, now: float) -> list[Asked]:
        """What the campaign is to do, said once each: trials yield first, and are dropped shortly before the end."""
        asked = []
        told = self.chain.told()
        if told != self.told and told is not None:
            self.told = told
            asked.append(Asked(told))
        left = self.end - now
        reason = "" if self.told else "the job of its driver comes to its end"
        if left <= self.margin and not self.over:
            self.over = True
            log.info("this job ends in %.0f s: trials are asked to yield", left)
            asked.append(Asked("yield", reason))
        if left <= self.margin / 3 and not self._hurried:
            self._hurried = True
            asked.append(Asked("now", reason))
        return asked
