"""The campaign: an ask/tell loop as a state machine. Events and the time in, actions out.

It owns no thread, clock or socket. One turn is: ``step`` (handles events, stages what is to be kept), then the caller
commits the record, then ``release`` gives the actions. What was not committed is never acted upon.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from optuna.trial import TrialState

from ..record import Orphan
from ..trial.protocol import STEP_LIMIT, AttemptSpec, Outcome, Report, Started, Suggest
from .attempts import Flight, token_of, values_fit
from .events import Action, Asked, Capacity, Ended, Event, Finish, Lost, PoolFailed, Reply, StopAttempt, Submit
from .rules import ASKS_PER_STEP, Rules, ahead
from .study import CampaignStudy

FINISHED, FAILED, SITE, STOPPED = 0, 1, 3, 130
"""Exit codes."""


class Campaign:
    """One driver's work on one study.

    Args:
        study: Where trials come from and go to.
        rules: Budget, retries, limits.
        make_spec: Builds what a worker needs from a flight whose number, attempt and token are settled.
        campaign: This campaign's id.
        now: Unix seconds at the start.
    """

    def __init__(
        self,
        study: CampaignStudy,
        rules: Rules,
        make_spec: Callable[[Flight], AttemptSpec],
        campaign: str,
        now: float,
    ):
        self.study, self.rules, self.make_spec, self.campaign = study, rules, make_spec, campaign
        self.began = self.now = now
        self.flights: dict[str, Flight] = {}  # by token: submitted, or to be submitted at the next release
        self.workers, self.latency = 0, 0.1
        self.running = 0  # flights that a worker has begun
        self.ending: Finish | None = None  # asks no more; finishes when nothing is in flight
        self.finished: Finish | None = None
        self.hungry = False  # more could be asked at once
        self.busy_seconds = self.worker_seconds = 0.0
        self.finish_times: deque[float] = deque(maxlen=1000)
        self.rungs: dict[int, int] = {}
        self._durations: deque[float] = deque(maxlen=101)
        self._failures_in_row = 0
        self._fresh: list[Flight] = []  # asked or tried again in this step, not yet submitted
        self._outbox: list[Action] = []
        self._handlers: dict[type, Callable[[Any], None]] = {
            Capacity: self._capacity,
            Started: self._started,
            Report: self._report,
            Suggest: self._suggest,
            Ended: self._ended,
            Lost: self._lost,
            Asked: self._asked_to_end,
            PoolFailed: self._pool_failed,
        }

    # -- one turn -----------------------------------------------------------------------------------------------------

    def step(self, now: float, events: Sequence[Event]) -> None:
        """Handle ``events`` in their order, then ask for what can be taken. Everything is staged."""
        self._account(now)
        for event in events:
            self._handlers[type(event)](event)
        self._check_limits()
        self._ask()
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
            for flight in [flight for flight in self.flights.values() if flight.trial_id in gone]:
                self._land(flight.token)
                self._outbox.append(StopAttempt(flight.token, "kill"))
        actions, self._outbox = self._outbox, []
        fresh, self._fresh = self._fresh, []
        for flight in fresh:
            if flight.trial_id in gone:
                continue
            flight.number = self.study.storage.get_trial_number_from_id(flight.trial_id)
            flight.token = token_of(flight.number, flight.attempt, self.campaign)
            self.flights[flight.token] = flight
            actions.append(Submit(self.make_spec(flight)))
        return actions

    @property
    def in_flight(self) -> int:
        return len(self.flights) + len(self._fresh)

    def _land(self, token: str) -> Flight | None:
        """The attempt is over: no longer in flight."""
        flight = self.flights.pop(token, None)
        if flight is not None and flight.running:
            self.running -= 1
        return flight

    def _account(self, now: float) -> None:
        passed = max(0.0, now - self.now)
        self.worker_seconds += passed * self.workers
        self.busy_seconds += passed * self.running
        self.now = max(now, self.now)

    # -- events -------------------------------------------------------------------------------------------------------

    def _capacity(self, event: Capacity) -> None:
        self.workers, self.latency = event.workers, event.latency

    def _started(self, event: Started) -> None:
        flight = self.flights.get(event.token)
        if flight is None:
            self._outbox.append(StopAttempt(event.token, "kill"))
            return
        if flight.started is None:
            self.running += 1
            flight.started = self.now
            flight.waited += self.now - flight.asked
        flight.host, flight.block, flight.worker = event.host, event.block, event.worker
        if flight.stopping:
            self._outbox.append(StopAttempt(event.token, "yield"))

    def _report(self, event: Report) -> None:
        flight = self.flights.get(event.token)
        if flight is None:
            self._outbox.append(Reply(event.token, event.request, stop="kill"))
        elif not self._answered(flight, event.request):
            if 0 <= event.step < STEP_LIMIT:
                self._keep_report(flight, event.step, float(event.value))
            stop = "prune" if flight.rung is not None else "yield" if flight.stopping else ""
            self._reply(flight, Reply(event.token, event.request, stop=stop))  # type: ignore[arg-type]

    def _keep_report(self, flight: Flight, step: int, value: float) -> None:
        """A step that an earlier attempt reported keeps its value: a trial's history never changes."""
        if self.study.has(flight.trial, step):
            return
        flight.last_step = step
        if self.study.report(flight.trial, step, value):
            flight.rung = step

    def _suggest(self, event: Suggest) -> None:
        flight = self.flights.get(event.token)
        if flight is None:
            self._outbox.append(Reply(event.token, event.request, stop="kill"))
        elif not self._answered(flight, event.request):
            try:
                value = flight.params[event.name] = self.study.suggest(flight.trial, event.name, event.distribution)
                reply = Reply(event.token, event.request, suggested=True, value=value)
            except Exception as error:  # whatever Optuna or a sampler raises at it is this trial's failure alone
                reply = Reply(event.token, event.request, suggested=True, error=str(error) or repr(error))
            self._reply(flight, reply)

    def _answered(self, flight: Flight, request: int) -> bool:
        """Whether this request came before; its answer was lost, so it is sent again."""
        last = flight.last_reply
        if last is None or request > last.request:
            return False
        if request == last.request:
            self._outbox.append(last)
        return True

    def _reply(self, flight: Flight, reply: Reply) -> None:
        flight.last_reply = reply
        self._outbox.append(reply)

    def _ended(self, event: Ended) -> None:
        outcome = event.outcome
        flight = self._land(outcome.token)
        if flight is None:
            return  # fenced: of an attempt that was declared lost, or told before
        self._keep_outcome(flight, outcome)
        if outcome.kind == "complete" and values_fit(outcome, len(self.study.study.directions)):
            self._complete(flight, [float(value) for value in outcome.values or ()])
        elif outcome.kind == "pruned":
            self._pruned(flight)
        elif outcome.kind in ("yielded", "stopped"):
            self._try_again(flight)
        elif outcome.failure == "lost":
            self._lose(flight, outcome.reason)
        else:
            self._failed(flight, outcome.failure or "value", outcome.reason, outcome.traceback)

    def _keep_outcome(self, flight: Flight, outcome: Outcome) -> None:
        flight.ran += max(0.0, outcome.finished - outcome.started)
        flight.host, flight.pool = outcome.host, outcome.pool
        flight.block, flight.worker = outcome.block, outcome.worker
        for step, value in outcome.reports:  # those whose messages a dead driver never kept
            self._keep_missing(flight, int(step), float(value))
        attrs = {key: value for key, value in outcome.user_attrs.items() if not key.startswith("pilotune:")}
        self.study.annotate(flight.trial, attrs)

    def _keep_missing(self, flight: Flight, step: int, value: float) -> None:
        if 0 <= step < STEP_LIMIT and not self.study.has(flight.trial, step):
            self.study.storage.set_trial_intermediate_value(flight.trial_id, step, value)
        flight.last_step = step

    def _lost(self, event: Lost) -> None:
        flight = self._land(event.token)
        if flight is not None:
            if flight.started is not None:
                flight.ran += self.now - flight.started
            # What was cut off may go on, and must not write into the checkpoint beside the next attempt.
            self._outbox.append(StopAttempt(event.token, "kill"))
            self._lose(flight, event.reason)

    def _lose(self, flight: Flight, reason: str) -> None:
        flight.losses += 1
        if flight.losses > self.rules.max_losses:
            self._tell_failed(flight, "lost", f"lost {flight.losses} times, the last time: {reason}")
        else:
            flight.notes["pilotune:last_loss"] = reason
            self._try_again(flight)

    def _asked_to_end(self, event: Asked) -> None:
        self._end(STOPPED, "stopped as asked; it can be resumed")
        if event.how == "yield":
            self._yield_all()
        elif event.how == "now":
            self._drop_all()

    def _pool_failed(self, event: PoolFailed) -> None:
        self._end(SITE, event.reason)
        self._drop_all()

    # -- ends of trials -----------------------------------------------------------------------------------------------

    def _complete(self, flight: Flight, values: list[float]) -> None:
        self._describe(flight, "complete")
        self.study.tell(flight.trial, TrialState.COMPLETE, values)
        self._told(flight)
        self._failures_in_row = 0
        if len(values) == 1 and self.rules.reached(values[0]):
            self._end(FINISHED, f"trial {flight.number} reached the target: {values[0]:.6g}")

    def _pruned(self, flight: Flight) -> None:
        rung = flight.rung if flight.rung is not None else flight.last_step
        if rung is not None:
            flight.notes["pilotune:rung"] = rung
            self.rungs[rung] = self.rungs.get(rung, 0) + 1
        self._describe(flight, "pruned")
        self.study.tell(flight.trial, TrialState.PRUNED)
        self._told(flight)
        self._failures_in_row = 0

    def _failed(self, flight: Flight, failure: str, reason: str, traceback: str) -> None:
        if self.rules.retried(failure) and flight.crashes < self.rules.retries:
            flight.crashes += 1
            flight.notes["pilotune:last_crash"] = reason
            self._try_again(flight)
            return
        if traceback:
            flight.notes["pilotune:traceback"] = traceback
        self._tell_failed(flight, failure, reason or "it ended without a value and without a reason")

    def _tell_failed(self, flight: Flight, failure: str, reason: str) -> None:
        flight.notes["pilotune:reason"] = reason
        self._describe(flight, failure)
        self.study.tell(flight.trial, TrialState.FAIL)
        self._told(flight)
        self._failures_in_row += 1
        if self._failures_in_row >= self.rules.failures and not self.ending:
            last = f"the last one (trial {flight.number}): {reason}"
            self._end(FAILED, f"{self._failures_in_row} trials failed in a row, {last}")

    def _describe(self, flight: Flight, exit_reason: str) -> None:
        attrs: dict[str, Any] = {
            "pilotune:attempts": flight.attempt,
            "pilotune:exit": exit_reason,
            "pilotune:host": flight.host,
            "pilotune:pool": flight.pool,
            "pilotune:block": flight.block,
            "pilotune:worker": flight.worker,
            "pilotune:seconds_waiting": round(flight.waited, 3),
            "pilotune:seconds_running": round(flight.ran, 3),
            "pilotune:directory": flight.directory,
        }
        attrs |= self.study.bracket(flight.number)
        self.study.annotate(flight.trial, {**attrs, **flight.notes})

    def _told(self, flight: Flight) -> None:
        self.finish_times.append(self.now)
        self._durations.append(flight.ran)

    # -- more attempts ------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        self.hungry = False
        asked = 0
        while self._room() > 0 and not self.ending:
            if asked == ASKS_PER_STEP:
                self.hungry = True
                return
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
        duration = sorted(self._durations)[len(self._durations) // 2] if self._durations else None
        return self.workers + ahead(self.workers, self.latency, duration) - self.in_flight

    def _budget_used(self) -> bool:
        return self.rules.trials is not None and self.study.asked >= self.rules.trials

    def _launch(self, flight: Flight) -> None:
        """The next attempt of this trial, submitted at the next release."""
        flight.attempt += 1
        flight.started, flight.last_reply, flight.stopping, flight.rung = None, None, "", None
        self.study.fence(flight.trial, flight.attempt)
        self._fresh.append(flight)

    def _try_again(self, flight: Flight) -> None:
        """A new attempt; a campaign that is ending leaves the trial as it is, for a later one."""
        if not self.ending:
            flight.asked = self.now
            self._launch(flight)

    def adopt(self, orphan: Orphan) -> str:
        """Take up a trial that a dead driver left; what became of it is to come as an event with the token returned."""
        flight = Flight(
            trial=self.study.resumed(orphan.number),
            params={**orphan.params, **(self.study.space.constants if self.study.space else {})},
            number=orphan.number,
            directory=orphan.directory,
            attempt=orphan.attempt,
            token=token_of(orphan.number, orphan.attempt, orphan.campaign),
            asked=self.now,
        )
        self.flights[flight.token] = flight
        return flight.token

    # -- the end ------------------------------------------------------------------------------------------------------

    def _check_limits(self) -> None:
        if self.rules.time is not None and self.now - self.began >= self.rules.time and not self.ending:
            self._end(FINISHED, f"the time budget of {self.rules.time:.0f} s is used up")
            self._yield_all()
        if not self.ending and not self.in_flight:
            if self.study.exhausted:
                self._end(FINISHED, "every configuration of the space has been tried")
            elif self._budget_used():
                self._end(FINISHED, f"the budget of {self.rules.trials} trials is used up")

    def _end(self, code: int, reason: str) -> None:
        if self.ending is None or code in (STOPPED, SITE):
            self.ending = Finish(code, reason)
        for flight in self._fresh:  # tried again in this very step: left for a later campaign, as if that came now
            flight.attempt -= 1
            self.study.fence(flight.trial, flight.attempt)
        self._fresh.clear()

    def _yield_all(self) -> None:
        for flight in self.flights.values():
            if not flight.stopping:
                flight.stopping = "yield"
                self._outbox.append(StopAttempt(flight.token, "yield"))
        self._leave([flight for flight in self.flights.values() if not flight.running])

    def _drop_all(self) -> None:
        for flight in self.flights.values():
            self._outbox.append(StopAttempt(flight.token, "kill"))
        self._leave(list(self.flights.values()))

    def _leave(self, flights: list[Flight]) -> None:
        """Leave these to a later campaign; what still comes of them is fenced."""
        for flight in flights:
            self._land(flight.token)

    def _finish(self) -> None:
        assert self.ending is not None
        if self.finished is None:
            code, reason = self.ending.code, self.ending.reason
            if code == FINISHED and not self.study.counts[TrialState.COMPLETE]:
                code, reason = FAILED, f"{reason}, and no trial completed"
            self.finished = Finish(code, reason)
            self._outbox.append(self.finished)
