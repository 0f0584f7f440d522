"""The campaign: an ask/tell loop as a state machine. Events and the time in, actions out.

It owns no thread, clock or socket. One turn is: ``step`` (handles events, stages what is to be kept), then the caller
commits the record, then ``release`` gives the actions. What was not committed is never acted upon.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optuna.trial import TrialState

from ..fidelity import RungSchedule
from ..record import Orphan
from ..trial.protocol import AttemptSpec, Outcome, Report, Started, Suggest
from .campaign_study import CampaignStudy
from .events import (
    Action,
    Asked,
    BlocksSeen,
    BlockView,
    Capacity,
    Ended,
    Event,
    Finish,
    Lost,
    PoolFailed,
    PoolNote,
    Scale,
    StopAttempt,
    Submit,
)
from .flight import Flight, adopted, pause_before, token_of
from .flight_table import BackoffQueue, FlightTable
from .limits import ASKS_AMONG_REPORTS, ASKS_PER_STEP, MOST_ASKS, UNLIMITED, CampaignLimits, ahead
from .outcomes import AGAIN, FAILED, FINISHED, SITE, STOPPED, NextStep, OutcomeHandler
from .promotion import PromotionController, goes_on, paused_at
from .replies import answer

DEMAND_PERIOD = 1.0
"""Seconds between two words on how much work there is: with each of them the pool looks at all its blocks."""


class Campaign:
    """One driver's work on one study.

    Args:
        study: Where trials come from and go to.
        rules: Budget, retries, limits.
        make_spec: Builds what a worker needs from a flight whose number, attempt and token are settled.
        campaign: This campaign's id.
        now: Unix seconds at the start.
        ladder: The rungs at which trials pause, where they do.

    Attributes:
        flights: Attempts by token: submitted, or to be submitted at the next release.
        aside: Trials that came back with nothing done too often to be submitted again at once.
        promoting: Trials that are paused at rungs, and which of them go on; None where none pauses.
        workers: Attempts that the pool can run at once.
        running: Attempts that a worker has begun.
        ending: Why no more is asked; the campaign finishes when nothing is in flight.
        hungry: More could be asked at once.
        demand: What the pool was last told of the work there is.
        blocks: The pool's blocks as last seen.
        note: What the pool wants the user to know now.
        in_doubt: It may have taken over trials of dead drivers without knowing, since the database did not answer.
        written: What the worker of an attempt wrote at its end, if it did.
        moved: When anything last moved: a trial ended or reported something new, the first workers came, or the first
            of them began.
    """

    def __init__(
        self,
        study: CampaignStudy,
        rules: CampaignLimits,
        make_spec: Callable[[Flight], AttemptSpec],
        campaign: str,
        now: float,
        rung_schedule: RungSchedule | None = None,
    ):
        self.study, self.rules, self.make_spec, self.campaign = study, rules, make_spec, campaign
        self.began = self.now = self.moved = now
        self.ends = OutcomeHandler(study, rules)
        self.flights, self.backoff = FlightTable(), BackoffQueue()
        self.promotion = PromotionController(study, rung_schedule) if rung_schedule else None
        self.workers, self.latency = 0, 0.1
        self.blocks: tuple[BlockView, ...] = ()
        self.note = ""
        self.ending: Finish | None = None
        self.finished: Finish | None = None
        self.written: Callable[[Flight], Outcome | None] = lambda flight: None
        self.hungry = self.in_doubt = False
        self.busy_seconds = self.worker_seconds = 0.0
        self._asks = ASKS_PER_STEP  # the most of the next step
        self.demand: Scale | None = None
        self._next_demand = now
        self._fresh: list[Flight] = []  # asked or tried again in this step, not yet submitted
        self._outbox: list[Action] = []
        self._handlers: dict[type, Callable[[Any], None]] = {
            Capacity: self._capacity,
            Started: self._started,
            Report: self._requested,
            Suggest: self._requested,
            Ended: self._ended,
            Lost: self._lost,
            Asked: self._asked_to_end,
            PoolFailed: self._pool_failed,
            BlocksSeen: self._blocks_seen,
            PoolNote: self._noted,
        }

    # -- one turn -----------------------------------------------------------------------------------------------------

    def step(self, now: float, events: Sequence[Event]) -> None:
        """Handle ``events`` in their order, then ask for what can be taken. Everything is staged."""
        self._account(now)
        self.hungry = False
        if self.promotion:
            self.promotion.look()
        for event in events:
            self._handlers[type(event)](event)
        self._check_limits()
        self._take_up()
        self._ask(any(isinstance(event, Report | Suggest) for event in events))
        if self.ending and not self.flights and not self._fresh:
            self._finish()

    def release(self, refused: Sequence[int] = (), overtaken: Sequence[int] = ()) -> list[Action]:
        """The actions of the last step, now that it is durable.

        Args:
            refused: Trial ids that the record did not take since the study's budget was used up by others.
            overtaken: Trial ids that another process ended meanwhile; what this campaign does for them is in vain.
        """
        gone = {*refused, *overtaken}
        if gone:
            self.study.recount()
            if self.promotion:
                self.promotion.drop(gone)
            for flight in filter(None, map(self.flights.of_trial, sorted(gone))):
                self.flights.take(flight.token)
                self._outbox.append(StopAttempt(flight.token, "kill"))
        actions, self._outbox = self._outbox, []
        fresh, self._fresh = self._fresh, []
        for flight in fresh:
            if flight.trial_id in gone:
                continue
            flight.number = self.study.storage.get_trial_number_from_id(flight.trial_id)
            flight.token = token_of(flight.number, flight.attempt, self.campaign)
            self.flights.add(flight)
            actions.append(Submit(self.make_spec(flight)))
        return [*self.ends.hosts.orders(), *actions, *self._demanded()]

    def _demanded(self) -> list[Action]:
        """How many workers could be kept busy, and for how long each, where that has changed."""
        workers = self.in_flight
        if self.promotion and not self.ending:
            workers += self.promotion.promotable
        if not self.ending and not self.study.exhausted:
            trials = self.rules.trials
            workers = UNLIMITED if trials is None else workers + max(0, trials - self.study.asked)
        demand = Scale(workers, self.ends.durations.expected)
        if demand == self.demand or self.now < self._next_demand:
            return []
        self.demand, self._next_demand = demand, self.now + DEMAND_PERIOD
        return [demand]

    @property
    def running(self) -> int:
        return len(self.flights.running)

    @property
    def in_flight(self) -> int:
        return len(self.flights) + len(self._fresh) + len(self.backoff)

    @property
    def held(self) -> set[int]:
        """Ids of the trials that this campaign has in hand."""
        paused = self.promotion.paused.values() if self.promotion else ()
        everywhere = (self.flights.values(), self._fresh, self.backoff, paused)
        return {flight.trial_id for flights in everywhere for flight in flights}

    def _account(self, now: float) -> None:
        passed = max(0.0, now - self.now)
        # Workers of a block that takes no more trials may still be busy.
        self.worker_seconds += passed * max(self.workers, self.running)
        self.busy_seconds += passed * self.running
        self.now = max(now, self.now)

    # -- events -------------------------------------------------------------------------------------------------------

    def _capacity(self, event: Capacity) -> None:
        if event.workers and not self.workers:
            self.moved = self.now
        self.workers, self.latency, self.ends.hosts.here = event.workers, event.latency, event.hosts

    def _blocks_seen(self, event: BlocksSeen) -> None:
        self.blocks = event.blocks

    def _noted(self, event: PoolNote) -> None:
        self.note = event.text

    def _started(self, event: Started) -> None:
        flight = self.flights.get(event.token)
        if flight is None:
            self._outbox.append(StopAttempt(event.token, "kill"))
            return
        if flight.started is None:
            if not self.running:
                self.moved = self.now
            self.flights.begin(flight, self.now)
            flight.waited += self.now - flight.asked
        flight.host, flight.block, flight.worker = event.host, event.block, event.worker
        if flight.stopping:
            self._outbox.append(StopAttempt(event.token, "yield"))

    def _requested(self, event: Report | Suggest) -> None:
        flight = self.flights.get(event.token)
        steps = flight.new_steps if flight else 0
        reply = answer(self.study, self.promotion, flight, event)
        if reply:
            self._outbox.append(reply)
        if flight and flight.new_steps > steps:
            self.moved = self.now

    def _ended(self, event: Ended) -> None:
        flight = self.flights.take(event.outcome.token)
        if flight is not None:  # else fenced: of an attempt that was declared lost, or told before
            if self.promotion:
                self.promotion.ended(flight, event.outcome)
            self._follow(flight, self.ends.ended(flight, event.outcome, self.now))

    def _lost(self, event: Lost) -> None:
        flight = self.flights.take(event.token)
        if flight is not None:
            # What was cut off may go on, and must not write into the checkpoint beside the next attempt.
            self._outbox.append(StopAttempt(event.token, "kill"))
            paused = flight.pause is not None and flight.started is None  # as an earlier driver left it
            self._follow(flight, AGAIN if paused else self.ends.lost(flight, event, self.now))

    def _follow(self, flight: Flight, sequel: NextStep) -> None:
        if sequel.finish:
            self._end(sequel.finish.code, sequel.finish.reason)
        if sequel.again:
            self._try_again(flight)
        else:
            self.moved = self.now

    def _asked_to_end(self, event: Asked) -> None:
        code = STOPPED if event.code is None else event.code
        self._end(code, event.reason or "stopped as asked; it can be resumed")
        if event.how == "yield":
            self._yield_all()
        elif event.how == "now":
            self._drop_all()

    def _pool_failed(self, event: PoolFailed) -> None:
        self._end(SITE, event.reason)
        self._drop_all()

    # -- more attempts ------------------------------------------------------------------------------------------------

    def _ask(self, others_wait: bool) -> None:
        most = min(self._asks, ASKS_AMONG_REPORTS) if others_wait else self._asks
        self._asks = ASKS_PER_STEP
        asked = 0
        while self._room() > 0 and not self.ending:
            if asked == most:
                self.hungry, self._asks = True, min(2 * most, MOST_ASKS)
                return
            promoted = self.promotion.next(self.now) if self.promotion else None
            if promoted is not None:
                asked += 1
                self._launch(promoted)
                continue
            if self.study.exhausted or self._budget_used():
                return
            try:
                trial, params = self.study.ask()
            except ValueError as error:
                self._end(FAILED, f"no further trial can be suggested: {error}")
                return
            asked += 1
            self._launch(Flight(trial=trial, params=params, asked=self.now))

    def _room(self) -> int:
        return self.workers + ahead(self.workers, self.latency, self.ends.durations.median) - self.in_flight

    def _budget_used(self) -> bool:
        return self.rules.trials is not None and self.study.asked >= self.rules.trials

    def _launch(self, flight: Flight) -> None:
        """The next attempt of this trial, submitted at the next release."""
        goes_on(self.study, flight)
        flight.attempt += 1
        flight.avoid = self.ends.hosts.avoided(flight)
        flight.started, flight.last_reply, flight.stopping, flight.rung, flight.new_steps = None, None, "", None, 0
        self.study.fence(flight.trial, flight.attempt)
        self._fresh.append(flight)

    def _try_again(self, flight: Flight) -> None:
        """A new attempt; a campaign that is ending leaves the trial as it is, for a later one."""
        if self.promotion and self.promotion.park(flight):
            if flight.started is not None:
                self.ends.paused(flight, self.now)
            self.moved = self.now
            return
        if self.ending:
            return
        pause = pause_before(flight)
        if pause > 0.0:
            flight.not_before = self.now + pause
            self.backoff.put(flight)
        else:
            self._launch(flight)

    def _take_up(self) -> None:
        """Launch what was put aside long enough."""
        for flight in self.backoff.ready(self.now):
            self._launch(flight)

    def adopt(self, orphan: Orphan) -> str:
        """Take up a trial that a dead driver left; what became of it is to come as an event with the token returned."""
        flight = adopted(self.study, orphan, self.now)
        flight.killed = self.ends.killed(flight.trial)
        flight.pause = paused_at(flight.trial)
        if self.promotion:
            self.promotion.adopt(flight)
        self.flights.add(flight)
        return flight.token

    # -- the end ------------------------------------------------------------------------------------------------------

    def _check_limits(self) -> None:
        if self.ending and not self.workers:  # blocks may be queued for hours
            self._leave(list(self.flights.waiting))
        if self.rules.time is not None and self.now - self.began >= self.rules.time and not self.ending:
            self._end(FINISHED, f"the time budget of {self.rules.time:.0f} s is used up")
            self._yield_all()
        if not self.ending and not self.in_flight and not self.in_doubt:
            if self.study.exhausted:
                self._end_once_settled("every configuration of the space has been tried")
            elif self._budget_used():
                self._end_once_settled(f"the budget of {self.rules.trials} trials is used up")

    def _end_once_settled(self, reason: str) -> None:
        """No trial will begin any more. Of those that are paused the best go on, and the others are told so first."""
        if self.promotion is None or (self.promotion.settle(self._retire) and not self._fresh):
            self._end(FINISHED, reason)
        else:
            self.hungry = not self.promotion.promotable

    def _retire(self, flight: Flight) -> None:
        """A paused trial goes on no more. One whose driver died before it heard that it pauses may have ended since."""
        outcome = self.written(flight)
        if outcome is None or outcome.kind not in ("complete", "pruned"):
            self.ends.retired(flight)
        else:
            self._follow(flight, self.ends.ended(flight, outcome, self.now))

    def _end(self, code: int, reason: str) -> None:
        if self.ending is None or code in (STOPPED, SITE):
            self.ending = Finish(code, reason)
        self.ends.hosts.closing = True
        for flight in self._fresh:  # tried again in this very step: left for a later campaign, as if that came now
            if not flight.declines:  # else this attempt is on record already, and a record never goes back
                flight.attempt -= 1
                self.study.fence(flight.trial, flight.attempt)
        self._fresh.clear()
        self.backoff.clear()

    def _yield_all(self) -> None:
        for flight in self.flights.values():
            if not flight.stopping:
                flight.stopping = "yield"
                self._outbox.append(StopAttempt(flight.token, "yield"))
        self._leave(list(self.flights.waiting))

    def _drop_all(self) -> None:
        for flight in self.flights.values():
            self._outbox.append(StopAttempt(flight.token, "kill"))
        self._leave(list(self.flights))

    def _leave(self, tokens: Sequence[str]) -> None:
        """Leave these to a later campaign; what still comes of them is fenced."""
        for token in tokens:
            self.flights.take(token)

    def _finish(self) -> None:
        assert self.ending is not None
        if self.finished is None:
            code, reason = self.ending.code, self.ending.reason
            if code == FINISHED and not self.study.counts[TrialState.COMPLETE]:
                code, reason = FAILED, f"{reason}, and no trial completed"
            self.finished = Finish(code, reason)
            self._outbox.append(self.finished)
