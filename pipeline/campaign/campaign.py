"""The campaign: an ask/tell loop as a state machine. Events and the time go in, actions come out.

It owns no thread, clock or socket. One tick is: ``step`` handles events and stages what is to be kept; the caller
commits the record; ``release`` returns the actions. So what was not committed is never acted upon.

The states of a trial in the campaign's hands are in :mod:`.flight_states`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optuna.trial import TrialState

from ...exit_codes import FAILED, FINISHED, SITE, STOPPED
from ...grammar import count
from ..fidelity import Origin, PopulationPlan, RungSchedule
from ..record import Orphan
from ..trial.protocol import Attributes, Outcome, Query, Report, Started, Suggest
from . import flight_states
from .block_history import BlockHistory
from .campaign_study import CampaignStudy
from .demand import Demand
from .events import (
    Action,
    BlocksSeen,
    BlockView,
    Capacity,
    Charged,
    Ended,
    Event,
    Finish,
    LastTrial,
    Leave,
    Lost,
    PoolFailed,
    PoolNote,
    Reply,
    Request,
    Scale,
    StopAttempt,
    StopRequested,
    Submit,
)
from .flight import Flight, adopted, pause_before
from .flight_states import Move, require
from .held_trials import HeldTrials
from .last_trials import LastTrials
from .limits import ASKS_AMONG_REPORTS, ASKS_PER_STEP, MOST_ASKS, UNLIMITED, CampaignLimits, ahead
from .node_hours import HoursPlan, NodeHours
from .outcomes import AGAIN, NextStep, OutcomeHandler, unfit_outcome
from .population import pausing_controller
from .promotion import PromotionController, paused_at
from .replies import answer
from .report_keeper import ReportKeeper
from .services import CampaignServices
from .speed import Speed
from .stopping import Stopping

VALIDATED_PER_STEP = 64
"""Flights that a step may check on average, where checks are on: with more flights not every step is followed by one,
so that a test with thousands of workers does not spend its time on checks."""


class Campaign:
    """One driver's work on one study.

    A tick of its loop, with a pool and a record::

        campaign.step(pool.now(), pool.wait(1.0))
        result = storage.commit(limits.trials)
        pool.perform(campaign.release(result.refused, result.overtaken))

    until ``campaign.finished`` is set. :class:`~pilotune.pipeline.driver.loop.CampaignLoop` does that, and waits for a
    database that is unreachable.

    Args:
        study: Where trials come from and go to.
        limits: Budget, retries and when to give up.
        services: What lies outside: how an attempt is specified, and what its worker wrote on disk.
        campaign_id: This campaign's id, part of every token.
        now: Unix seconds at the start.
        pausing: The rungs at which trials pause, or how a population is trained; None where no trial pauses.

    Attributes:
        trials: All trials in this campaign's hands. Once the campaign is ending, none of them is to be submitted.
        flights: Those of them that the pool has, by token.
        backoff: Those of them that wait before they are submitted again.
        stopping: Ends running attempts when the campaign ends.
        reports: Keeps what attempts report, and reads report logs where an attempt could not tell all.
        outcomes: What follows from the end of an attempt; durations, failures and hosts.
        workers: Attempts that the pool can run at once.
        capacity: What the pool said last of what it can run.
        latency: Seconds from a submission to the start on a free worker.
        blocks: The pool's blocks, as last seen.
        block_history: When each block that was ever seen was submitted, began and ended.
        hours: What the blocks cost, and how many more the budget in node-hours allows.
        pool_note: The pool's sentence for the user; empty if there is none.
        began, now: Unix seconds, of the start and of the last step; ``now`` never goes back.
        last_progress: When a trial or a repetition last ended, a trial reported a new step, the first workers came, or
            the first of them began; Unix seconds, from ``began`` to ``now``.
        ending: Why no more is asked; None while the campaign goes on. It finishes when nothing is in flight any more.
        finished: How it ended; None before. Once set, the loop stops.
        more_to_ask: The last step could have asked for more trials: take the next one without waiting for events.
        adoption_in_doubt: The database failed while trials of dead drivers were taken over, so some may be this
            campaign's without its knowledge. It does not end before that is settled.
        busy_seconds, worker_seconds: Time of workers that ran trials, and of all workers; the former is never more.
        speed: What these two and the number of ended trials were at earlier moments.
    """

    def __init__(
        self,
        study: CampaignStudy,
        limits: CampaignLimits,
        services: CampaignServices,
        campaign_id: str,
        now: float,
        pausing: RungSchedule | PopulationPlan | None = None,
    ):
        self.study, self.limits, self.services, self.campaign_id = study, limits, services, campaign_id
        self.began = self.now = self.last_progress = now
        promotion = pausing_controller(study, pausing, services) if pausing else None
        self.reports = ReportKeeper(study, promotion, services)
        self.hours = NodeHours(limits.hours or HoursPlan())
        self.outcomes = OutcomeHandler(study, limits, self.reports, self.hours)
        self.trials = HeldTrials(study, campaign_id, promotion)
        self.flights, self.backoff = self.trials.flights, self.trials.backoff
        self.stopping = Stopping(limits, study.study.study_name)
        self.workers, self.latency, self.capacity = 0, 0.1, Capacity(0)
        self.blocks: tuple[BlockView, ...] = ()
        self.block_history = BlockHistory()
        self.pool_note = ""
        self.ending: Finish | None = None
        self.finished: Finish | None = None
        self.adoption_in_doubt, self.more_to_ask = False, not study.prepare()
        self.busy_seconds = self.worker_seconds = 0.0
        self.speed = Speed()
        self._last_trials = LastTrials(limits, self.outcomes.durations, services, study)
        self._demand = Demand(study, limits, self.outcomes.durations, self.hours, now)
        self._most_asks = ASKS_PER_STEP  # in the next step
        self._outbox: list[Action] = []
        self._unfit: list[Event] = []  # the ends of attempts that no worker can run, for the next step
        self._unchecked = 0  # steps and releases since the last check of the invariants
        self._handlers: dict[type, Callable[[Any], None]] = {
            Capacity: self._on_capacity,
            Started: self._on_started,
            Report: self._on_request,
            Suggest: self._on_request,
            Query: self._on_request,
            Attributes: self._on_attributes,
            Ended: self._on_ended,
            Lost: self._on_lost,
            StopRequested: self._on_stop_requested,
            PoolFailed: self._on_pool_failed,
            BlocksSeen: self._on_blocks,
            Charged: self._on_charged,
            PoolNote: self._on_note,
            Leave: self._on_leave,
        }

    # -- one tick -----------------------------------------------------------------------------------------------------

    def step(self, now: float, events: Sequence[Event]) -> None:
        """Handle ``events`` in their order, then ask for as many trials as workers can take. Everything is staged.

        Args:
            now: Unix seconds; an earlier time than that of the last step counts as that one.
            events: What happened since the last step.
        """
        self._account(now)
        self.more_to_ask = False
        if self.promotion:
            self.promotion.refresh()
        unfit, self._unfit = self._unfit, []
        for event in (*unfit, *events):
            self._handlers[type(event)](event)
        self._check_limits()
        self._take_up()
        self._ask(any(isinstance(event, Request) for event in events))
        if self.ending and not self.in_flight:
            self._finish()
        self._check_invariants()

    def release(self, refused: Sequence[int] = (), overtaken: Sequence[int] = ()) -> list[Action]:
        """Return the actions of the last step, now that it is committed.

        Args:
            refused: Ids of the trials that the record did not take, because others had used up the study's budget, or
                had taken their configurations.
            overtaken: Ids of the trials that another process ended meanwhile; this campaign lets go of them.
        """
        gone = {*refused, *overtaken}
        if gone:
            self.study.recount()
            self._outbox += [StopAttempt(token, "kill") for token in self.trials.drop(gone)]
        actions, self._outbox = self._outbox, []
        for flight in self.trials.submit(gone):
            reason = self.services.why_unfit(flight)
            if reason:
                self._unfit.append(Ended(unfit_outcome(flight, reason)))
                self.more_to_ask = True  # so that the next step is taken at once
            else:
                actions.append(Submit(self.services.make_spec(flight)))
        self._check_invariants()
        return [*self.outcomes.hosts.new_quarantines(), *actions, *self._demanded()]

    def validate(self) -> None:
        """Check what must hold after every step and every release, of the campaign and of all its flights.

        Raises:
            BrokenInvariant: With a sentence that says what does not hold.
        """
        self.trials.validate()
        to_submit, flights = len(self.trials.to_submit), len(self.flights)
        require(not (self.ending and to_submit), f"the campaign is ending, and {to_submit} trials are still to submit")
        if self.ending and self.finished:
            require(not flights, f"the campaign has finished with {flights} attempts in flight")
        began, last, now = self.began, self.last_progress, self.now
        require(began <= last <= now, f"the last progress was at {last}, outside of the campaign's {began} to {now}")
        if self.limits.patience is not None:
            self.study.validate_patience()
        self.stopping.validate(self.flights.running.values(), now)
        busy, total = self.busy_seconds, self.worker_seconds
        require(busy <= total + 1e-6, f"workers were busy for {busy} s of {total} s")
        self.speed.validate()
        overspent = self.hours.validate(now)
        require(not overspent, overspent)

    def _check_invariants(self) -> None:
        if not flight_states.VALIDATE:
            return
        self._unchecked += 1
        paused = len(self.promotion.paused) if self.promotion else 0
        if self._unchecked * VALIDATED_PER_STEP >= self.in_flight + paused:
            self._unchecked = 0
            self.validate()

    def _demanded(self) -> Sequence[Action]:
        """The demand for workers, where it has changed."""
        workers, last = self.in_flight, tuple[LastTrial, ...]()
        if not self.ending:
            new = self._demand.new_trials(self.in_flight)
            workers += self.promotion.promotable if self.promotion else 0
            workers = UNLIMITED if new == UNLIMITED else workers + new
        # Paused trials may go on later, with more workers than now.
        final = bool(self.ending) or (self._demand.shrinks and self.promotion is None)
        if final and workers == self.running and not self.ending:
            last = self._last_trials.look(self.flights.running.values(), self.began, self.now)
        return self._demand.change(workers, self.now, final, last)

    @property
    def demand(self) -> Scale | None:
        """The last demand for workers that the pool was sent; None before."""
        return self._demand.last

    @property
    def planned(self) -> int | None:
        """How many trials the study will have at its end; None without a limit on trials."""
        return self._demand.planned

    @property
    def time_used_up(self) -> bool:
        """Whether the campaign has run for as long as its budget allows."""
        return self.limits.time is not None and self.now - self.began >= self.limits.time

    @property
    def running(self) -> int:
        """Number of attempts that a worker has begun."""
        return len(self.flights.running)

    @property
    def in_flight(self) -> int:
        """Number of trials that are submitted, running, about to be submitted, or backed off; not the paused ones."""
        return self.trials.in_flight

    @property
    def held(self) -> set[int]:
        """Database ids of all trials in this campaign's hands, paused ones too."""
        return self.trials.ids

    @property
    def promotion(self) -> PromotionController | None:
        """The paused trials, and which of them go on; None where no trial pauses."""
        return self.trials.promotion

    def _account(self, now: float) -> None:
        passed = max(0.0, now - self.now)
        busy = self.running if self.capacity.busy is None else self.capacity.busy
        # Workers of a block that accepts no more trials do not count as workers, but may still be busy.
        self.worker_seconds += passed * max(self.workers, busy)
        self.busy_seconds += passed * busy
        self.now = max(now, self.now)
        if self.workers or self.speed.samples:
            self.speed.note(self.now, self.worker_seconds, self.busy_seconds, self.outcomes.ended_in_all)

    # -- events -------------------------------------------------------------------------------------------------------

    def _on_capacity(self, event: Capacity) -> None:
        if event.workers and not self.workers:
            self.last_progress = self.now
        self.workers, self.latency, self.outcomes.hosts.available = event.workers, event.latency, event.hosts
        self.capacity = event

    def _on_blocks(self, event: BlocksSeen) -> None:
        self.blocks = event.blocks
        self.block_history.see(event.blocks, self.now)

    def _on_charged(self, event: Charged) -> None:
        self.hours.take(event.pools)

    def _on_note(self, event: PoolNote) -> None:
        self.pool_note = event.text

    def _on_leave(self, event: Leave) -> None:
        """Ask attempts to yield. A campaign that ends would not run them again, so then they stay where they are."""
        found = [flight for token in event.tokens if (flight := self.flights.running.get(token))]
        for flight in found if not self.ending else ():
            if not flight.moved and not flight.yield_asked:
                flight.moved = flight.attempt
                self._outbox.append(StopAttempt(flight.token, "yield"))

    def _on_started(self, event: Started) -> None:
        flight = self.flights.get(event.token)
        if flight is None:
            self._outbox.append(StopAttempt(event.token, "kill"))
            return
        if flight.started is None:
            if not self.running:
                self.last_progress = self.now
            self.flights.begin(flight, self.now)
            flight.waited += self.now - flight.asked
        flight.host, flight.block, flight.worker = event.host, event.block, event.worker
        if flight.yield_asked:  # before a worker had begun it
            self._outbox.append(self.stopping.ask(flight, self.now))

    def _on_request(self, event: Request) -> None:
        flight = self.flights.get(event.token)
        steps = flight.new_steps if flight else 0
        message = answer(self.study, self.reports, flight, event)
        if message:
            self._outbox.append(Reply(message))
        if flight and flight.new_steps > steps:
            self.last_progress = self.now
            flight.note_report(self.now, flight.new_steps - steps)
        if flight and isinstance(event, Query) and event.what == "stop" and not self.ending:
            self._end(FINISHED, f"trial {flight.number} called study.stop()")

    def _on_attributes(self, event: Attributes) -> None:
        flight = self.flights.get(event.token)
        if flight is not None and event.serial > flight.attrs_serial:
            flight.attrs_serial = event.serial
            self.study.attributes.note(flight.trial, event.user_attrs, event.system_attrs)

    def _on_ended(self, event: Ended) -> None:
        flight = self.flights.pop(event.outcome.token, Move.RETURN)
        if flight is not None:  # else it is fenced: the attempt was declared lost, or has ended before
            self._judge(flight, event.outcome)

    def _on_lost(self, event: Lost) -> None:
        flight = self.flights.pop(event.token, Move.RETURN)
        if flight is not None:
            # A worker that is only cut off goes on, and must not write into the checkpoint beside the next attempt.
            self._outbox.append(StopAttempt(event.token, "kill"))
            if self.promotion:  # it may pause, perhaps for ever, and its reports count at the rungs
                self.reports.hear(flight)
            paused = flight.pause is not None and flight.started is None  # a dead driver left it paused
            self._follow(flight, AGAIN if paused else self.outcomes.lost(flight, event, self.now))

    def _judge(self, flight: Flight, outcome: Outcome) -> None:
        """Keep what the outcome of an attempt holds, and do what follows from it."""
        self.reports.keep(flight, outcome.reports)
        self._last_trials.note_end(flight, outcome)
        if outcome.silent and outcome.kind in ("complete", "pruned"):
            self.reports.hear(flight)
        if self.promotion:
            self.promotion.on_ended(flight, outcome)
        self._follow(flight, self.outcomes.ended(flight, outcome, self.now))

    def _follow(self, flight: Flight, next_step: NextStep) -> None:
        """Do what follows from the end of an attempt."""
        if next_step.finish:
            self._end(next_step.finish.code, next_step.finish.reason)
        if next_step.progress or not next_step.again:
            self.last_progress = self.now
        if next_step.again:
            self._try_again(flight)
        else:
            self.stopping.ended(flight)

    def _on_stop_requested(self, event: StopRequested) -> None:
        code = STOPPED if event.code is None else event.code
        self._end(code, event.reason or "stopped by the user; it can be resumed")
        if event.how == "finish" and (self.capacity.in_flight is not None or self.capacity.pools):
            self._withdraw_waiting()
        if event.how == "yield":
            self._yield_all()
        elif event.how == "now":
            self._drop_all()

    def _on_pool_failed(self, event: PoolFailed) -> None:
        self._end(SITE, event.reason)
        self._drop_all()

    # -- more attempts ------------------------------------------------------------------------------------------------

    def _ask(self, others_wait: bool) -> None:
        """Launch promoted and new trials until all workers have one, or the step has asked for its share.

        ``others_wait``: attempts wait for the answers of this step, so it must not take long.
        """
        if not self.ending and not self.study.prepare():
            self.more_to_ask = True
            if self.study.had_results:  # otherwise the first suggestions need nothing of it
                return
        most = min(self._most_asks, ASKS_AMONG_REPORTS) if others_wait else self._most_asks
        self._most_asks = ASKS_PER_STEP
        asked = 0
        while self._room() > 0 and not self.ending:
            if asked == most:
                self.more_to_ask, self._most_asks = True, min(2 * most, MOST_ASKS)
                return
            flight = self._next()
            if flight is None:
                return
            asked += 1
            self._launch(flight)

    def _next(self) -> Flight | None:
        """The trial that begins or goes on next; None where none should, or can be suggested."""
        promotion = self.promotion
        while promotion and not (promotion.new_first and self._may_ask_new()):
            promoted = promotion.pop_promoted(self.now)
            if promoted is None:
                break
            if self._has_ended(promoted):
                if self.ending:
                    return None
                continue
            origin = None if self._budget_used() else promotion.origin_for(promoted)
            if origin is None:
                return promoted
            self.outcomes.retired(promoted, "replaced")
            return self._new(origin)
        if not self._may_ask_new():
            return None
        return self._new(promotion.origin_for_new() if promotion else None)

    def _may_ask_new(self) -> bool:
        return not (self.study.exhausted or self._budget_used() or self._waits())

    def _new(self, origin: Origin | None) -> Flight | None:
        """A new trial, which starts from ``origin`` where there is one; None where none can be suggested."""
        try:
            trial, params = self.study.ask(origin)
        except ValueError as error:
            self._end(FAILED, f"no further trial can be suggested: {error}")
            return None
        return Flight(trial=trial, params=params, asked=self.now, origin=origin)

    def _room(self) -> int:
        """How many more trials the workers can take, with what is submitted ahead of them."""
        wanted = self.workers if self.capacity.in_flight is None else self.capacity.in_flight
        if self.limits.asks_ahead:
            wanted += ahead(self.workers, self.latency, self.outcomes.durations.median) + self.capacity.choice
        return wanted - self.in_flight

    def _budget_used(self) -> bool:
        return self.limits.trials is not None and self.study.asked >= self.limits.trials

    def _waits(self) -> bool:
        """Whether the sampler should get results first. With nothing in flight none would come, so then it never waits.

        What other drivers run does not count: they may be dead.
        """
        return self.in_flight > 0 and self.study.waits()

    def _launch(self, flight: Flight) -> None:
        """Prepare the trial's next attempt; it is submitted at the next release."""
        self.trials.launch(flight, avoid=self.outcomes.hosts.avoided(flight))

    def _try_again(self, flight: Flight) -> None:
        """Pause the trial, back it off, or launch a new attempt; a campaign that is ending leaves it to a later one."""
        if self.promotion and self.promotion.park(flight):
            if flight.started is not None:
                self.outcomes.paused(flight, self.now)
            self.last_progress = self.now
            if self.promotion.refusal and not self.ending:
                self._end(FAILED, self.promotion.refusal)
            return
        if self.ending:
            flight.move(Move.LEAVE)
            return
        pause = pause_before(flight)
        if pause > 0.0:
            self.backoff.put(flight, self.now + pause)
        else:
            self._launch(flight)

    def _take_up(self) -> None:
        """Launch the backed-off trials whose time has come."""
        for flight in self.backoff.pop_ready(self.now):
            self._launch(flight)

    def adopt(self, orphan: Orphan) -> str:
        """Take over a trial that a dead driver left.

        Returns:
            The token of its attempt. The caller is to send an Ended or Lost event with it, by what it found on disk.
        """
        flight = adopted(self.study, orphan, self.now)
        flight.killed = self.outcomes.killed(flight.trial)
        self.outcomes.recall_cost(flight)
        flight.pause = paused_at(flight.trial)
        if self.promotion:
            self.promotion.adopt(flight)
        self.flights.add(flight)
        return flight.token

    # -- the end ------------------------------------------------------------------------------------------------------

    def _check_limits(self) -> None:
        if self.ending:
            self._stop_overdue()
        if self.ending and not self.workers:  # no worker will begin them: blocks may be queued for hours
            self.trials.leave(list(self.flights.waiting))
        if self.time_used_up and not self.ending:
            self._end(FINISHED, f"the time budget of {self.limits.time:.0f} s is used up")
            self._yield_all()
        if self.hours.hopeless and not self.hours.blocks_left and not self.ending:
            self._end(FINISHED, self.hours.hopeless)
            self._yield_all()
        if self.limits.patience is not None and not self.ending:
            self._check_patience(self.limits.patience)
        if not self.ending and not self.in_flight and not self.adoption_in_doubt:
            if self.study.exhausted:
                self._end_once_settled(self.study.exhausted_because)
            elif self._budget_used():
                self._end_once_settled(f"the budget of {count(self.limits.trials or 0, 'trial')} is used up")

    def _check_patience(self, patience: int) -> None:
        waited = self.study.trials_without_improvement()
        if waited >= patience:
            best = self.study.best()
            which = f"; the best is trial {best.number} with {best.values[0]:.6g}" if best else ""
            self._end(FINISHED, f"no better value in the last {count(waited, 'trial')} (patience {patience}){which}")

    def _end_once_settled(self, reason: str) -> None:
        """End, since no new trial will begin; but first let the best of the paused trials go on, and end the others."""
        if self.promotion is None or (self.promotion.settle(self._retire) and not self.trials.prepared):
            self._end(FINISHED, reason)
        else:
            self.more_to_ask = not self.promotion.promotable

    def _retire(self, flight: Flight) -> None:
        """End a paused trial that will not go on."""
        if not self._has_ended(flight):
            self.outcomes.retired(flight, "paused")

    def _has_ended(self, flight: Flight) -> bool:
        """Whether a paused trial has ended by itself; then its outcome is judged.

        That is so where a driver died before the worker heard that the trial pauses.
        """
        outcome = self.services.written_outcome(flight)
        if outcome is None or outcome.kind not in ("complete", "pruned"):
            return False
        flight.move(Move.RETURN)
        self._judge(flight, outcome)
        return True

    def _end(self, code: int, reason: str) -> None:
        """Ask for no more trials, and finish when nothing is in flight. The first reason stands, but for a stop."""
        if self.ending is None or code in (STOPPED, SITE):
            self.ending = Finish(code, reason)
        self.outcomes.hosts.closing = True
        self.trials.leave_unsubmitted()

    def _withdraw_waiting(self) -> None:
        """Leave the attempts that wait for room on a node to a later campaign: the pool asks for many ahead."""
        waiting = list(self.flights.waiting)
        self._outbox += [StopAttempt(token, "kill") for token in waiting]
        self.trials.leave(waiting)

    def _yield_all(self) -> None:
        for flight in self.flights.values():
            if not flight.yield_asked:
                self._outbox.append(self.stopping.ask(flight, self.now))
        self.trials.leave(list(self.flights.waiting))

    def _stop_overdue(self) -> None:
        """Stop the attempts that did not yield in time, and let go of those whose end does not arrive."""
        stops, left = self.stopping.overdue(self.flights.running, self.now)
        self._outbox += stops
        self.trials.leave(left)

    def _drop_all(self) -> None:
        for flight in self.flights.values():
            self._outbox.append(StopAttempt(flight.token, "kill"))
        self.trials.leave(list(self.flights))

    def _finish(self) -> None:
        assert self.ending is not None
        if self.finished is None:
            code, reason = self.ending.code, self.ending.reason
            if code == FINISHED and not self.study.counts[TrialState.COMPLETE]:
                code, reason = FAILED, f"{reason}, and no trial completed"
            reason += self.stopping.put_aside_text()
            self.finished = Finish(code, reason)
            self._outbox.append(self.finished)
