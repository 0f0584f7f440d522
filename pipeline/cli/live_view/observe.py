"""Observes a campaign through its files, and after its end the next one of the same job chain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...studies.campaign_status import POLL_INTERVAL, read_again
from ..following import NEVER_STARTED, DriverWait, code_at_end
from .reports import RecentReports

if TYPE_CHECKING:
    from ...studies.campaign_status import ObservedCampaign


@dataclass(frozen=True)
class Observation:
    """What is to be seen at one moment.

    Attributes:
        campaign: The campaign as it was last read; None while the first job of its driver is queued.
        driver: Where the driver's job is, while it is waited for.
        reports: The last report values of running trials, by number.
        code: The exit code, once there is nothing more to follow.
        end: Why it ended, where the campaign's own status does not say so.
    """

    campaign: ObservedCampaign | None
    driver: str = ""
    reports: Mapping[int, Sequence[float]] = field(default_factory=dict)
    code: int | None = None
    end: str = ""


class CampaignObserver:
    """Follows a campaign to its end, then those of the successors of its driver's job.

    Args:
        folder: The folder of the study's campaigns.
        campaign: The campaign; None while the first job of its driver is queued.
    """

    def __init__(self, folder: Path, campaign: ObservedCampaign | None):
        self._folder, self._campaign = folder, campaign
        self._wait: DriverWait | None = None
        self._reports = RecentReports()
        self._followed = campaign is not None and campaign.alive  # it was seen alive

    def look(self) -> Observation:
        """Read the files once. Raises PilotuneError if the driver died."""
        if self._wait is not None:
            found = self._wait.look()
            if found is None:
                code = self._code() if self._wait.ended else None
                return Observation(self._campaign, self._wait.sentence, {}, code, self._wait.ended)
            self._campaign, self._wait, self._followed = found, None, True
        elif self._campaign is not None:
            self._campaign = read_again(self._campaign)
        return self._observe()

    def _observe(self) -> Observation:
        from ...record import RunDirectory
        from ...studies.driver_jobs import active_chains

        campaign = self._campaign
        if campaign is not None and campaign.alive:
            self._reports.update(campaign.status, RunDirectory(campaign.folder))
            numbers = (trial["number"] for trial in campaign.status.running_trials)
            return Observation(campaign, "", {number: self._reports.of(number) for number in numbers})
        if campaign is not None and self._followed:
            code_at_end(campaign)  # a driver that died under the user's eyes has no successor
        chain = next(iter(active_chains(self._folder)), None)
        if chain is None:
            return Observation(campaign, "", {}, self._code())
        self._wait = DriverWait(chain, campaign.status.started if campaign else 0.0)
        return Observation(campaign, self._wait.sentence)

    def _code(self) -> int:
        return NEVER_STARTED if self._campaign is None else code_at_end(self._campaign)


class ObserverThread(threading.Thread):
    """Observes again and again until the end.

    The file system of a run directory may hang; a daemon thread keeps neither the screen nor the program's end waiting.

    Args:
        look: Makes an observation.
        show: Gets each observation, or the error that ended the last attempt; called in this thread.

    Attributes:
        looked: When the last observation was complete, by ``time.monotonic``.
    """

    def __init__(self, look: Callable[[], Observation], show: Callable[[Observation | Exception], object]):
        super().__init__(daemon=True, name="observer")
        self._look, self._show = look, show
        self._over = threading.Event()
        self.looked = time.monotonic()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                seen: Observation | Exception = self._look()
            except Exception as error:
                seen = error
            self.looked = time.monotonic()
            if self._over.is_set():
                return
            self._show(seen)
            if isinstance(seen, Exception) or seen.code is not None:
                return
            self._over.wait(POLL_INTERVAL)

    def end(self) -> None:
        """Make no further observation."""
        self._over.set()
