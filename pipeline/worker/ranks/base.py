"""What a group needs of one rank's process, wherever it runs."""

from __future__ import annotations

from typing import Protocol

from ...trial.protocol import Message
from ..objective.ending import Ending


class RankProcess(Protocol):
    """One rank of an attempt.

    Attributes:
        rank: Its number, from 0.
        host: The node that it runs on.
        running: The objective's own code has begun in it.
        status: Its exit status as ``subprocess`` gives it; None while it lives.
        failure: How it ended where its exit status does not say so, such as a process that could not be started; None
            else.
        pid: Of its process; 0 before that exists, and where it was not started by this worker.
        peak_memory: Peak memory of it and what it has started, in bytes, once it has ended; 0 where that is not known.
        ended_at: When it ended, in Unix seconds; of one whose connection broke, when that was noticed.
    """

    rank: int
    host: str

    @property
    def running(self) -> bool: ...

    @property
    def status(self) -> int | None: ...

    @property
    def failure(self) -> Ending | None: ...

    @property
    def ended_at(self) -> float: ...

    @property
    def pid(self) -> int: ...

    @property
    def peak_memory(self) -> int: ...

    def descriptors(self) -> list[int]:
        """Descriptors that become readable when there is something to receive."""

    def receive(self) -> list[Message]:
        """What the rank has sent since the last call: messages of :data:`..process.messages.TrialMessage`.

        All that it sent before its end has been returned when :attr:`status` is set.
        """

    def send(self, message: Message) -> None:
        """Send it an answer; ignored where it has ended."""

    def terminate(self) -> None:
        """Send SIGTERM to it and to what it has started."""

    def kill(self) -> None:
        """Send SIGKILL to it and to what it has started."""

    def close(self) -> None:
        """Release everything; end what still runs."""
