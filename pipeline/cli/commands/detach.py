"""``--detach`` of ``run`` and ``resume``: a campaign that keeps running when the terminal closes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..formatting import count, echo_json
from ..request import command_line

if TYPE_CHECKING:
    from ..campaign_status import ObservedCampaign
    from ..request import Request
    from ..resolve import PreparedRun

START_TIMEOUT = 15.0
"""Seconds to wait for the first workers. Blocks may queue for hours, and the driver waits for them without us."""


def start_detached(request: Request, prepared: PreparedRun) -> int:
    """Start the campaign in a new session, and wait until it runs or is seen to wait for workers.

    Returns the exit code: 0, or the campaign's own if it ended at once.
    """
    from ...record.rundir import make_trusted

    folder = prepared.runs / prepared.study_file.name
    make_trusted(folder)
    log = folder / f"detached-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with hangups_ignored():
        process = spawn_driver(log, command_line(request, prepared))
    campaign = wait_until_running(process, folder)
    code = process.poll()
    if code is not None and (code != 0 or campaign is None):
        click.echo(log.read_text(errors="replace").rstrip(), err=True)
        return code
    if campaign is not None:
        print_started(campaign, log, request.as_json)
    return 0


@contextlib.contextmanager
def hangups_ignored() -> Iterator[None]:
    """Ignore SIGHUP here, and in every process started meanwhile, for its lifetime.

    A process in a session of its own gets no SIGHUP from the terminal, but some hosts send it to all processes of a
    user at logout.
    """
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


def wait_until_running(process: subprocess.Popen[bytes], folder: Path) -> ObservedCampaign | None:
    """Wait until the campaign of ``process`` runs, ends, or has waited START_TIMEOUT for workers.

    Returns None if the process died before it began a campaign.
    """
    from ..campaign_status import list_campaigns

    campaign, deadline = None, time.monotonic() + START_TIMEOUT
    while True:
        dead = process.poll() is not None
        mine = [each for each in list_campaigns(folder.parent, folder.name)
                if (each.status.pid, each.status.host) == (process.pid, socket.gethostname())]  # fmt: skip
        campaign = mine[0] if mine else campaign
        if dead or (campaign is not None and (campaign.status.state != "starting" or time.monotonic() > deadline)):
            return campaign
        time.sleep(0.1)


def print_started(campaign: ObservedCampaign, log: Path, as_json: bool) -> None:
    """Print where the detached campaign runs, and how to follow and stop it."""
    status = campaign.status
    if as_json:
        echo_json(
            {
                "study": status.study,
                "campaign": status.campaign,
                "pid": status.pid,
                "host": status.host,
                "state": status.state,
                "run_dir": str(campaign.folder),
                "log": str(log),
            }
        )
        return
    states = {
        "starting": "is waiting for workers",
        "running": f"runs on {count(status.workers, 'worker')}",
        "stopping": "is stopping",
    }
    state = states.get(status.state, "has ended")
    click.echo(f"campaign {status.campaign} of {status.study} {state} (process {status.pid} on {status.host})")
    click.echo(f"watch it:  pilotune watch {status.study}")
    click.echo(f"stop it:   pilotune stop {status.study}")
    click.echo(f"its files: {campaign.folder}")
