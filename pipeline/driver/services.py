"""What the campaign and its loop need from the process that they run in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..campaign.events import StopRequested
from ..campaign.services import CampaignServices
from ..record import Orphan
from ..trial.protocol import Outcome


class DriverServices(CampaignServices, Protocol):
    """The process around a campaign, as :class:`~.loop.CampaignLoop` sees it.

    :class:`~.driver.Driver` implements it for a real campaign. A simulation implements it on simulated machines, and
    tests with as little as they need. All methods are called from the loop's thread, between two ticks or within one.
    """

    def stop_requests(self) -> Sequence[StopRequested]:
        """Requests to end since the last call: from signals, from the control file, from the watch over the disks."""

    def renew_lease(self) -> None:
        """Stage the renewal of this campaign's lease. Raises RecordAway where the database does not answer."""

    def take_over_orphans(self) -> tuple[Sequence[Orphan], Sequence[Outcome]]:
        """Take over what dead drivers left since the last call: their trials, and the outcomes that are on disk.

        Raises RecordAway where the database does not answer; then some trials may have been taken over all the same.
        """

    def report_status(self, problem: str) -> None:
        """Called after every tick, and while the loop waits for the database.

        ``problem`` is a sentence for the user; empty while the database takes what is written.
        """

    def on_ended(self, numbers: Sequence[int]) -> None:
        """The ends of these trials are committed. Called once for each of this campaign's trials, after the tick."""

    def on_reports(self, reports: Mapping[int, Mapping[int, float]]) -> None:
        """These reports, step -> value by trial number, are committed. Called only where the campaign collects them."""

    def free_reserve(self) -> bool:
        """Give the database the disk space that was reserved for its last commits; returns whether there was any."""

    def save_study(self) -> str:
        """Write the study from memory into another file, because its database is beyond repair.

        Returns the end of a sentence that says where; empty where there was nothing to save.
        """
