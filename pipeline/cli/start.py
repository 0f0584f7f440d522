"""Starts a requested run: in this process, in a background process, or in a batch job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...errors import UserError

if TYPE_CHECKING:
    from ..driver.status import Status
    from ..studies.request import Request
    from ..studies.resolve import PreparedRun


def start(request: Request, detach: bool, in_job: bool) -> int:
    """Run the request as ``--detach`` and ``--in-job`` say; returns the exit code."""
    from ..studies.preflight import refuse_second_driver
    from ..studies.request import save_options
    from .commands.in_job import script_of_this_job, serve, submit

    if detach and in_job:
        raise UserError("--detach keeps the driver on this host, --in-job submits it to a scheduler: give one of them")
    prepared = request.prepare()
    refuse_second_driver(prepared)
    if not request.quiet:
        note_new_database(prepared)
    if in_job:
        return submit(request, prepared)
    if script := script_of_this_job():
        return serve(request, prepared, script)
    if detach:
        from .commands.detach import start_detached

        return start_detached(request, prepared)
    save_options(prepared.runs / prepared.study_file.name, request)
    status = execute(request, prepared)
    return status.code or 0


def note_new_database(prepared: PreparedRun) -> None:
    """Say on stderr that the study has run in another database, where this run starts it anew in a new file."""
    from ..record import known_studies, sqlite_file

    path = sqlite_file(prepared.storage)
    if path is not None and not path.exists():
        elsewhere = known_studies.found_elsewhere(prepared.study_file.name, prepared.storage)
        if elsewhere:
            click.echo(f"note: the database {path} is new{elsewhere}", err=True)


def execute(request: Request, prepared: PreparedRun) -> Status:
    """Run the campaign in this process with progress on stderr, then print the summary on stdout."""
    from ..driver.run import run_campaign
    from ..driver.settings import RunSettings
    from ..studies.progress import Progress
    from .summary import print_summary

    settings = RunSettings(
        study_file=prepared.study_file, site=prepared.site, storage_url=prepared.storage, runs=prepared.runs
    )
    with Progress(quiet=request.quiet) as progress:
        status = run_campaign(settings, progress, progress.tell_waiting)
    print_summary(status, request.as_json)
    return status
