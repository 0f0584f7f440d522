"""``pilotune clean``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import SiteError, UserError
from ..formatting import count, duration, echo_json, table, terminal_width
from ..options import json_option, name_argument

if TYPE_CHECKING:
    from ....providers.blocks.orphaned_jobs import Leftover
    from ..campaign_status import Live
    from ..resolve import Found


@click.command("clean")
@name_argument()
@click.option("--dry-run", is_flag=True, help="Show what would be ended, and end nothing.")
@json_option
def clean_command(name: str, dry_run: bool, as_json: bool) -> int:
    """End the blocks that dead drivers of the study NAME left in the queue or running.

    Only jobs are touched whose numbers those drivers wrote down. Campaigns that run are left alone.
    """
    from ....providers.blocks.orphaned_jobs import clean
    from ..driver_jobs import describe, going_on
    from ..resolve import find

    found = find(name)
    dead, living = campaigns_of(found)
    left = clean([record for record in dead if record.exists()], look_only=dry_run)
    if as_json:
        echo_json({"study": found.name, "skipped": [live.status.campaign for live in living],
                   "jobs": [as_data(each) for each in left]})  # fmt: skip
    else:
        show(found, dead, living, left, dry_run)
        for chain in going_on(found.runs / found.name if found.runs else None):
            click.echo(f"{describe(chain)}; pilotune stop {found.name} ends it", err=True)
    stuck = [each for each in left if each.open]
    if stuck and not dry_run:
        raise SiteError(f"{count(len(stuck), 'job')} may still be there; run pilotune clean {found.name} again")
    return 0


def campaigns_of(found: Found) -> tuple[list[Path], list[Live]]:
    """The job records of campaigns whose drivers are dead, oldest first; and the campaigns that live."""
    from ...record import RunDirectory
    from ...record.rundir import strangers_in
    from ..campaign_status import SILENCE, look

    dead, living = [], []
    folder = found.runs / found.name if found.runs else None
    problem = strangers_in(folder) if folder is not None else ""
    if problem:
        raise UserError(f"{problem}; it is theirs to clean", file=folder)
    for each in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []:
        run = RunDirectory(each)
        live = look(each)
        if live is not None and live.alive:
            living.append(live)
        elif live is not None or silence(run.jobs) > SILENCE:
            dead.append(run.jobs)
    return dead, living


def silence(file: Path) -> float:
    """Seconds since it was written; 0 where it is not there."""
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return 0.0


def as_data(left: Leftover) -> dict[str, object]:
    job = left.job
    return {
        "campaign": left.record.parent.name,
        "scheduler": job.scheduler,
        "pool": job.pool,
        "block": job.block,
        "job": job.job or None,
        "name": job.name,
        "was": left.was or None,
        "now": left.fate.value,
        "words": left.words,
    }


def show(found: Found, dead: list[Path], living: list[Live], left: list[Leftover], dry_run: bool) -> None:
    for live in living:
        status = live.status
        heard = duration(max(0.0, time.time() - status.updated))
        click.echo(
            f"campaign {status.campaign} runs (process {status.pid} on {status.host}, last heard of {heard} ago); "
            f"its blocks are its own: pilotune stop {found.name}",
            err=True,
        )
    if left:
        rows = [[each.record.parent.name, each.job.pool, each.job.block, each.job.job or "-", each.was or "-",
                 each.fate.value + (f": {each.words}" if each.words else "")] for each in left]  # fmt: skip
        click.echo(table(["campaign", "pool", "block", "job", "was", "now"], rows, width=terminal_width()))
    elif dead:
        click.echo(f"nothing is left of {count(len(dead), 'campaign')} of {found.name} "
                   "(blocks on this machine are processes, which end with their driver)")  # fmt: skip
    elif not living:
        click.echo(f"{found.name} has no campaign here")
    if dry_run and any(each.was for each in left):
        click.echo("nothing was ended", err=True)
