"""``pilotune watch``."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import PilotuneError, UserError
from ..options import name_argument
from .status import state

if TYPE_CHECKING:
    from ...driver.job_chain import JobChain
    from ..campaign_status import Live

POLL = 0.5
"""Seconds between looks at a campaign's status file."""

QUESTION = 60.0
"""Seconds between questions to the scheduler about a driver's job that waits."""


@click.command("watch")
@name_argument(required=False)
@click.option("--json", "as_json", is_flag=True, help="Print each new status as a line of JSON on stdout instead.")
def watch_command(name: str | None, as_json: bool) -> int:
    """Follow the campaign of the study NAME until it ends. Ctrl-C leaves it running.

    A driver in a job is followed into the successors of its job. The exit code is the campaign's.
    """
    folder, live = the_campaign(name)
    try:
        return follow_all(folder, live, as_json)
    except KeyboardInterrupt:
        click.echo(f"the campaign goes on; end it with pilotune stop {folder.name}", err=True)
        return 0


def the_campaign(name: str | None) -> tuple[Path, Live | None]:
    """The folder of a study's campaigns, and the one that runs of them, or the last one. None: its driver's job waits.

    Without a name: the only one that runs.
    """
    from ...record import known_studies
    from ..campaign_status import campaigns
    from ..driver_jobs import going_on
    from ..resolve import find, of_entry

    if name is None:
        running = [
            live
            for each in map(of_entry, known_studies.all())
            for live in campaigns(each.runs, each.name)
            if live.alive
        ]
        if len(running) == 1:
            return running[0].folder.parent, running[0]
        names = ", ".join(sorted({live.status.study for live in running}))
        raise UserError(f"which study? running: {names}" if running else "nothing is running; see pilotune status")
    found = find(name)
    lives = campaigns(found.runs, found.name)
    folder = found.runs / found.name if found.runs else None
    if folder is None or not (lives or going_on(folder)):
        raise UserError(f"study {found.name!r} has no campaign here: pilotune run STUDY starts one")
    return folder, next((live for live in lives if live.alive), lives[0] if lives else None)


def follow_all(folder: Path, live: Live | None, as_json: bool) -> int:
    """Follow a campaign to its end, and those that go on after it in another job of their driver."""
    from ..driver_jobs import describe, going_on

    code = 130  # of a driver that never came
    while True:
        if live is not None:
            code = follow(live, as_json) if live.alive else ended(live)
        chain = next(iter(going_on(folder)), None)
        if chain is None:
            return code
        click.echo(describe(chain), err=True)
        live = await_driver(chain, live.status.started if live else 0.0)
        if live is None:
            return code


def ended(live: Live) -> int:
    click.echo(f"campaign {live.status.campaign} of {live.status.study} {state(live)}", err=True)
    if live.status.state != "ended":
        return 1
    return live.status.code or 0


def await_driver(chain: JobChain, after: float) -> Live | None:
    """The campaign of the relay's job, once there is one that was started ``after``; None when none will come."""
    from ...driver.job_chain import read_relay
    from ..campaign_status import campaigns
    from ..driver_jobs import checked

    asked, latest = time.monotonic(), chain
    while True:
        over = latest.ended  # looked at before the campaigns are, so that none comes in between
        newest = next(iter(campaigns(chain.folder.parent.parent, chain.study)), None)
        if newest is not None and newest.status.started > after:
            return newest
        if over:
            click.echo(f"the driver's job has ended: {latest.reason}", err=True)
            return None
        time.sleep(POLL)
        latest = read_relay(chain.folder) or latest
        if time.monotonic() - asked > QUESTION:
            asked, latest = time.monotonic(), checked(latest)


def follow(live: Live, as_json: bool) -> int:
    """Show each new status until the campaign ends or dies; returns its exit code."""
    from ...analysis import strict
    from ..campaign_status import look
    from ..progress import Progress

    shown = -1.0
    with Progress(quiet=as_json) as progress:
        while True:
            live = look(live.folder) or live
            if live.status.updated > shown:
                shown = live.status.updated
                progress(live.status)
                if as_json:
                    click.echo(json.dumps(strict(dataclasses.asdict(live.status))))
            if not live.alive:
                break
            time.sleep(POLL)
    if live.status.state != "ended":
        raise PilotuneError(f"the driver of {live.status.study} died; go on with pilotune resume {live.status.study}")
    if not as_json:
        click.echo(describe_end(live))
    return live.status.code or 0


def describe_end(live: Live) -> str:
    from ..progress import line

    return f"{line(live.status)}; {live.status.reason}"
