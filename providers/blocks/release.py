"""When the job of a block that is no longer wanted is ended, and when once more. One rule for all schedulers."""

from __future__ import annotations

from dataclasses import dataclass

from ..schedulers.jobs import Job, Phase

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0
"""Least and longest time in seconds between two tries to end a job. It doubles with each, and is at least the site
file's ``poll``."""

TRIES = 12
"""Tries to end a job while the campaign runs, over three quarters of an hour. The campaign's end has tries of its own.
"""

LIVES_ON = 60.0
"""Seconds that a job may go on after the scheduler took the order to end it: its processes get some time to end."""


@dataclass
class Release:
    """What was done to end one block's job.

    Attributes:
        why: Why the block is no longer wanted; empty while it is.
        tries: How often the scheduler was told to end the job.
        not_before: When it may be told again, Unix seconds.
        accepted: When it last took the order; None while it has not.
    """

    why: str = ""
    tries: int = 0
    not_before: float = 0.0
    accepted: float | None = None

    def due(self, now: float) -> bool:
        """Whether the scheduler may be told now. ``now``: Unix seconds."""
        return self.tries < TRIES and now >= self.not_before

    def tried(self, accepted: bool, poll: float, now: float) -> None:
        """Note a try, and whether the scheduler took the order.

        >>> release = Release()
        >>> for _ in range(4):
        ...     release.tried(False, poll=30.0, now=0.0)
        ...     print(release.not_before)
        30.0
        60.0
        120.0
        240.0
        """
        self.tries += 1
        self.not_before = now + min(max(poll, LONGEST_PAUSE), max(poll, FIRST_PAUSE) * 2 ** (self.tries - 1))
        if accepted:
            self.accepted = now

    def was_lost(self, job: Job, answered: float, now: float) -> bool:
        """Whether the job goes on although the scheduler has taken the order: it fell into a rerun, for example.

        Args:
            job: The job's last known state.
            answered: When the scheduler gave it, Unix seconds.
            now: Unix seconds.
        """
        if self.accepted is None or answered <= self.accepted:
            return False
        if job.phase == Phase.QUEUED:
            return True
        return job.phase in (Phase.RUNNING, Phase.SUSPENDED) and now >= self.accepted + LIVES_ON
