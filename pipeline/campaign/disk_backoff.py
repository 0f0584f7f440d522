"""Backs off trials that failed because their file system is full."""

from __future__ import annotations

from .flight import Flight

PATIENCE = 120.0
"""Seconds without any success, counted from the first disk failure, after which the campaign ends."""

TRIES = 10
"""Most retries of one trial for lack of disk space. Each waits longer than the last (``flight.pause_before``), so that
a trial which needs much space is given time while smaller ones succeed."""


class DiskBackoff:
    """Decides whether a campaign goes on when trials find their disk full.

    Such trials are not failed: they wait, and go on when there is space, or in a later campaign.

    Attributes:
        trouble: What the last such trial said; empty since a trial succeeded.
    """

    def __init__(self) -> None:
        self.trouble = ""
        self._since: float | None = None

    def on_disk_full(self, flight: Flight, reason: str, now: float) -> bool:
        """A trial failed for lack of disk space. Returns whether the campaign should end."""
        self.trouble = reason
        self._since = now if self._since is None else self._since
        flight.disk_failures += 1
        return now - self._since >= PATIENCE or flight.disk_failures >= TRIES

    def on_success(self) -> None:
        """A trial ran without trouble, so there is space again."""
        self.trouble, self._since = "", None
