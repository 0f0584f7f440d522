"""Chooses the campaign that ``pilotune watch`` follows, and finds the one that a queued job of its driver starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import PilotuneError, UserError

if TYPE_CHECKING:
    from ..driver.job_chain import JobChain
    from ..studies.campaign_status import ObservedCampaign

JOB_QUERY_INTERVAL = 60.0
"""Seconds between two queries to the scheduler about a driver's job that is queued."""

NEVER_STARTED = 130
"""Exit code if the driver's job ends without having started a campaign."""


def choose_campaign(name: str | None) -> tuple[Path, ObservedCampaign | None]:
    """The campaign to follow: the running one of a study, else its latest.

    Args:
        name: The study's name; None for the only campaign that runs.

    Returns:
        The folder of the study's campaigns, and the campaign; None while the first job of its driver is queued.
    """
    from ..record import known_studies
    from ..studies.campaign_status import list_campaigns
    from ..studies.driver_jobs import active_chains
    from ..studies.resolve import from_entry, resolve_study

    if name is None:
        running = [
            campaign
            for study in map(from_entry, known_studies.all())
            for campaign in list_campaigns(study.runs, study.name)
            if campaign.alive
        ]
        if len(running) == 1:
            return running[0].folder.parent, running[0]
        names = ", ".join(sorted({campaign.status.study for campaign in running}))
        raise UserError(f"which study? running: {names}" if running else "nothing is running; see pilotune status")
    study = resolve_study(name)
    campaigns = list_campaigns(study.runs, study.name)
    folder = study.folder
    if folder is None or not (campaigns or active_chains(folder)):
        where = "" if folder is None else f" in {folder}, where its run directories belong"
        more = "pilotune run STUDY starts one"
        raise UserError(f"study {study.name!r} has no campaign to follow{where}; {more}")
    latest = campaigns[0] if campaigns else None
    return folder, next((campaign for campaign in campaigns if campaign.alive), latest)


def code_at_end(campaign: ObservedCampaign) -> int:
    """The exit code of a campaign that was followed to its end.

    Raises:
        PilotuneError: Its driver died.
        UserError: So it did, and its run directory was deleted.
    """
    status = campaign.status
    if status.state != "ended":
        if not campaign.folder.exists():
            more = f"pilotune status {status.study} shows the study"
            raise UserError(f"the run directory {campaign.folder} was deleted, and the driver has ended; {more}")
        raise PilotuneError(f"the driver of {status.study} died; pilotune resume {status.study} continues the study")
    return status.code or 0


class DriverWait:
    """Waits for the campaign that the queued job of a driver starts; it has to be asked again and again.

    Args:
        chain: The job chain.
        after: Campaigns that started at this moment (Unix seconds) or earlier do not count.
        clock: Gives seconds, to know when the scheduler is to be asked again.

    Attributes:
        sentence: Where the job is.
        ended: Why it ended without starting a campaign; empty while it may still start one.
    """

    def __init__(self, chain: JobChain, after: float, clock: Callable[[], float] = time.monotonic):
        from ..studies.driver_jobs import describe_chain

        self._chain, self._after, self._clock = chain, after, clock
        self._asked = clock()
        self.sentence = describe_chain(chain)
        self.ended = ""

    def look(self) -> ObservedCampaign | None:
        """The campaign, once there is one. The scheduler is asked about the job once a minute, and when it began."""
        from ..driver.job_chain import read_chain
        from ..studies.campaign_status import list_campaigns
        from ..studies.driver_jobs import describe_chain, refresh

        chain = self._chain  # as it was before the campaigns are read, so that one that starts in between is not missed
        newest = next(iter(list_campaigns(chain.folder.parent.parent, chain.study)), None)
        if newest is not None and newest.status.started > self._after:
            return newest
        if chain.ended:
            self.ended = f"the driver's job has ended: {chain.reason}"
            return None
        self._chain = read_chain(chain.folder) or chain
        due = self._clock() - self._asked > JOB_QUERY_INTERVAL
        if due:
            self._asked, self._chain = self._clock(), refresh(self._chain)
        changed = (self._chain.job, self._chain.state) != (chain.job, chain.state)
        if (due or changed) and not self._chain.ended:
            self.sentence = describe_chain(self._chain)
        return None
