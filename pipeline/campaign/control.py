"""What the user says to a running campaign: signals on its host, a file in its run directory from anywhere."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from .events import Asked, Signal

ORDER: tuple[Signal, ...] = ("finish", "yield", "now")
"""What the first, second and third signal mean."""

FILE_PERIOD = 1.0
"""Seconds between looks at the control file."""


class Control:
    """Collects what the user asks for; a context manager that handles SIGINT, SIGTERM and SIGHUP meanwhile.

    Args:
        file: Holds one of finish, yield, now when somebody ran ``pilotune stop``.

    Attributes:
        wake: Called when a signal comes, to end a wait.
    """

    def __init__(self, file: Path):
        self.file = file
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
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._said.append(ORDER[min(self._signals, len(ORDER) - 1)])
        self._signals += 1
        self.wake()

    def asked(self) -> list[Asked]:
        """What was asked for since the last call."""
        now = time.monotonic()
        if now - self._looked >= FILE_PERIOD:
            self._looked = now
            self._read_file()
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
