"""``pilotune trials``: the trials of a study as a table."""

from __future__ import annotations

import click

from ...analysis import PAUSED, STATES
from ..formatting import echo_json, terminal_width
from ..options import json_option, name_argument, storage_option
from ..results import read_named_study, trials_table


@click.command("trials")
@name_argument(required=False)
@storage_option
@click.option(
    "--state",
    "states",
    type=click.Choice([*STATES, PAUSED]),
    multiple=True,
    help="Only trials in this state; may be repeated.",
)
@click.option(
    "--sort",
    default="number",
    show_default=True,
    metavar="KEY",
    help="value or a metric (best first), number, seconds, state, attempts, host or a parameter; -KEY reverses.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N after sorting.")
@json_option
def trials_command(
    name: str | None, storage: str | None, states: tuple[str, ...], sort: str, limit: int | None, as_json: bool
) -> None:
    """List the trials of a study, and why failed ones failed.

    A pruned or paused trial is shown with the last value that it reported.
    """
    from ...analysis import rows

    data = read_named_study(name, storage)
    items = rows(data, states, sort, limit)
    if as_json:
        echo_json([row.as_dict() for row in items])
    elif items:
        click.echo(trials_table(data.metrics, items, terminal_width()))
    else:
        click.echo(f"no trials{' in state ' + ' or '.join(states) if states else ' yet'}", err=True)
