"""``pilotune trials``: the trials of a study as a table, or one of them in detail."""

from __future__ import annotations

import click

from ...analysis import INTERRUPTED, PAUSED, STATES
from ...studies.resolve import resolve_study
from ..options import json_option, name_argument, storage_option
from ..results import read_named_study, trials_table
from ..stdout import echo_json, terminal_width


@click.command("trials")
@name_argument(required=False)
@storage_option
@click.option(
    "--state",
    "states",
    type=click.Choice([*STATES, PAUSED, INTERRUPTED]),
    multiple=True,
    help="Only trials in this state; may be repeated.",
)
@click.option(
    "--sort",
    default="number",
    show_default=True,
    metavar="KEY",
    help="value or a metric (best first), number, seconds, node_hours, peak_memory, state, attempts, host or a "
    "parameter; -KEY reverses.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N after sorting.")
@click.option(
    "--traceback",
    "number",
    type=click.IntRange(min=0),
    metavar="N",
    help="Trial N alone: its whole traceback, the end of its output, its artifacts, and where its files are.",
)
@json_option
def trials_command(
    name: str | None,
    storage: str | None,
    states: tuple[str, ...],
    sort: str,
    limit: int | None,
    number: int | None,
    as_json: bool,
) -> None:
    """List the trials of a study, and why failed ones failed.

    A pruned, paused, running or interrupted trial is shown with the last value that it reported. A trial is interrupted
    if its driver has ended or died while it ran; `pilotune resume` continues it.
    """
    from ...analysis import rows

    if number is not None and (states or limit):
        raise click.UsageError("--traceback shows one trial: leave out --state and --limit")
    if number is not None:
        _show_trial(name, storage, number, as_json)
        return
    data = read_named_study(name, storage)
    items = rows(data, states, sort, limit)
    if as_json:
        echo_json([row.as_dict() for row in items])
    elif items:
        click.echo(trials_table(data.metrics, items, terminal_width()))
        if any(row.state == INTERRUPTED for row in items):
            click.echo(f"interrupted trials wait for pilotune resume {data.name}", err=True)
    else:
        click.echo(f"no trials{' in state ' + ' or '.join(states) if states else ' yet'}", err=True)


def _show_trial(name: str | None, storage: str | None, number: int, as_json: bool) -> None:
    """Show one trial in detail."""
    from ...analysis import read_study
    from ..trial_details import detail_json, render_details, trial_details

    study = resolve_study(name, storage)
    data = read_study(study.storage, study.name)
    details = trial_details(data, number, study.folder)
    if as_json:
        echo_json(detail_json(details))
    else:
        click.echo(render_details(data, details))
