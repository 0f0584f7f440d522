"""Ends the jobs that dead drivers left at a scheduler.

Only jobs that those drivers recorded are touched, and only while they still have the recorded name: a scheduler may
have given the number to somebody else's job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from pathlib import Path

from ...errors import SiteError
from ..schedulers.batch import BatchBlocks
from ..schedulers.jobs import Job, Phase, SchedulerUnreachable
from ..schedulers.registry import provider_class
from ..site import PoolSpec, Site
from .job_log import JobLog, RecordedJob, read_job_log

PATIENCE = 20.0
"""Seconds to wait for jobs to end: schedulers give them some time to end by themselves."""


class Fate(StrEnum):
    """What became of a job whose end its driver did not see."""

    ENDED = "ended"
    ENDING = "being ended"
    GONE = "gone already"
    LEFT = "left"  # it lives; nothing was done
    NO_ID = "not known"  # its driver died before it learnt the id
    REFUSED = "not ended"  # the scheduler refused to end it
    UNREACHABLE = "not reached"  # the scheduler did not answer


@dataclass(frozen=True)
class OrphanedJob:
    """A job that a dead driver left, or may have left.

    Attributes:
        record: The file in which it is recorded.
        job: The job as recorded there.
        fate: What became of it.
        was: The phase in which it was found; empty when it was not found.
        words: The scheduler's words, or why nothing could be done.
        began, left: When it got its nodes and gave them back, Unix seconds; None where the scheduler does not say.
    """

    record: Path
    job: RecordedJob
    fate: Fate = Fate.GONE
    was: str = ""
    words: str = ""
    began: float | None = None
    left: float | None = None

    @property
    def open(self) -> bool:
        """Whether it may still exist and nothing is ending it."""
        return self.fate in (Fate.LEFT, Fate.NO_ID, Fate.REFUSED, Fate.UNREACHABLE)


def end_orphaned_jobs(
    records: Sequence[Path],
    *,
    patience: float = PATIENCE,
    dry_run: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> list[OrphanedJob]:
    """End the jobs of dead drivers that have not ended.

    Args:
        records: The job files of campaigns whose drivers are dead (``RunDirectory.jobs``). A missing file has no jobs.
        patience: Seconds to wait until the jobs are gone.
        dry_run: Only find the jobs; end none.
        pause: Called with the seconds to wait between two queries.

    Returns:
        One entry for each job that was not recorded as ended, in the order of the records. An unreachable scheduler is
        reported in the entries, not raised.
    """
    found = [OrphanedJob(record, job) for record in records for job in read_job_log(record) if not job.ended]
    seen: list[OrphanedJob] = []
    for scheduler, those in groupby(sorted(found, key=_scheduler), key=_scheduler):
        seen += _at(query_provider(scheduler), list(those), 0.0 if dry_run else patience, dry_run, pause)
    if not dry_run:
        for left in seen:
            _note(left)
    order = {(each.record, each.job.name): place for place, each in enumerate(found)}
    return sorted(seen, key=lambda each: order[each.record, each.job.name])


def _scheduler(left: OrphanedJob) -> str:
    return left.job.scheduler


def query_provider(scheduler: str) -> BatchBlocks:
    """A provider that can query and cancel jobs of a scheduler without a site. It cannot submit any."""
    pool = PoolSpec("left", walltime=60.0)
    provider = provider_class(scheduler).for_pool(Site("left", scheduler, (pool,), Path()), pool, "")
    provider.place(Path(), "left")
    return provider


def _at(
    provider: BatchBlocks, left: list[OrphanedJob], patience: float, dry_run: bool, pause: Callable[[float], None]
) -> list[OrphanedJob]:
    """Find, end and wait for the jobs of one scheduler."""
    without_id = [replace(each, fate=Fate.NO_ID, words=f"look for a job named {each.job.name}; its driver died "
                          "before it learnt the id") for each in left if not each.job.job]  # fmt: skip
    with_id = [each for each in left if each.job.job]
    try:
        seen = _find(provider, with_id)
    except (SchedulerUnreachable, SiteError) as error:
        return without_id + [replace(each, fate=Fate.UNREACHABLE, words=str(error)) for each in with_id]
    if not dry_run:
        seen = [_end(provider, each) if each.fate == Fate.LEFT else each for each in seen]
        for seconds in _pauses(patience):
            if not any(each.fate == Fate.ENDING for each in seen):
                break
            pause(seconds)
            seen = _update(provider, seen)
    return without_id + seen


def _find(provider: BatchBlocks, left: list[OrphanedJob]) -> list[OrphanedJob]:
    """Which of these jobs the scheduler still has."""
    said = provider.query([each.job.job for each in left]) if left else {}
    living = [job for job, state in said.items() if state.phase != Phase.ENDED]
    names = provider.names(living) if living else {}
    return [_found(each, said.get(each.job.job), names) for each in left]


def _found(left: OrphanedJob, said: Job | None, names: dict[str, str]) -> OrphanedJob:
    """A recorded job with what the scheduler says of it, and the name that its id has now."""
    if said is None:
        return left
    if said.phase == Phase.ENDED:
        return replace(left, began=said.began, left=said.left)
    name = names.get(left.job.job, left.job.name)
    if name != left.job.name:
        return replace(left, words=f"this id now belongs to the job {name}")
    fate = Fate.ENDING if said.phase == Phase.ENDING else Fate.LEFT
    return replace(left, fate=fate, was=said.phase.value, words=said.reason, began=said.began)


def _end(provider: BatchBlocks, left: OrphanedJob) -> OrphanedJob:
    try:
        if provider.cancel_one(left.job.job):
            return replace(left, fate=Fate.ENDING, words="")
    except SchedulerUnreachable as error:
        return replace(left, fate=Fate.UNREACHABLE, words=str(error))
    return replace(left, fate=Fate.REFUSED, words=f"the scheduler refused to end it; {left.words}".rstrip("; "))


def _update(provider: BatchBlocks, left: list[OrphanedJob]) -> list[OrphanedJob]:
    """Jobs that were being ended and are gone have ended."""
    waiting = [each.job.job for each in left if each.fate == Fate.ENDING]
    try:
        said = provider.query(waiting)
    except SchedulerUnreachable:
        return left
    living = {job for job, state in said.items() if state.phase != Phase.ENDED}
    return [
        replace(each, fate=Fate.ENDED) if each.fate == Fate.ENDING and each.job.job not in living else each
        for each in left
    ]


def _pauses(patience: float) -> Iterator[float]:
    """Growing pauses in seconds, which add up to ``patience``."""
    seconds = 1.0
    while patience > 0:
        yield min(seconds, patience)
        patience -= seconds
        seconds *= 2


def _note(left: OrphanedJob) -> None:
    """Record that a job has ended, so that it is not asked for again."""
    how = {Fate.ENDED: "cancelled", Fate.GONE: "gone"}.get(left.fate)
    if how:
        job = left.job
        JobLog(left.record, job.scheduler, 0.0).ended(job.name, job.pool, job.block, job.job, how)
