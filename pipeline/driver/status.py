"""A snapshot of a running campaign: shown as its progress, and written to ``status.json``."""

from __future__ import annotations

import bisect
import dataclasses
import json
import math
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self

from optuna.trial import TrialState

from ..attributes import OWNER, PAUSED, has_begun
from ..campaign.campaign import Campaign
from ..campaign.events import BlockView
from ..campaign.failed_attempt import FailedAttempt
from ..campaign.flight import Flight
from ..campaign.quarantine import Quarantined
from ..noise import repetitions_of
from ..record.hours import PoolHours
from ..record.running_trials import LATEST, RunningTrial
from ..trial.from_json import build, read_json
from .hours_status import BudgetHours, budget_hours, pool_hours
from .stall_report import waiting
from .time_left import campaign_time_left

RATE_WINDOW, RATE_TRIALS = 300.0, 10
"""Seconds over which the rate of finished trials is measured, and least number of trials, which may take longer."""

SHOWN_RUNNING = 50
"""Most running trials that a status lists; a progress display has no space for more."""


@dataclass(frozen=True)
class Status:
    """A snapshot of one campaign. Counts are of the whole study; times are Unix seconds.

    The field names are the keys of ``status.json``.
    """

    study: str
    campaign: str
    state: str  # starting, running, stopping, ended
    reason: str = ""
    code: int | None = None  # exit code, once ended
    host: str = ""
    pid: int = 0
    started: float = 0.0
    updated: float = 0.0
    workers: int = 0
    sized: bool = False  # trials differ in size: ``workers`` counts those of the typical size for which there is room
    running: int = 0
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    paused: int = 0  # this campaign's trials that wait at a rung for their promotion
    total: int = 0  # trials that count for the budget
    budget: int | None = None  # most trials of the study, by its budget or by the points of a finite space
    exhausted: bool = False  # nothing is left to try of a finite space
    time_used_up: bool = False  # the campaign's time budget
    best_number: int | None = None
    best_values: list[float] | None = None
    best_params: dict[str, Any] | None = None
    best_runs: int | None = None  # how often it was run, where trials are repeated
    best_interval: list[float] | None = None  # of its true mean, with a probability of 90 %
    best_alike: int = 0  # trials that cannot be told apart from it
    front: int = 0  # trials on the Pareto front of a study with several directions
    metrics: list[str] = field(default_factory=list)  # the values' names; empty where the study has none
    rate: float = 0.0  # trials a minute, finished by this campaign
    utilization: float = 0.0  # busy worker seconds / worker seconds, from 0 to 1
    time_left: float | None = None  # seconds; None while unknown
    interrupted: int = 0  # once ended: trials that this campaign left running, for pilotune resume
    not_begun: int = 0  # once ended: trials that it asked for, and that no worker has ever begun
    storage: str = ""
    run_dir: str = ""
    rungs: dict[str, int] = field(default_factory=dict)  # step -> trials pruned there by this campaign
    message: str = ""
    notes: list[str] = field(default_factory=list)  # sentences that are shown once
    stopping: str = ""  # what becomes of the running trials, while the campaign ends
    waiting: str = ""  # what the campaign waits for, while it makes no progress
    running_trials: list[dict[str, Any]] = field(default_factory=list)  # as RunningTrial, SHOWN_RUNNING at most
    blocks: list[dict[str, Any]] = field(default_factory=list)  # pool, block, job, state, reason, workers, ends, since
    quarantined: list[dict[str, Any]] = field(default_factory=list)  # host, pool, reason, since
    warnings: list[str] = field(default_factory=list)  # callbacks, pruners or samplers of the user's that failed
    patience: int | None = None  # as the study file has it
    unimproved: int | None = None  # trials since the best value improved; None without patience
    first_failure: dict[str, Any] | None = None  # the first failed attempt, see FailedAttempt
    last_failure: dict[str, Any] | None = None  # the latest one
    artifacts: list[int] = field(default_factory=list)  # of how many trials they lie here, and bytes; empty: of none
    hours: list[dict[str, Any]] = field(default_factory=list)  # node-hours of the study by pool, as PoolHours
    hour_budgets: list[dict[str, Any]] = field(default_factory=list)  # and its budgets, as BudgetHours
    spared: str = ""  # why no further host is quarantined although it fails trials

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    def same_but_time(self, other: Status) -> bool:
        """Whether this differs from ``other`` by the passing of time only."""
        return self._timeless() == other._timeless()

    def _timeless(self) -> Status:
        """The status without the fields that change by themselves."""
        trials = [{**trial, "seconds": 0.0} for trial in self.running_trials]
        changes: dict[str, Any] = {"updated": 0.0, "rate": 0.0, "utilization": 0.0, "time_left": None, "hours": []}
        changes["hour_budgets"] = []
        return dataclasses.replace(self, **changes, running_trials=trials)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a status. Raises ValueError for what is not one."""
        status = build(cls, read_json(text))
        trials = [build(RunningTrial, trial) for trial in status.running_trials]
        blocks = [build(BlockView, block) for block in status.blocks]
        quarantined = [build(Quarantined, host) for host in status.quarantined]
        used = [build(PoolHours, each) for each in status.hours]
        budgets = [build(BudgetHours, each) for each in status.hour_budgets]
        for failure in filter(None, (status.first_failure, status.last_failure)):
            build(FailedAttempt, failure)
        times = [
            status.started,
            status.updated,
            *(host.since for host in quarantined),
            *(block.since for block in blocks),
            *(block.ends or 0.0 for block in blocks),
        ]
        amounts = [status.rate, status.utilization, status.time_left or 0.0, *(trial.seconds for trial in trials)]
        amounts += [amount for each in used for amount in (each.node_hours, each.gpu_hours, each.busy_node_hours)]
        amounts += [
            amount for each in budgets for amount in (each.hours, each.used, each.reserved, each.left, each.block)
        ]
        if not all(abs(number) < LATEST for number in (*times, *amounts)):
            raise ValueError("a time is out of range")
        return status


def snapshot(
    campaign: Campaign,
    *,
    storage: str,
    run_dir: str,
    message: str = "",
    warnings: Sequence[str] = (),
    notes: Sequence[str] = (),
    artifacts: Sequence[int] = (),
    now: float = 0.0,
) -> Status:
    """A snapshot of the campaign after its last step.

    Args:
        campaign: The campaign.
        storage: URL of its database, without a password.
        run_dir: Its run directory.
        message: A sentence for the user.
        warnings: Sentences about what failed and did not stop the campaign.
        notes: Sentences that the user is told once.
        artifacts: Of how many trials artifacts are kept, and their bytes; empty where there are none.
        now: Unix seconds, if later than the last step: the database has been unreachable since.
    """
    study, finished = campaign.study, campaign.finished
    best, cautious = study.best(), campaign.outcomes.repeater.best()
    if cautious is not None:
        best = study.storage.get_trial(study.trial_id(cautious.number))
    interrupted, not_begun = _left(campaign) if finished else (0, 0)
    state = "ended" if finished else "stopping" if campaign.ending else "running" if campaign.workers else "starting"
    return Status(
        study=study.study.study_name,
        campaign=campaign.campaign_id,
        state=state,
        reason=finished.reason if finished else campaign.ending.reason if campaign.ending else "",
        code=finished.code if finished else None,
        host=socket.gethostname(),
        pid=os.getpid(),
        started=campaign.began,
        updated=max(now, campaign.now),
        workers=campaign.workers,
        sized=campaign.capacity.in_flight is not None,
        running=campaign.running,
        complete=study.counts[TrialState.COMPLETE],
        pruned=study.counts[TrialState.PRUNED],
        failed=study.counts[TrialState.FAIL],
        paused=len(campaign.promotion.paused) if campaign.promotion else 0,
        total=study.asked,
        budget=campaign.planned,
        exhausted=study.exhausted,
        time_used_up=campaign.time_used_up,
        best_number=best.number if best else None,
        best_values=list(best.values) if best else None,
        front=study.front_size,
        best_params={**best.params, **(study.space.constants if study.space else {})} if best else None,
        best_runs=len(repetitions_of(best)) or 1 if best and cautious else None,
        best_interval=[cautious.low, cautious.high] if cautious else None,
        best_alike=len(cautious.alike) if cautious else 0,
        metrics=list(study.metrics),
        rate=_rate(campaign),
        utilization=campaign.busy_seconds / campaign.worker_seconds if campaign.worker_seconds else 0.0,
        time_left=None if campaign.ending else campaign_time_left(campaign),
        interrupted=interrupted,
        not_begun=not_begun,
        storage=storage,
        run_dir=run_dir,
        rungs={str(step): count for step, count in sorted(campaign.outcomes.rungs.items())},
        message=message,
        notes=list(notes),
        artifacts=list(artifacts),
        stopping=_stopping(campaign),
        waiting=waiting(campaign),
        blocks=[dataclasses.asdict(block) for block in campaign.blocks],
        running_trials=_running(campaign),
        warnings=list(warnings),
        patience=campaign.limits.patience,
        unimproved=None if campaign.limits.patience is None else study.trials_without_improvement(),
        quarantined=[dataclasses.asdict(each) for each in campaign.outcomes.hosts.quarantined.values()],
        hours=[dataclasses.asdict(each) for each in pool_hours(campaign)],
        hour_budgets=[dataclasses.asdict(each) for each in budget_hours(campaign)],
        spared=campaign.outcomes.hosts.spared,
        first_failure=_as_dict(campaign.outcomes.first_failure),
        last_failure=_as_dict(campaign.outcomes.last_failure),
    )


def _stopping(campaign: Campaign) -> str:
    if campaign.ending is None or campaign.finished is not None:
        return ""
    flights = campaign.flights
    return campaign.stopping.sentence(flights.running.values(), handed_out=bool(flights.waiting))


def _as_dict(failure: FailedAttempt | None) -> dict[str, Any] | None:
    return None if failure is None else dataclasses.asdict(failure)


def _rate(campaign: Campaign) -> float:
    """Finished trials a minute, over the last five minutes or the last ten trials, whichever are longer."""
    times, now = list(campaign.outcomes.finish_times), campaign.now
    recent = len(times) - bisect.bisect_left(times, now - RATE_WINDOW)
    counted = max(recent, min(RATE_TRIALS, len(times)))
    if not counted:
        return 0.0
    if counted < len(times):
        since = now - RATE_WINDOW if counted == recent else times[-counted - 1]
    elif len(times) == campaign.outcomes.finish_times.maxlen:  # earlier ones were forgotten
        since = times[0]
    else:
        since = campaign.speed.samples[0].time if campaign.speed.samples else campaign.began
    return 60.0 * counted / max(now - since, 1e-3)


def _left(campaign: Campaign) -> tuple[int, int]:
    """How many trials the campaign has left interrupted, and how many that never began; without the paused ones."""
    study = campaign.study
    left = study.storage.get_all_trials(study.study._study_id, deepcopy=False, states=(TrialState.RUNNING,))
    mine = [trial for trial in left if trial.system_attrs.get(OWNER) == study.campaign]
    begun = [has_begun(trial.system_attrs) for trial in mine if trial.user_attrs.get(PAUSED) is None]
    return sum(begun), len(begun) - sum(begun)


def _running(campaign: Campaign) -> list[dict[str, Any]]:
    shown = islice(campaign.flights.running.values(), SHOWN_RUNNING)
    return [
        {
            "number": flight.number,
            "attempt": flight.attempt,
            "repeat": flight.repeat,
            "host": flight.host,
            "pool": flight.pool,
            "block": flight.block,
            "worker": flight.worker,
            "began": round(flight.started or 0.0, 3),
            "seconds": round(campaign.now - (flight.started or 0.0), 1),
            **_last_report(campaign, flight),
        }
        for flight in shown
    ]


def _last_report(campaign: Campaign, flight: Flight) -> dict[str, Any]:
    """Step and value of the trial's last report, by an earlier attempt where this one has made none yet."""
    step, value = flight.last_step, flight.last_value
    if step is None and flight.attempt > 1 and not flight.repeat:
        reports = campaign.study.storage.get_trial(flight.trial_id).intermediate_values
        step, value = max(reports.items(), default=(None, None))
    return {"step": step, "value": value if value is None or math.isfinite(value) else None}
