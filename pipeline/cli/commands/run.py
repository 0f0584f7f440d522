"""``run`` and ``resume``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import CampaignRunning, PilotuneError, UserError
from ..formatting import echo_json
from ..options import (
    json_option,
    name_argument,
    runs_option,
    set_option,
    site_option,
    storage_option,
    study_argument,
    trials_option,
)

if TYPE_CHECKING:
    from ...driver.status import Status
    from ..resolve import Prepared


@dataclass(frozen=True)
class Request:
    """A run as it was asked for, before any file was read."""

    study: str
    site: str | None = None
    storage: str | None = None
    trials: int | None = None
    overrides: tuple[str, ...] = ()
    new_name: str | None = None
    runs: Path | None = None
    as_json: bool = False
    quiet: bool = False

    def prepare(self) -> Prepared:
        from ..resolve import prepare

        return prepare(
            self.study,
            self.site,
            self.storage,
            self.overrides,
            trials=self.trials,
            new_name=self.new_name,
            runs=self.runs,
        )


detach_option = click.option("--detach", is_flag=True, help="Leave it running in the background and return.")
in_job_option = click.option(
    "--in-job",
    is_flag=True,
    help="Run the driver itself in a batch job, which goes on in a successor when it must end.",
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")


@click.command("run")
@study_argument
@site_option
@storage_option
@trials_option
@set_option
@click.option("--new-name", metavar="NAME", help="Run it as a study of this name (the file's is fixed otherwise).")
@runs_option
@detach_option
@in_job_option
@click.option("--dry-run", is_flag=True, help="Print what would be started or submitted, and start nothing.")
@json_option
@quiet_option
def run_command(
    study: str,
    site: str | None,
    storage: str | None,
    trials: int | None,
    overrides: tuple[str, ...],
    new_name: str | None,
    runs: Path | None,
    detach: bool,
    in_job: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run the study in the file STUDY, or go on with it where it stopped.

    Progress goes to stderr, the summary to stdout. Ctrl-C once: no new trials, running ones finish; twice: running ones
    are put aside for `pilotune resume`; three times: stop now.
    """
    request = Request(study, site, storage, trials, overrides, new_name, runs, as_json, quiet)
    if dry_run:
        return show_plan(request, in_job)
    return start(request, detach, in_job)


@click.command("resume")
@name_argument()
@site_option
@storage_option
@trials_option
@set_option
@detach_option
@in_job_option
@json_option
@quiet_option
def resume_command(
    name: str,
    site: str | None,
    storage: str | None,
    trials: int | None,
    overrides: tuple[str, ...],
    detach: bool,
    in_job: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Go on with the study NAME, from any folder: finished trials count, interrupted ones go on as new attempts.

    Site and --set are those of the last run, changed by what is given here. More trials than before: --trials N, the
    new number in all.
    """
    from ..request import recall
    from ..resolve import find

    found = find(name)
    if found.study_file is None:
        raise UserError(f"it is not known where the study file of {found.name!r} is; use pilotune run STUDY")
    if not found.study_file.is_file():
        raise UserError(
            f"the study file of {found.name!r} is gone; put it back, or use pilotune run", file=found.study_file
        )
    before = recall(found.runs / found.name if found.runs else None)
    request = Request(
        str(found.study_file),
        site or before.site or found.site,
        storage or found.storage,
        trials or before.trials,
        (*before.overrides, *overrides),
        found.name,
        found.runs,
        as_json,
        quiet,
    )
    return start(request, detach, in_job)


def start(request: Request, detach: bool, in_job: bool) -> int:
    """Run in this process, in one that is left behind, or in a job; returns the exit code."""
    from ..request import remember
    from . import in_job as injob

    if detach and in_job:
        raise UserError("--detach leaves the driver on this host, --in-job submits it to a scheduler: give one of them")
    prepared = request.prepare()
    refuse_second(prepared)
    if in_job:
        return injob.submit(request, prepared)
    if script := injob.script_of_this_job():
        return injob.serve(request, prepared, script)
    if detach:
        from .detach import detach as leave

        return leave(request, prepared)
    remember(prepared.runs / prepared.study_file.name, request)
    status = execute(request, prepared)
    return status.code or 0


def refuse_second(prepared: Prepared) -> None:
    """A study on SQLite has one driver. Said here too, since the database's own word comes after heavy imports."""
    from ..campaign_status import campaigns

    if not prepared.storage.startswith("sqlite"):
        return
    for live in campaigns(prepared.runs, prepared.study_file.name):
        if live.alive and live.status.storage == prepared.storage:
            name, status = live.status.study, live.status
            raise CampaignRunning(
                f"campaign {status.campaign} of {name!r} is running already (process {status.pid} on {status.host}); "
                f"see it with pilotune watch {name}, end it with pilotune stop {name}"
            )


def execute(request: Request, prepared: Prepared) -> Status:
    """Run the campaign with progress on stderr, then print the summary on stdout."""
    from ...driver.run import RunSettings, run_campaign
    from ..progress import Progress

    settings = RunSettings(
        study_file=prepared.study_file, site=prepared.site, storage_url=prepared.storage, runs=prepared.runs
    )
    with Progress(quiet=request.quiet) as progress:
        status = run_campaign(settings, progress)
    report(status, request.as_json)
    return status


def report(status: Status, as_json: bool) -> None:
    """The summary of the study after a campaign; of the campaign alone where its database was what ended it."""
    from ...analysis import read_study, summarize
    from ..summary import render, render_without

    try:
        summary = summarize(read_study(status.storage, status.study))
    except PilotuneError:
        if status.code != 3:
            raise
        summary = None
    if as_json:
        found = summary.as_dict() if summary else None
        echo_json({"campaign": dataclasses.asdict(status), "summary": found})
    else:
        click.echo(render(summary, status) if summary else render_without(status))


def show_plan(request: Request, in_job: bool) -> int:
    """What a run would start: the worker pools of a local site, or the batch scripts as they would be submitted."""
    from .in_job import planned_script

    prepared = request.prepare()
    scripts: Sequence[tuple[str, str]] = batch_scripts(prepared)
    if in_job:
        scripts = [planned_script(request, prepared), *scripts]
    if request.as_json:
        echo_json(
            {
                "study": prepared.study_file.name,
                "site": prepared.site.name,
                "storage": prepared.storage,
                "runs": str(prepared.runs),
                "scripts": [{"name": name, "text": text} for name, text in scripts],
            }
        )
        return 0
    click.echo(f"study {prepared.study_file.name} at site {prepared.site.name}; nothing is started")
    click.echo(f"storage {prepared.storage}\nruns    {prepared.runs}")
    for name, text in scripts:
        click.echo(f"\n--- {name} ---\n{text.rstrip()}")
    return 0


def batch_scripts(prepared: Prepared) -> Sequence[tuple[str, str]]:
    from ....providers.blocks.batch_scripts import batch_scripts
    from ....providers.blocks.resources import outline
    from ...driver.run import label_of, needs_of
    from ...record import RunDirectory, new_campaign_id

    campaign, study_file = new_campaign_id(), prepared.study_file
    run = RunDirectory(prepared.runs / study_file.name / campaign)
    site, needs = prepared.site, needs_of(study_file)
    scripts = batch_scripts(site, needs, run.blocks, label_of(study_file, campaign))
    return [(outline(site.pool(name), needs), text) for name, text in scripts]
