"""``pilotune check``: validate a study and print the plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..formatting import count, echo_json
from ..options import json_option, runs_option, set_option, site_option, storage_option, study_argument, trials_option

if TYPE_CHECKING:
    from ....providers.blocks.resources import PoolUse
    from ..resolve import PreparedRun


@click.command("check")
@study_argument
@site_option
@storage_option
@trials_option
@set_option
@runs_option
@json_option
def check_command(
    study: str,
    site: str | None,
    storage: str | None,
    trials: int | None,
    overrides: tuple[str, ...],
    runs: Path | None,
    as_json: bool,
) -> None:
    """Validate the study in the file STUDY and the site, and print the plan: space, sampler, brackets, blocks.

    Nothing is started, and no file is written. The objective is not imported: only its syntax, its arguments and
    whether what it imports exists are checked. `pilotune try` runs it.
    """
    from ....providers.blocks.resources import pool_uses
    from ....providers.site import render_site, site_json
    from ...driver.settings import needs_of
    from ...studyfile import plan, render_plan
    from ..resolve import prepare_run

    prepared = prepare_run(study, site, storage, overrides, trials=trials, runs=runs)
    laid_out = plan(prepared.study_file)
    notes = import_notes(prepared)
    notes += advice(prepared)
    uses = pool_uses(prepared.site, needs_of(prepared.study_file))
    if not as_json:
        lines = [render_plan(laid_out), "", render_site(prepared.site, use_lines(uses))]
        lines += [f"storage    {prepared.storage}", *(f"note: {note}" for note in notes), "", "No problems found."]
        click.echo("\n".join(lines))
        return
    echo_json(
        {
            "study": laid_out.to_json(),
            "site": site_json(prepared.site),
            "pools": [
                {"name": use.pool.name, "used": not use.why_not, "trials": use.trials, "why_not": use.why_not or None}
                for use in uses
            ],
            "storage": prepared.storage,
            "runs": str(prepared.runs),
            "notes": notes,
        }
    )


def use_lines(uses: list[PoolUse]) -> Mapping[str, str]:
    """By pool, whether the study uses it, in words."""
    return {
        use.pool.name: f"not used: {use.why_not}"
        if use.why_not
        else f"used: {count(use.trials, 'trial')} at a time in a block"
        for use in uses
    }


def import_notes(prepared: PreparedRun) -> list[str]:
    """Notes on packages that the objective imports and that are missing here, but may be there on the site's nodes.

    Raises UserError for imports that fail everywhere, and where the site says nothing of another environment.
    """
    from ....fields import all_errors
    from ...studyfile.imports import import_problems

    problems = import_problems(prepared.study_file.objective)
    elsewhere = bool(prepared.site.modules or prepared.site.setup)
    certain = [problem.error for problem in problems if not (problem.installed and elsewhere)]
    if certain:
        raise all_errors(certain)
    return [f"{problem.error}; the site's modules and setup must provide it" for problem in problems]


def advice(prepared: PreparedRun) -> list[str]:
    """Notes on the site and on what the study makes of it."""
    from ....providers.blocks.advice import site_notes, study_notes
    from ...driver.settings import needs_of
    from ...record import known_studies
    from ..resolve import sqlite_path

    notes = [*site_notes(prepared.site), *study_notes(prepared.site, needs_of(prepared.study_file))]
    path = sqlite_path(prepared.storage)
    if path is not None and not path.exists():
        elsewhere = known_studies.found_elsewhere(prepared.study_file.name, prepared.storage)
        if elsewhere:
            notes.append(f"the database {path} does not exist yet{elsewhere}")
    return notes
