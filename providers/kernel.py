"""Parsl's kernel, booted in the background: its interchange takes half a second that others can use."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from typing import Any

import parsl

from ..errors import SiteError


class Kernel:
    """Boots a DataFlowKernel with ``config``, and calls ``then``, in a thread of its own.

    The thread stays as long as the kernel: the interchange is told to die with the thread that started it
    (PR_SET_PDEATHSIG), which is how it notices that the driver was killed.
    """

    def __init__(self, config: parsl.Config, then: Callable[[], None]):
        self._config, self._then = config, then
        self._kernel: Any = None
        self._error: Exception | None = None
        self._booted, self._over = threading.Event(), threading.Event()
        threading.Thread(target=self._boot, name="parsl", daemon=True).start()

    def _boot(self) -> None:
        try:
            self._kernel = parsl.DataFlowKernel(self._config)
            self._then()
        except Exception as error:
            self._error = error
        self._booted.set()
        self._over.wait()

    def wait(self) -> None:
        """Until it has booted, well or not."""
        self._booted.wait()

    def ready(self) -> Any:
        """The kernel, waiting until it has booted. Raises SiteError where it could not."""
        self.wait()
        if self._error is not None:
            raise SiteError(f"Parsl could not be started: {self._error}") from self._error
        return self._kernel

    def close(self, clean: bool) -> None:
        """End the kernel. ``clean``: through Parsl's own clean-up, which needs a living interchange."""
        self.wait()
        if self._kernel is not None:
            if clean:
                self._kernel.cleanup()
            else:
                atexit.unregister(self._kernel.atexit_cleanup)
        self._over.set()
