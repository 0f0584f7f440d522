"""``pilotune check``: validate a study and print the plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....grammar import count
from ...studies.formatting import duration
from ..options import json_option, runs_option, set_option, site_option, storage_option, study_argument, trials_option
from ..stdout import echo_json

if TYPE_CHECKING:
    from ....providers.blocks.resources import PoolUse
    from ....providers.site import Site
    from ...studyfile import StudyFile


@click.command("check")
@study_argument
@site_option
@storage_option
@trials_option
@set_option
@runs_option
@click.option("--import", "import_it", is_flag=True, help="Import the objective as well, which may take a while.")
@json_option
def check_command(
    study: str,
    sites: tuple[str, ...],
    storage: str | None,
    trials: int | None,
    overrides: tuple[str, ...],
    runs: Path | None,
    import_it: bool,
    as_json: bool,
) -> None:
    """Validate the study in the file STUDY and the site, and print the plan: space, sampler, brackets, blocks,
    and the most node-hours that they can cost.

    Nothing is started, and no file is written. The objective is not imported without --import: only its syntax, its
    arguments and whether what it imports exists are checked. `pilotune try` runs it.
    """
    from ....providers.blocks.resources import pool_uses
    from ....providers.site import render_site
    from ...driver.settings import needs_of
    from ...studies.node_hours import cost_json, cost_line
    from ...studies.preflight import advice, check_start, earlier_ledgers, import_notes
    from ...studies.resolve import prepare_run
    from ...studyfile import plan, render_plan

    prepared = prepare_run(study, sites, storage, overrides, trials=trials, runs=runs)
    laid_out = plan(prepared.study_file)
    ledgers = earlier_ledgers(prepared)
    notes = [*check_start(prepared), *import_notes(prepared), *advice(prepared, ledgers)]
    if import_it and not prepared.study_file.objective.command:
        from ...driver.single_trial import import_here

        notes.append(f"the objective was imported in {duration(import_here(prepared.study_file))}")
    needs = needs_of(prepared.study_file)
    uses = pool_uses(prepared.site, needs)
    used = [use.pool for use in uses if not use.why_not]
    if not as_json:
        lines = [render_plan(laid_out), "", render_site(prepared.site, use_lines(uses, about=needs.packed))]
        lines += [f"placement  {placement_line(prepared.study_file)}"] if len(used) > 1 else []
        lines += [f"cost       {cost_line(prepared.study_file, prepared.site, used, ledgers.values())}"]
        lines += [f"storage    {prepared.storage}", *(f"note: {note}" for note in notes), "", "No problems found."]
        click.echo("\n".join(lines))
        return
    echo_json(
        {
            "study": laid_out.to_json(),
            **site_data(prepared.site),
            "pools": [
                {"name": use.pool.name, "used": not use.why_not, "trials": use.trials, "why_not": use.why_not or None}
                for use in uses
            ],
            "placement": {
                "policy": prepared.study_file.policy,
                "pools": prepared.study_file.pools.text if prepared.study_file.pools else None,
            },
            "cost": cost_json(prepared.study_file, prepared.site, used, ledgers.values()),
            "storage": prepared.storage,
            "runs": str(prepared.runs),
            "notes": notes,
        }
    )


def site_data(site: Site) -> dict[str, object]:
    """The site for ``--json``; several as a list ``sites``."""
    from ....providers.site import site_json

    return {"sites": [site_json(each) for each in site.parts]} if site.parts else {"site": site_json(site)}


PLACED = {
    "learned": "each trial where it gains most, by costs that are learned",
    "fifo": "each free worker takes the next trial",
    "shadho": "trials with more freedom to larger pools",
}
"""What a policy of placement does."""


def placement_line(study_file: StudyFile) -> str:
    """How trials are placed on several pools, and which pools may run them."""
    rule = f"; trial.pools: {study_file.pools.text}" if study_file.pools else ""
    return f"{study_file.policy}: {PLACED[study_file.policy]}{rule}"


def use_lines(uses: list[PoolUse], *, about: bool = False) -> Mapping[str, str]:
    """By pool, whether the study uses it, in words. ``about``: trials differ in size."""
    return {
        use.pool.name: f"not used: {use.why_not}"
        if use.why_not
        else f"used: {'about ' if about else ''}{_trials(use)} at a time in a block"
        for use in uses
    }


def _trials(use: PoolUse) -> str:
    """How many trials a block runs at a time; of several shapes the least and the most."""
    held = [each for each in use.by_shape if each]
    least = min(held, default=use.trials)
    return f"{least} to {count(use.trials, 'trial')}" if least < use.trials else count(use.trials, "trial")
