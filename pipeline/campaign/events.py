"""Events that enter the campaign, and actions that leave it.

The campaign knows the outside world through these types only. Time, randomness, the scheduler and the network reach it
as events, so that a simulation can replace all of them and a seed can replay any run.

Event (in)             | from
-----------------------|------------------------------------------------------------------------------
Capacity               | the pool: how many attempts it can run
Started                | a worker: it has begun an attempt
Report, Suggest, Query | a worker: the objective reports a value, asks for a parameter, or about its study
Attributes             | a worker: the objective has set attributes
Ended, Lost            | the pool: an attempt has an outcome, or its worker died
BlocksSeen, PoolNote   | the pool: the state of its blocks, a sentence for the user
PoolFailed             | the pool: it can run nothing any more
StopRequested          | the user, a signal, or the driver itself

Action (out)           | what the pool does
-----------------------|------------------------------------------------------------------------------
Submit                 | run an attempt
Reply                  | send the answer to a Report, a Suggest or a Query
StopAttempt            | end an attempt
Scale                  | adapt the number of blocks to this demand
Quarantine             | send no further trial to this host
Finish                 | nothing; the loop ends and the driver closes the pool
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..trial.protocol import (
    AttemptSpec,
    Attributes,
    Outcome,
    Query,
    Report,
    Started,
    StopHow,
    Suggest,
    Suggested,
    Verdict,
)

Signal = Literal["finish", "yield", "now"]
"""How to end. finish: no new trials, running ones finish. yield: running trials save a checkpoint and end. now: running
trials are killed. The user's first, second and third Ctrl-C mean these, in this order."""


@dataclass(frozen=True)
class Capacity:
    """How much the pool can run now; sent whenever it changes.

    Where trials take different shares of a node, there are no workers of one size. Then ``workers`` says how many
    trials of the typical size can run at once, and the two last attributes are set.

    Attributes:
        workers: Attempts that can run at once: every connected worker, except that of a block which accepts no further
            trials (held or draining) only the busy workers count.
        latency: Seconds from submitting an attempt to its start on a free worker.
        hosts: Names of the hosts whose workers accept trials; empty where the pool does not know them.
        in_flight: Attempts that the pool wants to have in all, with those that wait for room; None: as many as workers.
        busy: How much of ``workers`` is in use; None: as many as attempts run.
    """

    workers: int
    latency: float = 0.1
    hosts: frozenset[str] = frozenset()
    in_flight: int | None = None
    busy: float | None = None


@dataclass(frozen=True)
class Lost:
    """An attempt's worker, node or block died. Whatever still arrives from the attempt is ignored, since it is fenced.

    Attributes:
        token: The attempt's token.
        reason: One sentence.
        killed: Only its worker died, and nobody ended it: the trial itself may have killed it.
        host: Where it ran, if known.
    """

    token: str
    reason: str
    killed: bool = False
    host: str = ""


@dataclass(frozen=True)
class Ended:
    """An attempt has ended, and its worker said how."""

    outcome: Outcome


@dataclass(frozen=True)
class StopRequested:
    """The campaign is to end.

    Attributes:
        how: See :data:`Signal`.
        reason: One sentence; empty when the user asked.
        code: Exit code; None when the user asked, which gives ``STOPPED``.
    """

    how: Signal
    reason: str = ""
    code: int | None = None


@dataclass(frozen=True)
class PoolFailed:
    """The pool can run nothing any more; ``reason`` is in the scheduler's or the block's own words."""

    reason: str


BlockState = Literal["queued", "starting", "running", "suspended", "disconnected", "ending", "ended"]
"""State of a block. starting: its job runs, but none of its workers has connected yet. disconnected: its job runs, but
has lost all its workers. suspended: the scheduler has stopped it, and may let it go on."""


@dataclass(frozen=True)
class BlockView:
    """One block as its pool sees it.

    Attributes:
        pool: The pool's name.
        block: Parsl's block id.
        job: The scheduler's job id.
        state: See :data:`BlockState`.
        reason: Why it is queued, in the scheduler's words, or why it ended.
        workers: Number of its connected workers.
        ends: When its walltime is over, Unix seconds; None if unknown.
        since: When it entered this state, Unix seconds.
    """

    pool: str
    block: str
    job: str
    state: BlockState
    reason: str = ""
    workers: int = 0
    ends: float | None = None
    since: float = 0.0


@dataclass(frozen=True)
class BlocksSeen:
    """All living blocks, and those that ended lately; sent whenever one of them changed."""

    blocks: tuple[BlockView, ...]


@dataclass(frozen=True)
class PoolNote:
    """A sentence of the pool's for the user. It replaces the previous one; an empty text removes it."""

    text: str


Request = Report | Suggest | Query
"""What a worker waits for an answer to."""

Event = Capacity | Started | Request | Attributes | Ended | Lost | StopRequested | PoolFailed | BlocksSeen | PoolNote


@dataclass(frozen=True)
class Submit:
    """Run this attempt. The pool answers with exactly one Ended or Lost for its token."""

    spec: AttemptSpec


@dataclass(frozen=True)
class Reply:
    """Send ``message`` to the worker that runs the attempt ``message.token``.

    It is a :class:`Verdict` on a Report, or a :class:`Suggested` for a Suggest or a Query. The pool sends it as it is.
    """

    message: Verdict | Suggested


@dataclass(frozen=True)
class StopAttempt:
    """End this attempt: ``yield`` lets it save a checkpoint, ``kill`` does not."""

    token: str
    how: StopHow


@dataclass(frozen=True)
class Finish:
    """The campaign is over.

    Attributes:
        code: See :mod:`pilotune.exit_codes`.
        reason: One sentence.
    """

    code: int
    reason: str


@dataclass(frozen=True)
class Scale:
    """How much work there is; sent when it changed.

    Attributes:
        workers: How many workers the campaign could keep busy now: attempts in flight plus the trials that the budget
            still allows. Without a limit on trials this is ``limits.UNLIMITED``.
        expected: Seconds that the next trial is expected to run; None while unknown.
    """

    workers: int
    expected: float | None = None


@dataclass(frozen=True)
class Quarantine:
    """Send no further trial to this host until the campaign ends; what runs there may go on."""

    host: str
    reason: str


Action = Submit | Reply | StopAttempt | Finish | Scale | Quarantine
