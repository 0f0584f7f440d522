"""Measures for how long a block's job holds its nodes: what the scheduler charges, whatever the workers do."""

from __future__ import annotations

from dataclasses import dataclass

from ..schedulers.jobs import Phase

HOLDING = (Phase.RUNNING, Phase.ENDING)
"""Phases in which a job holds its nodes. A suspended job is not charged for the time."""


@dataclass
class HeldTime:
    """The time for which one job holds its nodes. Times are Unix seconds.

    Attributes:
        before: Seconds of earlier spells: before it was suspended, or put back into the queue.
        since: When the current spell began; None while it holds none.
        began: When it first got its nodes; None before.
        left: When it gave them back for good; None before.

    >>> held = HeldTime()
    >>> held.follow(Phase.RUNNING, 100.0)
    >>> held.correct(began=96.0)  # the scheduler says so
    >>> held.follow(Phase.ENDED, 160.0)
    >>> held.before
    64.0
    """

    before: float = 0.0
    since: float | None = None
    began: float | None = None
    left: float | None = None

    def follow(self, phase: Phase, now: float) -> None:
        """Take over that the job is in this phase from ``now`` on."""
        if phase in HOLDING:
            if self.since is None:
                self.since = now
                self.began = now if self.began is None else self.began
            return
        if self.since is not None:
            self.before, self.since = self.before + max(0.0, now - self.since), None
            if phase == Phase.ENDED:
                self.left = now

    def correct(self, began: float | None) -> None:
        """Take over when the job began, as the scheduler or its script says; None: it does not say."""
        if began is not None and not self.before and self.since is not None:
            self.since = self.began = began

    def settle(self, began: float | None, left: float | None, now: float) -> None:
        """The job has ended. ``began``, ``left``: when, as the scheduler says; None where it does not.

        A job that was suspended keeps the seconds that were counted, since the scheduler does not count the pause.
        """
        paused = self.before > 0.0
        if began is not None and self.began is None:
            self.since = self.began = began
        self.correct(began)
        self.follow(Phase.ENDED, now if left is None else left)
        if began is not None and left is not None and not paused:
            self.before, self.began, self.left = max(0.0, left - began), began, left
