"""What a :class:`Trial` asks of whoever runs it: the worker itself, or the trial's process with a worker behind it."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Stopping = Literal["", "prune", "yield", "kill"]


class DriverConnection(Protocol):
    """The trial's way to the driver."""

    def report(self, step: int, value: float) -> Stopping:
        """Send a report, and wait for the verdict, but no longer than PATIENCE: then it is that on an earlier one."""

    def suggest(self, name: str, distribution: str) -> Any:
        """A value for a new parameter; one round trip. Raises ValueError with the driver's sentence."""

    def set_attr(self, key: str, value: Any) -> None:
        """Keep a user attribute; ``value`` has a form in JSON."""

    def yield_asked(self) -> bool:
        """Whether this attempt was asked to yield."""
