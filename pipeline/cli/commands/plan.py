"""``pilotune plan``: what trials cost in each pool, and how the pools are shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ....filesystems import size_in_words
from ....grammar import listed, named
from ...studies.formatting import duration, pairs, table
from ..options import json_option, name_argument, storage_option
from ..results import read_named_study
from ..stdout import echo_json

if TYPE_CHECKING:
    from ...analysis.placing import CostPlan
    from ...placement import PlanTable

OTHERS = {
    "fifo": "The study file gives each free worker the next trial (`placement: fifo`)",
    "shadho": "The study file places trials by SHADHO's rule (`placement: shadho`)",
}
"""Policy other than ``learned`` -> what it means, as the beginning of a sentence."""


@click.command("plan")
@name_argument(required=False)
@storage_option
@json_option
def plan_command(name: str | None, storage: str | None, as_json: bool) -> None:
    """Show what trials cost in each pool, as learned from those that have run, and how the pools are shared.

    Trials that cost about the same in each pool are a kind. For each kind: how many of the trials it is, the predicted
    time of a trial in each pool, and in brackets the times between which two trials in three lie; the memory that
    suffices for 95 trials in 100, where that is known; how many have ended there; and the share of the pool's time that
    the policy `learned` would give it. The gain is in trials an hour, over giving each free worker the next trial. The
    last campaign's workers and its study file count.
    """
    from ...analysis.placing import cost_plan

    data = read_named_study(name, storage)
    found = cost_plan(data)
    if as_json:
        echo_json({"study": data.name, **found.as_dict()})
    else:
        click.echo(render_costs(found))


def render_costs(found: CostPlan) -> str:
    """The plan as text."""
    costs = found.table
    if not costs.pools:
        return "No campaign of this study has had workers, so nothing is known of its pools."
    if not costs.kinds:
        return f"No trial of this study has ended in {named('pool', costs.pools)}, so nothing is known of its cost."
    text = [_head(found), "", _table(costs), "", *_gain(found)]
    text += [f"{each.kind} does not run in pool {each.pool}: {each.reason}" for each in costs.closed]
    return "\n".join(text)


def _head(found: CostPlan) -> str:
    """What the study file says, and what there was of workers."""
    policy = found.policy or "not known, since the study file is not in the record"
    lines = [("policy", policy)] + ([("trial.pools", found.rule)] if found.rule else [])
    return pairs([*lines, ("workers", listed([f"{number:,} in {pool}" for pool, number in found.workers.items()]))])


def _table(costs: PlanTable) -> str:
    measured = any(each is not None for kind in costs.kinds for each in kind.memory.values())
    lines = []
    for kind in costs.kinds:
        cells = []
        for pool in costs.pools:
            low, high = map(duration, kind.interval[pool])
            memory = kind.memory[pool]
            cells += [f"{duration(kind.seconds[pool])} ({low} to {high})"]
            cells += ["-" if memory is None else size_in_words(memory)] if measured else []
            cells += [f"{kind.seen[pool]:,}", f"{kind.shares[pool]:.0%}"]
        lines.append([kind.name, f"{kind.part:.0%}", *cells])
    heads = ["trials", "part"]
    for pool in costs.pools:
        heads += [pool, *([f"{pool}: memory"] if measured else []), f"{pool}: ran", f"{pool}: share"]
    return table(heads, lines, right=heads[1:])


def _gain(found: CostPlan) -> list[str]:
    costs = found.table
    if len(costs.pools) == 1:
        return ["With one pool there is nothing to place."]
    text = []
    if found.policy not in (None, "learned"):
        text.append(f"{OTHERS[str(found.policy)]}. The shares are those that `placement: learned` would give.")
    if costs.gain is None:
        return [*text, "The pools cannot be shared so that all these trials run."]
    if costs.gain < 1.01:
        settled, alike = "where trials may run leaves no better choice", "the pools differ alike for all trials"
        return [*text, f"Placement gains nothing over first-come: {settled if costs.closed else alike}."]
    return [*text, f"Placed by these shares, {costs.gain:.2f} times as many trials end in an hour as with first-come."]
