"""Ends a call of a sampler, pruner or constraints function that does not return and so holds up the driver's loop.

A thread looks at how long the campaign's step takes, says so, and in the end sends this process a signal whose handler
raises :class:`NotReturned` inside the call. The campaign then goes on as after any other error of that code. Code that
never comes back to Python cannot be ended like this.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from ..user_code.parts import NotReturned

WARN_AFTER = 30.0
"""Seconds of one step after which the user is told."""

LONGEST = 600.0
"""Seconds of one step after which the call is ended. A sampler that fits a model to all trials may take minutes."""

LONGEST_AT_END = 10.0
"""The same once the campaign is to end: the user said so, or its time is used up."""

PERIOD = 1.0
"""Seconds between two looks."""

SIGNAL = signal.SIGURG
"""The signal that is sent; it is ignored where nobody handles it."""

OURS = tuple(str(Path(__file__).resolve().parents[2] / room) + os.sep for room in ("pipeline", "providers"))
CALLER = str(Path(__file__).resolve().parents[1] / "campaign") + os.sep


class StepWatch:
    """Watches over the campaign's steps; a context manager for the main thread, which does nothing in another one.

    Args:
        tell: Called in another thread, with a sentence on what holds up the driver.
        ends: Called in that thread; whether the campaign is to end.
    """

    def __init__(self, tell: Callable[[str], None], ends: Callable[[], bool]):
        self._tell, self._ends = tell, ends
        self._began: float | None = None  # when the step began, by the monotonic clock; None between steps
        self._overdue = False
        self._done = threading.Event()
        self._before: Any = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> StepWatch:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(SIGNAL, self._interrupt)
            self._thread = threading.Thread(target=self._watch, name="step watch", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
            signal.signal(SIGNAL, self._before)

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """A step of the campaign runs inside."""
        self._overdue, self._began = False, time.monotonic()
        try:
            yield
        finally:
            self._began = None

    def _watch(self) -> None:
        told: float | None = None  # the step that the user was told of
        while not self._done.wait(PERIOD):
            began = self._began
            if began is None:
                continue
            lasts = time.monotonic() - began
            if lasts >= LONGEST or (lasts >= LONGEST_AT_END and self._ends()):
                self._overdue = True
                signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)
            elif lasts >= WARN_AFTER and told != began:
                told = began
                self._tell(
                    f"a sampler, pruner or constraints function has been running for {lasts:.0f} s; the driver waits "
                    f"for it, for at most {LONGEST:.0f} s"
                )

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._overdue and self._began is not None and interruptible(frame):
            self._overdue = False
            raise NotReturned(f"it had not returned after {time.monotonic() - self._began:.0f} s")


def interruptible(frame: FrameType | None) -> bool:
    """Whether the campaign has called code that is not Pilotune's, and that has not called any of Pilotune's.

    An exception in the midst of Pilotune's own code could leave it with half a change.
    """
    foreign = False
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(OURS):
            return foreign and file.startswith(CALLER)
        foreign, frame = True, frame.f_back
    return False
