"""``--detach`` of ``run`` and ``resume``: a campaign that keeps running when the terminal closes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...studies.background import start_driver
from ..stdout import echo_json

if TYPE_CHECKING:
    from ...studies.campaign_status import ObservedCampaign
    from ...studies.request import Request
    from ...studies.resolve import PreparedRun

START_TIMEOUT = 15.0
"""Seconds to wait for the first workers. Blocks may queue for hours, and the driver waits for them without us."""


def start_detached(request: Request, prepared: PreparedRun) -> int:
    """Start the campaign in a new session, and wait until it runs or is seen to wait for workers.

    Returns the exit code: 0, or the campaign's own if it ended at once.
    """
    started = start_driver(request, prepared, START_TIMEOUT)
    if started.failed is not None:
        click.echo(started.printed, err=True)
        return started.failed
    if started.campaign is not None:
        print_started(started.campaign, started.log, request.as_json)
    return 0


def print_started(campaign: ObservedCampaign, log: Path, as_json: bool) -> None:
    """Print where the detached campaign runs, and how to follow and stop it."""
    from ...studies.progress import room_text

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
        "running": f"runs, with {room_text(status)}" if status.sized else f"runs on {room_text(status)}",
        "stopping": "is stopping",
    }
    state = states.get(status.state, "has ended")
    click.echo(f"campaign {status.campaign} of {status.study} {state} (process {status.pid} on {status.host})")
    click.echo(f"watch it:  pilotune watch {status.study}")
    click.echo(f"stop it:   pilotune stop {status.study}")
    click.echo(f"its files: {campaign.folder}")
