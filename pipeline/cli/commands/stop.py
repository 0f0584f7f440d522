"""``pilotune stop``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ....errors import PilotuneError
from ..formatting import count, echo_json
from ..options import json_option, name_argument
from .status import entry, state
from .watch import POLL

if TYPE_CHECKING:
    from ..campaign_status import Live


@click.command("stop")
@name_argument()
@click.option("--yield", "how", flag_value="yield", help="Running trials save what they have and go on at `resume`.")
@click.option("--now", "how", flag_value="now", help="Running trials are ended at once; they start again at `resume`.")
@click.option("--wait/--no-wait", default=True, help="Wait until the campaign has ended (default).")
@json_option
def stop_command(name: str, how: str | None, wait: bool, as_json: bool) -> int:
    """End the campaign of the study NAME, on whichever login node it runs: no new trials, and running ones finish.

    A job of its driver that waits is cancelled; one that runs has no successor.
    """
    from ...record import RunDirectory
    from ...trial.files import write_atomically
    from .. import driver_jobs as relays
    from ..campaign_status import campaigns
    from ..resolve import find

    found = find(name)
    folder = found.runs / found.name if found.runs else None
    lives = [live for live in campaigns(found.runs, found.name) if live.alive]
    jobs = relays.unfinished(folder) if lives else relays.going_on(folder)
    if not lives and not jobs:
        raise PilotuneError(f"no campaign of {found.name!r} is running; see pilotune status {found.name}")
    jobs = [relays.stop(job, how or "finish") for job in jobs]  # first, so that no successor begins meanwhile
    for live in lives:
        write_atomically(RunDirectory(live.folder).stop, how or "finish")
    if wait:
        lives = [wait_for_end(live, how or "finish") for live in lives]
    if as_json:
        echo_json(entry(found, lives))
        return 0
    for live in lives:
        click.echo(f"campaign {live.status.campaign} of {found.name}: {told(live, wait)}")
    for job in jobs:
        if job.state != "running" or not lives:
            click.echo(relays.told(job))
    return 0


def told(live: Live, waited: bool) -> str:
    if live.alive:
        return "still stopping" if waited else "asked to stop"
    return state(live) + (f", {live.status.reason}" if live.status.reason else "")


def wait_for_end(live: Live, how: str) -> Live:
    """Wait until the campaign ended; Ctrl-C stops only the waiting."""
    from ..campaign_status import look

    if how == "finish" and live.status.running:
        harder = f"pilotune stop {live.status.study} --yield or --now ends them earlier"
        click.echo(f"waiting for {count(live.status.running, 'running trial')}; {harder}", err=True)
    try:
        while live.alive:
            time.sleep(POLL)
            live = look(live.folder) or live
    except KeyboardInterrupt:
        click.echo("the campaign goes on stopping without this command", err=True)
    return live
