"""Parsl's interchange, tied to the driver's life: it ends at once when the driver is killed.

``python -m pilotune.providers.htex.interchange DRIVER SCRIPT``, where DRIVER is the driver's process, which starts this
one, and SCRIPT is Parsl's program. In a session of its own: Ctrl-C at the terminal is the driver's to handle.
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
    """Become the interchange. Ends the process where the driver is dead already."""
    with contextlib.suppress(PermissionError):  # it leads one
        os.setsid()
    process_control(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != driver:  # it died before the line above
        sys.exit(f"pilotune: the driver, process {driver}, is gone")
    limit_messages()
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
