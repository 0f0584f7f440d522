"""``pilotune resume``: run a study again by its name, with the options of its last run."""

from __future__ import annotations

import click

from ...studies.request import Request
from ..options import (
    detach_option,
    in_job_option,
    json_option,
    name_argument,
    quiet_option,
    set_option,
    site_option,
    storage_option,
    trials_option,
)
from ..start import start


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
    sites: tuple[str, ...],
    storage: str | None,
    trials: int | None,
    overrides: tuple[str, ...],
    detach: bool,
    in_job: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Resume the study NAME from any folder. Finished trials count; interrupted ones continue as new attempts.

    Site and --set are those of the last run, changed by what is given here; with another --site, only --set of the
    study file is kept. A study that ran on several sites resumes on all of them. To run more trials than
    before, give the new total: --trials N.
    """
    from ...studies.resolve import resolve_study
    from ...studies.resumed import resumed

    changes = Request("", sites, storage, trials, overrides, as_json=as_json, quiet=quiet)
    return start(resumed(resolve_study(name), changes), detach, in_job)
