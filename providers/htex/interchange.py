"""Runs Parsl's interchange, and ends it at once when the driver is killed.

``python -P -m pilotune.providers.htex.interchange DRIVER BLOCKS``: DRIVER is the driver's process id, which must be the
parent of this process, and BLOCKS is the run directory's folder for blocks, for :mod:`.patient_interchange`. It runs in
a session of its own, so that Ctrl-C at the terminal reaches the driver only. Parsl's
configuration of the interchange comes on its standard input, which may end without one: then it is not needed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ...pipeline.worker.node.posix import PR_SET_PDEATHSIG, process_control
from ..node.tasks import decode
from .message_limits import limit_messages


def main(driver: int, serve: Callable[[], None]) -> None:
    """Become the interchange. Exits when the driver is dead already.

    Args:
        driver: The driver's process id.
        serve: Does the interchange's work.
    """
    with contextlib.suppress(PermissionError):  # this process leads one already
        os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked by the driver until now
    process_control(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != driver:  # the driver died before PR_SET_PDEATHSIG was set
        sys.exit(f"pilotune: the driver, process {driver}, is gone")
    serve()


def serve(blocks: Path) -> None:
    """Run Parsl's interchange, which is imported before its configuration is read: the driver imports meanwhile."""
    from parsl.executors.high_throughput.interchange import Interchange

    from .patient_interchange import patient

    limit_messages()
    configuration = sys.stdin.buffer.read()
    if configuration:
        patient(Interchange, blocks)(**decode(configuration)).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), partial(serve, Path(sys.argv[2])))
