"""Runs Parsl's interchange, and ends it at once when the driver is killed.

``python -m pilotune.providers.htex.interchange DRIVER SCRIPT``: DRIVER is the driver's process id, which must be the
parent of this process, and SCRIPT is Parsl's program. It runs in a session of its own, so that Ctrl-C at the terminal
reaches the driver only.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys

from ...pipeline.worker.node.posix import PR_SET_PDEATHSIG, process_control
from .message_limits import limit_messages


def main(driver: int, script: str) -> None:
    """Become the interchange. Exits when the driver is dead already."""
    with contextlib.suppress(PermissionError):  # this process leads one already
        os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked by the driver until now
    process_control(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != driver:  # the driver died before PR_SET_PDEATHSIG was set
        sys.exit(f"pilotune: the driver, process {driver}, is gone")
    limit_messages()
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
