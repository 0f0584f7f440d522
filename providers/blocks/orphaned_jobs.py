"""Ends what dead drivers left at a scheduler: jobs of their own records, and of those only what is still theirs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from pathlib import Path

from ...errors import SiteError
from ..schedulers.batch import BatchBlocks
from ..schedulers.jobs import Job, Phase, SchedulerAway
from ..schedulers.registry import provider_class
from ..site import PoolSpec, Site
from .job_log import JobLog, Recorded, read_jobs

PATIENCE = 20.0
"""Seconds that are waited for jobs to go: schedulers give them some time to end by themselves."""


class Fate(StrEnum):
    """What became of a job that its driver did not see end."""

    ENDED = "ended"
    ENDING = "being ended"
    GONE = "gone already"
    LEFT = "left"  # only looked at
    NAMELESS = "not known"
    REFUSED = "not ended"
    AWAY = "not reached"


@dataclass(frozen=True)
class Leftover:
    """A job that a dead driver left, or may have left.

    Attributes:
        record: The file that tells of it.
        job: As recorded.
        fate: What became of it.
        was: Where it was found: a phase, or empty.
        words: The scheduler's, or why nothing could be done.
    """

    record: Path
    job: Recorded
    fate: Fate = Fate.GONE
    was: str = ""
    words: str = ""

    @property
    def open(self) -> bool:
        """Whether it may still be there, and nothing ends it."""
        return self.fate in (Fate.LEFT, Fate.NAMELESS, Fate.REFUSED, Fate.AWAY)


def clean(
    records: Sequence[Path],
    *,
    patience: float = PATIENCE,
    look_only: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> list[Leftover]:
    """End the jobs that are on these records and have not ended. A job with another name than recorded is another's.

    Args:
        records: Of campaigns whose drivers are dead (``RunDirectory.jobs``); missing ones hold no jobs.
        patience: Seconds to wait until they are gone.
        look_only: End nothing.
        pause: Waits so many seconds.

    Returns:
        One entry a job, in the order of the records. A scheduler that cannot be asked is told of there, not raised.
    """
    found = [Leftover(record, job) for record in records for job in read_jobs(record) if not job.ended]
    seen: list[Leftover] = []
    for scheduler, those in groupby(sorted(found, key=_scheduler), key=_scheduler):
        seen += _at(asker(scheduler), list(those), 0.0 if look_only else patience, look_only, pause)
    if not look_only:
        for left in seen:
            _note(left)
    order = {(each.record, each.job.name): place for place, each in enumerate(found)}
    return sorted(seen, key=lambda each: order[each.record, each.job.name])


def _scheduler(left: Leftover) -> str:
    return left.job.scheduler


def asker(scheduler: str) -> BatchBlocks:
    """A provider that can ask for jobs and cancel them; nothing is submitted with it."""
    pool = PoolSpec("left", walltime=60.0)
    provider = provider_class(scheduler).for_pool(Site("left", scheduler, (pool,), Path()), pool, "")
    provider.place(Path(), "left")
    return provider


def _at(
    provider: BatchBlocks, left: list[Leftover], patience: float, look_only: bool, pause: Callable[[float], None]
) -> list[Leftover]:
    """What became of jobs of one scheduler."""
    nameless = [replace(each, fate=Fate.NAMELESS, words=f"look for a job named {each.job.name}; its driver died "
                        "before it was told the number") for each in left if not each.job.job]  # fmt: skip
    named = [each for each in left if each.job.job]
    try:
        seen = _look(provider, named)
    except (SchedulerAway, SiteError) as error:
        return nameless + [replace(each, fate=Fate.AWAY, words=str(error)) for each in named]
    if not look_only:
        seen = [_end(provider, each) if each.fate == Fate.LEFT else each for each in seen]
        for seconds in _pauses(patience):
            if not any(each.fate == Fate.ENDING for each in seen):
                break
            pause(seconds)
            seen = _look_again(provider, seen)
    return nameless + seen


def _look(provider: BatchBlocks, left: list[Leftover]) -> list[Leftover]:
    said = provider.query([each.job.job for each in left]) if left else {}
    living = [job for job, state in said.items() if state.phase != Phase.ENDED]
    names = provider.names(living) if living else {}
    return [_judged(each, said.get(each.job.job), names) for each in left]


def _judged(left: Leftover, said: Job | None, names: dict[str, str]) -> Leftover:
    if said is None or said.phase == Phase.ENDED:
        return left
    name = names.get(left.job.job, left.job.name)
    if name != left.job.name:
        return replace(left, words=f"the job of this number is {name} now")
    fate = Fate.ENDING if said.phase == Phase.ENDING else Fate.LEFT
    return replace(left, fate=fate, was=said.phase.value, words=said.reason)


def _end(provider: BatchBlocks, left: Leftover) -> Leftover:
    try:
        if provider.cancel_one(left.job.job):
            return replace(left, fate=Fate.ENDING, words="")
    except SchedulerAway as error:
        return replace(left, fate=Fate.AWAY, words=str(error))
    return replace(left, fate=Fate.REFUSED, words=f"the scheduler refused to end it; {left.words}".rstrip("; "))


def _look_again(provider: BatchBlocks, left: list[Leftover]) -> list[Leftover]:
    """Those that were to end and are gone have ended."""
    waiting = [each.job.job for each in left if each.fate == Fate.ENDING]
    try:
        said = provider.query(waiting)
    except SchedulerAway:
        return left
    living = {job for job, state in said.items() if state.phase != Phase.ENDED}
    return [
        replace(each, fate=Fate.ENDED) if each.fate == Fate.ENDING and each.job.job not in living else each
        for each in left
    ]


def _pauses(patience: float) -> Iterator[float]:
    """Longer and longer, ``patience`` in all."""
    seconds = 1.0
    while patience > 0:
        yield min(seconds, patience)
        patience -= seconds
        seconds *= 2


def _note(left: Leftover) -> None:
    """Nobody needs to ask for it again."""
    how = {Fate.ENDED: "cancelled", Fate.GONE: "gone"}.get(left.fate)
    if how:
        job = left.job
        JobLog(left.record, job.scheduler, 0.0).ended(job.name, job.pool, job.block, job.job, how)
