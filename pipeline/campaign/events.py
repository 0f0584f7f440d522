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
Charged                | the pool: for how long its blocks have held their nodes
Leave                  | the pool: these attempts should go on in another block
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

from collections.abc import Mapping
from dataclasses import dataclass, field
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
class PoolCapacity:
    """What one of several pools can run now.

    Attributes:
        name: The pool's name.
        workers: Attempts that can run there at once, as in :class:`Capacity`.
        hosts: Names of its hosts whose workers accept trials; empty where they are not known.
        in_flight: Attempts that the pool wants to have in all, as in :class:`Capacity`.
    """

    name: str
    workers: int
    hosts: frozenset[str] = frozenset()
    in_flight: int | None = None


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
        pools: The same for each pool, where there are several. A pool that is given up is not among them.
        choice: Attempts that may wait beyond the workers, so that each worker gets one that suits its pool.
    """

    workers: int
    latency: float = 0.1
    hosts: frozenset[str] = frozenset()
    in_flight: int | None = None
    busy: float | None = None
    pools: tuple[PoolCapacity, ...] = ()
    choice: int = 0


@dataclass(frozen=True)
class Lost:
    """An attempt's worker, node or block died. Whatever still arrives from the attempt is ignored, since it is fenced.

    Attributes:
        token: The attempt's token.
        reason: One sentence.
        killed: Only its worker died, and nobody ended it: the trial itself may have killed it.
        host: Where it ran, if known.
        begun: False: no worker has ever begun the trial, which only waited for one.
    """

    token: str
    reason: str
    killed: bool = False
    host: str = ""
    begun: bool = True


@dataclass(frozen=True)
class Ended:
    """An attempt has ended, and its worker said how."""

    outcome: Outcome


@dataclass(frozen=True)
class Leave:
    """These attempts should yield and go on in another block that has room for them, so that theirs can end.

    Attributes:
        tokens: The attempts, of trials that can move.
        words: Which trials leave which block for which, as a sentence.
    """

    tokens: tuple[str, ...]
    words: str


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
        began: When its job got its nodes, as the scheduler says where it does, Unix seconds; None before.
        left: When its job gave them back, likewise; None before, and for a job that never had any.
        nodes: Its nodes; 0: as many as all blocks of its pool have.
    """

    pool: str
    block: str
    job: str
    state: BlockState
    reason: str = ""
    workers: int = 0
    ends: float | None = None
    since: float = 0.0
    began: float | None = None
    left: float | None = None
    nodes: int = 0


@dataclass(frozen=True)
class BlocksSeen:
    """All living blocks, and those that ended lately; sent whenever one of them changed."""

    blocks: tuple[BlockView, ...]


def shape_key(pool: str, shape: int) -> str:
    """What charges and budgets call one of a pool's several shapes. Names of pools have no slash.

    >>> shape_key("cpu", 1), pool_of_key("cpu/1"), pool_of_key("gpu")
    ('cpu/1', 'cpu', 'gpu')
    """
    return f"{pool}/{shape}"


def pool_of_key(key: str) -> str:
    """The pool of a :func:`shape_key`, or of the name of a pool whose blocks are all alike."""
    return key.partition("/")[0]


@dataclass(frozen=True)
class PoolCharge:
    """What a scheduler charges for the blocks of one pool: for how long their jobs have held their nodes.

    Of a pool with several shapes there is one for each.

    Attributes:
        submitted: Blocks that were submitted in all, with those that the scheduler refused.
        over: Seconds for which the blocks that have ended held their nodes, added up.
        living: Each block that has not ended: seconds for which it held its nodes before, and since when it holds them
            (Unix seconds; None for one that is queued or suspended).
        wanted: Blocks that would be submitted now if a budget in node-hours allowed them.

    >>> charge = PoolCharge(submitted=3, over=60.0, living=((0.0, 1000.0), (0.0, None)))
    >>> charge.seconds(now=1030.0), charge.most(now=1030.0, walltime=3600.0)
    (90.0, 7260.0)
    """

    submitted: int = 0
    over: float = 0.0
    living: tuple[tuple[float, float | None], ...] = ()
    wanted: int = 0

    def seconds(self, now: float) -> float:
        """Seconds for which blocks have held their nodes until now."""
        return self.over + sum(_held(block, now) for block in self.living)

    def most(self, now: float, walltime: float) -> float:
        """What :meth:`seconds` can become without a further block."""
        return self.over + sum(max(walltime, _held(block, now)) for block in self.living)


def _held(block: tuple[float, float | None], now: float) -> float:
    before, since = block
    return before + (max(0.0, now - since) if since is not None else 0.0)


@dataclass(frozen=True)
class Charged:
    """What each pool's blocks have cost; sent whenever it changed, but for the passing of time.

    By the pool's name, or by :func:`shape_key` where it has several shapes.
    """

    pools: Mapping[str, PoolCharge]


@dataclass(frozen=True)
class PoolNote:
    """A sentence of the pool's for the user. It replaces the previous one; an empty text removes it."""

    text: str


Request = Report | Suggest | Query
"""What a worker waits for an answer to."""

Event = (
    Capacity
    | Started
    | Request
    | Attributes
    | Ended
    | Lost
    | StopRequested
    | PoolFailed
    | BlocksSeen
    | Charged
    | PoolNote
    | Leave
)


@dataclass(frozen=True)
class Submit:
    """Run this attempt. The pool answers with exactly one Ended or Lost for its token.

    Attributes:
        spec: The attempt.
        pool: Which of several pools runs it; empty for any that ``spec.pools`` allows.
    """

    spec: AttemptSpec
    pool: str = ""


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
class LastTrial:
    """A trial that runs while nothing more will begin.

    Attributes:
        token: Its attempt's token.
        number: Its number.
        block: Number of the block in which it runs, in its pool.
        ends: When it is expected to end, Unix seconds; None while unknown.
        lost: Seconds of work that it would do again if it went on elsewhere, at most; None: it cannot go on elsewhere.
        pause: Seconds from a request to yield until it can follow it, at most: the time between two of its reports.
    """

    token: str
    number: int
    block: str
    ends: float | None
    lost: float | None
    pause: float = 0.0


@dataclass(frozen=True)
class Scale:
    """How much work there is; sent when it changed.

    Attributes:
        workers: How many workers the campaign could keep busy now: attempts in flight plus the trials that the budget
            still allows. Without a limit on trials this is ``limits.UNLIMITED``.
        expected: Seconds that the next trial is expected to run; None while unknown.
        blocks: By pool, or by :func:`shape_key` where it has several shapes, how many blocks may be submitted in all,
            with those that the scheduler refuses. None, and for a pool that is not listed: there is no budget in
            node-hours that limits them.
        spent: Pools whose next block the budget in node-hours cannot pay, and such shapes.
        most: Pool -> how many workers could be kept busy there; a pool that is not named may have all of them.
        final: Whether fewer and fewer workers will be needed: a block that is not needed now will never be.
        last: All trials that run, once nothing more will begin; empty before, and where trials may not move.
    """

    workers: int
    expected: float | None = None
    blocks: Mapping[str, int] | None = field(default=None, hash=False)
    spent: frozenset[str] = frozenset()
    most: Mapping[str, int] = field(default_factory=dict, hash=False)
    final: bool = False
    last: tuple[LastTrial, ...] = ()


@dataclass(frozen=True)
class Quarantine:
    """Send no further trial to this host until the campaign ends; what runs there may go on."""

    host: str
    reason: str


Action = Submit | Reply | StopAttempt | Finish | Scale | Quarantine
