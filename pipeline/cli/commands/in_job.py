"""``--in-job`` of ``run`` and ``resume``: the driver runs in a batch job that submits its successor in time."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import CampaignRunning, UserError
from ...studies.request import command_line
from ..stdout import echo_json

if TYPE_CHECKING:
    from ...driver.job_chain import JobChain
    from ...driver.settings import RunSettings
    from ...studies.request import Request
    from ...studies.resolve import PreparedRun

SCRIPT = "PILOTUNE_DRIVER_SCRIPT"
"""Environment variable of a driver's job: path of its batch script, which lies in the job chain's folder."""


def script_of_this_job() -> Path | None:
    """The batch script of the driver's job that this process runs in; None elsewhere.

    The variable is removed from the environment, so that only the driver itself sees it, not what it starts.
    """
    script = os.environ.pop(SCRIPT, "")
    return Path(script) if script else None


def run_settings(prepared: PreparedRun) -> RunSettings:
    """What the driver is to run, without the job that it runs in."""
    from ...driver.settings import RunSettings

    return RunSettings(prepared.study_file, prepared.site, prepared.storage, prepared.runs)


def driver_command(request: Request, prepared: PreparedRun) -> list[str]:
    """The driver's command line without ``--site``, which the job chain adds."""
    from dataclasses import replace

    without_site = replace(request, sites=())
    return [sys.executable, "-m", "pilotune.pipeline.cli.main", *command_line(without_site, prepared)]


def planned_script(request: Request, prepared: PreparedRun) -> tuple[str, str]:
    """Heading and text of the driver's batch script, as it would be submitted."""
    from ....providers.blocks.driver_job import POOL, driver_script
    from ...driver.job_chain_start import blocks_of, plan_chain

    refuse_local_site(prepared)
    chain = plan_chain(run_settings(prepared), driver_command(request, prepared))
    return POOL, driver_script(blocks_of(chain, prepared.site), 1, chain.words)


def submit(request: Request, prepared: PreparedRun) -> int:
    """Submit the driver's first job and print how to follow it; returns the exit code."""
    from ...driver.job_chain_start import plan_chain, start_chain
    from ...studies.request import save_options

    refuse_local_site(prepared)
    refuse_second_job(prepared)
    chain = start_chain(plan_chain(run_settings(prepared), driver_command(request, prepared)), prepared.site)
    save_options(chain.folder.parent, request)
    register_study(prepared, chain)
    print_submitted(chain, request.as_json)
    if prepared.storage.startswith("postgresql") and os.environ.get("PGPASSWORD"):
        click.echo("PGPASSWORD does not reach the job: put the password into ~/.pgpass or a service file", err=True)
    return 0


def register_study(prepared: PreparedRun, chain: JobChain) -> None:
    """Add the study to the user's list, so that its name works before the job begins."""
    from ...record import known_studies

    known_studies.save(
        name=chain.study,
        study_file=prepared.study_file.path,
        storage=prepared.storage,
        runs=prepared.runs,
        site=chain.site,
        run_dir=chain.folder,
    )


def refuse_local_site(prepared: PreparedRun) -> None:
    """Raise UserError if the site has no scheduler, or there are several."""
    if prepared.site.parts:
        raise UserError(
            "--in-job runs the driver in a job of one site, from which the scheduler of another is seldom reachable; "
            "give one --site, or start a driver at each site with a database on PostgreSQL"
        )
    if prepared.site.scheduler == "local":
        raise UserError(
            f"site {prepared.site.name} has no scheduler to submit the driver's job to; "
            "give another --site, or --detach instead of --in-job"
        )


def refuse_second_job(prepared: PreparedRun) -> None:
    """Raise CampaignRunning if a driver's job of the study is queued or running already."""
    from ...studies.driver_jobs import active_chains

    for chain in active_chains(prepared.runs / prepared.study_file.name):
        if chain.storage == prepared.storage:
            raise CampaignRunning(
                f"job {chain.job} for the driver of {chain.study!r} is already {chain.state}; see it with pilotune "
                f"status {chain.study}, end it with pilotune stop {chain.study}"
            )


def print_submitted(chain: JobChain, as_json: bool) -> None:
    """Print the job's id, and how to follow and stop the study."""
    if as_json:
        echo_json(
            {
                "study": chain.study,
                "job": chain.job,
                "scheduler": chain.scheduler,
                "site": chain.site,
                "state": chain.state,
                "folder": str(chain.folder),
            }
        )
        return
    click.echo(f"job {chain.job} at {chain.site} ({chain.scheduler}) will run the driver of {chain.study}, and submit "
               "a successor before its walltime ends, until the study is done")  # fmt: skip
    click.echo(f"watch it:  pilotune watch {chain.study}")
    click.echo(f"stop it:   pilotune stop {chain.study}")
    click.echo(f"its files: {chain.folder}")


def serve(request: Request, prepared: PreparedRun, script: Path) -> int:
    """Run the campaign in this job, and submit a successor if the job's time was too short; returns the exit code."""
    from ...driver.job_chain_start import begin_slot, end_slot, settings_in_job
    from ...driver.run import run_campaign
    from ...studies.progress import Progress
    from ..summary import print_summary

    slot = begin_slot(script)
    if slot is None:
        click.echo("the driver was stopped while its job was queued", err=True)
        return 130
    try:
        with Progress(quiet=request.quiet) as progress:
            status = run_campaign(settings_in_job(run_settings(prepared), slot), progress, progress.tell_waiting)
        status = end_slot(slot, status, prepared.site)
    except BaseException as error:
        slot.chain.saved(state="ended", reason=str(error) or type(error).__name__)
        raise
    print_summary(status, request.as_json)
    return status.code or 0
