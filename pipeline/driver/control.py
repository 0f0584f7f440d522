"""Collects requests to stop a campaign: signals on its host, a control file from anywhere, the end of its own job."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from ..campaign.events import Signal, StopRequested
from .job_chain import JobSlot

ORDER: tuple[Signal, ...] = ("finish", "yield", "now")
"""What the first, second and third signal mean, unless the campaign is that far already."""

ORDER_IN_JOB: tuple[Signal, ...] = ("yield", "now")
"""The same in a batch job, where trials have no time to finish: the scheduler kills the job soon after its signal."""

FILE_PERIOD = 1.0
"""Seconds between two reads of the control file."""


def _ignore(number: int, frame: FrameType | None) -> None:
    """A handler that does nothing. Unlike SIG_IGN it is not inherited by the programs that this process starts."""


class Control:
    """Collects requests to stop; a context manager that handles SIGINT, SIGTERM and SIGHUP inside.

    If one of them came, all three are ignored afterwards, so that repeated Ctrl-C cuts off neither the summary nor the
    exit code.

    Args:
        file: The control file. ``pilotune stop`` writes finish, yield or now into it.
        slot: The driver's batch job, where it runs in one; its end is a request to stop, too.

    Attributes:
        wake: Called when a signal comes, to end the pool's wait.
    """

    def __init__(self, file: Path, slot: JobSlot | None = None):
        self.file, self.slot = file, slot
        self._order = ORDER_IN_JOB if slot else ORDER
        self.wake: Callable[[], None] = lambda: None
        self._signals = 0
        self._next = 0  # place in the order of what the next signal means
        self._requested: list[Signal] = []
        self._last_word = ""
        self._last_read = 0.0
        self._handlers: dict[signal.Signals, Any] = {}  # as they were before

    def __enter__(self) -> Control:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, _ignore if self._signals else handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        how = self._order[min(self._next, len(self._order) - 1)]
        self._requested.append(how)
        self._signals += 1
        self.reached(how)
        self.wake()

    def reached(self, how: Signal) -> None:
        """The campaign ends in this way already, whoever asked for it: the next signal means more than that.

        Not in a batch job: the scheduler's own signal comes soon after the campaign has begun to end.
        """
        if how in self._order and (self.slot is None or self._signals):
            self._next = max(self._next, self._order.index(how) + 1)

    def pending(self) -> bool:
        """Whether there is a request that :meth:`stop_requests` has not returned. May be called in any thread."""
        return bool(self._requested) or self._new_word() is not None

    def stop_requests(self) -> list[StopRequested]:
        """The requests since the last call."""
        now = time.monotonic()
        if now - self._last_read >= FILE_PERIOD:
            self._last_read = now
            self._read_file()
            if self.slot:
                return [*self._pop_requested(), *self.slot.stop_requests(time.time())]
        return self._pop_requested()

    def _pop_requested(self) -> list[StopRequested]:
        requested, self._requested = self._requested, []
        return [StopRequested(how) for how in requested]

    def _read_file(self) -> None:
        word = self._new_word()
        if word is not None:
            self._last_word = word
            self._requested.append(word)
            self.reached(word)

    def _new_word(self) -> Signal | None:
        """What the control file asks for, unless it did so before."""
        try:
            word = self.file.read_text().strip()
        except OSError:
            return None
        return next((each for each in ORDER if each == word != self._last_word), None)
