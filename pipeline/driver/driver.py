"""The driver: runs the campaign of a claimed study, and shows what happens."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from ...errors import PilotuneError, RecordAway, RecordLost
from ...exit_codes import SITE
from ..attributes import BLOCKS, UTILIZATION
from ..campaign.campaign import Campaign
from ..campaign.campaign_study import CampaignStudy
from ..campaign.events import BlockView, Finish, PoolCharge, StopRequested
from ..campaign.flight import Flight, token_of
from ..campaign.limits import IMPORT_FAILURES, CampaignLimits
from ..campaign.node_hours import HoursPlan
from ..fidelity import hyperband_brackets, population_plan, rung_schedule
from ..record import (
    Lease,
    Orphan,
    RecordStorage,
    RunDirectory,
    in_its_space,
    orphans,
    renew,
    save_study,
    study_leases,
)
from ..record.hours import keep_hours, ledgers
from ..studyfile import StudyFile
from ..trial.block_env import yield_wait
from ..trial.files import TrialFiles, write_atomically
from ..trial.protocol import AttemptSpec, ChannelAddress, Outcome
from ..trial.report_log import ReportLog, newest_log
from ..user_code.parts import is_reference
from .attempt_specs import attempt_spec
from .checkpoints import take_snapshot
from .control import Control
from .ended_trials import EndedTrials
from .hours import hours_plan
from .hours_status import current_ledger
from .loop import CampaignLoop
from .placing import placed
from .run_storage_watch import DiskReserve, StorageWatch
from .settings import RunSettings
from .settlement import settle
from .status import Status, snapshot
from .step_watch import StepWatch
from .trial_fit import why_unfit

if TYPE_CHECKING:
    from ...providers.htex.sites import SitePool

log = logging.getLogger(__name__)

STATUS_PERIOD, STILL_PERIOD = 1.0, 5.0
"""Seconds between two writes of ``status.json``: while something changes, and while only the time does."""

LEASE_PERIOD = 15.0
"""Seconds between two renewals of the lease after the campaign has ended, while callbacks are waited for."""

SHOW_PERIOD = 0.25
"""Shortest time between two calls of the listener, seconds."""


class Driver:
    """Runs the campaign of one claimed study, and is what its loop knows of the process (``DriverServices``).

    :func:`~.run.run_campaign` shows how it is put together.

    Args:
        settings: What to run and where.
        storage: The record, opened.
        study: The study, claimed, with its sampler and pruner.
        run: The campaign's run directory.
        lease: The claim; it is renewed while the campaign runs.
        began: When the campaign began, Unix seconds.
        listener: Called with a snapshot, at most four times a second.
        notes: Sentences that the user is told once.

    Attributes:
        campaign: The campaign.
        channel: Where workers reach the driver; known once the pool has started.
        problem: What keeps the loop from committing, as a sentence; empty while all is well.
        storage_watch: Watches the run directory and the database's file.
        reserve: Disk space for the last commits.
        control: Where requests to stop come from; None before the driver runs.
        pool: The site's workers; None before the driver runs.
        left: After the campaign, which jobs could not be ended, as a sentence; empty if there are none.
    """

    def __init__(
        self,
        settings: RunSettings,
        storage: RecordStorage,
        study: optuna.Study,
        run: RunDirectory,
        lease: Lease,
        began: float,
        listener: Callable[[Status], None],
        notes: Sequence[str] = (),
    ):
        self.notes = list(notes)
        for note in notes:
            log.info("%s", note)
        self.settings, self.storage, self.study, self.run = settings, storage, study, run
        self.lease, self.listener = lease, listener
        self.study_file = in_its_space(settings.study_file, study)
        self.channel = ChannelAddress()
        self.problem = ""
        self.storage_watch = StorageWatch(run, storage)
        self.reserve = DiskReserve(storage.database.path, settings.study_file.name)
        self.control: Control | None = None
        self.pool: SitePool | None = None
        self.left = ""
        self._written = self._shown = 0.0
        self._last: Status | None = None  # the last one written
        self.ended = EndedTrials(self.study_file, storage, study, lease.campaign, run.path.parent)
        pruner = self.study_file.pruner
        brackets = hyperband_brackets(pruner.args) if pruner is not None and pruner.name == "hyperband" else []
        campaign_study = CampaignStudy(study, storage, self.study_file.space, lease.campaign, brackets)
        campaign_study.due = self.ended.due
        campaign_study.news = {} if self.ended.loggers else None
        self.campaign = Campaign(
            campaign_study,
            _limits(self.study_file, hours_plan(self.study_file, settings.site)),
            self,
            lease.campaign,
            began,
            rung_schedule(pruner) or population_plan(self.study_file.sampler),
        )

    def drive(self, pool: SitePool, control: Control) -> None:
        """Start the pool, and run the campaign to its end."""
        with unscanned_heap():
            self._drive(pool, control)

    def _drive(self, pool: SitePool, control: Control) -> None:
        self.report_status("")
        self.pool, self.control, control.wake = pool, control, pool.wake
        self.channel = pool.address
        watch = StepWatch(self.held_up, lambda: control.pending() or self._time_used_up())
        limit = self.study_file.budget.trials
        campaign = self.lease.campaign
        pools, learn = placed(pool, pool.specs, self.study_file, self.storage, self.study, campaign)
        loop = CampaignLoop(
            self.campaign, pools, self.storage, self, limit=limit, watched=watch.step, changed_by_others=learn
        )
        self.ended.start(pool.wake)
        with self.reserve, watch:
            loop.begin()
            dead = self.dead_records()
            if self.campaign.finished is None:
                pool.start(dead)
            else:
                pool.clean_up(dead)
            finish = self.checked(loop.run())
        with contextlib.suppress(RecordAway):  # the release of the lease commits it
            self.keep_times()
        self.problem = ""
        if finish.code == SITE and self.storage_watch.trouble:  # which may be why
            finish = self.campaign.finished = Finish(SITE, f"{finish.reason}; {self.storage_watch.trouble}")
        log.info("ended: %s", finish.reason)

    def _time_used_up(self) -> bool:
        limit = self.campaign.limits.time
        return limit is not None and time.time() - self.campaign.began >= limit

    def held_up(self, sentence: str) -> None:
        """Show what holds up the loop; called in another thread, while the loop does nothing."""
        log.warning("%s", sentence)
        if self._last is not None:
            status = dataclasses.replace(self._last, message=sentence, updated=time.time())
            self._write(status)
            self.listener(status)

    def finish_callbacks(self) -> None:
        """Wait for callbacks and loggers after the campaign has ended. Its lease is renewed meanwhile."""
        renewed = time.time()

        def tell(message: str) -> None:
            nonlocal renewed
            if time.time() - renewed > LEASE_PERIOD:
                renewed = time.time()
                with contextlib.suppress(RecordAway):
                    self.renew_lease()
                    self.storage.commit(limit=0)
            self.report_status(message)

        self.ended.finish(lambda: bool(self.control and self.control.stop_requests()), tell)
        self.problem = ""

    def on_jobs_left(self, jobs: Sequence[str]) -> None:
        """Some jobs could not be ended: they may hold nodes, so the campaign ends with exit code 3, and says so."""
        if not jobs:
            return
        finish = self.campaign.finished or Finish(SITE, "")
        which = f"job {jobs[0]} is" if len(jobs) == 1 else f"jobs {', '.join(jobs)} are"
        left = f"the scheduler did not end what is left: {which} not ended and may hold nodes"
        self.left = f"{left}; pilotune clean {self.study_file.name} tries again"
        self.campaign.finished = Finish(SITE, f"{finish.reason}; {which} left at the scheduler".lstrip("; "))

    def dead_records(self) -> list[Path]:
        """The job records of this study's dead drivers: which jobs they had submitted."""
        records = [RunDirectory(Path(lease.run)).jobs for lease in self.dead_leases() if lease.run]
        return [record for record in records if record.exists()]

    def dead_leases(self) -> list[Lease]:
        """The leases of this study's other campaigns whose drivers are dead."""
        now, own = self.storage.database.clock(), self.lease.campaign
        leases = study_leases(self.storage, self.study)
        return [lease for lease in leases if lease.campaign != own and not lease.alive(now)]

    # -- DriverServices -----------------------------------------------------------------------------------------------

    def stop_requests(self) -> Sequence[StopRequested]:
        """Requests from signals and the control file, and those of the storage watch."""
        if self.control and self.campaign.ending:
            yields = any(flight.yield_asked for flight in self.campaign.flights.running.values())
            self.control.reached("yield" if yields else "finish")
        asked = self.control.stop_requests() if self.control else ()
        return [*asked, *self.storage_watch.stop_requests(), *self.ended.requests()]

    def renew_lease(self) -> None:
        """Stage the renewal of this campaign's lease and what has changed of its blocks; see to those of the dead."""
        renew(self.storage, self.study, self.lease)
        self.settle_dead()
        self.keep_times()

    def keep_times(self) -> None:
        """Stage what has changed of the blocks' history, and for how long workers were busy and connected."""
        self.keep_hours()
        nodes = {pool.name: pool.nodes_per_block for pool in self.settings.site.pools}
        for part, blocks in self.campaign.block_history.changed(lambda pool: nodes.get(pool, 1)).items():
            key = f"{BLOCKS}{self.lease.campaign}:{part}"
            self.storage.set_study_system_attr(self.study._study_id, key, blocks)
        if self.campaign.worker_seconds:
            seconds = [round(each, 6) for each in (self.campaign.busy_seconds, self.campaign.worker_seconds)]
            key = UTILIZATION + self.lease.campaign
            self.storage.set_study_system_attr(self.study._study_id, key, seconds)

    def keep_hours(self) -> None:
        """Stage what the blocks have cost and can still cost."""
        campaign = self.campaign
        campaign.hours.others = ledgers(self.storage, self.study, self.lease.campaign)
        keep_hours(self.storage, self.study, self.lease.campaign, current_ledger(campaign))

    def settle_dead(self) -> None:
        """Write that dead campaigns give back the hours that their jobs can no longer use."""
        cleaned, limit = self.pool.cleaned if self.pool else None, self.study_file.budget.trials
        settle(self.storage, self.study, self.dead_leases, cleaned, time.time(), limit)

    def on_closed(self, charges: Mapping[str, PoolCharge], blocks: Sequence[BlockView], left: Sequence[str]) -> None:
        """The pool was closed: stage when its blocks ended, and what they have cost in the end.

        Args:
            charges: What each pool's blocks have cost.
            blocks: The blocks, as they are now.
            left: The jobs that could not be ended. Until they are, what they can cost stays reserved.
        """
        self.campaign.hours.take(charges)
        self.campaign.hours.over = not left
        self.campaign.block_history.see(blocks, time.time())
        with contextlib.suppress(RecordAway):  # the release of the lease commits it
            self.keep_times()
        self.on_jobs_left(left)

    def take_over_orphans(self) -> tuple[list[Orphan], list[Outcome]]:
        """Take over the trials of dead drivers, with the outcomes that their workers wrote."""
        taken = orphans(self.storage, self.study, self.campaign.held)
        self.ended.take_over()
        outcomes = [outcome for orphan in taken if (outcome := _outcome_of(orphan))]
        if taken:
            log.info("took over %d trials of dead drivers; %d of them had ended", len(taken), len(outcomes))
        return taken, outcomes

    def on_ended(self, numbers: Sequence[int]) -> None:
        """Call the callbacks of trials that have ended, let the terminator judge the study, and log them."""
        self.ended.put(numbers)

    def on_reports(self, reports: Mapping[int, Mapping[int, float]]) -> None:
        """Log what trials have reported."""
        if self.ended.loggers:
            self.ended.loggers.put_reports(reports)

    def last_saved(self, flight: Flight) -> float | None:
        """When a file of the trial's newest checkpoint was last written; None where there is none."""
        return TrialFiles(Path(flight.directory)).last_saved() if flight.directory else None

    def written_outcome(self, flight: Flight) -> Outcome | None:
        """The outcome that the attempt's worker wrote; None where it wrote none."""
        return _outcome_on_disk(flight.directory, flight.attempt, flight.token)

    def report_log(self, flight: Flight) -> ReportLog | None:
        """The newest report log of the trial, up to the flight's attempt; None where there is none."""
        return newest_log(TrialFiles(Path(flight.directory)), flight.attempt) if flight.directory else None

    def snapshot(self, flight: Flight, step: int) -> str:
        """Keep a copy of the trial's checkpoint; returns its folder, empty where the trial has saved nothing."""
        return take_snapshot(TrialFiles(Path(flight.directory)), step)

    def forget_snapshot(self, folder: str) -> None:
        """Remove such a copy."""
        shutil.rmtree(folder, ignore_errors=True)

    def free_reserve(self) -> bool:
        """Give the reserved disk space to the database; returns whether there was any."""
        return self.reserve.free()

    def save_study(self) -> str:
        """Write the study into another file, since its own is beyond repair; returns the end of a sentence."""
        try:
            path = save_study(self.storage, self.study._study_id)
        except (PilotuneError, OSError) as error:
            log.error("the study could not be saved: %s", error)
            return "; restore a copy of it. Every outcome is in the run directories too, as JSON"
        if path is None:
            return ""
        how = "move that file to its place, without the -wal and -shm files of the old one, then run pilotune resume"
        return f"; all that this campaign knew of the study is in {path}: {how}"

    def report_status(self, problem: str) -> None:
        """Show where the campaign is, not too often; at once when the problem changes."""
        now = time.time()
        urgent = problem != self.problem
        if bool(problem) != bool(self.problem):
            log.log(logging.WARNING if problem else logging.INFO, "%s", problem or "the database accepts writes again")
        self.problem = problem
        if urgent or now - self._shown >= SHOW_PERIOD:
            self.show(now, urgent)

    def make_spec(self, flight: Flight) -> AttemptSpec:
        """What a worker needs to run the attempt. A trial keeps its folder until the run directory is deleted."""
        if not flight.directory or not os.path.isdir(os.path.dirname(flight.directory)):
            flight.directory = str(self.run.trial(flight.number).directory)
        return attempt_spec(self.study_file, self.campaign, flight, self.channel)

    def why_unfit(self, flight: Flight) -> str:
        """Why no pool of the site can run the trial, which depends on its parameters; empty where one can."""
        return why_unfit(self.study_file, self.settings.site, flight.params)

    # -- what is shown ------------------------------------------------------------------------------------------------

    def checked(self, finish: Finish) -> Finish:
        """The campaign's end, after a check of the database: a study whose file is broken is saved from memory."""
        try:
            if finish.code != SITE:
                self.storage.database.check()
        except RecordLost as error:
            finish = self.campaign.finished = Finish(SITE, f"{error}{self.save_study()}")
        except RecordAway as error:
            log.info("the database could not be checked: %s", error)
        return finish

    def show(self, now: float, urgent: bool = True) -> Status:
        """Give the listener a snapshot, and write it to ``status.json`` where it is urgent or due."""
        storage, folder = self.settings.storage_url, str(self.run.path)
        disk = self.storage_watch.trouble or self.campaign.outcomes.disk_backoff.trouble
        pauses = self.campaign.promotion.trouble if self.campaign.promotion else ""
        given_up = self.pool.given_up.values() if self.pool else ()
        warnings = [*self.ended.warnings, *self.campaign.study.warnings, *given_up, *filter(None, [self.left])]
        message = "; ".join(each for each in (self.problem, disk, pauses, self.ended.trouble, *warnings) if each)
        status = snapshot(
            self.campaign,
            storage=storage,
            run_dir=folder,
            message=message,
            warnings=warnings,
            notes=self.notes,
            artifacts=self.ended.artifacts.kept,
            now=now,
        )
        self._shown = now
        self.listener(status)
        if urgent or now - self._written >= (STATUS_PERIOD if self._changed(status) else STILL_PERIOD):
            if status.waiting and (self._last is None or status.waiting != self._last.waiting):
                log.info("waiting: %s", status.waiting)
            self._written, self._last = now, status
            self._write(status)
        return status

    def _changed(self, status: Status) -> bool:
        return self._last is None or not status.same_but_time(self._last)

    def _write(self, status: Status) -> None:
        """Write the status; a full disk or a deleted run directory must not stop the campaign."""
        try:
            write_atomically(self.run.status, status.to_json())
        except OSError as error:
            self.storage_watch.on_write(error)
        else:
            self.storage_watch.on_write(None)


