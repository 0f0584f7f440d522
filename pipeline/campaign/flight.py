"""A trial in flight: what the campaign knows of it and of its attempts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import optuna

from ..attributes import HEARD, MOST_RUNS
from ..fidelity import Origin
from ..noise import Repetition, repetitions_of
from ..trial.protocol import Suggested, Verdict
from .flight_states import IN_FLIGHT, Move, State, next_state, require

if TYPE_CHECKING:
    from ..record import Orphan
    from .campaign_study import CampaignStudy

PROMPT_ROUNDS = 2
"""How often a trial that came back with nothing done is submitted again at once, before it has to wait."""

LONGEST_PAUSE = 10.0
"""Longest wait before such a trial is submitted again, seconds. The first wait is 1 s; each further one doubles."""


def token_of(number: int, attempt: int, campaign: str) -> str:
    """The token that fences an attempt: reports and outcomes with another token change nothing.

    >>> token_of(7, 2, "20250101-1a2b3c")
    '7.2.20250101-1a2b3c'
    """
    return f"{number}.{attempt}.{campaign}"


def seed_of(seed: int | None, study: str, number: int, repeat: int = 0) -> int:
    """The trial's ``rng_seed``, 32 bits: the same for all attempts of a repetition.

    It follows from the study's name and seed, the trial's number and the repetition. The first repetition's is the one
    that the trial has where trials are not repeated.
    """
    which = f"{study}:{seed}:{number}" + (f":{repeat}" if repeat else "")
    digest = hashlib.sha256(which.encode()).digest()
    return int.from_bytes(digest[:4], "big")


def pause_before(flight: Flight) -> float:
    """Seconds to wait before submitting a trial that came back several times with nothing done.

    Whatever sends it back may go on doing so, and each round costs a submission and a commit.
    """
    rounds = flight.idle_yields + flight.declines - PROMPT_ROUNDS
    rounds = max(rounds, flight.disk_failures)
    return min(LONGEST_PAUSE, 2.0 ** (rounds - 1)) if rounds > 0 else 0.0


@dataclass(frozen=True)
class Doubt:
    """A failure of the trial that may be its host's fault.

    Attributes:
        host: Where it failed.
        pool: The host's pool.
        good: How many trials had succeeded on the host by then.
        reason: Why it failed.
    """

    host: str
    pool: str
    good: int
    reason: str


@dataclass
class Flight:
    """One trial that this campaign is responsible for.

    Attributes:
        trial: Optuna's handle on the trial.
        params: Its parameters, and the space's constants.
        state: See :mod:`.flight_states`. Changed by :meth:`move` only.
        number: The trial's number; -1 until the trial is committed, then fixed.
        directory: The trial's folder; empty until the first attempt is submitted.
        attempt: Number of the current attempt, or of the last one between attempts; from 1. It only grows, except that
            an attempt which was declined, or never submitted, is not counted.
        token: Fences the current attempt. It belongs to this number and attempt whenever the pool has the flight.
        asked: When the current attempt began to wait, Unix seconds.
        started: When a worker began the current attempt, on the driver's clock; None until then. Kept after the
            attempt has returned, until the next one is prepared.
        waited: Seconds that all attempts waited for a worker.
        ran: Seconds that all finished attempts ran, as far as this campaign knows.
        memory: The largest peak memory of a finished attempt in bytes; 0 where none is known.
        node_seconds, gpu_seconds: Seconds of nodes and of GPUs that they took.
        ran_before_stage: What ``ran`` was when the trial last went on from a rung, or began its current repetition;
            never more than ``ran``.
        fully_timed: This campaign saw all the time that the trial ran since ``ran_before_stage``. False for a trial
            that was taken over.
        host, pool, block, worker: Where the current or last attempt ran.
        crashes: Retries after crashes of the trial's process.
        losses: Attempts that lost their worker, node or block.
        idle_yields: Attempts in a row that yielded at once, without a new report.
        stalls: Attempts in a row that ended with their block, and left neither a checkpoint nor a new report.
        declines: Times in a row that a worker declined the attempt.
        disk_failures: How often the trial came back because the disk was full.
        not_before: When it may be submitted again, Unix seconds; set while it is backed off.
        new_steps: Steps that the current attempt reported, and none before it.
        attrs_serial: Number of the current attempt's last message of attributes.
        last_reply: Answer to the attempt's newest request, in case the request is sent again; None before the first.
        yield_asked: The attempt was asked to yield.
        yield_by: When it is stopped unless it has ended by then, Unix seconds; None until it is asked to yield.
        leave_by: When the campaign lets go of it, whether it has ended or not; None until it is stopped.
        moved: Number of the attempt that was asked to go on in another block; 0 while none was. A trial is asked once.
        last_report: When its newest report arrived, or the attempt began; None before.
        longest_interval: Longest time between two of its reports, seconds. The time to the first one counts until
            there is a second, as in the worker's ``YieldTimer``.
        earlier_step: The last step that attempts before the current one have reported in the same repetition, or that
            the checkpoint holds which the trial starts from; None where there is none.
        last_step, last_value: Step and value of the last report that this campaign saw; None before the first.
        rung: The step whose report was answered with `prune`, in this attempt or an earlier one; None where none was.
        pause: The step of the rung at which the trial is to pause, or is paused; None otherwise.
        runs: Its attempts that have ended, each as in ``attributes.RUNS``; at most ``MOST_RUNS``.
        notes: Trial attributes to write when the trial ends.
        doubts: Its failures that the next host is to confirm or refute.
        avoid: Hosts that must not run the current attempt.
        killed: Host -> how the trial killed its process or its worker there.
        repetitions: What its complete repetitions gave.
        furthest: The last step that a repetition after the first has reported, as far as this campaign knows.
        origin: The checkpoint of another trial that this one starts from; None for all others.
    """

    trial: optuna.Trial
    params: dict[str, Any]
    state: State = State.NEW
    number: int = -1
    directory: str = ""
    attempt: int = 0
    token: str = ""
    asked: float = 0.0
    started: float | None = None
    waited: float = 0.0
    ran: float = 0.0
    memory: int = 0
    node_seconds: float = 0.0
    gpu_seconds: float = 0.0
    ran_before_stage: float = 0.0
    fully_timed: bool = True
    host: str = ""
    pool: str = ""
    block: str = ""
    worker: str = ""
    crashes: int = 0
    losses: int = 0
    idle_yields: int = 0
    stalls: int = 0
    declines: int = 0
    disk_failures: int = 0
    not_before: float = 0.0
    new_steps: int = 0
    attrs_serial: int = 0
    last_reply: Verdict | Suggested | None = None
    yield_asked: bool = False
    yield_by: float | None = None
    leave_by: float | None = None
    moved: int = 0
    last_report: float | None = None
    longest_interval: float = 0.0
    earlier_step: int | None = None
    last_step: int | None = None
    last_value: float | None = None
    rung: int | None = None
    pause: int | None = None
    runs: list[list[Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    doubts: tuple[Doubt, ...] = ()
    avoid: frozenset[str] = frozenset()
    killed: dict[str, str] = field(default_factory=dict)
    repetitions: tuple[Repetition, ...] = ()
    furthest: int = -1
    origin: Origin | None = None

    @property
    def trial_id(self) -> int:
        """The trial's id in the database."""
        return self.trial._trial_id

    @property
    def moving(self) -> bool:
        """Whether the current attempt was asked to yield, so that the trial goes on in another block."""
        return 0 < self.moved == self.attempt

    @property
    def stage_seconds(self) -> float:
        """Seconds that the trial ran since its repetition began, or since it last went on from a rung."""
        return self.ran - self.ran_before_stage

    @property
    def repeat(self) -> int:
        """Which repetition of the trial the current attempt is, or the next one if it has returned; from 0."""
        return len(self.repetitions)

    @property
    def since(self) -> int:
        """Number of the attempt with which the current repetition begins."""
        return self.repetitions[-1].attempt + 1 if self.repetitions else 1

    @property
    def counted(self) -> bool:
        """Whether the values of the current attempt are among the repetitions already."""
        return bool(self.repetitions) and self.repetitions[-1].attempt == self.attempt

    def note_run(self, began: float, seconds: float, how: str) -> None:
        """The current attempt has ended: keep when and where it ran.

        Args:
            began: When it began, Unix seconds.
            seconds: How long it ran.
            how: See ``attributes.RUNS``.
        """
        place = [self.host, self.pool, self.block, self.worker]
        self.runs.append([self.attempt, round(began, 3), round(seconds, 3), how, *place])
        del self.runs[:-MOST_RUNS]

    def pay(self, node_seconds: float, gpus: int) -> None:
        """Count what an attempt has taken of nodes with so many GPUs each."""
        self.node_seconds += node_seconds
        self.gpu_seconds += node_seconds * gpus

    def begin_repetition(self) -> None:
        """The trial is to be run once more, as if it had never run: nothing that went wrong before counts."""
        self.ran_before_stage, self.fully_timed, self.furthest = self.ran, True, -1
        self.crashes = self.losses = self.idle_yields = self.stalls = self.disk_failures = 0
        self.last_step = self.last_value = self.earlier_step = None

    def move(self, move: Move) -> None:
        """Go to the state that follows ``move``. Raises IllegalMove where there is none."""
        self.state = next_state(self.state, move)

    def prepare(self) -> None:
        """Begin the next attempt: what was known of the last one is reset."""
        self.move(Move.PREPARE)
        self.attempt += 1
        self.notes.pop(HEARD, None)
        self.started, self.last_reply = None, None
        copied = self.origin.step if self.origin and not self.repeat else None
        steps = (self.last_step, self.earlier_step, copied)
        self.earlier_step = max((step for step in steps if step is not None), default=None)
        self.yield_asked, self.new_steps, self.attrs_serial = False, 0, 0
        self.yield_by, self.leave_by, self.last_report, self.longest_interval = None, None, None, 0.0

    def note_report(self, now: float, steps: int) -> None:
        """The attempt has reported ``steps`` new steps, more than none."""
        interval = 0.0 if self.last_report is None else now - self.last_report
        first = self.new_steps - steps < 2
        self.longest_interval = interval if first else max(self.longest_interval, interval)
        self.last_report = now

    def validate(self) -> None:
        """Check the invariants of the attributes. Raises BrokenInvariant with a sentence."""
        name = f"trial {self.number} ({self.state.name})"
        counters = (self.attempt, self.crashes, self.losses, self.idle_yields, self.stalls, self.declines)
        of_attempt = (self.disk_failures, self.new_steps, self.attrs_serial)
        require(min(*counters, *of_attempt) >= 0, f"{name} has a negative counter")
        require(self.waited >= 0.0, f"{name} waited {self.waited} s")
        before = self.ran_before_stage
        require(0.0 <= before <= self.ran, f"{name} ran {self.ran} s, {before} s of them before its stage")
        attempts = [each.attempt for each in self.repetitions]
        require(attempts == sorted(set(attempts)), f"{name} has repetitions that ended with the attempts {attempts}")
        require(not attempts or attempts[-1] <= self.attempt, f"{name} has a repetition of a later attempt: {attempts}")
        require(self.moved <= self.attempt, f"{name} was asked to leave its block in attempt {self.moved}")
        if self.state in IN_FLIGHT:
            require(self.number >= 0, f"{name} was submitted without a number")
            fits = self.token.startswith(f"{self.number}.{self.attempt}.")
            require(fits, f"{name} is in attempt {self.attempt}, but its token is {self.token!r}")
            reply = self.last_reply
            require(reply is None or reply.token == self.token, f"{name} keeps a reply to another attempt: {reply}")
            require(self.yield_asked == (self.yield_by is not None), f"{name} has no time by which it must yield")
            require(self.leave_by is None or self.yield_asked, f"{name} was stopped without being asked to yield")
        require((self.last_step is None) == (self.last_value is None), f"{name} has a report without a step or a value")
        if self.state is State.RUNNING:
            require(self.started is not None, f"{name} has no start time")
        if self.state is State.SUBMITTED:
            require(self.started is None, f"{name} has a start time, but no worker has begun it")
        if self.state is State.PREPARED:
            require(self.attempt >= 1, f"{name} has no attempt")
            require(not self.counted, f"{name} is to be submitted, but its attempt has returned values already")
            leftover = (self.started, self.last_reply, self.pause)
            require(leftover == (None,) * 3, f"{name} keeps {leftover} of its last attempt")
            require(not self.yield_asked and not self.new_steps, f"{name} was not reset after its last attempt")
            require(self.yield_by is self.leave_by is None, f"{name} has a time by which its last attempt was to end")
        if self.state is State.PAUSED:
            require(self.pause is not None, f"{name} is paused at no rung")
            require(self.last_reply is None, f"{name} keeps a reply, and no attempt of it runs")


def adopted(study: CampaignStudy, orphan: Orphan, now: float) -> Flight:
    """The flight of a trial that a dead driver left.

    It is NEW; the campaign adds it to its attempts as if it had submitted it itself.
    """
    trial = study.resumed(orphan.number)
    repetitions = repetitions_of(study.storage.get_trial(trial._trial_id))
    return Flight(
        trial=trial,
        params={**orphan.params, **(study.space.constants if study.space else {})},
        number=orphan.number,
        directory=orphan.directory,
        attempt=orphan.attempt,
        token=token_of(orphan.number, orphan.attempt, orphan.campaign),
        asked=now,
        fully_timed=False,
        rung=study.verdict(orphan.number),
        repetitions=repetitions,
        earlier_step=None if repetitions else max(study.reported(trial), default=None),
        runs=study.runs(orphan.number),
    )
