"""``pilotune watch``: follow a campaign until it ends."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import PilotuneError, UserError
from ..campaign_status import POLL_INTERVAL
from ..options import name_argument

if TYPE_CHECKING:
    from ...driver.job_chain import JobChain
    from ..campaign_status import ObservedCampaign

JOB_QUERY_INTERVAL = 60.0
"""Seconds between two queries to the scheduler about a driver's job that is queued."""


@click.command("watch")
@name_argument(required=False)
@click.option("--json", "as_json", is_flag=True, help="Print each new status, or the last one, as JSON lines instead.")
def watch_command(name: str | None, as_json: bool) -> int:
    """Follow the campaign of the study NAME until it ends. Ctrl-C leaves it running.

    If the driver runs in a batch job, its successors are followed as well. The exit code is the campaign's.
    """
    folder, campaign = choose_campaign(name)
    try:
        return follow_all(folder, campaign, as_json)
    except KeyboardInterrupt:
        click.echo(f"the campaign keeps running; end it with pilotune stop {folder.name}", err=True)
        return 0


def choose_campaign(name: str | None) -> tuple[Path, ObservedCampaign | None]:
    """The campaign to follow: the running one of a study, else its latest.

    Args:
        name: The study's name; None for the only campaign that runs.

    Returns:
        The folder of the study's campaigns, and the campaign; None while the first job of its driver is queued.
    """
    from ...record import known_studies
    from ..campaign_status import list_campaigns
    from ..driver_jobs import active_chains
    from ..resolve import from_entry, resolve_study

    if name is None:
        running = [
            campaign
            for study in map(from_entry, known_studies.all())
            for campaign in list_campaigns(study.runs, study.name)
            if campaign.alive
        ]
        if len(running) == 1:
            return running[0].folder.parent, running[0]
        names = ", ".join(sorted({campaign.status.study for campaign in running}))
        raise UserError(f"which study? running: {names}" if running else "nothing is running; see pilotune status")
    study = resolve_study(name)
    campaigns = list_campaigns(study.runs, study.name)
    folder = study.folder
    if folder is None or not (campaigns or active_chains(folder)):
        raise UserError(f"study {study.name!r} has no campaign here: pilotune run STUDY starts one")
    latest = campaigns[0] if campaigns else None
    return folder, next((campaign for campaign in campaigns if campaign.alive), latest)


def follow_all(folder: Path, campaign: ObservedCampaign | None, as_json: bool) -> int:
    """Follow a campaign to its end, then those of the successors of its driver's job; returns the exit code."""
    from ..driver_jobs import active_chains, describe_chain

    code = 130  # if the driver's job never begins
    while True:
        if campaign is not None:
            code = follow(campaign, as_json) if campaign.alive else show_ended(campaign, as_json)
        chain = next(iter(active_chains(folder)), None)
        if chain is None:
            return code
        click.echo(describe_chain(chain), err=True)
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
    """Wait for the campaign that the chain's job starts.

    Args:
        chain: The job chain.
        after: Campaigns that started at this moment (Unix seconds) or earlier do not count.

    Returns:
        The campaign; None if the job has ended without starting one.
    """
    from ...driver.job_chain import read_chain
    from ..campaign_status import list_campaigns
    from ..driver_jobs import refresh

    asked, latest = time.monotonic(), chain
    while True:
        ended = latest.ended  # read before the campaigns, so that one that starts in between is not missed
        newest = next(iter(list_campaigns(chain.folder.parent.parent, chain.study)), None)
        if newest is not None and newest.status.started > after:
            return newest
        if ended:
            click.echo(f"the driver's job has ended: {latest.reason}", err=True)
            return None
        time.sleep(POLL_INTERVAL)
        latest = read_chain(chain.folder) or latest
        if time.monotonic() - asked > JOB_QUERY_INTERVAL:
            asked, latest = time.monotonic(), refresh(latest)


def follow(campaign: ObservedCampaign, as_json: bool) -> int:
    """Show each new status until the campaign ends; returns its exit code. Raises PilotuneError if its driver dies."""
    from ..campaign_status import read_campaign
    from ..progress import Progress

    shown = -1.0
    with Progress(quiet=as_json) as progress:
        while True:
            campaign = read_campaign(campaign.folder) or campaign
            if campaign.status.updated > shown:
                shown = campaign.status.updated
                progress(campaign.status)
                if as_json:
                    print_json(campaign)
            if not campaign.alive:
                break
            time.sleep(POLL_INTERVAL)
    status = campaign.status
    if status.state != "ended":
        raise PilotuneError(f"the driver of {status.study} died; pilotune resume {status.study} continues the study")
    if not as_json:
        from ..progress import status_line

        click.echo(f"{status_line(status)}; {status.reason}")
    return status.code or 0


def print_json(campaign: ObservedCampaign) -> None:
    """Print a campaign's status as a line of JSON."""
    from ...analysis import strict

    found = {**dataclasses.asdict(campaign.status), "state": campaign.state, "alive": campaign.alive}
    click.echo(json.dumps(strict(found)))
