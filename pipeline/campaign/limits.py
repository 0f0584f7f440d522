"""Limits of a campaign: how far ahead it asks, how often it retries, when it gives up and when it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..noise import REPEATS_ONCE, Repeats
from ..trial.block_env import YIELD_WAIT
from ..trial.protocol import DEFAULT_GRACE
from .node_hours import HoursPlan

MAX_LOSSES = 5
"""Most losses of worker, node or block that one trial survives. Then it fails, since it may be what kills them."""

IDLE_YIELDS, IDLE_SECONDS = 20, 5.0
"""A trial that yields this many times in a row, each time within this many seconds and without a new report, fails: its
objective yields without being asked to. A trial that is asked to yield at the end of its blocks may do so for ever."""

STALLS = 3
"""A trial fails when this many of its blocks in a row end before it saves a checkpoint or reports a new step: it would
start again from the beginning for ever, and use up the allocation."""

CRASHES = ("signal", "exit", "memory")
"""Kinds of failure in which the trial's process died; see :data:`~pilotune.pipeline.trial.protocol.FailureKind`."""

UNLIMITED = 1_000_000
"""Demand for workers of a campaign without a limit on trials."""

IMPORT_FAILURES = 3
"""A campaign of a Python objective ends when its first trials, this many, could not be started (the objective cannot be
imported): no parameter changes that, and each further trial would only use up the budget."""

ASKS_PER_STEP, ASKS_AMONG_REPORTS, MOST_ASKS = 16, 64, 256
"""Trials that one step asks for: few, so that reports never wait behind a long row of suggestions. While still more
workers are free, each step asks for twice as many as the last one: up to the second number where attempts wait for the
answer to a report, otherwise up to the third."""


@dataclass(frozen=True)
class CampaignLimits:
    """Limits of one campaign: the study file's budget and trial options as plain numbers.

    Attributes:
        trials: Trials in the study, over all campaigns and drivers; None means no limit.
        time: Seconds that this campaign may last; then running trials yield, and can be resumed. None means no limit.
        failures: The campaign ends after this many failed trials in a row.
        import_failures: The campaign ends when this many trials could not be started before any has succeeded; None:
            such failures count as any other.
        target: The campaign ends when a trial reaches this value. For one objective only.
        maximize: Whether that objective is maximized; needed for ``target``.
        patience: The campaign ends when this many trials of the study in a row have ended without a better value. For
            one objective only.
        retries: Most new attempts of a trial whose process crashed.
        retry_errors: Whether exceptions, timeouts and failures to start count as crashes.
        repeats: How often each trial is run. Retries and losses are counted for each repetition.
        seed: The study file's, from which those of the repetitions follow.
        max_losses: Most new attempts of a trial whose worker, node or block was lost.
        expected: Seconds that a whole trial runs, as the user says; None means that it is learned.
        moves: Whether the last trials may go on in another block, so that a large one can end: some pool has blocks of
            several nodes.
        asks_ahead: Whether trials are asked for before a worker is free for them. Not for a sampler of the user's own,
            which may count on the trial before having ended where there is one worker, as with ``Study.optimize``.
        yield_wait: Seconds that an attempt has to save a checkpoint and end, when the campaign asks it to. Default 60.
        grace: Seconds from SIGTERM to SIGKILL of an attempt that is stopped. Default 10.
        hours: What blocks cost, and the budgets in node-hours; None: hours are not counted.
        second_opinions: Whether a trial that may have failed through its host's fault is tried once more on another.

    >>> CampaignLimits(target=0.99, maximize=True).reached(0.995)
    True
    >>> CampaignLimits(retries=2).retried("exception")
    False
    """

    trials: int | None = None
    time: float | None = None
    failures: int = 20
    import_failures: int | None = None
    target: float | None = None
    maximize: bool = False
    patience: int | None = None
    retries: int = 0
    retry_errors: bool = False
    repeats: Repeats = REPEATS_ONCE
    seed: int | None = None
    max_losses: int = MAX_LOSSES
    expected: float | None = None
    yield_wait: float = YIELD_WAIT
    grace: float = DEFAULT_GRACE
    hours: HoursPlan | None = None
    second_opinions: bool = True
    asks_ahead: bool = True
    moves: bool = False

    def reached(self, value: float) -> bool:
        """Whether ``value`` is as good as the target."""
        if self.target is None:
            return False
        return value >= self.target if self.maximize else value <= self.target

    def retried(self, failure: str) -> bool:
        """Whether a failure of this kind is one that ``retries`` applies to."""
        return failure in CRASHES or (self.retry_errors and failure in ("exception", "setup", "timeout"))


def ahead(workers: int, latency: float, duration: float | None) -> int:
    """Number of attempts to keep submitted beyond the workers, so that no worker waits for its next one to arrive.

    A worker that finishes a trial waits ``latency`` seconds for the next, once in ``duration`` seconds. So at any time
    about ``workers * latency / duration`` of them wait, and that many attempts submitted ahead hide it.

    Args:
        workers: Attempts that can run at once; the result is never more.
        latency: Seconds from a submission to its start on a free worker.
        duration: Median seconds of a trial; None before the first has finished: then nothing is asked ahead.

    >>> ahead(workers=8, latency=0.1, duration=0.4)
    2
    """
    if duration is None or workers == 0:
        return 0
    return min(workers, math.floor(workers * latency / max(duration, 1e-3) + 0.5))
