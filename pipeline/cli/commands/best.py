"""``pilotune best``: the best trial of a study, or its Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ....errors import PilotuneError
from ..formatting import echo_json, exact, number, pairs, parameter, terminal_width
from ..options import json_option, name_argument, storage_option
from ..results import read_named_study, trials_table

if TYPE_CHECKING:
    from ...analysis import Row, StudyData


@click.command("best")
@name_argument(required=False)
@storage_option
@json_option
def best_command(name: str | None, storage: str | None, as_json: bool) -> None:
    """Show the best trial of a study, or the Pareto front of several objectives.

    NAME is a study's name or its study file; it may be left out when you have run only one.
    """
    from ...analysis import best_trials

    data = read_named_study(name, storage)
    front = best_trials(data)
    if as_json:
        best = [row.as_dict() for row in front]
        echo_json({"study": data.name, "directions": data.directions, "metrics": data.metrics, "best": best})
    if not front:
        raise PilotuneError(f"study {data.name!r} has no complete trial yet, so there is no best one")
    if not as_json:
        click.echo(best_text(data, front))


def best_text(data: StudyData, front: Sequence[Row]) -> str:
    """The best trial with all its parameters, or the Pareto front as a table."""
    if len(front) > 1:
        return f"{len(front)} trials on the Pareto front\n{trials_table(data.metrics, front, terminal_width())}"
    row = front[0]
    lines = [("trial", str(row.number)), *((name, exact(value)) for name, value in row.values.items())]
    lines += [(f"  {name}", parameter(value)) for name, value in row.params.items()]
    lines.append(("seconds", number(row.seconds)))
    if row.attempts > 1:
        lines.append(("attempts", str(row.attempts)))
    if row.directory:
        lines.append(("files", row.directory))
    return pairs(lines)
