"""Starts a driver in the background: for ``--detach``, and for ``pilotune.run`` in Python."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .request import command_line

if TYPE_CHECKING:
    from .campaign_status import ObservedCampaign
    from .request import Request
    from .resolve import PreparedRun


@dataclass(frozen=True)
class Started:
    """A driver that was started in the background.

    Attributes:
        process: Its process.
        log: What it prints.
        campaign: Its campaign; None if it ended before it began one.
    """

    process: subprocess.Popen[bytes]
    log: Path
    campaign: ObservedCampaign | None

    @property
    def failed(self) -> int | None:
        """The exit code of a driver that has ended with an error, or without a campaign; None for others."""
        code = self.process.poll()
        return code if code is not None and (code != 0 or self.campaign is None) else None

    @property
    def printed(self) -> str:
        """What the driver has printed so far."""
        return self.log.read_text(errors="replace").rstrip()


def start_driver(request: Request, prepared: PreparedRun, patience: float) -> Started:
    """Start the driver of a campaign in a session of its own, and wait until its campaign has begun.

    Args:
        request: What to run.
        prepared: The same, read and checked.
        patience: Seconds to wait for the campaign's first workers; 0 waits for none.

    Raises:
        UserError: Another user could change the study's folder.
    """
    from ..record.rundir import make_trusted

    folder = prepared.runs / prepared.study_file.name
    make_trusted(folder)
    log = folder / f"detached-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with hangups_ignored():
        process = spawn_driver(log, command_line(request, prepared))
    return Started(process, log, wait_until_running(process, folder, patience))


@contextlib.contextmanager
def hangups_ignored() -> Iterator[None]:
    """Ignore SIGHUP here, and in every process started meanwhile, for its lifetime.

    A process in a session of its own gets no SIGHUP from the terminal, but some hosts send it to all processes of a
    user at logout. Only the main thread can change this; elsewhere nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def spawn_driver(log: Path, words: list[str]) -> subprocess.Popen[bytes]:
    """Start ``pilotune`` with the arguments ``words`` in a new session, its output in ``log`` (mode 0600)."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "pilotune.pipeline.cli.main", *words],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def wait_until_running(process: subprocess.Popen[bytes], folder: Path, patience: float) -> ObservedCampaign | None:
    """Wait until the campaign of ``process`` runs, ends, or has waited ``patience`` seconds for workers.

    Returns None if the process died before it began a campaign.
    """
    from .campaign_status import list_campaigns

    campaign, deadline = None, time.monotonic() + patience
    while True:
        dead = process.poll() is not None
        mine = [each for each in list_campaigns(folder.parent, folder.name)
                if (each.status.pid, each.status.host) == (process.pid, socket.gethostname())]  # fmt: skip
        campaign = mine[0] if mine else campaign
        if dead or (campaign is not None and (campaign.status.state != "starting" or time.monotonic() > deadline)):
            return campaign
        time.sleep(0.1)
