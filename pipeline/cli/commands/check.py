"""``pilotune check``: validate a study and print the plan."""

from __future__ import annotations

from pathlib import Path

import click

from ..formatting import echo_json
from ..options import json_option, runs_option, set_option, site_option, storage_option, study_argument, trials_option


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

    Nothing is started, and no file is written.
    """
    from ....providers.site import render_site, site_json
    from ...studyfile import plan, render_plan
    from ..resolve import prepare_run

    prepared = prepare_run(study, site, storage, overrides, trials=trials, runs=runs)
    laid_out = plan(prepared.study_file)
    if not as_json:
        storage_line = f"storage    {prepared.storage}"
        click.echo("\n".join([render_plan(laid_out), "", render_site(prepared.site), storage_line]))
        return
    echo_json(
        {
            "study": laid_out.to_json(),
            "site": site_json(prepared.site),
            "storage": prepared.storage,
            "runs": str(prepared.runs),
        }
    )
