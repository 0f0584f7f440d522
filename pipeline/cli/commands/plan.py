"""``pilotune plan``: what trials cost in each pool, and how the pools are shared."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from ....grammar import named
from ...studies.formatting import duration, table
from ..options import json_option, name_argument, storage_option
from ..results import read_named_study
from ..stdout import echo_json

if TYPE_CHECKING:
    from ...placement import PlanTable


@click.command("plan")
@name_argument(required=False)
@storage_option
@json_option
def plan_command(name: str | None, storage: str | None, as_json: bool) -> None:
    """Show what trials cost in each pool, as learned from those that have run, and how the pools are shared.

    Trials that cost about the same in each pool are a kind. For each kind: how many of the trials it is, the predicted
    time of a trial in each pool, how many have run there, and the share of the pool's time that it should get. The gain
    is in trials an hour, over giving each free worker the next trial. The last campaign's workers count.
    """
    from ...analysis.placing import cost_plan

    data = read_named_study(name, storage)
    found = cost_plan(data)
    if as_json:
        echo_json({"study": data.name, **dataclasses.asdict(found)})
    else:
        click.echo(render_costs(found))


def render_costs(found: PlanTable) -> str:
    """The table as text."""
    if not found.pools:
        return "No campaign of this study has had workers, so nothing is known of its pools."
    if not found.kinds:
        return f"No trial of this study has ended in {named('pool', found.pools)}, so nothing is known of its cost."
    lines = []
    for kind in found.kinds:
        cells = []
        for pool in found.pools:
            cells += [duration(kind.seconds[pool]), f"{kind.seen[pool]:,}", f"{kind.shares[pool]:.0%}"]
        lines.append([kind.name, f"{kind.part:.0%}", *cells])
    heads = ["trials", "part"]
    for pool in found.pools:
        heads += [pool, f"{pool}: ran", f"{pool}: share"]
    text = [table(heads, lines, right=heads[1:]), "", _gain(found)]
    text += [f"{each.kind} does not run in pool {each.pool}: {each.reason}" for each in found.closed]
    return "\n".join(text)


def _gain(found: PlanTable) -> str:
    if len(found.pools) == 1:
        return "With one pool there is nothing to place."
    if found.gain is None:
        return "The pools cannot be shared so that all these trials run."
    if found.gain < 1.01:
        return "Placement gains nothing over first-come: the pools differ alike for all trials."
    return f"Placed by these shares, {found.gain:.2f} times as many trials end in an hour as with first-come."
