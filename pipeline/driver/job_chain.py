"""A driver that runs in batch jobs of its own, one after the other: their shared state, and when one ends.

A job chain is a folder beside the run directories of its study. It holds the jobs' scripts and output, the site file
as it was resolved when the first job was submitted, and ``relay.json``, which says how far the chain is. At most one
job of a chain is waiting or running at any time. Only that job, or the process that submitted it, writes
``relay.json``; any other process stops the chain by writing the control file ``stop``.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

from ..campaign.events import Signal, StopRequested
from ..record.rundir import why_untrusted
from ..trial.files import write_atomically
from ..trial.from_json import build, read_json

log = logging.getLogger(__name__)

MOST_JOBS = 1000
"""Most jobs in one chain, so that a mistake does not submit jobs for ever."""

PREFIX = "in-job-"
"""Start of a chain's folder name."""

State = Literal["waiting", "running", "ended"]
"""State of a chain's latest job: in the scheduler's queue, running, or over with no successor."""


@dataclass(frozen=True)
class JobChain:
    """The state of a job chain, as ``relay.json`` keeps it; the field names are its keys.

    Attributes:
        folder: Its folder.
        study: The study's name.
        storage: URL of the study's database, without a password.
        scheduler: Name of the scheduler that runs the jobs.
        site: The site's name.
        label: The chain's part of the job names.
        words: The driver's command line.
        environment: Variables that the jobs get.
        generation: Number of the latest job, from 1.
        job: The scheduler's id of the latest job; empty until it is known.
        state: State of the latest job.
        reason: Why it ended.
        used: Seconds that the drivers of earlier jobs ran; they count for the time budget.
        updated: When ``relay.json`` was written, Unix seconds.
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
    def state_file(self) -> Path:
        return self.folder / "relay.json"

    @property
    def site_file(self) -> Path:
        return self.folder / "site.yaml"

    @property
    def stop(self) -> Path:
        """Control file with finish, yield or now; once it exists there is no further job."""
        return self.folder / "stop"

    @property
    def ended(self) -> bool:
        return self.state == "ended"

    def saved(self, **changes: Any) -> Self:
        """The chain with these changes, written to its file."""
        changed = replace(self, **changes, updated=time.time())
        data = {**asdict(changed), "folder": str(changed.folder)}
        write_atomically(changed.state_file, json.dumps(data, indent=1))
        return changed

    def stop_signal(self) -> Signal | None:
        """What the control file asks for; None where there is none."""
        try:
            word = self.stop.read_text().strip()
        except OSError:
            return None
        return word if word in get_args(Signal) else "finish"  # type: ignore[return-value]


def read_chain(folder: Path) -> JobChain | None:
    """The job chain in a folder; None where its ``relay.json`` is missing or broken."""
    try:
        chain = build(JobChain, read_json((folder / "relay.json").read_bytes()))
    except (OSError, ValueError):
        return None
    return replace(chain, folder=folder)


def chains_in(study_folder: Path | None) -> list[JobChain]:
    """All job chains of the study whose run directories are in this folder, the newest first.

    An empty list where the folder belongs to somebody else, whose files are not to be trusted.
    """
    if study_folder is None or why_untrusted(study_folder):
        return []
    found = [read_chain(folder) for folder in sorted(study_folder.glob(f"{PREFIX}*"), reverse=True)]
    return [chain for chain in found if chain is not None]


def margin(walltime: float) -> float:
    """Seconds before the end of a job at which its driver stops, to leave time for trials to yield.

    5 % of the walltime, but at least 2 and at most 15 minutes; in a very short job, a third of the walltime.

    >>> margin(3600.0), margin(86_400.0), margin(60.0)
    (180.0, 900.0, 20.0)
    """
    return min(max(120.0, walltime / 20), 900.0, walltime / 3)


class JobSlot:
    """The time that a driver has in its batch job.

    Args:
        chain: The chain that the job belongs to.
        end: When the job will end, Unix seconds.
        walltime: The job's walltime, seconds.

    Attributes:
        margin: Seconds before the end at which trials are asked to yield; a third of that before it they are killed.
        began: When the slot was created, Unix seconds.
        over: The time is up, so a successor is to take over.
        user_signal: What the user asked for by the control file; then there is no successor. None before.
    """

    def __init__(self, chain: JobChain, end: float, walltime: float):
        self.chain, self.end, self.margin = chain, end, margin(walltime)
        self.began = time.time()
        self.over = False
        self.user_signal: Signal | None = None
        self._killed = False

    def stop_requests(self, now: float) -> list[StopRequested]:
        """What the campaign is to do, each request once: trials yield first, and are killed shortly before the end."""
        requests = []
        user_signal = self.chain.stop_signal()
        if user_signal is not None and user_signal != self.user_signal:
            self.user_signal = user_signal
            requests.append(StopRequested(user_signal))
        left = self.end - now
        reason = "" if self.user_signal else "its driver's job is about to reach its walltime"
        if left <= self.margin and not self.over:
            self.over = True
            log.info("this job ends in %.0f s: trials are asked to yield", left)
            requests.append(StopRequested("yield", reason))
        if left <= self.margin / 3 and not self._killed:
            self._killed = True
            requests.append(StopRequested("now", reason))
        return requests
