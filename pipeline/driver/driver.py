"""The driver: a claimed study, its campaign, and what the world sees of it."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna

from ...errors import PilotuneError, RecordAway, RecordLost, SiteError
from ...filesystems import why_not
from ..campaign.campaign import Campaign
from ..campaign.campaign_study import CampaignStudy
from ..campaign.events import Finish
from ..campaign.flight import Flight, seed_of, token_of
from ..campaign.limits import CampaignLimits
from ..campaign.outcomes import SITE
from ..fidelity import hyperband_brackets, make_pruner, rung_schedule
from ..record import (
    Lease,
    Orphan,
    RecordStorage,
    RunDirectory,
    claim,
    known_studies,
    learn_from,
    open_storage,
    open_study,
    orphans,
    release,
    renew,
    save_study,
    study_leases,
)
from ..studyfile import StudyFile
from ..suggest import make_sampler
from ..trial.files import TrialFiles, write_atomically
from ..trial.protocol import AttemptSpec, ChannelAddress, Limits, Outcome
from .control import Control
from .loop import CampaignLoop
from .run_storage_watch import DiskReserve, StorageWatch
from .status import Status, snapshot

if TYPE_CHECKING:
    from ...providers.htex.pool import ParslPool
    from .run import RunSettings

log = logging.getLogger(__name__)

STATUS_PERIOD, STILL_PERIOD = 1.0, 5.0
"""Seconds between writes of ``status.json``: where something changed, and where nothing but the clock moved."""

SHOW_PERIOD = 0.25
"""Seconds between calls of the listener."""


@contextlib.contextmanager
def claimed(
    settings: RunSettings, run: RunDirectory, campaign_id: str
) -> Iterator[tuple[RecordStorage, optuna.Study, Lease]]:
    """The study opened and claimed for this campaign."""
    study_file = settings.study_file
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with contextlib.closing(open_storage(settings.storage_url)) as storage:
        study = open_study(storage, study_file, sampler=None, pruner=make_pruner(study_file))
        lease = Lease.here(campaign_id, str(run.path))
        claim(storage, study, lease)
        try:
            _furnish(study_file, storage, study, campaign_id)
            yield storage, study, lease
        finally:
            release(storage, study, lease)


def _furnish(study_file: StudyFile, storage: RecordStorage, study: optuna.Study, campaign_id: str) -> None:
    """Give the study what it learns from, its first points and its sampler; the claim to it comes first."""
    if study_file.start_from.studies:
        learn_from(storage, study, study_file.start_from.studies, study_file.space)
    for point in study_file.start_from.enqueue:
        study.enqueue_trial(point, skip_if_exists=True)
    storage.commit()
    study.sampler = make_sampler(study_file, seed=_sampler_seed(study_file.seed, study, campaign_id))


def _sampler_seed(seed: int | None, study: optuna.Study, campaign_id: str) -> int | None:
    """The study file's seed for a new study. One that goes on must not draw the same numbers again."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state != optuna.trial.TrialState.WAITING]
    if seed is None or not trials:
        return seed
    entropy = [seed, len(trials), *campaign_id.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def remember(settings: RunSettings, run: RunDirectory) -> None:
    """Keep the study and site files in the run directory. Raises SiteError where it takes no files."""
    try:
        write_atomically(run.study_file, settings.study_file.resolved())
        write_atomically(run.site_file, settings.site.resolved())
    except OSError as error:
        raise SiteError(f"the run directory cannot be written: {why_not(error, run.path)}") from None
    known_studies.remember(
        name=settings.study_file.name,
        study_file=settings.study_file.path,
        storage=settings.storage_url,
        runs=settings.runs,
        site=settings.site.name,
        run_dir=run.path,
    )


class Driver:
    """What lives as long as the campaign."""

    def __init__(
        self,
        settings: RunSettings,
        storage: RecordStorage,
        study: optuna.Study,
        run: RunDirectory,
        lease: Lease,
        began: float,
        listener: Callable[[Status], None],
    ):
        self.settings, self.storage, self.study, self.run = settings, storage, study, run
        self.lease, self.listener = lease, listener
        self.study_file = settings.study_file
        self.channel = ChannelAddress()
        self.message = ""
        self.ground = StorageWatch(run, storage)
        self._written = self._shown = 0.0
        self._last: Status | None = None  # as it was last written
        pruner = self.study_file.pruner
        brackets = hyperband_brackets(pruner.args) if pruner is not None and pruner.name == "hyperband" else []
        self.campaign = Campaign(
            CampaignStudy(study, storage, self.study_file.space, lease.campaign, brackets),
            _rules(self.study_file),
            self.make_spec,
            lease.campaign,
            began,
            rung_schedule(pruner),
        )

    def drive(self, pool: ParslPool, control: Control) -> None:
        with long_lived():
            self._drive(pool, control)

    def _drive(self, pool: ParslPool, control: Control) -> None:
        self.note("")
        self.channel, control.wake = pool.channel.address, pool.wake
        pool.start(self.dead_records())
        reserve = DiskReserve(self.storage.database.path, self.study_file.name)
        pump = CampaignLoop(
            self.campaign,
            pool,
            self.storage,
            make_room=reserve.give,
            save=self.save,
            user=lambda: [*control.asked(), *self.ground.asked()],
            renew=lambda: renew(self.storage, self.study, self.lease),
            orphans=self.orphans,
            written=self.written,
            tell=self.note,
            limit=self.study_file.budget.trials,
        )
        with reserve:
            finish = self.checked(pump.run())
        self.message = ""
        if finish.code == SITE and self.ground.trouble:  # which may be why
            finish = self.campaign.finished = Finish(SITE, f"{finish.reason}; {self.ground.trouble}")
        log.info("ended: %s", finish.reason)

    def dead_records(self) -> list[Path]:
        """What dead drivers of this study wrote down of the jobs that they submitted."""
        now = self.storage.clock()
        dead = [lease for lease in study_leases(self.storage, self.study) if lease.run and not lease.alive(now)]
        records = [RunDirectory(Path(lease.run)).jobs for lease in dead if lease.campaign != self.lease.campaign]
        return [record for record in records if record.exists()]

    def orphans(self) -> tuple[list[Orphan], list[Outcome]]:
        """Trials of dead drivers, taken over, and the outcomes that their workers wrote."""
        taken = orphans(self.storage, self.study, self.campaign.held)
        outcomes = [outcome for orphan in taken if (outcome := _outcome_of(orphan))]
        if taken:
            log.info("taking up %d trials of dead drivers again; %d of them had ended", len(taken), len(outcomes))
        return taken, outcomes

    def written(self, flight: Flight) -> Outcome | None:
        """What the worker of an attempt wrote at its end; None where it did not come so far."""
        return _outcome_on_disk(flight.directory, flight.attempt, flight.token)

    def checked(self, finish: Finish) -> Finish:
        """The campaign's end, with a look at the database: what was written into a broken one is saved from memory."""
        try:
            if finish.code != SITE:
                self.storage.database.check()
        except RecordLost as error:
            finish = self.campaign.finished = Finish(SITE, f"{error}{self.save()}")
        except RecordAway as error:
            log.info("the database was not checked: %s", error)
        return finish

    def save(self) -> str:
        """Write the study into another file, since its own is beyond repair; the end of a sentence that says where."""
        try:
            path = save_study(self.storage, self.study._study_id)
        except (PilotuneError, OSError) as error:
            log.error("the study could not be saved: %s", error)
            return "; put a copy of it in its place. Every outcome is in the run directories too, as JSON"
        if path is None:
            return ""
        how = "put that in its place, without the -wal and -shm of the old one, and pilotune resume goes on"
        return f"; all that this campaign knew of the study is in {path}: {how}"

    def note(self, message: str) -> None:
        """Called after every tick: shows where the campaign is, not too often."""
        now = time.time()
        urgent = message != self.message
        if bool(message) != bool(self.message):
            log.log(logging.WARNING if message else logging.INFO, "%s", message or "the database takes it again")
        self.message = message
        if urgent or now - self._shown >= SHOW_PERIOD:
            self.show(now, urgent)

    def show(self, now: float, urgent: bool = True) -> Status:
        """A snapshot for the listener, and for ``status.json`` where it is urgent or time for it."""
        storage, folder = self.settings.storage_url, str(self.run.path)
        room = self.ground.trouble or self.campaign.ends.room.trouble
        pauses = self.campaign.promotion.trouble if self.campaign.promotion else ""
        message = "; ".join(each for each in (self.message, room, pauses) if each)
        status = snapshot(self.campaign, storage=storage, run_dir=folder, message=message, now=now)
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
        """A full disk or a deleted run directory must not stop the campaign."""
        try:
            write_atomically(self.run.status, status.to_json())
        except OSError as error:
            self.ground.wrote(error)
        else:
            self.ground.wrote(None)

    def make_spec(self, flight: Flight) -> AttemptSpec:
        file = self.study_file
        if not flight.directory or not os.path.isdir(flight.directory):
            flight.directory = str(self.run.trial(flight.number).directory)
        options, space = file.trial, file.space
        return AttemptSpec(
            token=flight.token,
            study=file.name,
            number=flight.number,
            attempt=flight.attempt,
            params=flight.params,
            defines_space=space is None,
            directory=flight.directory,
            seed=seed_of(file.seed, file.name, flight.number),
            n_values=len(file.directions),
            metrics=list(file.metrics),
            space_names=space.names if space else [],
            isolate=options.isolate,
            preload=options.preload,
            cores=options.cores,
            gpus=options.gpus,
            nodes=options.nodes,
            ranks_per_node=options.ranks_per_node,
            expected=self._expected(flight),
            yield_before=options.yield_before,
            avoid=sorted(flight.avoid),
            objective=file.objective,
            limits=Limits(
                timeout=options.timeout,
                memory=options.memory,
                max_output=options.max_output,
                grace=options.grace,
            ),
            channel=self.channel,
        )

    def _expected(self, flight: Flight) -> float | None:
        """Seconds that the next attempt of a trial may take, to its end or the rung where it pauses: what is left of
        them, where earlier ones kept anything."""
        ran = flight.ran - flight.stage
        kept = ran > 0.0 and TrialFiles(Path(flight.directory)).holds_checkpoint()
        return self.campaign.ends.durations.left(ran if kept else 0.0)


@contextlib.contextmanager
def long_lived() -> Iterator[None]:
    """What is there at the start lasts to the end: passes of the garbage collector over a large study would each stop
    the driver for a tenth of a second and more."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _rules(file: StudyFile) -> CampaignLimits:
    return CampaignLimits(
        trials=file.budget.trials,
        time=file.budget.time,
        failures=file.budget.failures,
        target=file.budget.target,
        maximize=file.directions[0] == "maximize",
        retries=file.trial.retries,
        retry_errors=file.trial.retry_errors,
        expected=file.trial.expected,
        second_opinions=file.trial.nodes == 1,
    )


def _outcome_of(orphan: Orphan) -> Outcome | None:
    token = token_of(orphan.number, orphan.attempt, orphan.campaign)
    return _outcome_on_disk(orphan.directory, orphan.attempt, token)


def _outcome_on_disk(directory: str, attempt: int, token: str) -> Outcome | None:
    """What the worker wrote before its driver could be told; None where there is nothing to trust."""
    try:
        outcome = Outcome.from_json(TrialFiles(Path(directory)).outcome(attempt).read_bytes())
    except (OSError, ValueError, TypeError):
        return None
    return outcome if outcome.token == token else None
