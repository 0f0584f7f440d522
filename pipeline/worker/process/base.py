"""What the supervisor needs of a running trial, whether it is a Python function or a command."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ...trial.protocol import Message
from ..dialogue import Answer
from ..objective.ending import Ending


class Process(Protocol):
    """One attempt's process.

    Attributes:
        running: The attempt's own code has begun; its timeout counts from here.
        status: Its exit status as ``subprocess`` gives it; None while it lives.
        takes_answers: Verdicts reach the objective as answers, and it ends by itself. Otherwise (a command) the
            supervisor ends it by signals.
        poll_interval: Seconds after which :meth:`receive` must be called even when no descriptor is readable.
        pids: Processes of it on this host, whose memory the supervisor watches while they live.
        peak_memory: Once it has ended, the peak memory of its largest process on a node, or of all its ranks there
            together; in bytes, 0 where that is not known.
        more_outputs: Files that it prints to beside the attempt's stdout and stderr; the limits hold for them, too.
    """

    takes_answers: bool
    poll_interval: float

    @property
    def more_outputs(self) -> tuple[Path, ...]: ...

    @property
    def pids(self) -> list[int]: ...

    @property
    def peak_memory(self) -> int: ...

    @property
    def running(self) -> bool: ...

    @property
    def status(self) -> int | None: ...

    def descriptors(self) -> list[int]:
        """Descriptors that become readable when there is something to receive."""

    def receive(self) -> list[Message]:
        """What the trial has sent since the last call: messages of :data:`.messages.TrialMessage`."""

    def answer(self, answer: Answer) -> None:
        """Answer the question that the trial waits with."""

    def ask_to_yield(self) -> None:
        """Ask the attempt to save its checkpoint and end."""

    def terminate(self) -> None:
        """Send SIGTERM to all of it."""

    def kill(self) -> None:
        """Send SIGKILL to all of it."""

    def ending(self, *, yielding: bool) -> Ending | None:
        """How it ended, where neither an ObjectiveEnded message nor the exit status alone says so.

        Called after the end. ``yielding``: it was asked to yield.
        """

    def kept_pids(self) -> set[int]:
        """Child processes of the worker that outlive the attempt."""

    def close(self) -> None:
        """Release everything; end what still runs."""
