"""``pilotune clean``: end the blocks that a dead driver left at the scheduler."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import PilotuneError, SiteError, UserError
from ....grammar import count
from ...studies.formatting import ago, table
from ..options import json_option, name_argument
from ..stdout import echo_json, terminal_width

if TYPE_CHECKING:
    from ....providers.blocks.orphaned_jobs import OrphanedJob
    from ...studies.campaign_status import ObservedCampaign
    from ...studies.resolve import StudyLocation


@click.command("clean")
@name_argument()
@click.option("--dry-run", is_flag=True, help="Show which jobs would be ended, and end none.")
@json_option
def clean_command(name: str, dry_run: bool, as_json: bool) -> int:
    """End the blocks that dead drivers of the study NAME left queued or running.

    Only jobs whose ids those drivers recorded are touched. Campaigns that run keep their blocks. What the ended blocks
    cost is written to the study's database. Copies of artifacts that a killed driver left half-made are removed, too.
    """
    from ....providers.blocks.orphaned_jobs import end_orphaned_jobs
    from ...record.artifacts import artifacts_folder, sweep
    from ...studies.driver_jobs import active_chains, describe_chain
    from ...studies.resolve import resolve_study

    study = resolve_study(name)
    dead, living = campaigns_of(study)
    if study.folder is not None and not dry_run:
        sweep(artifacts_folder(study.folder), [campaign.status.campaign for campaign in living])
    left = end_orphaned_jobs([record for record in dead if record.exists()], dry_run=dry_run)
    used = "" if dry_run else write_costs(study, dead, left)
    if as_json:
        echo_json({"study": study.name, "skipped": [campaign.status.campaign for campaign in living],
                   "jobs": [job_json(each) for each in left]})  # fmt: skip
    else:
        show(study, dead, living, left, dry_run)
        if used:
            click.echo(f"the study used {used}")
        for chain in active_chains(study.folder):
            click.echo(f"{describe_chain(chain)}; pilotune stop {study.name} ends it", err=True)
    unclear = [each for each in left if each.open]
    if unclear and not dry_run:
        raise SiteError(f"{count(len(unclear), 'job')} may still exist; run pilotune clean {study.name} again")
    return 0


def write_costs(study: StudyLocation, dead: list[Path], left: list[OrphanedJob]) -> str:
    """Write what the blocks of the dead campaigns cost; returns what the study has used in all, in words."""
    from ...driver.settlement import settle_cleaned
    from ...hours import used_text
    from ...record.hours import hours_by_pool

    try:
        ledgers = settle_cleaned(study.storage, study.name, dead, left)
    except PilotuneError as error:  # the jobs are ended, and the next driver or clean can write it
        click.echo(f"what the blocks cost could not be written to the database: {error}", err=True)
        return ""
    return used_text(hours_by_pool(ledgers).values()) if dead else ""


def campaigns_of(study: StudyLocation) -> tuple[list[Path], list[ObservedCampaign]]:
    """The job records of the campaigns whose drivers are dead, oldest first; and the campaigns that run."""
    from ...record import RunDirectory
    from ...record.liveness import SILENCE
    from ...record.rundir import why_untrusted
    from ...studies.campaign_status import read_campaign

    dead, living = [], []
    folder = study.folder
    problem = why_untrusted(folder) if folder is not None else ""
    if problem:
        raise UserError(f"{problem}; only its owner can clean up here", file=folder)
    for each in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []:
        run = RunDirectory(each)
        campaign = read_campaign(each)
        if campaign is not None and campaign.alive:
            living.append(campaign)
        elif campaign is not None or seconds_since_written(run.jobs) > SILENCE:
            dead.append(run.jobs)
    return dead, living


def seconds_since_written(file: Path) -> float:
    """Age of a file's last change in seconds; 0 if there is no such file."""
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return 0.0


def job_json(left: OrphanedJob) -> dict[str, object]:
    """A job for ``--json``."""
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


def show(
    study: StudyLocation, dead: list[Path], living: list[ObservedCampaign], left: list[OrphanedJob], dry_run: bool
) -> None:
    """Print which jobs were found and what became of them."""
    for campaign in living:
        status = campaign.status
        click.echo(
            f"campaign {status.campaign} runs (process {status.pid} on {status.host}, last status "
            f"{ago(status.updated)}) and keeps its blocks; pilotune stop {study.name} ends it",
            err=True,
        )
    if left:
        rows = [[each.record.parent.name, each.job.pool, each.job.block, each.job.job or "-", each.was or "-",
                 each.fate.value + (f": {each.words}" if each.words else "")] for each in left]  # fmt: skip
        click.echo(table(["campaign", "pool", "block", "job", "was", "now"], rows, width=terminal_width()))
    elif dead:
        click.echo(f"nothing is left of {count(len(dead), 'campaign')} of {study.name} "
                   "(blocks on this machine are processes, which end with their driver)")  # fmt: skip
    elif not living:
        click.echo(f"{study.name} has no campaign here")
    if dry_run and any(each.was for each in left):
        click.echo("no job was ended", err=True)
