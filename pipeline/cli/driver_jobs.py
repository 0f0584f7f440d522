"""Driver jobs as seen from outside: their notes, and what the scheduler says of the latest."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...providers.schedulers.jobs import Job
    from ..driver.job_chain import JobChain

LAPSE = 1.0
"""Seconds after which a scheduler that does not know a job is asked again, before the job counts as gone."""


def unfinished(study_folder: Path | None) -> list[JobChain]:
    """The relays of a study that have not ended as far as their notes tell, the newest first."""
    from ..driver.job_chain import relays

    return [chain for chain in relays(study_folder) if not chain.ended]


def going_on(study_folder: Path | None) -> list[JobChain]:
    """Those whose jobs the scheduler has not seen end either; one whose job is gone is noted as ended."""
    return [chain for chain in map(checked, unfinished(study_folder)) if not chain.ended]


def checked(chain: JobChain) -> JobChain:
    """The relay, ended where the scheduler says that its job is over."""
    from ..driver.job_chain import read_relay

    job = job_of(chain)
    if job is None or job.phase != "ended":
        return chain
    latest = read_relay(chain.folder)  # it may have gone on meanwhile
    if latest is None or latest.job != chain.job or latest.ended:
        return latest or chain
    end = f" ({job.reason})" if job.reason else ""
    return latest.now(state="ended", reason=f"job {chain.job} is gone, and told nothing{end}")


def job_of(chain: JobChain) -> Job | None:
    """What the scheduler says of the relay's job; None where it cannot be asked, or the number is not known yet."""
    from ...errors import SiteError
    from ...providers.blocks.orphaned_jobs import asker
    from ...providers.schedulers.jobs import Job, Phase, SchedulerAway

    if not chain.job:
        return None
    try:
        provider = asker(chain.scheduler)
        for pause in (0.0, LAPSE):
            time.sleep(pause)
            found = provider.query([chain.job]).get(chain.job)
            if found is not None:
                return found
    except (SchedulerAway, SiteError):
        return None
    return Job(chain.job, Phase.ENDED)


def describe(chain: JobChain) -> str:
    """Where the driver is, in words."""
    job = job_of(chain)
    words = {"waiting": "waits in the queue", "running": "runs"}[chain.state]
    if job is not None and job.phase == "queued" and job.reason:
        words += f" ({job.reason})"
    nth = f", the {ordinal(chain.generation)} of its driver" if chain.generation > 1 else ""
    return f"job {chain.job} at {chain.site} ({chain.scheduler}){nth} {words}"


def ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def stop(chain: JobChain, how: str) -> JobChain:
    """Tell the relay to end. A job that waits is cancelled; one that runs ends by itself and has no successor."""
    from ...providers.blocks.orphaned_jobs import asker
    from ..driver.job_chain import read_relay
    from ..trial.files import write_atomically

    write_atomically(chain.stop, how)
    latest = read_relay(chain.folder) or chain
    if latest.state != "waiting" or not latest.job:
        return latest
    from ...errors import SiteError
    from ...providers.schedulers.jobs import SchedulerAway

    with contextlib.suppress(SiteError, SchedulerAway):
        # Where that cannot be done from here, the job finds the control file when it begins, and ends at once.
        if asker(latest.scheduler).cancel_one(latest.job):
            return latest.now(state="ended", reason="stopped while its job waited")
    return latest


def told(chain: JobChain) -> str:
    """What came of stopping it."""
    if chain.ended:
        return f"job {chain.job} of its driver waited and was cancelled" if "waited" in chain.reason else chain.reason
    if chain.state == "waiting":
        return f"job {chain.job} of its driver waits, and will end as soon as it begins"
    return f"job {chain.job} of its driver ends, and has no successor"


def as_data(chain: JobChain) -> dict[str, object]:
    return {
        "job": chain.job,
        "scheduler": chain.scheduler,
        "site": chain.site,
        "generation": chain.generation,
        "state": chain.state,
        "updated": chain.updated,
        "folder": str(chain.folder),
    }
