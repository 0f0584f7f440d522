"""Driver jobs as seen from outside: their notes, and what the scheduler says of the latest."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...providers.schedulers.jobs import Job
    from ..driver.job_chain import Relay

LAPSE = 1.0
"""Seconds after which a scheduler that does not know a job is asked again, before the job counts as gone."""


def unfinished(study_folder: Path | None) -> list[Relay]:
    """The relays of a study that have not ended as far as their notes tell, the newest first."""
    from ..driver.job_chain import relays

    return [relay for relay in relays(study_folder) if not relay.ended]


def going_on(study_folder: Path | None) -> list[Relay]:
    """Those whose jobs the scheduler has not seen end either; one whose job is gone is noted as ended."""
    return [relay for relay in map(checked, unfinished(study_folder)) if not relay.ended]


def checked(relay: Relay) -> Relay:
    """The relay, ended where the scheduler says that its job is over."""
    from ..driver.job_chain import read_relay

    job = job_of(relay)
    if job is None or job.phase != "ended":
        return relay
    latest = read_relay(relay.folder)  # it may have gone on meanwhile
    if latest is None or latest.job != relay.job or latest.ended:
        return latest or relay
    end = f" ({job.reason})" if job.reason else ""
    return latest.now(state="ended", reason=f"job {relay.job} is gone, and told nothing{end}")


def job_of(relay: Relay) -> Job | None:
    """What the scheduler says of the relay's job; None where it cannot be asked, or the number is not known yet."""
    from ...errors import SiteError
    from ...providers.blocks.orphaned_jobs import asker
    from ...providers.schedulers.jobs import Job, Phase, SchedulerAway

    if not relay.job:
        return None
    try:
        provider = asker(relay.scheduler)
        for pause in (0.0, LAPSE):
            time.sleep(pause)
            found = provider.query([relay.job]).get(relay.job)
            if found is not None:
                return found
    except (SchedulerAway, SiteError):
        return None
    return Job(relay.job, Phase.ENDED)


def describe(relay: Relay) -> str:
    """Where the driver is, in words."""
    job = job_of(relay)
    words = {"waiting": "waits in the queue", "running": "runs"}[relay.state]
    if job is not None and job.phase == "queued" and job.reason:
        words += f" ({job.reason})"
    nth = f", the {ordinal(relay.generation)} of its driver" if relay.generation > 1 else ""
    return f"job {relay.job} at {relay.site} ({relay.scheduler}){nth} {words}"


def ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def stop(relay: Relay, how: str) -> Relay:
    """Tell the relay to end. A job that waits is cancelled; one that runs ends by itself and has no successor."""
    from ...providers.blocks.orphaned_jobs import asker
    from ..driver.job_chain import read_relay
    from ..trial.files import write_atomically

    write_atomically(relay.stop, how)
    latest = read_relay(relay.folder) or relay
    if latest.state != "waiting" or not latest.job:
        return latest
    from ...errors import SiteError
    from ...providers.schedulers.jobs import SchedulerAway

    with contextlib.suppress(SiteError, SchedulerAway):
        # Where that cannot be done from here, the job finds the control file when it begins, and ends at once.
        if asker(latest.scheduler).cancel_one(latest.job):
            return latest.now(state="ended", reason="stopped while its job waited")
    return latest


def told(relay: Relay) -> str:
    """What came of stopping it."""
    if relay.ended:
        return f"job {relay.job} of its driver waited and was cancelled" if "waited" in relay.reason else relay.reason
    if relay.state == "waiting":
        return f"job {relay.job} of its driver waits, and will end as soon as it begins"
    return f"job {relay.job} of its driver ends, and has no successor"


def as_data(relay: Relay) -> dict[str, object]:
    return {
        "job": relay.job,
        "scheduler": relay.scheduler,
        "site": relay.site,
        "generation": relay.generation,
        "state": relay.state,
        "updated": relay.updated,
        "folder": str(relay.folder),
    }
