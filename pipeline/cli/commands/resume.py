"""``pilotune resume``: run a study again by its name, with the options of its last run."""

from __future__ import annotations

import click

from ....errors import UserError
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
from ..request import Request, absolute_site, load_options
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
    site: str | None,
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
    study file is kept. To run more trials than before, give the
    new total: --trials N.
    """
    from ..resolve import resolve_study, split_overrides

    study = resolve_study(name)
    if study.study_file is None:
        raise UserError(f"the location of the study file of {study.name!r} is not known; use pilotune run STUDY")
    if not study.study_file.is_file():
        raise UserError(
            f"the study file of {study.name!r} is gone; put it back, or use pilotune run", file=study.study_file
        )
    if storage is not None:
        check_database(study.name, storage)
    last = load_options(study.folder)
    kept = last.overrides
    if site is not None and absolute_site(site) not in (last.site, study.site):
        kept = tuple(split_overrides(kept)[1])  # the others are of the other site's pools
    request = Request(
        str(study.study_file),
        site or last.site or study.site,
        storage or study.storage,
        trials or last.trials,
        (*kept, *overrides),
        study.name,
        study.runs,
        as_json,
        quiet,
    )
    return start(request, detach, in_job)


def check_database(name: str, storage: str) -> None:
    """Raise UserError if a database that was given as ``--storage`` does not exist: there is nothing to resume."""
    from ...record import known_studies, sqlite_file
    from ..resolve import given_url

    url = given_url(storage)
    path = sqlite_file(url)
    if path is not None and not path.is_file():
        elsewhere = known_studies.found_elsewhere(name, url)
        raise UserError(f"there is no database file {path}{elsewhere}", file="--storage")
