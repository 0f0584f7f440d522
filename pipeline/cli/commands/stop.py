"""``pilotune stop``: end a campaign on whichever login node it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ....errors import PilotuneError
from ....grammar import count
from ...studies.campaign_status import POLL_INTERVAL
from ...studies.formatting import timestamp
from ..options import json_option, name_argument
from ..stdout import echo_json

if TYPE_CHECKING:
    from ...studies.campaign_status import ObservedCampaign


@click.command("stop")
@name_argument()
@click.option(
    "--yield",
    "how",
    flag_value="yield",
    help="Running trials are asked to save a checkpoint and end; `resume` continues from it. Those that do not end in "
    "time are stopped.",
)
@click.option("--now", "how", flag_value="now", help="End running trials at once; `resume` starts them again.")
@click.option("--wait/--no-wait", default=True, help="Wait until the campaign has ended (default).")
@json_option
def stop_command(name: str, how: str | None, wait: bool, as_json: bool) -> int:
    """End the campaign of the study NAME, on any login node: no further trials; those that workers have finish.

    A job of its driver that is queued is cancelled; one that runs submits no successor.
    """
    from ...studies.campaign_status import study_json
    from ...studies.driver_jobs import describe_stopped
    from ...studies.resolve import resolve_study
    from ...studies.stop_request import ask_to_stop

    study = resolve_study(name)
    campaigns, chains = ask_to_stop(study.runs, study.name, how or "finish")
    if not campaigns and not chains:
        raise PilotuneError(f"no campaign of {study.name!r} is running; see pilotune status {study.name}")
    if wait:
        campaigns = [wait_for_end(campaign, how or "finish") for campaign in campaigns]
    if as_json:
        echo_json(study_json(study, campaigns))
        return 0
    for campaign in campaigns:
        click.echo(f"campaign {campaign.status.campaign} of {study.name}: {stop_result(campaign, wait)}")
    for chain in chains:
        if chain.state != "running" or not campaigns:
            click.echo(describe_stopped(chain))
    return 0


def stop_result(campaign: ObservedCampaign, waited: bool) -> str:
    """What came of stopping a campaign."""
    if campaign.alive:
        return "still stopping" if waited else "asked to stop"
    if campaign.state == "ended":
        reason = f", {campaign.status.reason}" if campaign.status.reason else ""
        return f"ended at {timestamp(campaign.status.updated)}{reason}"
    return campaign.state_text


def wait_for_end(campaign: ObservedCampaign, how: str) -> ObservedCampaign:
    """Wait until a campaign has ended. Ctrl-C ends only the waiting."""
    from ...studies.campaign_status import read_again

    if how == "finish" and campaign.status.running:
        harder = f"pilotune stop {campaign.status.study} --yield or --now ends them earlier"
        click.echo(f"waiting for {count(campaign.status.running, 'running trial')}; {harder}", err=True)
    said = ""
    try:
        while campaign.alive:
            time.sleep(POLL_INTERVAL)
            campaign = read_again(campaign)
            if campaign.alive and how == "yield" and campaign.status.stopping != said:
                said = campaign.status.stopping
                if said:
                    click.echo(said, err=True)
    except KeyboardInterrupt:
        click.echo("the campaign keeps stopping without this command", err=True)
    return campaign
