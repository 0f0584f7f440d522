"""Parsl's kernel, booted in the background: its interchange takes half a second that others can use."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from typing import Any

import parsl

from ...errors import SiteError


class Kernel:
    """Boots a DataFlowKernel with ``config`` in a thread of its own, and works on in it.

    The thread stays as long as the kernel: an interchange is told to die with the thread that started it
    (PR_SET_PDEATHSIG), which is how it notices that the driver was killed.

    Args:
        config: Parsl's.
        work: Called in the thread, once the kernel has booted, with the event that tells it to end.
    """

    def __init__(self, config: parsl.Config, work: Callable[[threading.Event], None]):
        self._config, self._work = config, work
        self._kernel: Any = None
        self._error: Exception | None = None
        self._booted, self._idle, self._over = threading.Event(), threading.Event(), threading.Event()
        self.closing = threading.Event()
        threading.Thread(target=self._live, name="parsl", daemon=True).start()

    def _live(self) -> None:
        try:
            self._kernel = parsl.DataFlowKernel(self._config)
        except Exception as error:
            self._error = error
        self._booted.set()
        try:
            if self._error is None:
                self._work(self.closing)
        finally:
            self._idle.set()
            self._over.wait()

    @property
    def booted(self) -> bool:
        return self._booted.is_set()

    def ready(self) -> Any:
        """The kernel, waiting until it has booted. Raises SiteError where it could not."""
        self._booted.wait()
        if self._error is not None:
            raise SiteError(f"Parsl could not be started: {self._error}") from self._error
        return self._kernel

    def stop_working(self) -> None:
        """Wait until the thread's work has ended; it is told to."""
        self.closing.set()
        self._idle.wait()

    def close(self, clean: bool) -> None:
        """End the kernel. ``clean``: through Parsl's own clean-up, which needs a living interchange."""
        self.stop_working()
        if self._kernel is not None:
            if clean:
                self._kernel.cleanup()
            else:
                atexit.unregister(self._kernel.atexit_cleanup)
        self._over.set()
