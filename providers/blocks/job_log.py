"""All jobs of a campaign, over all its pools: written down before and after they are submitted, asked for together."""

from __future__ import annotations

import errno
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ...errors import SiteError
from ...pipeline.trial.from_json import build, read_json
from ..schedulers.jobs import Job, Phase, SchedulerAway

log = logging.getLogger(__name__)

FIRST_QUESTION = 5.0
"""Seconds from a submission to the first question, where nothing was asked lately."""

GROWTH, SLOWEST = 1.5, 5.0
"""Without news the time between questions grows by this factor, up to so many periods."""

LONGEST_AWAY = 600.0
"""Longest pause, seconds, while the scheduler does not answer."""

ABSENCES = 2
"""Answers in a row that do not know a job before it counts as gone: one may be a lapse of the scheduler."""

Query = Callable[[Sequence[str]], dict[str, Job]]


@dataclass(frozen=True)
class Recorded:
    """A job as the record of a campaign tells it. ``job`` is empty where the driver died before it knew the id."""

    name: str
    scheduler: str
    pool: str
    block: str
    job: str = ""
    ended: str = ""  # how, once it had ended
    time: float = 0.0  # Unix seconds of the last event


class JobLog:
    """Keeps the jobs of one campaign.

    Args:
        path: The record, JSON lines; None keeps none.
        scheduler: For the record.
        period: Seconds between two questions to the scheduler, at least.

    Attributes:
        jobs: Job id -> what is known of it.
        away: What the scheduler said, or did not, while it does not answer; else empty.
        asked: When it was asked last, in Unix seconds.
    """

    def __init__(self, path: Path | None, scheduler: str, period: float):
        self.path, self.scheduler, self.period = path, scheduler, period
        self.jobs: dict[str, Job] = {}
        self.away = ""
        self.questions = 0
        self._absent: dict[str, int] = {}
        self.asked, self._due, self._wait = -1e18, 0.0, period

    # -- the record ---------------------------------------------------------------------------------------------------

    def submitting(self, name: str, pool: str, block: str) -> None:
        """Before a job is submitted. Raises SiteError where it cannot be written: nobody could clean up after it."""
        try:
            self._write("submitting", Recorded(name, self.scheduler, pool, block))
        except OSError as error:
            raise SiteError(f"{self.path}: {error.strerror}; no block is submitted that is not on record") from None

    def submitted(self, name: str, pool: str, block: str, job: str, now: float) -> None:
        self.jobs[job] = Job(job, Phase.QUEUED)
        self._wait = self.period
        self._due = max(self.asked + self.period, now + min(FIRST_QUESTION, self.period))
        self._try_writing("submitted", Recorded(name, self.scheduler, pool, block, job))

    def ended(self, name: str, pool: str, block: str, job: str, how: str) -> None:
        """The block is over, as judged by who knows more than the scheduler."""
        self.jobs.pop(job, None)
        self._absent.pop(job, None)
        self._try_writing("ended", Recorded(name, self.scheduler, pool, block, job, how))

    def _try_writing(self, event: str, what: Recorded) -> None:
        try:
            self._write(event, what)
        except OSError as error:
            log.error("%s cannot be written (%s): job %s %s", self.path, error.strerror, what.job, event)

    def _write(self, event: str, what: Recorded) -> None:
        if self.path is None:
            return
        line = json.dumps({"event": event, **asdict(replace(what, time=time.time()))})
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a full disk cut the last line off
                line = "\n" + line
            data = (line + "\n").encode()
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)

    # -- questions ----------------------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Something happened that the scheduler may explain: ask as soon as the period allows."""
        if not self.away:
            self._due, self._wait = min(self._due, self.asked + self.period), self.period

    def ask(self, query: Query, now: float) -> None:
        """Ask for all living jobs at once, where it is time to."""
        living = [job for job, state in self.jobs.items() if state.phase != Phase.ENDED]
        if not living or now < self._due:
            return
        self.asked = now
        self.questions += 1
        try:
            answer = query(living)
        except SchedulerAway as error:
            self.away = str(error)
            self._wait = min(2 * max(self._wait, 1.0), max(LONGEST_AWAY, self.period))
            self._due = now + self._wait
            log.warning("the scheduler does not answer (%s); asked again in %.0f s", error, self._wait)
            return
        self.away = ""
        news = [self._hear(job, answer.get(job)) for job in living]
        self._wait = self.period if any(news) else min(self._wait * GROWTH, self.period * SLOWEST)
        self._due = now + self._wait

    def _hear(self, job: str, said: Job | None) -> bool:
        """Whether that is news."""
        if said is None:
            self._absent[job] = self._absent.get(job, 0) + 1
            if self._absent[job] >= ABSENCES:
                self.jobs[job] = Job(job, Phase.ENDED, reason="the scheduler does not know it any more")
            return True
        self._absent.pop(job, None)
        before, self.jobs[job] = self.jobs[job], said
        return said != before


def read_jobs(path: Path) -> list[Recorded]:
    """The jobs in a campaign's record, in the order of their submission. A line that is cut off is left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found: dict[str, Recorded] = {}
    for line in lines:
        recorded = _read(line)
        if recorded is not None:
            found[recorded.name] = recorded
    return list(found.values())


def _read(line: str) -> Recorded | None:
    try:
        return build(Recorded, read_json(line))
    except ValueError:
        return None
