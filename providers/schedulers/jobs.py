"""What schedulers say of a job, in one vocabulary for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ...errors import PilotuneError, SiteError


class Phase(StrEnum):
    """Where a job is. A held or suspended job is queued, with its reason."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDING = "ending"  # being ended; it still holds its nodes
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
    BAD_ENVIRONMENT = "bad environment"  # it ended, and no worker ever registered
    REFUSED = "refused"  # the scheduler did not take it


@dataclass(frozen=True)
class Job:
    """One job as the scheduler sees it.

    Attributes:
        id: As the scheduler wrote it at submission.
        phase: Where it is.
        end: How it ended, once that is known.
        reason: The scheduler's own words: why it waits, or how it ended.
        exit_code: Of its script, where the scheduler tells.
    """

    id: str
    phase: Phase
    end: End | None = None
    reason: str = ""
    exit_code: int | None = None


class SchedulerUnreachable(PilotuneError):
    """The scheduler did not answer; the same question may be answered later."""


class SubmitRefused(SiteError):
    """The scheduler did not take a job.

    Attributes:
        words: What it said.
        transient: Whether the same job may be taken later (its controller was away, a limit of running jobs).
    """

    def __init__(self, words: str, transient: bool):
        super().__init__(f"the scheduler refused the block: {words}")
        self.words, self.transient = words, transient
