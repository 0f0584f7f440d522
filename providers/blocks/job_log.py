"""Records the jobs of a campaign in a file, and keeps their states up to date with one query for all pools.

The file lets another process end the jobs of a dead driver: a job is written there before it is submitted.
"""

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
from ..schedulers.jobs import Job, Phase, SchedulerUnreachable

log = logging.getLogger(__name__)

FIRST_QUERY = 5.0
"""Seconds from a submission to the first query, unless the last one was more recent than the period."""

GROWTH, LONGEST_INTERVAL = 1.5, 5.0
"""Factor by which the time between two queries grows while nothing changes, and its limit in periods."""

LONGEST_BACKOFF = 600.0
"""Longest time between two queries, in seconds, while the scheduler does not answer."""

ABSENCES = 2
"""Answers in a row without a job after which it counts as gone: a scheduler may leave a living job out once."""

Query = Callable[[Sequence[str]], dict[str, Job]]


@dataclass(frozen=True)
class RecordedJob:
    """A job in the file of a campaign.

    Attributes:
        name: The job's name.
        scheduler: The scheduler it was submitted to.
        pool: Its pool.
        block: The number of its block.
        job: The scheduler's id. Empty when the driver died before it learnt the id.
        ended: How it ended; empty while it has not.
        time: Unix seconds of the last event.
    """

    name: str
    scheduler: str
    pool: str
    block: str
    job: str = ""
    ended: str = ""
    time: float = 0.0


class JobLog:
    """The jobs of one campaign: their record on disk, and their states at the scheduler.

    The scheduler is asked for all living jobs in one query, at most once a period. Without changes the time between
    queries grows to five periods; while the scheduler does not answer, to ten minutes.

    Args:
        path: The file, JSON lines, one for each event of a job. None keeps no record.
        scheduler: The scheduler's name, for the record.
        period: Least seconds between two queries of the scheduler.

    Attributes:
        jobs: Job id -> its last known state. Jobs whose blocks have ended are removed.
        unreachable: Why the scheduler did not answer the last query; empty when it did.
        queries: How many queries were made.
        last_query, answered: When the last one was made, and when the last one was answered, in Unix seconds.
    """

    def __init__(self, path: Path | None, scheduler: str, period: float):
        self.path, self.scheduler, self.period = path, scheduler, period
        self.jobs: dict[str, Job] = {}
        self.unreachable = ""
        self.queries = 0
        self._absent: dict[str, int] = {}
        self.last_query, self._due, self._interval = -1e18, 0.0, period
        self.answered = -1e18

    # -- the record ---------------------------------------------------------------------------------------------------

    def submitting(self, name: str, pool: str, block: str) -> None:
        """Record a job that is about to be submitted.

        Raises:
            SiteError: It cannot be recorded. It must not be submitted then: nobody could end it if the driver died.
        """
        try:
            self._write("submitting", RecordedJob(name, self.scheduler, pool, block))
        except OSError as error:
            raise SiteError(f"{self.path}: {error.strerror}; no block is submitted without a record of it") from None

    def submitted(self, name: str, pool: str, block: str, job: str, now: float) -> None:
        """Record the id of a job that was submitted.

        Args:
            name: The job's name.
            pool: Its pool.
            block: The number of its block.
            job: The scheduler's id.
            now: Unix seconds.
        """
        self.jobs[job] = Job(job, Phase.QUEUED)
        self._interval = self.period
        self._due = max(self.last_query + self.period, now + min(FIRST_QUERY, self.period))
        self._try_writing("submitted", RecordedJob(name, self.scheduler, pool, block, job))

    def ended(self, name: str, pool: str, block: str, job: str, how: str) -> None:
        """Record that a block has ended, and how; it is not asked for any more."""
        self.jobs.pop(job, None)
        self._absent.pop(job, None)
        self._try_writing("ended", RecordedJob(name, self.scheduler, pool, block, job, how))

    def _try_writing(self, event: str, what: RecordedJob) -> None:
        try:
            self._write(event, what)
        except OSError as error:
            log.error("cannot write %s (%s): job %s %s", self.path, error.strerror, what.job, event)

    def _write(self, event: str, what: RecordedJob) -> None:
        if self.path is None:
            return
        line = json.dumps({"event": event, **asdict(replace(what, time=time.time()))})
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":  # the last line was cut off by a full disk
                line = "\n" + line
            data = (line + "\n").encode()
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)

    # -- queries ------------------------------------------------------------------------------------------------------

    def query_soon(self) -> None:
        """Make the next query as soon as the period allows: something happened that the scheduler may explain."""
        if not self.unreachable:
            self._due, self._interval = min(self._due, self.last_query + self.period), self.period

    def refresh(self, query: Query, now: float) -> None:
        """Update the states of all living jobs with one query, if one is due.

        Args:
            query: Asks the scheduler, as :meth:`BatchBlocks.query` does.
            now: Unix seconds.
        """
        living = [job for job, state in self.jobs.items() if state.phase != Phase.ENDED]
        if not living or now < self._due:
            return
        self.last_query = now
        self.queries += 1
        try:
            answer = query(living)
        except SchedulerUnreachable as error:
            self.unreachable = str(error)
            self._interval = min(2 * max(self._interval, 1.0), max(LONGEST_BACKOFF, self.period))
            self._due = now + self._interval
            log.warning("the scheduler does not answer (%s); next query in %.0f s", error, self._interval)
            return
        self.unreachable, self.answered = "", now
        changed = [self._update(job, answer.get(job)) for job in living]
        self._interval = self.period if any(changed) else min(self._interval * GROWTH, self.period * LONGEST_INTERVAL)
        self._due = now + self._interval

    def _update(self, job: str, state: Job | None) -> bool:
        """Take over a job's state from an answer, None when it was not in it. Returns whether anything changed."""
        if state is None:
            self._absent[job] = self._absent.get(job, 0) + 1
            if self._absent[job] >= ABSENCES:
                self.jobs[job] = Job(job, Phase.ENDED, reason="the scheduler no longer knows it")
            return True
        self._absent.pop(job, None)
        before, self.jobs[job] = self.jobs[job], state
        return state != before


def read_job_log(path: Path) -> list[RecordedJob]:
    """The jobs in a campaign's file, in the order of their submission. Incomplete lines are skipped."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found: dict[str, RecordedJob] = {}
    for line in lines:
        recorded = _read(line)
        if recorded is not None:
            found[recorded.name] = recorded
    return list(found.values())


def _read(line: str) -> RecordedJob | None:
    try:
        return build(RecordedJob, read_json(line))
    except ValueError:
        return None
