"""What enters the campaign and what leaves it. Time, randomness, scheduler and network come in here only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..trial.protocol import AttemptSpec, Outcome, Report, Started, StopHow, Suggest

Signal = Literal["finish", "yield", "now"]
"""What the user asked for: once (no new trials, running ones finish), twice (running ones yield), three times (now)."""


@dataclass(frozen=True)
class Capacity:
    """How many workers the pool has now, and how long it takes a submitted attempt to reach a free one (seconds)."""

    workers: int
    latency: float = 0.1


@dataclass(frozen=True)
class Lost:
    """An attempt whose worker, node or block died; nothing of it will come any more (and if it does, it is fenced)."""

    token: str
    reason: str


@dataclass(frozen=True)
class Ended:
    outcome: Outcome


@dataclass(frozen=True)
class Asked:
    """The user wants the campaign to end."""

    how: Signal


@dataclass(frozen=True)
class PoolFailed:
    """The pool cannot run anything any more, and why (the scheduler's or the block's own words)."""

    reason: str


Event = Capacity | Started | Report | Suggest | Ended | Lost | Asked | PoolFailed


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


Action = Submit | Reply | StopAttempt | Finish
