"""``pilotune best``: the best trial of a study, or its Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ....errors import PilotuneError
from ..formatting import count, echo_json, exact, number, pairs, parameter, terminal_width
from ..options import json_option, name_argument, storage_option
from ..results import alike_text, read_named_study, trials_table

if TYPE_CHECKING:
    from ...analysis import Row, StudyData
    from ...noise.bounds import CautiousBest


@click.command("best")
@name_argument(required=False)
@storage_option
@json_option
def best_command(name: str | None, storage: str | None, as_json: bool) -> None:
    """Show the best trial of a study, or the Pareto front of several objectives.

    NAME is a study's name or its study file; it may be left out when you have run only one.
    """
    from ...analysis import best_trials, certainty, certainty_json

    data = read_named_study(name, storage)
    front, sure = best_trials(data), certainty(data)
    if as_json:
        found = {"study": data.name, "directions": data.directions, "metrics": data.metrics}
        echo_json({**found, "best": [row.as_dict() for row in front], "certainty": certainty_json(sure)})
    if not front:
        raise PilotuneError(f"study {data.name!r} has no complete trial yet, so there is no best one")
    if not as_json:
        click.echo(best_text(data, front, sure))


def best_text(data: StudyData, front: Sequence[Row], sure: CautiousBest | None = None) -> str:
    """The best trial with all its parameters, or the Pareto front as a table.

    ``sure``: How sure the best trial is, where trials were repeated.
    """
    if len(front) > 1:
        return f"{len(front)} trials on the Pareto front\n{trials_table(data.metrics, front, terminal_width())}"
    row = front[0]
    lines = [("trial", str(row.number)), *((name, exact(value)) for name, value in row.values.items())]
    if sure is not None:
        deviations = "".join(f", standard deviation {number(each)}" for each in row.spread.values())
        lines.append(("", f"mean of {count(max(1, len(row.repetitions)), 'run')}{deviations}"))
        lines.append(("", f"90 % interval {number(sure.low)} to {number(sure.high)}"))
        lines += [("", alike)] if (alike := alike_text(sure)) else []
    lines += [(f"  {name}", parameter(value)) for name, value in row.params.items()]
    lines.append(("seconds", number(row.seconds)))
    if row.attempts > max(1, len(row.repetitions)):
        lines.append(("attempts", str(row.attempts)))
    if row.directory:
        lines.append(("files", row.directory))
    return pairs(lines)
