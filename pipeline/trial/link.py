"""The port through which a :class:`Trial` reaches the driver; each kind of process implements it."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Stopping = Literal["", "prune", "yield", "kill"]
"""A verdict: go on (empty), end for good (prune), go on later from the checkpoint (yield), end at once (kill)."""


class DriverConnection(Protocol):
    """The trial's connection to the driver.

    A process of its own implements it over a socket to its worker, ``isolate: false`` over the worker's channel, and
    :class:`.offline.OfflineConnection` without any driver.
    """

    def report(self, step: int, value: float) -> Stopping:
        """Send a report and return the verdict.

        Waits for it :data:`~pilotune.pipeline.worker.dialogue.PATIENCE` seconds at most; without an answer by then it
        returns the verdict on earlier reports.
        """

    def suggest(self, name: str, distribution: str) -> Any:
        """The value of a new parameter; one round trip to the driver.

        Args:
            name: The parameter's.
            distribution: Optuna's JSON of its distribution.

        Raises:
            ValueError: The driver refuses, with a sentence why.
            TrialYield: The attempt must end before there is a value.
        """

    def set_attr(self, key: str, value: Any) -> None:
        """Keep a user attribute; ``value`` must have a form in JSON."""

    def yield_asked(self) -> bool:
        """Whether the attempt was asked to yield. Does not wait."""
