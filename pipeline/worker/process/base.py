"""What the supervisor needs of a running trial, whether it is a Python function or somebody's program."""

from __future__ import annotations

from typing import Any, Protocol

from ..objective.ending import Ending


class Process(Protocol):
    """One attempt's process.

    Attributes:
        running: The attempt's own code runs; its timeout counts from here.
        status: Its exit status as ``subprocess`` gives it, None while it lives.
        patient: Answers to reports reach the objective, which then ends by itself; otherwise it is ended by signals.
        interval: Seconds after which :meth:`pump` must be called even when no descriptor is ready.
    """

    running: bool
    status: int | None
    patient: bool
    interval: float

    def descriptors(self) -> list[int]:
        """What to wait on."""

    def pump(self) -> list[dict[str, Any]]:
        """What the trial has said since the last call: ``report``, ``suggest``, ``attr`` and ``end`` messages."""

    def answer(self, reply: dict[str, Any]) -> None:
        """Answer the trial's open request."""

    def ask_to_yield(self) -> None:
        """Ask the attempt to save its checkpoint and end."""

    def terminate(self) -> None:
        """SIGTERM to all of it."""

    def kill(self) -> None:
        """SIGKILL to all of it."""

    def ending(self, *, yielding: bool) -> Ending | None:
        """After the end: what is known that no ``end`` message and no exit status says."""

    def kept(self) -> set[int]:
        """Child processes of the worker that are to outlive the attempt."""

    def close(self) -> None:
        """Leave nothing behind."""
