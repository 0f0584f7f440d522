"""The port through which a :class:`Trial` reaches the driver; each kind of process implements it."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Stopping = Literal["", "prune", "yield", "kill"]
"""A verdict: go on (empty), end for good (prune), go on later from the checkpoint (yield), end at once (kill)."""


class DriverConnection(Protocol):
    """The trial's connection to the driver.

    A process of its own implements it over a socket to its worker, ``isolate: false`` over the worker's channel, and
    :class:`.offline.OfflineConnection` without any driver.

    Attributes:
        bound_to_process: It works only in the process that made it, so that a pickled trial goes without it.
        alone: There is no study, so that the trial is the only one that it finds in it.
    """

    bound_to_process: bool
    alone: bool

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

    def ask(self, what: str, arguments: dict[str, Any]) -> Any:
        """Ask about the study, or change it; one round trip to the driver.

        Args:
            what: One of :data:`.protocol.QUERIES`.
            arguments: What the question needs, by name.

        Raises:
            ValueError: The driver refuses, with a sentence why.
            TrialYield: The attempt must end before there is an answer.
        """

    def set_attr(self, key: str, value: Any, *, system: bool = False) -> None:
        """Keep a user attribute, or a system attribute; ``value`` must have a form in JSON. Does not wait."""

    def yield_asked(self) -> bool:
        """Whether the attempt was asked to yield. Does not wait."""
