"""``pilotune run --in-job``: the driver itself as a batch job that goes on in a successor."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import CampaignRunning, UserError
from ..formatting import echo_json
from .detach import arguments

if TYPE_CHECKING:
    from ...driver.job_chain import JobChain
    from ...driver.run import RunSettings
    from ..resolve import Prepared
    from .run import Request

SCRIPT = "PILOTUNE_DRIVER_SCRIPT"
"""Set in a driver's job: its batch script, in the relay's folder."""


def script_of_this_job() -> Path | None:
    """The batch script that this process was started by, where it is a driver's job. Only the driver itself is told."""
    script = os.environ.pop(SCRIPT, "")
    return Path(script) if script else None


def settings_of(prepared: Prepared) -> RunSettings:
    from ...driver.run import RunSettings

    return RunSettings(prepared.study_file, prepared.site, prepared.storage, prepared.runs)


def words_of(request: Request, prepared: Prepared) -> list[str]:
    """The driver's command line, but for the site."""
    from dataclasses import replace

    without = replace(request, site=None)
    return [sys.executable, "-m", "pilotune.pipeline.cli.main", *arguments(without, prepared)]


def planned_script(request: Request, prepared: Prepared) -> tuple[str, str]:
    """The driver's batch script as it would be submitted, under its name."""
    from ....providers.blocks.driver_job import POOL, driver_script
    from ...driver.job_chain_start import blocks_of, plan_relay

    refuse_local(prepared)
    chain = plan_relay(settings_of(prepared), words_of(request, prepared))
    return POOL, driver_script(blocks_of(chain, prepared.site), 1, chain.words)


def submit(request: Request, prepared: Prepared) -> int:
    """Submit the driver's first job and tell how to follow it."""
    from ...driver.job_chain_start import plan_relay, start_relay
    from ..request import remember

    refuse_local(prepared)
    refuse_another(prepared)
    settings = settings_of(prepared)
    chain = start_relay(plan_relay(settings, words_of(request, prepared)), prepared.site)
    remember(chain.folder.parent, request)
    register(prepared, chain)
    tell(chain, request.as_json)
    if prepared.storage.startswith("postgresql") and os.environ.get("PGPASSWORD"):
        click.echo("PGPASSWORD does not reach the job; a password in ~/.pgpass or a service file does", err=True)
    return 0


def register(prepared: Prepared, chain: JobChain) -> None:
    """So that the study is known by its name before the job begins."""
    from ...record import known_studies

    known_studies.remember(
        name=chain.study,
        study_file=prepared.study_file.path,
        storage=prepared.storage,
        runs=prepared.runs,
        site=chain.site,
        run_dir=chain.folder,
    )


def refuse_local(prepared: Prepared) -> None:
    if prepared.site.scheduler == "local":
        raise UserError(
            f"site {prepared.site.name} has no scheduler that a driver's job could be submitted to; "
            "give another --site, or --detach instead of --in-job"
        )


def refuse_another(prepared: Prepared) -> None:
    """No study has two driver jobs in the queue."""
    from ..driver_jobs import going_on

    for chain in going_on(prepared.runs / prepared.study_file.name):
        if chain.storage == prepared.storage:
            raise CampaignRunning(
                f"job {chain.job} for the driver of {chain.study!r} is {chain.state} already; see it with pilotune "
                f"status {chain.study}, end it with pilotune stop {chain.study}"
            )


def tell(chain: JobChain, as_json: bool) -> None:
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


def serve(request: Request, prepared: Prepared, script: Path) -> int:
    """Run the campaign in this job, and submit a successor where its time was not enough."""
    from ...driver.job_chain_start import begin_shift, end_shift, settings_in_job
    from ...driver.run import run_campaign
    from ..progress import Progress
    from .run import report

    slot = begin_shift(script)
    if slot is None:
        click.echo("the driver was stopped while its job waited", err=True)
        return 130
    try:
        with Progress(quiet=request.quiet) as progress:
            status = run_campaign(settings_in_job(settings_of(prepared), slot), progress)
        status = end_shift(slot, status, prepared.site)
    except BaseException as error:
        slot.chain.now(state="ended", reason=str(error) or type(error).__name__)
        raise
    report(status, request.as_json)
    return status.code or 0
