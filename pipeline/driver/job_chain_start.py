"""Starts a chain of driver jobs, and submits a successor when a job's time is up."""

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
from ...exit_codes import STOPPED
from ..record import RunDirectory, new_campaign_id
from ..record.rundir import make_private, make_trusted
from ..trial.files import write_atomically
from .job_chain import MOST_JOBS, PREFIX, JobChain, JobSlot, margin, read_chain
from .settings import RunSettings, label_of

if TYPE_CHECKING:
    from ...providers.schedulers.batch import BatchBlocks
    from ...providers.site import Site
    from .status import Status

log = logging.getLogger(__name__)

JOB_ID_WAIT = 60.0
"""Longest wait of a job for its own job id, seconds: the process that submitted it may still be writing it down."""

RETRY_PERIOD = 10.0
"""Seconds between attempts to submit a successor that the scheduler refused for a reason that may pass."""


# -- at the start -----------------------------------------------------------------------------------------------------


def plan_chain(settings: RunSettings, words: Sequence[str]) -> JobChain:
    """A chain for a study that is to run in jobs; nothing is written.

    Args:
        settings: What to run and where.
        words: The driver's command line without ``--site``, which is added: the jobs use the chain's own site file.
    """
    from ...providers.blocks.driver_job import passed_on

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
    """The provider that submits the chain's jobs."""
    from ...providers.blocks.driver_job import driver_blocks

    return driver_blocks(site, chain.folder, chain.label, chain.environment)


def start_chain(chain: JobChain, site: Site) -> JobChain:
    """Submit the first job.

    Raises:
        SiteError: The scheduler refused it, with its words. No file is left then.
    """
    from ...providers.blocks.driver_job import submit_driver
    from ...providers.schedulers.jobs import SubmitRefused

    make_trusted(chain.folder.parent)
    make_private(chain.folder)
    try:
        write_atomically(chain.site_file, site.resolved())
        chain = chain.saved()
        return chain.saved(job=submit_driver(blocks_of(chain, site), 1, chain.words))
    except BaseException as error:
        shutil.rmtree(chain.folder, ignore_errors=True)
        if isinstance(error, SubmitRefused):
            raise SiteError(
                f"the scheduler refused the driver's job ({error.words}); see driver in the site file"
            ) from None
        raise


# -- in a job ---------------------------------------------------------------------------------------------------------


def begin_slot(script: Path) -> JobSlot | None:
    """The time slot of the job that runs ``script``; None where the user has stopped the chain meanwhile.

    Raises:
        SiteError: The job does not belong to its chain any more, or has too little time left.
    """
    generation = int(script.stem.rpartition("-")[2])
    chain = _await_job_id(script.parent, generation)
    if chain is None or chain.generation > generation or chain.ended:
        raise SiteError(
            f"{script.parent}: this job no longer belongs to its job chain; another job has taken over, or it has ended"
        )
    if chain.stop_signal():
        chain.saved(state="ended", reason="stopped before its driver began")
        return None
    walltime = float(os.environ["PILOTUNE_WALLTIME"])
    end = float(os.environ["PILOTUNE_BLOCK_END"])
    left = end - time.time()
    if left <= margin(walltime):
        reason = f"the driver's job began with {left:.0f} s left of {walltime:.0f} s, too little to run anything"
        chain.saved(state="ended", reason=reason)
        raise SiteError(reason)
    return JobSlot(chain.saved(state="running", generation=generation), end, walltime)


def _await_job_id(folder: Path, generation: int) -> JobChain | None:
    """The chain once its job's id is written; without the id where the process that submitted the job died."""
    give_up = time.monotonic() + JOB_ID_WAIT
    while True:
        chain = read_chain(folder)
        known = chain is not None and chain.job and chain.generation >= generation
        if known or time.monotonic() > give_up:
            return chain
        time.sleep(0.5)


def settings_in_job(settings: RunSettings, slot: JobSlot) -> RunSettings:
    """The settings of this job's campaign: its time budget is what earlier jobs left of it."""
    from ...providers.blocks.driver_job import site_on_compute_node

    study_file = settings.study_file
    if study_file.budget.time is not None:
        left = max(1.0, study_file.budget.time - slot.chain.used)
        budget = study_file.budget.model_copy(update={"time": left})
        study_file = dataclasses.replace(study_file, budget=budget)
    return dataclasses.replace(settings, study_file=study_file, site=site_on_compute_node(settings.site), slot=slot)


def end_slot(slot: JobSlot, status: Status, site: Site) -> Status:
    """Submit a successor if the campaign stopped only because the job's time is up.

    Returns:
        The status, with the reason extended by what comes next; it is written into the run directory too.
    """
    chain = slot.chain
    if status.code != STOPPED or not slot.over or slot.user_signal or chain.stop_signal():
        chain.saved(state="ended", reason=status.reason)
        return status
    chain = _submit_successor(slot, site)
    if chain.ended:
        reason = f"{chain.reason}; pilotune resume {chain.study} --in-job continues"
    else:
        reason = f"its driver's job reached its walltime; job {chain.job} continues"
    log.info("%s", reason)
    status = dataclasses.replace(status, reason=reason)
    write_atomically(RunDirectory(Path(status.run_dir)).status, status.to_json())
    return status


def _submit_successor(slot: JobSlot, site: Site) -> JobChain:
    from ...providers.blocks.driver_job import submit_driver
    from ...providers.schedulers.jobs import SubmitRefused

    chain = dataclasses.replace(slot.chain, used=slot.chain.used + time.time() - slot.began)
    generation = chain.generation + 1
    if generation > MOST_JOBS:
        return chain.saved(state="ended", reason=f"{MOST_JOBS} driver jobs have run one after the other")
    blocks = blocks_of(chain, site)
    while True:
        try:
            job = submit_driver(blocks, generation, chain.words)
        except SubmitRefused as error:
            time_left = time.time() + RETRY_PERIOD < slot.end - RETRY_PERIOD
            if error.transient and time_left and not chain.stop_signal():
                time.sleep(RETRY_PERIOD)
                continue
            return chain.saved(state="ended", reason=f"the scheduler refused the driver's next job ({error.words})")
        except SiteError as error:
            return chain.saved(state="ended", reason=f"the driver's next job could not be submitted ({error})")
        chain = chain.saved(generation=generation, job=job, state="waiting")
        if chain.stop_signal():  # written while the job was submitted
            blocks.cancel([job])
            return chain.saved(state="ended", reason="stopped by the user")
        return chain
