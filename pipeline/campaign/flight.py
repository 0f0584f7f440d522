"""A trial in flight and its attempts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import optuna

from .events import Reply

if TYPE_CHECKING:
    from ..record import Orphan
    from .campaign_study import CampaignStudy

PROMPT_ROUNDS = 2
"""How often a trial that came back with nothing done is submitted again at once."""

LONGEST_PAUSE = 10.0
"""Seconds, at most, that such a trial is put aside; first one, then doubled."""


def token_of(number: int, attempt: int, campaign: str) -> str:
    """What fences an attempt: reports and outcomes with another token change nothing."""
    return f"{number}.{attempt}.{campaign}"


def seed_of(seed: int | None, study: str, number: int) -> int:
    """The trial's ``rng_seed``: the same for all its attempts, and for the same study, seed and number. 32 bits."""
    digest = hashlib.sha256(f"{study}:{seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def pause_before(flight: Flight) -> float:
    """Seconds to wait before a trial is submitted that came back several times with nothing done.

    Whatever sends it back may go on doing so, and each round costs a submission and a commit.
    """
    vain = flight.idle_yields + flight.declines - PROMPT_ROUNDS
    vain = max(vain, flight.roomless)
    return min(LONGEST_PAUSE, 2.0 ** (vain - 1)) if vain > 0 else 0.0


@dataclass(frozen=True)
class Doubt:
    """A trial failed, perhaps by its host's fault: another host is to show whose it was.

    Attributes:
        host, pool: Where it failed.
        good: Trials that had succeeded there by then.
        reason: Why it failed.
    """

    host: str
    pool: str
    good: int
    reason: str


@dataclass
class Flight:
    """One trial that this campaign is responsible for, from ask to tell."""

    trial: optuna.Trial
    params: dict[str, Any]
    number: int = -1  # settled when the trial is committed
    directory: str = ""
    attempt: int = 0
    token: str = ""
    asked: float = 0.0
    started: float | None = None  # of this attempt, on the driver's clock
    waited: float = 0.0
    ran: float = 0.0  # seconds of finished attempts
    host: str = ""
    pool: str = ""
    block: str = ""
    worker: str = ""
    crashes: int = 0
    losses: int = 0
    idle_yields: int = 0  # in a row
    stalls: int = 0  # in a row
    declines: int = 0  # in a row
    roomless: int = 0  # how often it came back since the disk was full
    not_before: float = 0.0  # when it is submitted again, while it is put aside
    whole: bool = True  # all its attempts were this campaign's: ``ran`` is all of it
    new_steps: int = 0  # reported by this attempt and by none before
    last_reply: Reply | None = None  # to the attempt's newest request, for when it is sent again
    stopping: str = ""  # the verdict that was sent: prune, yield or kill
    last_step: int | None = None
    rung: int | None = None  # the step whose report was answered with prune
    pause: int | None = None  # the step of the rung at which it is to pause, or is paused
    stage: float = 0.0  # seconds of finished attempts when it last went on from a rung
    notes: dict[str, Any] = field(default_factory=dict)
    doubts: tuple[Doubt, ...] = ()  # its failures that the host which runs it next is to judge
    avoid: frozenset[str] = frozenset()  # hosts that are not to run this attempt
    killed: dict[str, str] = field(default_factory=dict)  # host -> how it killed its process or worker there

    @property
    def trial_id(self) -> int:
        return self.trial._trial_id

    @property
    def running(self) -> bool:
        return self.started is not None


def adopted(study: CampaignStudy, orphan: Orphan, now: float) -> Flight:
    """A trial that a dead driver left, as this campaign goes on with it."""
    return Flight(
        trial=study.resumed(orphan.number),
        params={**orphan.params, **(study.space.constants if study.space else {})},
        number=orphan.number,
        directory=orphan.directory,
        attempt=orphan.attempt,
        token=token_of(orphan.number, orphan.attempt, orphan.campaign),
        asked=now,
        whole=False,
    )