@contextlib.contextmanager
def unscanned_heap() -> Iterator[None]:
    """Inside, the garbage collector skips the objects that exist now.

    They live to the end, and each scan of a large study would stop the driver for a tenth of a second or more.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _limits(file: StudyFile, hours: HoursPlan) -> CampaignLimits:
    return CampaignLimits(
        hours=hours,
        trials=file.budget.trials,
        time=file.budget.time,
        failures=file.budget.failures,
        import_failures=None if file.objective.command else IMPORT_FAILURES,
        target=file.budget.target,
        maximize=file.directions[0] == "maximize",
        patience=file.budget.patience,
        retries=file.trial.retries,
        retry_errors=file.trial.retry_errors,
        repeats=file.trial.repeats,
        seed=file.seed,
        expected=file.trial.expected,
        yield_wait=yield_wait(file.budget.time, file.trial.yield_before),
        grace=file.trial.grace,
        second_opinions=file.trial.nodes == 1,
        asks_ahead=not is_reference(file.sampler.name),
        moves=any(cost.nodes > 1 for cost in hours.pools.values()),
    )


def _outcome_of(orphan: Orphan) -> Outcome | None:
    token = token_of(orphan.number, orphan.attempt, orphan.campaign)
    return _outcome_on_disk(orphan.directory, orphan.attempt, token)


def _outcome_on_disk(directory: str, attempt: int, token: str) -> Outcome | None:
    """The outcome that the attempt's worker wrote into the trial's folder; None where there is no valid one."""
    try:
        outcome = Outcome.from_json(TrialFiles(Path(directory)).outcome(attempt).read_bytes())
    except (OSError, ValueError, TypeError):
        return None
    return outcome if outcome.token == token else None
