"""Starts Parsl's kernel in the background, since its interchange takes half a second to start."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from typing import Any

from parsl.config import Config
from parsl.dataflow.dflow import DataFlowKernel

from ...errors import SiteError


class Kernel:
    """Starts a DataFlowKernel in a thread of its own, and then runs ``work`` in that thread.

    The thread lives as long as the kernel, because the interchange dies with the thread that started it
    (PR_SET_PDEATHSIG); so it dies when the driver is killed.

    Args:
        config: Parsl's configuration.
        work: Called in the thread once the kernel has started, with an event that tells it to return.

    Attributes:
        closing: That event.
    """

    def __init__(self, config: Config, work: Callable[[threading.Event], None]):
        self._config, self._work = config, work
        self._kernel: Any = None
        self._error: Exception | None = None
        self._booted, self._idle, self._over = threading.Event(), threading.Event(), threading.Event()
        self.closing = threading.Event()
        threading.Thread(target=self._live, name="parsl", daemon=True).start()

    def _live(self) -> None:
        try:
            self._kernel = DataFlowKernel(self._config)
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
        """Whether the kernel has started, or failed to."""
        return self._booted.is_set()

    def ready(self) -> Any:
        """Wait until the kernel has started, and return it. Raises SiteError when it could not be started."""
        self._booted.wait()
        if self._error is not None:
            raise SiteError(f"Parsl could not be started: {self._error}") from self._error
        return self._kernel

    def stop_working(self) -> None:
        """Tell ``work`` to return, and wait until it has."""
        self.closing.set()
        self._idle.wait()

    def close(self, clean: bool) -> None:
        """End the kernel.

        Args:
            clean: Whether to use Parsl's own clean-up, which needs living interchanges.
        """
        self.stop_working()
        if self._kernel is not None:
            if clean:
                self._kernel.cleanup()
            else:
                atexit.unregister(self._kernel.atexit_cleanup)
        self._over.set()
