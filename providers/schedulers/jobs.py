"""The states and ends of jobs, in one vocabulary for all schedulers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ...errors import PilotuneError, SiteError


class Phase(StrEnum):
    """Where a job is. A held job counts as queued, with the reason given.

    A job goes from QUEUED to RUNNING, ENDING and ENDED; phases may be skipped. A scheduler may put a running job back
    into the queue, or suspend it for a while. ENDED is final.
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUSPENDED = "suspended"  # all its processes are stopped, until it goes on
    ENDING = "ending"  # it is being ended and still holds its nodes
    ENDED = "ended"


class End(StrEnum):
    """How a block ended."""

    FINISHED = "finished"
    WALLTIME = "walltime"
    PREEMPTED = "preempted"
    NODE_FAILURE = "node failure"
    CANCELLED = "cancelled"
    OUT_OF_MEMORY = "out of memory"
    FAILED = "failed"  # its script exited with another status than 0
    BAD_ENVIRONMENT = "bad environment"  # it ended before any worker could register
    REFUSED = "refused"  # the scheduler refused to take it


@dataclass(frozen=True)
class Job:
    """One job as the scheduler sees it.

    Attributes:
        id: The job's id, as the scheduler gave it at submission.
        phase: Where the job is.
        end: How it ended; None while it has not, or when the scheduler does not say.
        reason: The scheduler's own words on why it waits, or how it ended, with an explanation where one is known.
        exit_code: The exit code of its script; None when the scheduler does not say.
        began, left: When it got its nodes, and when it gave them back, Unix seconds; None when the scheduler does not
            say, or it has not.
        starts: When the scheduler expects it to begin, Unix seconds; None where it does not say, or it has begun.
    """

    id: str
    phase: Phase
    end: End | None = None
    reason: str = ""
    exit_code: int | None = None
    began: float | None = None
    left: float | None = None
    starts: float | None = None


class SchedulerUnreachable(PilotuneError):
    """The scheduler did not answer. The same query may succeed later."""


class SubmitRefused(SiteError):
    """The scheduler refused to take a job.

    Attributes:
        words: The scheduler's words.
        transient: Whether it may take the same job later (its controller was down, a limit on the number of jobs).
        away: Whether it was no answer of the scheduler: its controller is down, or cannot be reached.
    """

    def __init__(self, words: str, transient: bool, away: bool = False):
        refused = "the scheduler does not answer" if away else "the scheduler refused the block"
        super().__init__(f"{refused}: {words}")
        self.words, self.transient, self.away = words, transient, away
