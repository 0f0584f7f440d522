"""What enters the campaign and what leaves it. Time, randomness, scheduler and network come in here only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..trial.protocol import AttemptSpec, Outcome, Report, Started, StopHow, Suggest

Signal = Literal["finish", "yield", "now"]
"""What the user asked for: once (no new trials, running ones finish), twice (running ones yield), three times (now)."""


@dataclass(frozen=True)
class Capacity:
    """How much the pool can run now.

    Attributes:
        workers: Attempts that can run at once: all workers, but of blocks that take no further trials (held, draining)
            only those that are busy.
        latency: Seconds that a submitted attempt takes to reach a free worker.
        hosts: Names of the hosts whose workers take trials; empty where the pool does not tell.
    """

    workers: int
    latency: float = 0.1
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Lost:
    """An attempt whose worker, node or block died; nothing of it will come any more (and if it does, it is fenced).

    Attributes:
        killed: Its worker alone died, and nobody ended it: the trial may have killed it.
        host: Where, as far as that is known.
    """

    token: str
    reason: str
    killed: bool = False
    host: str = ""


@dataclass(frozen=True)
class Ended:
    outcome: Outcome


@dataclass(frozen=True)
class Asked:
    """The campaign is to end, since the user wants it, or for ``reason``.

    Attributes:
        code: Exit code, where it is not the user's wish.
    """

    how: Signal
    reason: str = ""
    code: int | None = None


@dataclass(frozen=True)
class PoolFailed:
    """The pool cannot run anything any more, and why (the scheduler's or the block's own words)."""

    reason: str


BlockState = Literal["queued", "starting", "running", "ending", "ended"]
"""Of a block; starting: its job runs, and no worker of it has registered yet."""


@dataclass(frozen=True)
class BlockView:
    """One block as its pool sees it.

    Attributes:
        pool: The pool's name.
        block: Parsl's block id.
        job: The scheduler's job id.
        state: See :data:`BlockState`.
        reason: The scheduler's words (why it is queued), or why it ended.
        workers: Workers of it that are connected.
        ends: When its walltime is over, Unix seconds; None where it is not known.
        since: When it came into this state, Unix seconds.
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
    """All living blocks, and those that ended lately; sent whenever something of them changed."""

    blocks: tuple[BlockView, ...]


@dataclass(frozen=True)
class PoolNote:
    """One sentence of the pool's that the user should see now; empty takes the last one back."""

    text: str


Event = Capacity | Started | Report | Suggest | Ended | Lost | Asked | PoolFailed | BlocksSeen | PoolNote


@dataclass(frozen=True)
class Submit:
    spec: AttemptSpec


@dataclass(frozen=True)
class Reply:
    """Answer to a Report (``stop``) or a Suggest (``value`` or ``error``)."""

    token: str
    request: int
    stop: Literal["", "prune", "yield", "kill"] = ""
    suggested: bool = False
    value: Any = None
    error: str = ""


@dataclass(frozen=True)
class StopAttempt:
    token: str
    how: StopHow


@dataclass(frozen=True)
class Finish:
    """The campaign is over: exit code and one sentence why."""

    code: int
    reason: str


@dataclass(frozen=True)
class Scale:
    """How much work there is, sent when it changed.

    Attributes:
        workers: How many workers the campaign could keep busy now: attempts in flight and trials that the budget still
            allows; a very large number without a limit.
        expected: Seconds that the next trial is expected to run; None where nothing is known yet.
    """

    workers: int
    expected: float | None = None


@dataclass(frozen=True)
class Quarantine:
    """No more trials on this host until the campaign ends; what runs there may go on."""

    host: str
    reason: str


Action = Submit | Reply | StopAttempt | Finish | Scale | Quarantine
