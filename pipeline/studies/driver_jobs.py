"""The batch jobs that drivers of ``--in-job`` run in: what their job chains noted, and what the scheduler says."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...providers.schedulers.jobs import Job
    from ..driver.job_chain import JobChain

RECHECK_DELAY = 1.0
"""Seconds until a scheduler that does not know a job is asked again; if it still does not, the job has ended."""


def unfinished_chains(study_folder: Path | None) -> list[JobChain]:
    """The job chains of a study that have not ended according to their notes, newest first."""
    from ..driver.job_chain import chains_in

    return [chain for chain in chains_in(study_folder) if not chain.ended]


def active_chains(study_folder: Path | None) -> list[JobChain]:
    """The job chains of a study that have not ended according to the scheduler either, newest first.

    A chain whose job is gone is noted as ended.
    """
    return [chain for chain in map(refresh, unfinished_chains(study_folder)) if not chain.ended]


def refresh(chain: JobChain) -> JobChain:
    """The chain as it is now; noted as ended if the scheduler says that its job is over."""
    from ..driver.job_chain import read_chain

    job = query_job(chain)
    if job is None or job.phase != "ended":
        return chain
    latest = read_chain(chain.folder)  # meanwhile the job may have submitted its successor
    if latest is None or latest.job != chain.job or latest.ended:
        return latest or chain
    end = f" ({job.reason})" if job.reason else ""
    return latest.saved(state="ended", reason=f"job {chain.job} is gone and left no message{end}")


def query_job(chain: JobChain) -> Job | None:
    """What the scheduler says of the chain's job; None if it cannot be asked, or if the job has no id yet."""
    from ...errors import SiteError
    from ...providers.blocks.orphaned_jobs import query_provider
    from ...providers.schedulers.jobs import Job, Phase, SchedulerUnreachable

    if not chain.job:
        return None
    try:
        provider = query_provider(chain.scheduler)
        for pause in (0.0, RECHECK_DELAY):
            time.sleep(pause)
            job = provider.query([chain.job]).get(chain.job)
            if job is not None:
                return job
    except (SchedulerUnreachable, SiteError):
        return None
    return Job(chain.job, Phase.ENDED)


def describe_chain(chain: JobChain) -> str:
    """Where the driver's job is: ``job 71 at theta (cobalt), the 2nd of its driver, is queued (Priority)``."""
    job = query_job(chain)
    words = {"waiting": "is queued", "running": "is running"}[chain.state]
    if job is not None and job.phase == "queued" and job.reason:
        words += f" ({job.reason})"
    nth = f", the {ordinal(chain.generation)} of its driver," if chain.generation > 1 else ""
    return f"job {chain.job} at {chain.site} ({chain.scheduler}){nth} {words}"


def ordinal(number: int) -> str:
    """A number as an ordinal.

    >>> [ordinal(n) for n in (1, 2, 3, 11, 22, 113)]
    ['1st', '2nd', '3rd', '11th', '22nd', '113th']
    """
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def stop_chain(chain: JobChain, how: str) -> JobChain:
    """Tell a chain to end: cancel its job if it is queued; a running job ends by itself and submits no successor.

    Args:
        chain: The chain.
        how: What its driver does with running trials: ``finish``, ``yield`` or ``now``.
    """
    from ...providers.blocks.orphaned_jobs import query_provider
    from ..driver.job_chain import read_chain
    from ..trial.files import write_atomically

    write_atomically(chain.stop, how)
    latest = read_chain(chain.folder) or chain
    if latest.state != "waiting" or not latest.job:
        return latest
    from ...errors import SiteError
    from ...providers.schedulers.jobs import SchedulerUnreachable

    with contextlib.suppress(SiteError, SchedulerUnreachable):
        # If the job cannot be cancelled from here, it finds the control file when it begins, and ends at once.
        if query_provider(latest.scheduler).cancel_one(latest.job):
            return latest.saved(state="ended", reason="stopped while its job waited")
    return latest


def describe_stopped(chain: JobChain) -> str:
    """What :func:`stop_chain` did."""
    if chain.ended:
        return f"the driver's job {chain.job} was queued and is cancelled" if "waited" in chain.reason else chain.reason
    if chain.state == "waiting":
        return f"the driver's job {chain.job} is queued, and will end as soon as it begins"
    return f"the driver's job {chain.job} is ending, and submits no successor"


def chain_json(chain: JobChain) -> dict[str, object]:
    """A chain for ``--json``."""
    return {
        "job": chain.job,
        "scheduler": chain.scheduler,
        "site": chain.site,
        "generation": chain.generation,
        "state": chain.state,
        "updated": chain.updated,
        "folder": str(chain.folder),
    }
