"""Ctrl-C at the terminal reaches the driver, and never the interchange, from the moment when its process starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from pilotune.providers.htex.executors import GuardedExecutor

BLOCKED = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"


class Starts:
    """Stands for Parsl's executor: starts a process that says whether it was started with SIGINT blocked."""

    said = ""

    def _start_local_interchange_process(self) -> None:
        self.said = subprocess.check_output([sys.executable, "-c", BLOCKED], text=True)


class Guarded(GuardedExecutor, Starts):  # type: ignore[misc]
    pass


def test_it_starts_with_ctrl_c_blocked_and_the_driver_goes_on_hearing_it() -> None:
    executor = Guarded()
    executor._start_local_interchange_process()
    assert executor.said == "True\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_in_a_session_of_its_own_it_hears_signals_again() -> None:
    said = BLOCKED + "; import os; print(os.getsid(0) == os.getpid())"
    program = f"from pilotune.providers.htex.interchange import main\nmain({os.getpid()}, lambda: exec({said!r}))"
    command = [sys.executable, "-c", program]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert done.stdout.split() == ["False", "True"]
