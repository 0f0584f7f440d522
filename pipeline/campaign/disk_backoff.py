"""What follows when trials come back since the file system that they write to takes nothing more."""

from __future__ import annotations

from .flight import Flight

PATIENCE = 120.0
"""Seconds from the first such trial in which none other ends well, before the campaign ends."""

TRIES = 10
"""So often may one trial come back like that, each time after a longer pause, while others end well."""


class DiskBackoff:
    """Trials that found no room are not failed: they wait, and go on when there is room, or in a later campaign.

    Attributes:
        trouble: What the last one said; empty since a trial ended well.
    """

    def __init__(self) -> None:
        self.trouble = ""
        self._since: float | None = None

    def missing(self, flight: Flight, reason: str, now: float) -> bool:
        """A trial came back for want of room; whether there is no point in going on."""
        self.trouble = reason
        self._since = now if self._since is None else self._since
        flight.roomless += 1
        return now - self._since >= PATIENCE or flight.roomless >= TRIES

    def found(self) -> None:
        """A trial ended well."""
        self.trouble, self._since = "", None
