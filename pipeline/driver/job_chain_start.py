"""Starts a relay of driver jobs, and goes on in a successor where a job's time is up."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import SiteError
from ..record import RunDirectory, new_campaign_id
from ..record.rundir import make_own, make_private
from ..trial.files import write_atomically
from .job_chain import MOST, PREFIX, JobChain, JobSlot, margin, read_relay

if TYPE_CHECKING:
    from ...providers.schedulers.batch import BatchBlocks
    from ...providers.site import Site
    from .run import RunSettings
    from .status import Status

log = logging.getLogger(__name__)

NEWS = 60.0
"""Seconds that a job waits to read its own number, which who submitted it writes down just then."""

TRIES = 10.0
"""Seconds between tries to submit a successor that the scheduler did not take for a reason that may pass."""


# -- at the start -----------------------------------------------------------------------------------------------------


def plan_relay(settings: RunSettings, words: Sequence[str]) -> JobChain:
    """A relay for a study that is to run in jobs; nothing is written. ``words``: the driver's command line, without
    ``--site``, which is added."""
    from ...providers.blocks.driver_job import passed_on
    from .run import label_of

    name = new_campaign_id()
    folder = settings.runs / settings.study_file.name / f"{PREFIX}{name}"
    chain = JobChain(
        folder=folder,
        study=settings.study_file.name,
        storage=settings.storage_url,
        scheduler=settings.site.scheduler,
        site=settings.site.name,
        label=label_of(settings.study_file, name),
        words=tuple(words),
        environment=passed_on(),
    )
    return dataclasses.replace(chain, words=(*words, "--site", str(chain.site_file)))


def blocks_of(chain: JobChain, site: Site) -> BatchBlocks:
    """The provider of the relay's jobs."""
    from ...providers.blocks.driver_job import driver_blocks

    return driver_blocks(site, chain.folder, chain.label, chain.environment)


def start_relay(chain: JobChain, site: Site) -> JobChain:
    """Submit the first job. Raises SiteError with the scheduler's words where it is refused; nothing is left then."""
    from ...providers.blocks.driver_job import submit_driver
    from ...providers.schedulers.jobs import SubmitRefused

    make_own(chain.folder.parent)
    make_private(chain.folder)
    try:
        write_atomically(chain.site_file, site.resolved())
        chain = chain.now()
        return chain.now(job=submit_driver(blocks_of(chain, site), 1, chain.words))
    except BaseException as error:
        shutil.rmtree(chain.folder, ignore_errors=True)
        if isinstance(error, SubmitRefused):
            raise SiteError(
                f"the scheduler refused the driver's job ({error.words}); see driver in the site file"
            ) from None
        raise


# -- in a job ---------------------------------------------------------------------------------------------------------


def begin_shift(script: Path) -> JobSlot | None:
    """The shift of the job that runs ``script``; None where somebody has told it to end meanwhile.

    Raises SiteError where the job is none of its relay's any more, or has too little time.
    """
    generation = int(script.stem.rpartition("-")[2])
    chain = _news(script.parent, generation)
    if chain is None or chain.generation > generation or chain.ended:
        raise SiteError(f"{script.parent}: this job is not of this relay any more; another goes on, or it has ended")
    if chain.told():
        chain.now(state="ended", reason="stopped before its driver began")
        return None
    walltime = float(os.environ["PILOTUNE_WALLTIME"])
    end = float(os.environ["PILOTUNE_BLOCK_END"])
    left = end - time.time()
    if left <= margin(walltime):
        reason = f"the driver's job began with {left:.0f} s left of {walltime:.0f} s, too little to do anything"
        chain.now(state="ended", reason=reason)
        raise SiteError(reason)
    return JobSlot(chain.now(state="running", generation=generation), end, walltime)


def _news(folder: Path, generation: int) -> JobChain | None:
    """The relay as it is when its job's id is written down; without that where who submitted it died just then."""
    give_up = time.monotonic() + NEWS
    while True:
        chain = read_relay(folder)
        known = chain is not None and chain.job and chain.generation >= generation
        if known or time.monotonic() > give_up:
            return chain
        time.sleep(0.5)


def settings_in_job(settings: RunSettings, slot: JobSlot) -> RunSettings:
    """What this job runs: the time budget is what earlier ones left of it."""
    from ...providers.blocks.driver_job import where_it_runs

    study_file = settings.study_file
    if study_file.budget.time is not None:
        left = max(1.0, study_file.budget.time - slot.chain.used)
        budget = study_file.budget.model_copy(update={"time": left})
        study_file = dataclasses.replace(study_file, budget=budget)
    return dataclasses.replace(settings, study_file=study_file, site=where_it_runs(settings.site), slot=slot)


def end_shift(slot: JobSlot, status: Status, site: Site) -> Status:
    """Submit a successor where only the job's time was up; returns the status, which tells of it."""
    chain = slot.chain
    if status.code != 130 or not slot.over or slot.told or chain.told():
        chain.now(state="ended", reason=status.reason)
        return status
    chain = _successor(slot, site)
    if chain.ended:
        reason = f"{chain.reason}; pilotune resume {chain.study} --in-job goes on"
    else:
        reason = f"its driver's job came to its end; job {chain.job} goes on"
    log.info("%s", reason)
    status = dataclasses.replace(status, reason=reason)
    write_atomically(RunDirectory(Path(status.run_dir)).status, status.to_json())
    return status


def _successor(slot: JobSlot, site: Site) -> JobChain:
    from ...providers.blocks.driver_job import submit_driver
    from ...providers.schedulers.jobs import SubmitRefused

    chain = dataclasses.replace(slot.chain, used=slot.chain.used + time.time() - slot.began)
    generation = chain.generation + 1
    if generation > MOST:
        return chain.now(state="ended", reason=f"{MOST} driver jobs have run one after the other")
    blocks = blocks_of(chain, site)
    while True:
        try:
            job = submit_driver(blocks, generation, chain.words)
        except SubmitRefused as error:
            if error.transient and time.time() + TRIES < slot.end - TRIES and not chain.told():
                time.sleep(TRIES)
                continue
            return chain.now(state="ended", reason=f"the scheduler refused the next job of the driver ({error.words})")
        except SiteError as error:
            return chain.now(state="ended", reason=f"the next job of the driver could not be submitted ({error})")
        chain = chain.now(generation=generation, job=job, state="waiting")
        if chain.told():  # in this very moment
            blocks.cancel([job])
            return chain.now(state="ended", reason="stopped as asked")
        return chain
