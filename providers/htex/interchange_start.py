"""Starts the interchange's process before Parsl is imported here, so that both import at the same time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def interchange_command(blocks: Path) -> list[str]:
    """The command of Parsl's interchange, which ends when this process ends. ``blocks``: the folder for blocks."""
    return [sys.executable, "-P", "-m", "pilotune.providers.htex.interchange", str(os.getpid()), str(blocks)]


@contextlib.contextmanager
def interchange_ahead(blocks: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start an interchange that waits for its configuration on its standard input.

    The first executor of this process takes it over. At the end it is ended if none has. ``blocks``: the run
    directory's folder for blocks.
    """
    with sigint_blocked():
        process = subprocess.Popen(interchange_command(blocks), stdin=subprocess.PIPE)
    assert process.stdin is not None
    try:
        yield process
    finally:
        if not process.stdin.closed:  # closed once it has its configuration
            process.kill()
            process.stdin.close()
            process.wait()


@contextlib.contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT for what is started inside: until it has a session of its own, Ctrl-C would reach it, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
