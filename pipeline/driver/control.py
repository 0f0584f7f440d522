"""What a running campaign is told: by signals on its host, by a file from anywhere, by the end of its driver's job."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from ..campaign.events import Asked, Signal
from .job_chain import JobSlot

ORDER: tuple[Signal, ...] = ("finish", "yield", "now")
"""What the first, second and third signal mean."""

ORDER_IN_JOB: tuple[Signal, ...] = ("yield", "now")
"""In a job there is no time for trials to finish: the scheduler follows its signal with a stronger one."""

FILE_PERIOD = 1.0
"""Seconds between looks at the control file."""


def _deaf(number: int, frame: FrameType | None) -> None:
    """Unlike SIG_IGN, this is not handed on to other programs."""


class Control:
    """Collects what the user asks for; a context manager that handles SIGINT, SIGTERM and SIGHUP meanwhile.

    Where one of them came, they are ignored afterwards: the process is ending.

    Args:
        file: Holds one of finish, yield, now when somebody ran ``pilotune stop``.
        shift: Of a driver that runs in a job; it may say the same.

    Attributes:
        wake: Called when a signal comes, to end a wait.
    """

    def __init__(self, file: Path, slot: JobSlot | None = None):
        self.file, self.slot = file, slot
        self._order = ORDER_IN_JOB if slot else ORDER
        self.wake: Callable[[], None] = lambda: None
        self._signals = 0
        self._said: list[Signal] = []
        self._last_file = ""
        self._looked = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Control:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._signalled)
        return self

    def __exit__(self, *error: object) -> None:
        # Who presses Ctrl-C on and on must not cut off the summary, nor the exit code.
        for number, handler in self._before.items():
            signal.signal(number, _deaf if self._signals else handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._said.append(self._order[min(self._signals, len(self._order) - 1)])
        self._signals += 1
        self.wake()

    def asked(self) -> list[Asked]:
        """What was asked for since the last call."""
        now = time.monotonic()
        if now - self._looked >= FILE_PERIOD:
            self._looked = now
            self._read_file()
            if self.slot:
                return [*self._heard(), *self.slot.asked(time.time())]
        return self._heard()

    def _heard(self) -> list[Asked]:
        said, self._said = self._said, []
        return [Asked(how) for how in said]

    def _read_file(self) -> None:
        try:
            word = self.file.read_text().strip()
        except OSError:
            return
        if word != self._last_file and word in ORDER:
            self._last_file = word
            self._said.append(word)
