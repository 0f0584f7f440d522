"""``pilotune watch``: follow a campaign until it ends."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...studies.campaign_status import POLL_INTERVAL
from ...studies.harmless import harmless
from ..options import name_argument

if TYPE_CHECKING:
    from ...driver.job_chain import JobChain
    from ...studies.campaign_status import ObservedCampaign


@click.command("watch")
@name_argument(required=False)
@click.option("--plain", is_flag=True, help="Follow by lines also on a terminal, as in a pipe.")
@click.option("--json", "as_json", is_flag=True, help="Print each new status, or the last one, as JSON lines instead.")
def watch_command(name: str | None, plain: bool, as_json: bool) -> int:
    """Follow the campaign of the study NAME until it ends, on the whole terminal.

    Keys stop it, let it yield, and show the output of a running trial; ? lists them. q and Ctrl-C leave the campaign
    running. In a pipe, with --plain or TERM=dumb it is followed by lines.

    If the driver runs in a batch job, its successors are followed as well. The exit code is the campaign's.
    """
    from ..following import choose_campaign

    folder, campaign = choose_campaign(name)
    try:
        if has_screen() and not (plain or as_json) and goes_on(folder, campaign):
            return follow_on_screen(folder, campaign)
        return follow_all(folder, campaign, as_json)
    except KeyboardInterrupt:
        return leave(folder)


def leave(folder: Path) -> int:
    """Say that the campaign keeps running; returns the exit code."""
    click.echo(f"the campaign keeps running; end it with pilotune stop {folder.name}", err=True)
    return 0


def has_screen() -> bool:
    """Whether the standard streams are a terminal that can be redrawn."""
    from ...studies.progress import is_dumb_terminal

    return not is_dumb_terminal() and all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def goes_on(folder: Path, campaign: ObservedCampaign | None) -> bool:
    """Whether there is something to follow: the campaign runs, or a job of its driver is queued."""
    from ...studies.driver_jobs import active_chains

    return campaign is None or campaign.alive or bool(active_chains(folder))


def follow_on_screen(folder: Path, campaign: ObservedCampaign | None) -> int:
    """Show the campaign on the whole terminal; afterwards a line says how it ended. Returns the exit code."""
    from ...studies.progress import status_line
    from ..live_view.app import watch_on_screen

    code, last = watch_on_screen(folder, campaign)
    if code is None:
        return leave(folder)
    if last.end:
        click.echo(last.end, err=True)
    if last.campaign is not None:
        status = last.campaign.status
        click.echo(harmless(f"{status_line(status)}; {status.reason}"))
    return code


def follow_all(folder: Path, campaign: ObservedCampaign | None, as_json: bool) -> int:
    """Follow a campaign to its end, then those of the successors of its driver's job; returns the exit code."""
    from ...studies.driver_jobs import active_chains
    from ..following import NEVER_STARTED

    code = NEVER_STARTED
    while True:
        if campaign is not None:
            code = follow(campaign, as_json) if campaign.alive else show_ended(campaign, as_json)
        chain = next(iter(active_chains(folder)), None)
        if chain is None:
            return code
        campaign = await_driver(chain, campaign.status.started if campaign else 0.0)
        if campaign is None:
            return code


def show_ended(campaign: ObservedCampaign, as_json: bool) -> int:
    """Show the last status of a campaign that has ended; returns its exit code, 1 if its driver died."""
    if as_json:
        print_json(campaign)
    click.echo(f"campaign {campaign.status.campaign} of {campaign.status.study} {campaign.state_text}", err=True)
    if campaign.status.state != "ended":
        return 1
    return campaign.status.code or 0


def await_driver(chain: JobChain, after: float) -> ObservedCampaign | None:
    """Wait for the campaign that the chain's job starts; None if the job ends without starting one.

    Args:
        chain: The job chain.
        after: Campaigns that started at this moment (Unix seconds) or earlier do not count.
    """
    from ..following import DriverWait

    wait, said = DriverWait(chain, after), ""
    while True:
        if wait.sentence != said:
            said = wait.sentence
            click.echo(said, err=True)
        if (found := wait.look()) is not None:
            return found
        if wait.ended:
            click.echo(wait.ended, err=True)
            return None
        time.sleep(POLL_INTERVAL)


def follow(campaign: ObservedCampaign, as_json: bool) -> int:
    """Show each new status until the campaign ends; returns its exit code. Raises PilotuneError if its driver dies."""
    from ...studies.campaign_status import read_again
    from ...studies.progress import Progress, status_line
    from ..following import code_at_end

    shown = -1.0
    with Progress(quiet=as_json) as progress:
        while True:
            campaign = read_again(campaign)
            if campaign.status.updated > shown:
                shown = campaign.status.updated
                progress(campaign.status)
                if as_json:
                    print_json(campaign)
            if not campaign.alive:
                break
            time.sleep(POLL_INTERVAL)
    code, status = code_at_end(campaign), campaign.status
    if not as_json:
        click.echo(harmless(f"{status_line(status)}; {status.reason}"))
    return code


def print_json(campaign: ObservedCampaign) -> None:
    """Print a campaign's status as a line of JSON."""
    from ...analysis import strict

    found = {**dataclasses.asdict(campaign.status), "state": campaign.state, "alive": campaign.alive}
    click.echo(json.dumps(strict(found)))
