"""The one interface between the campaign and machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .events import Action, Event


class Pool(Protocol):
    """Workers somewhere: Parsl's executors, or a simulation on a virtual clock.

    ``wait`` and ``perform`` are called from one thread, in turn. Every submitted attempt leads to exactly one Ended or
    Lost, unless the pool is closed before.
    """

    def wait(self, timeout: float) -> list[Event]:
        """All events that are ready; waits up to ``timeout`` seconds for the first."""

    def perform(self, actions: Sequence[Action]) -> None:
        """Submit attempts, send replies, stop attempts. Called only when what led to them is durable."""

    def now(self) -> float:
        """Unix seconds, as they were at the start and steady since: no clock that is set makes it jump.

        Virtual in a simulation.
        """

    def pause(self, seconds: float) -> None:
        """Let time pass without taking events: they stay until the next wait."""

    def close(self) -> None:
        """End all blocks; what still runs gets a last chance to write down how far it came."""
