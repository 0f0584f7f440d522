"""``pilotune run``: run a study, or resume it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...studies.request import Request
from ..options import (
    detach_option,
    in_job_option,
    json_option,
    quiet_option,
    runs_option,
    set_option,
    site_option,
    storage_option,
    study_argument,
    trials_option,
)
from ..start import start
from ..stdout import echo_json

if TYPE_CHECKING:
    from ...studies.resolve import PreparedRun


@click.command("run")
@study_argument
@site_option
@storage_option
@trials_option
@set_option
@click.option("--new-name", metavar="NAME", help="Run it as a study of this name instead of the study file's.")
@runs_option
@detach_option
@in_job_option
@click.option("--dry-run", is_flag=True, help="Print what would be started or submitted, and start nothing.")
@json_option
@quiet_option
def run_command(
    study: str,
    sites: tuple[str, ...],
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
    """Run the study in the file STUDY, or resume it if it has run before.

    Progress goes to stderr, the summary to stdout. Ctrl-C once: ask for no more trials and wait for those that workers
    have; twice: ask the running ones to save a checkpoint and end, for `pilotune resume`; three times: stop them now.
    """
    request = Request(study, sites, storage, trials, overrides, new_name, runs, as_json, quiet)
    if dry_run:
        return show_plan(request, in_job)
    return start(request, detach, in_job)


def show_plan(request: Request, in_job: bool) -> int:
    """Print what a run would start: a local site's worker pools, or the batch scripts as they would be submitted."""
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


def batch_scripts(prepared: PreparedRun) -> Sequence[tuple[str, str]]:
    """Heading and text of each pool's batch script."""
    from ....providers.blocks.batch_scripts import batch_scripts
    from ....providers.blocks.resources import pool_in_words
    from ...driver.settings import label_of, needs_of
    from ...record import RunDirectory, new_campaign_id

    campaign, study_file = new_campaign_id(), prepared.study_file
    run = RunDirectory(prepared.runs / study_file.name / campaign)
    site, needs = prepared.site, needs_of(study_file)
    scripts = batch_scripts(site, needs, run.blocks, label_of(study_file, campaign))
    return [(pool_in_words(pool, needs), text) for pool, text in scripts]
