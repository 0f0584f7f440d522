"""What the campaign needs from the process that it runs in, besides a pool."""

from __future__ import annotations

from typing import Protocol

from ..trial.protocol import AttemptSpec, Outcome
from ..trial.report_log import ReportLog
from .flight import Flight


class CampaignServices(Protocol):
    """Answers questions whose answers lie outside the campaign: in the study file, and on disk.

    The driver implements it (``pipeline/driver/services.py`` extends it); tests implement it with a few lines.
    """

    def why_unfit(self, flight: Flight) -> str:
        """Why no worker can ever run the trial, as one sentence: it takes more than any node has. Empty where one can.

        The same for all attempts of a trial.
        """

    def make_spec(self, flight: Flight) -> AttemptSpec:
        """What a worker needs to run the flight's attempt. Its number, attempt and token are settled."""

    def snapshot(self, flight: Flight, step: int) -> str:
        """Keep a copy of the trial's checkpoint, from which others may start; copies from before are removed.

        Args:
            flight: A trial that pauses: nothing writes into its checkpoint.
            step: The last step that it has reported.

        Returns:
            The copy's folder; empty where the trial has saved nothing.
        """

    def forget_snapshot(self, folder: str) -> None:
        """Remove such a copy, because its trial has ended."""

    def last_saved(self, flight: Flight) -> float | None:
        """When a file of the trial's newest checkpoint was last written, Unix seconds; None where there is none."""

    def written_outcome(self, flight: Flight) -> Outcome | None:
        """The outcome that the attempt's worker wrote into the trial's folder; None where it wrote none.

        A worker may die after it has written the outcome and before the outcome has reached the driver.
        """

    def report_log(self, flight: Flight) -> ReportLog | None:
        """The newest report log in the trial's folder, up to the flight's attempt; None where there is none.

        An attempt may die before all its reports have reached the driver.
        """
