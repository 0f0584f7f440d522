"""A campaign that outlives the terminal it was started from."""

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

from ..formatting import echo_json
from ..request import absolute

if TYPE_CHECKING:
    from ..campaign_status import Live
    from ..resolve import Prepared
    from .run import Request

PATIENCE = 15.0
"""Seconds that are waited for the first workers; blocks may queue for hours, and the driver waits for them alone."""


def detach(request: Request, prepared: Prepared) -> int:
    """Start the campaign in a session of its own and wait until it runs, or until it is known to wait for its workers.

    Returns the exit code: the campaign's own where it ended at once.
    """
    from ...record.rundir import make_own

    folder = prepared.runs / prepared.study_file.name
    make_own(folder)
    log = folder / f"detached-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with hangups_ignored():
        process = leave(log, arguments(request, prepared))
    live = wait(process, folder)
    code = process.poll()
    if code is not None and (code != 0 or live is None):
        click.echo(log.read_text(errors="replace").rstrip(), err=True)
        return code
    if live is not None:
        tell(live, log, request.as_json)
    return 0


@contextlib.contextmanager
def hangups_ignored() -> Iterator[None]:
    """Here, and for good in what is started meanwhile: in a session of its own the terminal's end is not heard of, but
    some hosts send the signal to all at a logout."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def leave(log: Path, words: list[str]) -> subprocess.Popen[bytes]:
    """Start the driver, in a session of its own."""
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


def arguments(request: Request, prepared: Prepared) -> list[str]:
    """The command line of the process that stays; every path absolute, so that it does not hang on this folder."""
    words = [
        "run",
        str(prepared.study_file.path),
        "--storage",
        prepared.storage,
        "--runs",
        str(prepared.runs),
        "--quiet",
    ]
    if request.site is not None:
        words += ["--site", absolute(request.site) or ""]
    if request.new_name is not None:
        words += ["--new-name", request.new_name]
    if request.trials is not None:
        words += ["--trials", str(request.trials)]
    for text in request.overrides:
        words += ["--set", text]
    return words


def wait(process: subprocess.Popen[bytes], folder: Path) -> Live | None:
    """The campaign of ``process``, once it runs or ended; None when it died before it was one."""
    from ..campaign_status import campaigns

    live, give_up = None, time.monotonic() + PATIENCE
    while True:
        gone = process.poll() is not None
        mine = [live for live in campaigns(folder.parent, folder.name)
                if (live.status.pid, live.status.host) == (process.pid, socket.gethostname())]  # fmt: skip
        live = mine[0] if mine else live
        if gone or (live is not None and (live.status.state != "starting" or time.monotonic() > give_up)):
            return live
        time.sleep(0.1)


def tell(live: Live, log: Path, as_json: bool) -> None:
    status = live.status
    if as_json:
        echo_json(
            {
                "study": status.study,
                "campaign": status.campaign,
                "pid": status.pid,
                "host": status.host,
                "state": status.state,
                "run_dir": str(live.folder),
                "log": str(log),
            }
        )
        return
    state = "waits for its workers" if status.state == "starting" else "has " + status.state
    if status.state == "running":
        state = f"runs on {status.workers} workers"
    click.echo(f"campaign {status.campaign} of {status.study} {state} (process {status.pid} on {status.host})")
    click.echo(f"watch it:  pilotune watch {status.study}")
    click.echo(f"stop it:   pilotune stop {status.study}")
    click.echo(f"its files: {live.folder}")
