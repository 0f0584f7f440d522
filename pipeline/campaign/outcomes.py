"""What becomes of a trial when an attempt of it has ended: the study is told, or the trial goes on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from ..study_changes import PAUSED
from ..trial.protocol import Outcome, values_fit
from .campaign_study import CampaignStudy
from .disk_backoff import DiskBackoff
from .durations import Durations
from .events import Finish, Lost
from .flight import Flight
from .limits import CRASHES, IDLE_SECONDS, IDLE_YIELDS, STALLS, CampaignLimits
from .quarantine import Hosts

FINISHED, FAILED, SITE, STOPPED = 0, 1, 3, 130
"""Exit codes."""

KILLED = "pilotune:killed"
"""Trial attribute: host -> how the trial killed its process or its worker there."""


@dataclass(frozen=True)
class NextStep:
    """What follows from an attempt's end: the trial is tried again, or the campaign ends; or neither."""

    again: bool = False
    finish: Finish | None = None


AGAIN = NextStep(again=True)


class OutcomeHandler:
    """Judges attempts that have ended, and tells the study of trials that have.

    Attributes:
        finish_times: When trials were told, Unix seconds; the last thousand.
        rungs: Trials pruned at each step.
        durations: How long trials ran.
        hosts: Whose fault failures are.
        room: Whether trials find room for what they write.
    """

    def __init__(self, study: CampaignStudy, rules: CampaignLimits):
        self.study, self.rules = study, rules
        self.finish_times: deque[float] = deque(maxlen=1000)
        self.rungs: dict[int, int] = {}
        self.durations = Durations(rules.expected)
        self.hosts = Hosts(rules.second_opinions)
        self.room = DiskBackoff()
        self._failures_in_row = 0

    def ended(self, flight: Flight, outcome: Outcome, now: float) -> NextStep:
        """An attempt came back with ``outcome``."""
        if outcome.kind == "declined":
            return self._declined(flight, now)
        ran = self._keep(flight, outcome)
        flight.asked, flight.declines = now, 0
        flight.idle_yields += 1
        if ran >= IDLE_SECONDS or flight.new_steps:
            flight.idle_yields = 0
        if outcome.kind == "complete" and values_fit(outcome.values, len(self.study.study.directions)):
            return self._complete(flight, [float(value) for value in outcome.values or ()], now)
        if outcome.kind == "pruned":
            return self._pruned(flight, now)
        if outcome.kind in ("yielded", "stopped"):
            stalled = outcome.leaving and not outcome.saved and not flight.new_steps
            flight.stalls = flight.stalls + 1 if stalled else 0
            return self._yielded(flight, now)
        flight.idle_yields = 0
        if outcome.failure == "disk":
            return self._roomless(flight, outcome.reason, now)
        if outcome.failure == "lost":
            self.hosts.failed(flight, "lost", outcome.reason)
            return self._lose(flight, outcome.reason, now)
        return self._failed(flight, outcome, now)

    def lost(self, flight: Flight, loss: Lost, now: float) -> NextStep:
        """An attempt's worker died under it."""
        if flight.started is not None:
            flight.ran += now - flight.started
        flight.asked, flight.declines = now, 0
        if not loss.killed:
            return self._lose(flight, loss.reason, now)
        flight.host = loss.host or flight.host
        self.hosts.failed(flight, "lost", loss.reason)
        sentence = self._deadly(flight, "worker", loss.reason)
        return self._tell_failed(flight, "lost", sentence, now) if sentence else self._lose(flight, loss.reason, now)

    # -- what an outcome brings ---------------------------------------------------------------------------------------

    def _keep(self, flight: Flight, outcome: Outcome) -> float:
        """Keep where the attempt ran, its reports and attributes; returns how long it ran."""
        ran = max(0.0, outcome.finished - outcome.started)
        flight.ran += ran
        flight.host, flight.pool = outcome.host, outcome.pool
        flight.block, flight.worker = outcome.block, outcome.worker
        if outcome.reports:  # of some a dead driver never kept the messages
            flight.new_steps += len(self.study.keep(flight.trial, outcome.reports))
            flight.last_step = int(outcome.reports[-1][0])
        attrs = {key: value for key, value in outcome.user_attrs.items() if not key.startswith("pilotune:")}
        self.study.annotate(flight.trial, attrs)
        return ran

    # -- the trial goes on --------------------------------------------------------------------------------------------

    def _declined(self, flight: Flight, now: float) -> NextStep:
        """It is as if this attempt had not been submitted yet: nothing of it ran."""
        flight.attempt -= 1
        flight.declines += 1
        if flight.started is not None:  # what it had waited until then is counted
            flight.asked = now
        return AGAIN

    def _yielded(self, flight: Flight, now: float) -> NextStep:
        if flight.stalls >= STALLS:
            reason = (
                f"its block ended under it {STALLS} times in a row, and it neither wrote a checkpoint nor reported a "
                "new step, so it would begin anew for ever; save into trial.checkpoint_dir, or give blocks a longer "
                "walltime"
            )
            return self._tell_failed(flight, "yielded", reason, now)
        if flight.idle_yields < IDLE_YIELDS:
            return AGAIN
        times = f"{IDLE_YIELDS} times in a row, each time within {IDLE_SECONDS:.0f} s and with nothing new reported"
        hint = "an objective yields only when trial.should_yield() or trial.report() tells it to"
        return self._tell_failed(flight, "yielded", f"it yielded {times}; {hint}", now)

    def _roomless(self, flight: Flight, reason: str, now: float) -> NextStep:
        """There is no room for what it writes, which is not its fault."""
        if self.room.missing(flight, reason, now):
            return NextStep(again=True, finish=Finish(SITE, f"{reason}; make room, then pilotune resume goes on"))
        return AGAIN

    def _lose(self, flight: Flight, reason: str, now: float) -> NextStep:
        flight.losses += 1
        if flight.losses > self.rules.max_losses:
            return self._tell_failed(flight, "lost", f"lost {flight.losses} times, the last time: {reason}", now)
        flight.notes["pilotune:last_loss"] = reason
        return AGAIN

    def killed(self, trial: optuna.Trial) -> dict[str, str]:
        """Where a trial of an earlier campaign killed its process or worker, and how."""
        found = trial.user_attrs.get(KILLED)
        return dict(found) if isinstance(found, dict) else {}

    def _deadly(self, flight: Flight, what: str, reason: str) -> str:
        """The trial killed its process, or its worker; why it is not tried again when that is the second host."""
        if flight.host and flight.host not in self.hosts.quarantined:
            flight.killed[flight.host] = f"{what} on {flight.host} ({reason})"
            self.study.annotate(flight.trial, {KILLED: flight.killed})
        killed = [how for host, how in flight.killed.items() if host not in self.hosts.quarantined]
        return f"it killed its {killed[0]} and its {killed[1]}, so it is not tried again" if len(killed) > 1 else ""

    # -- the trial has ended ------------------------------------------------------------------------------------------

    def _complete(self, flight: Flight, values: list[float], now: float) -> NextStep:
        self._describe(flight, "complete")
        self.study.tell(flight.trial, TrialState.COMPLETE, values)
        self.hosts.succeeded(flight, now)
        self._told(flight, now, whole=True)
        if len(values) == 1 and self.rules.reached(values[0]):
            return NextStep(finish=Finish(FINISHED, f"trial {flight.number} reached the target: {values[0]:.6g}"))
        return NextStep()

    def _pruned(self, flight: Flight, now: float) -> NextStep:
        rung = flight.rung if flight.rung is not None else flight.last_step
        if rung is not None:
            flight.notes["pilotune:rung"] = rung
            self.rungs[rung] = self.rungs.get(rung, 0) + 1
        self._describe(flight, "pruned")
        self.study.tell(flight.trial, TrialState.PRUNED)
        self.hosts.succeeded(flight, now)
        self._told(flight, now, whole=True)
        return NextStep()

    def paused(self, flight: Flight, now: float) -> None:
        """The trial has come to a rung and pauses there: as far as anybody can tell it is well."""
        self.hosts.succeeded(flight, now)
        self._well(flight, now)

    def retired(self, flight: Flight) -> None:
        """A paused trial that will not go on."""
        flight.notes["pilotune:rung"] = rung = flight.pause
        if rung is not None:
            self.rungs[rung] = self.rungs.get(rung, 0) + 1
        self._describe(flight, "paused")
        self.study.tell(flight.trial, TrialState.PRUNED)

    def _failed(self, flight: Flight, outcome: Outcome, now: float) -> NextStep:
        failure = outcome.failure or "value"
        reason = outcome.reason or "it ended without a value and without a reason"
        elsewhere = self.hosts.failed(flight, failure, reason)
        sentence = self._deadly(flight, "process", reason) if failure in CRASHES else ""
        if not sentence and self.rules.retried(failure) and flight.crashes < self.rules.retries:
            flight.crashes += 1
            elsewhere = True
        if elsewhere and not sentence:
            flight.notes["pilotune:last_crash"] = reason
            return AGAIN
        if outcome.traceback:
            flight.notes["pilotune:traceback"] = outcome.traceback
        return self._tell_failed(flight, failure, sentence or reason, now)

    def _tell_failed(self, flight: Flight, failure: str, reason: str, now: float) -> NextStep:
        flight.notes["pilotune:reason"] = reason
        self._describe(flight, failure)
        self.study.tell(flight.trial, TrialState.FAIL)
        self._told(flight, now, whole=False)
        if self._failures_in_row < self.rules.failures:
            return NextStep()
        last = f"the last one (trial {flight.number}): {reason}"
        return NextStep(finish=Finish(FAILED, f"{self._failures_in_row} trials failed in a row, {last}"))

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
        if flight.pause is not None:
            attrs[PAUSED] = None
        attrs |= self.study.bracket(flight.number)
        self.study.annotate(flight.trial, {**attrs, **flight.notes})

    def _told(self, flight: Flight, now: float, *, whole: bool) -> None:
        """``whole``: it ran as long as a trial does; one that failed says nothing of that."""
        if whole:
            self._well(flight, now)
            return
        self._failures_in_row += 1
        self.finish_times.append(now)
        self.durations.add(flight.ran - flight.stage, whole=False)

    def _well(self, flight: Flight, now: float) -> None:
        self._failures_in_row = 0
        self.room.found()
        self.finish_times.append(now)
        self.durations.add(flight.ran - flight.stage, whole=flight.whole)
