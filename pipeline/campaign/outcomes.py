"""Decides what follows from the end of an attempt: the study is told how the trial ended, or the trial goes on.

Outcome                                    | what follows
-------------------------------------------|-------------------------------------------------------------------------
complete, with a finite value a direction  | COMPLETE, with the mean of its repetitions; or one more repetition
pruned                                     | PRUNED
yielded, stopped                           | a new attempt; FAIL when it gets nowhere (IDLE_YIELDS, STALLS)
declined by the worker                     | the same attempt again
failed: disk full                          | a new attempt after a wait; the campaign ends when it lasts
failed: infrastructure, or the worker lost | a new attempt, up to `max_losses`
failed: it fits on no node                 | FAIL
failed: anything else                      | one more attempt on another host where the host may be to blame; a new
                                           | attempt where the study file allows retries; else FAIL
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from ...exit_codes import FAILED, FINISHED, SITE
from ...grammar import count
from ..attributes import (
    ARTIFACTS,
    ATTEMPTS,
    BEGAN,
    BLOCK,
    DETAIL_KEYS,
    DETAILS,
    DIRECTORY,
    EXIT,
    GPU_HOURS,
    HOST,
    KILLED,
    LAST_CRASH,
    LAST_LOSS,
    NODE_HOURS,
    PAUSED,
    PEAK_MEMORY,
    POOL,
    REASON,
    RUNG,
    SECONDS_RUNNING,
    SECONDS_WAITING,
    TRACEBACK,
    WORKER,
)
from ..hours import HOUR
from ..trial.protocol import Outcome, values_fit
from .campaign_study import CampaignStudy
from .disk_backoff import DiskBackoff
from .durations import Durations
from .events import Finish, Lost
from .failed_attempt import LONGEST_REASON, FailedAttempt, last_lines
from .flight import Flight
from .flight_states import Move
from .limits import CRASHES, IDLE_SECONDS, IDLE_YIELDS, STALLS, CampaignLimits
from .node_hours import NodeHours
from .promotion import goes_on
from .quarantine import Hosts
from .repeater import Repeater
from .report_keeper import ReportKeeper


@dataclass(frozen=True)
class NextStep:
    """What the campaign is to do after the end of an attempt.

    Attributes:
        again: The trial goes on; False when the study has been told of it.
        progress: It goes on after a complete repetition.
        finish: The campaign is to end, and why.
    """

    again: bool = False
    progress: bool = False
    finish: Finish | None = None


AGAIN = NextStep(again=True)


def unfit_outcome(flight: Flight, reason: str) -> Outcome:
    """The outcome of an attempt that no worker can run, since it takes more than any node has."""
    return Outcome(flight.token, flight.number, flight.attempt, "failed", failure="resources", reason=reason)


class OutcomeHandler:
    """Judges attempts that have ended, and tells the study of the trials that have.

    Args:
        study: The campaign's study; everything is staged in it.
        limits: Retries, and when the campaign gives up.
        reports: Keeps what the attempts reported.
        hours: What nodes cost.

    Attributes:
        finish_times: When the last 1,000 trials ended or paused, Unix seconds.
        stage_seconds: How long the last 1,000 of them ran whose time is known whole: since their start, since they
            last went on from a rung, or since their last repetition. Each repetition counts.
        handed_over: Seconds from the start of an attempt to its end, as the campaign learnt of them, beyond those that
            it ran; of all attempts together.
        ended_in_all: How many have ended or paused; each repetition counts. ``first_stages``: those of them that had
            neither gone on from a rung nor been repeated.
        rungs: Step -> number of trials that were pruned there, or ended paused there.
        durations: How long trials ran.
        hosts: Decides whether a failure is the trial's or its host's fault.
        disk_backoff: Whether trials fail because their disk is full.
        first_failure, last_failure: The first and the latest attempt that failed through no fault of the
            infrastructure; None before.
    """

    def __init__(self, study: CampaignStudy, limits: CampaignLimits, reports: ReportKeeper, hours: NodeHours):
        self.study, self.limits, self.reports, self.hours = study, limits, reports, hours
        self.finish_times: deque[float] = deque(maxlen=1000)
        self.stage_seconds: deque[float] = deque(maxlen=1000)
        self.handed_over = 0.0
        self.ended_in_all = self.first_stages = 0
        self.rungs: dict[int, int] = {}
        self.durations = Durations(limits.expected)
        self.hosts = Hosts(limits.second_opinions)
        self.repeater = Repeater(study, limits.repeats, limits.seed)
        self.disk_backoff = DiskBackoff()
        self.first_failure: FailedAttempt | None = None
        self.last_failure: FailedAttempt | None = None
        self._failures_in_row = 0
        self._not_imported = 0  # trials in a row that failed because the objective cannot be imported
        self._succeeded = False  # whether any trial has

    def ended(self, flight: Flight, outcome: Outcome, now: float) -> NextStep:
        """Judge an attempt that has ended with ``outcome``. Its reports are kept already."""
        if outcome.kind == "declined":
            return self._declined(flight, now)
        self._keep(flight, outcome)
        if flight.started is not None:
            self.handed_over += max(0.0, now - flight.started - outcome.ran)
        flight.asked, flight.declines = now, 0
        flight.idle_yields += 1
        if outcome.ran >= IDLE_SECONDS or flight.new_steps or flight.moving:
            flight.idle_yields = 0
        if flight.counted:  # a driver kept its values, and ended before the next repetition was submitted
            return self._next_repetition(flight, (), now)
        if outcome.kind == "complete" and values_fit(outcome.values, len(self.study.study.directions)):
            values = [float(value) for value in outcome.values or ()]
            if outcome.artifacts or flight.repeat:  # those of a repetition replace those of the one before
                self.study.attributes.annotate(flight.trial, {}, {ARTIFACTS: dict(outcome.artifacts)})
            self.repeater.keep(flight, values)
            return self._next_repetition(flight, values, now)
        if outcome.kind == "pruned":
            return self._pruned(flight, now)
        if outcome.kind in ("yielded", "stopped"):
            stalled = outcome.leaving and not outcome.saved and not flight.new_steps
            flight.stalls = flight.stalls + 1 if stalled else 0
            return self._yielded(flight, now)
        flight.idle_yields = 0
        if outcome.failure == "disk":
            return self._disk_full(flight, outcome.reason, now)
        if outcome.failure == "resources":
            return self._tell_failed(flight, outcome.failure, outcome.reason, now)
        if outcome.failure == "lost":
            self.hosts.failed(flight, "lost", outcome.reason)
            return self._lose(flight, outcome.reason, now)
        return self._failed(flight, outcome, now)

    def lost(self, flight: Flight, loss: Lost, now: float) -> NextStep:
        """Judge an attempt whose worker, node or block died."""
        if flight.started is not None:
            flight.ran += now - flight.started
            self._charge(flight, now - flight.started, self.hours.pool_of(loss.host or flight.host))
            flight.note_run(flight.started, now - flight.started, "lost")
        flight.asked, flight.declines = now, 0
        if flight.counted:
            return self._next_repetition(flight, (), now)
        if not loss.begun:
            self.study.note_not_begun(flight.trial, flight.attempt)
            return AGAIN
        if not loss.killed:
            return self._lose(flight, loss.reason, now)
        flight.host = loss.host or flight.host
        self.hosts.failed(flight, "lost", loss.reason)
        sentence = self._deadly(flight, "worker", loss.reason)
        return self._tell_failed(flight, "lost", sentence, now) if sentence else self._lose(flight, loss.reason, now)

    # -- what an outcome holds ----------------------------------------------------------------------------------------

    def _keep(self, flight: Flight, outcome: Outcome) -> None:
        """Stage the attempt's attributes, and note where and how long it ran."""
        flight.ran += outcome.ran
        flight.memory = max(flight.memory, outcome.memory or 0)
        flight.host, flight.pool = outcome.host, outcome.pool
        flight.block, flight.worker = outcome.block, outcome.worker
        self._charge(flight, outcome.ran, self.hours.pool_of(outcome.host, outcome.pool))
        if outcome.started > 0.0:
            how = "went on" if outcome.kind != "failed" else "lost" if outcome.failure == "lost" else "failed"
            flight.note_run(outcome.started, outcome.ran, how)
        if outcome.reports:
            flight.last_step, flight.last_value = int(outcome.reports[-1][0]), float(outcome.reports[-1][1])
        self.study.attributes.note(flight.trial, outcome.user_attrs, outcome.system_attrs)

    def _charge(self, flight: Flight, seconds: float, pool: str) -> None:
        """The flight has taken its share of nodes of the pool for so long."""
        share = self.hours.share(pool, flight.params)
        self.hours.note_busy(pool, seconds * share)
        flight.pay(seconds * share, self.hours.gpus_of(pool))

    def recall_cost(self, flight: Flight) -> None:
        """Take over what a trial of a dead driver has cost so far, as far as its attempts were kept."""
        for _, _, seconds, _, _, pool, *_ in flight.runs:
            flight.pay(float(seconds) * self.hours.share(pool, flight.params), self.hours.gpus_of(pool))

    # -- the trial goes on --------------------------------------------------------------------------------------------

    def _declined(self, flight: Flight, now: float) -> NextStep:
        """The worker did not begin the attempt, so the same attempt is submitted again."""
        if flight.moving:  # which it then need not, and it may be asked later
            flight.moved = 0
        flight.attempt -= 1
        flight.declines += 1
        if flight.started is not None:  # the time until then is in ``waited`` already
            flight.asked = now
        return AGAIN

    def _yielded(self, flight: Flight, now: float) -> NextStep:
        if flight.stalls >= STALLS:
            reason = (
                f"its block ended {STALLS} times in a row before it saved a checkpoint or reported a new step, so it "
                "would start from the beginning for ever; save into trial.checkpoint_dir, or give blocks a longer "
                "walltime"
            )
            return self._tell_failed(flight, "yielded", reason, now)
        if flight.idle_yields < IDLE_YIELDS:
            return AGAIN
        times = f"{IDLE_YIELDS} times in a row, each time within {IDLE_SECONDS:.0f} s and without a new report"
        hint = "an objective should yield only when trial.should_yield() or trial.report() says so"
        return self._tell_failed(flight, "yielded", f"it yielded {times}; {hint}", now)

    def _disk_full(self, flight: Flight, reason: str, now: float) -> NextStep:
        """The disk that the trial writes to is full, which is not the trial's fault."""
        if self.disk_backoff.on_disk_full(flight, reason, now):
            return NextStep(again=True, finish=Finish(SITE, f"{reason}; free disk space, then run pilotune resume"))
        return AGAIN

    def _lose(self, flight: Flight, reason: str, now: float) -> NextStep:
        flight.losses += 1
        if flight.losses > self.limits.max_losses:
            return self._tell_failed(
                flight, "lost", f"lost {count(flight.losses, 'time')}; the last time: {reason}", now
            )
        flight.notes[LAST_LOSS] = reason
        return AGAIN

    def killed(self, trial: optuna.Trial) -> dict[str, str]:
        """Host -> how a trial of an earlier campaign killed its process or worker there."""
        found = trial.user_attrs.get(KILLED)
        return dict(found) if isinstance(found, dict) else {}

    def _deadly(self, flight: Flight, what: str, reason: str) -> str:
        """Note that the trial killed its process or its worker (``what``).

        Returns:
            Why it is not tried again: it did so on two hosts. Empty where it may go on.
        """
        if flight.host and flight.host not in self.hosts.quarantined:
            flight.killed[flight.host] = f"{what} on {flight.host} ({reason})"
            self.study.attributes.annotate(flight.trial, {KILLED: flight.killed})
        killed = [how for host, how in flight.killed.items() if host not in self.hosts.quarantined]
        return f"it killed its {killed[0]} and its {killed[1]}, so it is not tried again" if len(killed) > 1 else ""

    def _next_repetition(self, flight: Flight, values: Sequence[float], now: float) -> NextStep:
        """The attempt has returned ``values``: the trial is run once more, or is complete."""
        if not self.repeater.again(flight):
            return self._complete(flight, self.repeater.result(flight, values), now)
        self.hosts.succeeded(flight, now)
        self._note_success()
        self._note_stage(flight)
        goes_on(self.study, flight)  # where it was told to pause and has ended all the same
        flight.begin_repetition()
        return NextStep(again=True, progress=True)

    # -- the trial has ended ------------------------------------------------------------------------------------------

    def _complete(self, flight: Flight, values: list[float], now: float) -> NextStep:
        self._describe(flight, "complete")
        flight.move(Move.FINISH)
        self.study.tell(flight.trial, TrialState.COMPLETE, values)
        self.hosts.succeeded(flight, now)
        self._count_success(flight, now)
        if len(values) == 1 and self.limits.reached(values[0]):
            return NextStep(finish=Finish(FINISHED, f"trial {flight.number} reached the target: {values[0]:.6g}"))
        return NextStep()

    def _pruned(self, flight: Flight, now: float) -> NextStep:
        rung = flight.rung if flight.rung is not None else flight.last_step
        if rung is not None:
            flight.notes[RUNG] = rung
            self.rungs[rung] = self.rungs.get(rung, 0) + 1
        self._describe(flight, "pruned")
        flight.move(Move.FINISH)
        self.study.tell(flight.trial, TrialState.PRUNED)
        self.hosts.succeeded(flight, now)
        self._count_success(flight, now)
        return NextStep()

    def paused(self, flight: Flight, now: float) -> None:
        """The trial pauses at a rung: so far it ran without trouble, which counts for its host and the durations."""
        self.hosts.succeeded(flight, now)
        self._count_success(flight, now)

    def retired(self, flight: Flight, exit_reason: str) -> None:
        """End a paused trial that will not go on. ``exit_reason``: one of ``ENDED_PAUSED``."""
        flight.notes[RUNG] = rung = flight.pause
        if rung is not None:
            self.rungs[rung] = self.rungs.get(rung, 0) + 1
        self._describe(flight, exit_reason)
        flight.move(Move.FINISH)
        self.study.tell(flight.trial, TrialState.PRUNED)

    def _failed(self, flight: Flight, outcome: Outcome, now: float) -> NextStep:
        failure = outcome.failure or "value"
        reason = outcome.reason or "it ended without a value and without a reason"
        elsewhere = self.hosts.failed(flight, failure, reason)
        sentence = self._deadly(flight, "process", reason) if failure in CRASHES else ""
        if not sentence and self.limits.retried(failure) and flight.crashes < self.limits.retries:
            flight.crashes += 1
            elsewhere = True
        if elsewhere and not sentence:
            flight.notes[LAST_CRASH] = reason
            self._note_failure(flight, failure, reason, outcome.traceback, again=True)
            return AGAIN
        if outcome.traceback:
            flight.notes[TRACEBACK] = outcome.traceback
        return self._tell_failed(flight, failure, sentence or reason, now)

    def _note_failure(self, flight: Flight, failure: str, reason: str, traceback: str, *, again: bool) -> None:
        """Remember the failure, to show it to the user at once."""
        end = last_lines(traceback)
        self.last_failure = FailedAttempt(
            flight.number, flight.attempt, failure, reason[:LONGEST_REASON], end, flight.host, flight.directory, again
        )
        self.first_failure = self.first_failure or self.last_failure

    def _tell_failed(self, flight: Flight, failure: str, reason: str, now: float) -> NextStep:
        self.reports.hear(flight)  # no attempt follows that would tell what this one could not
        self._note_failure(flight, failure, reason, flight.notes.get(TRACEBACK, ""), again=False)
        if flight.repeat:
            reason = f"in repetition {flight.repeat + 1}: {reason}"
        flight.notes[REASON] = reason
        self._describe(flight, failure)
        flight.move(Move.FINISH)
        self.study.tell(flight.trial, TrialState.FAIL)
        self._failures_in_row += 1
        self._not_imported = self._not_imported + 1 if failure == "setup" else 0
        self._note_end(flight, now, failed=True)
        reason = self._gives_up(flight, reason)
        return NextStep(finish=Finish(FAILED, reason) if reason else None)

    def _gives_up(self, flight: Flight, reason: str) -> str:
        """Why the campaign ends after these failures in a row; empty while it goes on."""
        failed, most = self._failures_in_row, self.limits.import_failures
        if most is not None and not self._succeeded and most <= self._not_imported == failed:
            trials = f"first {failed} trials" if failed > 1 else "first trial"
            return f"the {trials} could not be started, and no other could: {reason}"
        if failed < self.limits.failures:
            return ""
        if failed == 1:
            return f"trial {flight.number} failed, and budget.failures is 1: {reason}"
        return f"{count(failed, 'trial')} failed in a row, the last one (trial {flight.number}): {reason}"

    def _describe(self, flight: Flight, exit_reason: str) -> None:
        notes = dict(flight.notes)
        user: dict[str, Any] = {
            ATTEMPTS: flight.attempt,
            EXIT: exit_reason,
            HOST: flight.host,
            SECONDS_WAITING: round(flight.waited, 3),
            SECONDS_RUNNING: round(flight.ran, 3),
            DIRECTORY: flight.directory,
        }
        if flight.runs and flight.runs[-1][0] == flight.attempt:
            user[BEGAN] = flight.runs[-1][1]
        if flight.memory:
            user[PEAK_MEMORY] = flight.memory
        if self.limits.hours is not None:
            user[NODE_HOURS] = round(flight.node_seconds / HOUR, 9)
            if flight.gpu_seconds:
                user[GPU_HOURS] = round(flight.gpu_seconds / HOUR, 9)
        if flight.pause is not None:
            user[PAUSED] = None
        if REASON in notes:
            user[REASON] = notes.pop(REASON)
        details: dict[str, Any] = {
            POOL: flight.pool,
            BLOCK: flight.block,
            WORKER: flight.worker,
            **self.study.bracket(flight.number),
            **{key: notes.pop(key) for key in DETAIL_KEYS if key in notes},
        }
        self.study.attributes.annotate(flight.trial, user, {DETAILS: details, **notes})

    def _count_success(self, flight: Flight, now: float) -> None:
        self._note_success()
        self._note_end(flight, now)

    def _note_success(self) -> None:
        self._failures_in_row = self._not_imported = 0
        self._succeeded = True
        self.disk_backoff.on_success()

    def _note_end(self, flight: Flight, now: float, failed: bool = False) -> None:
        """The trial has ended, or pauses: note when, and how long it ran."""
        self.finish_times.append(now)
        self._note_stage(flight, failed)

    def _note_stage(self, flight: Flight, failed: bool = False) -> None:
        """Note how long the trial ran since its start, since it went on from a rung, or since its last repetition."""
        self.ended_in_all += 1
        self.first_stages += flight.ran_before_stage == 0.0
        if flight.fully_timed:
            self.stage_seconds.append(flight.stage_seconds)
        self.durations.add(flight.stage_seconds, whole=flight.fully_timed and not failed)
