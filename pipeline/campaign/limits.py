"""When a campaign asks, retries, gives up and ends: the study file's budget and trial options as plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_LOSSES = 5
"""How often a trial may lose its worker, node or block before it is failed: something in it may be what kills them."""

IDLE_YIELDS, IDLE_SECONDS = 20, 5.0
"""A trial that yields so often in a row, each time after less than these seconds and with no new report, gets nowhere:
its objective yields without being asked to. One that was asked to, at the end of its blocks, may yield for ever."""

STALLS = 3
"""Blocks in a row that may end under a trial which neither saves a checkpoint nor reports a new step: it would begin
anew for ever, and use up the allocation."""

CRASHES = ("signal", "exit", "memory")
"""Failures in which the trial's process died."""

UNLIMITED = 1_000_000
"""How many workers a campaign without a budget of trials could keep busy."""

ASKS_PER_STEP, ASKS_AMONG_REPORTS, MOST_ASKS = 16, 64, 256
"""Suggestions made in one step: a few, so that reports never wait behind a long row of asks. While still more workers
wait for a trial each step makes twice as many as the last: where somebody waits for the answer to a report up to the
second number, else up to the third."""


@dataclass(frozen=True)
class CampaignLimits:
    """Limits of one campaign.

    Attributes:
        trials: Trials in the study, over all campaigns and drivers; None is without limit.
        time: Seconds this campaign may last; then running trials yield and can be resumed.
        failures: So many failed trials in a row end the campaign.
        target: The campaign ends when a trial reaches this value (one objective only).
        maximize: Whether the (only) objective is maximized; for ``target``.
        retries: New attempts of a trial whose process crashed.
        retry_errors: Count exceptions and timeouts as crashes too.
        max_losses: New attempts of a trial whose worker, node or block was lost.
        expected: Seconds that a whole trial runs, as the user says; None: to be learned.
        second_opinions: Trials that may have failed by their node's fault are tried once more on another.
    """

    trials: int | None = None
    time: float | None = None
    failures: int = 20
    target: float | None = None
    maximize: bool = False
    retries: int = 0
    retry_errors: bool = False
    max_losses: int = MAX_LOSSES
    expected: float | None = None
    second_opinions: bool = True

    def reached(self, value: float) -> bool:
        """Whether ``value`` is as good as the target."""
        if self.target is None:
            return False
        return value >= self.target if self.maximize else value <= self.target

    def retried(self, failure: str) -> bool:
        """Whether a failure of this kind may be tried again at all."""
        return failure in CRASHES or (self.retry_errors and failure in ("exception", "timeout"))


def ahead(workers: int, latency: float, duration: float | None) -> int:
    """Attempts to keep submitted beyond the workers, so that none waits for the next one to arrive.

    A worker is free for ``latency`` seconds in every ``latency + duration``; as many attempts as workers that are free
    at once hide it. Before a trial has finished (``duration`` None) nothing is asked ahead.
    """
    if duration is None or workers == 0:
        return 0
    return min(workers, math.floor(workers * latency / max(duration, 1e-3) + 0.5))
