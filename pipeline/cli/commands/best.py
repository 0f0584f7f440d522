"""``pilotune best``: the best trial of a study, or its Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ....errors import PilotuneError
from ....filesystems import size_in_words
from ....grammar import count
from ...hours import amount
from ...studies.formatting import exact, number, pairs, parameter, table
from ..options import json_option, name_argument, storage_option
from ..results import alike_text, read_named_study, trials_table
from ..stdout import echo_json, terminal_width

if TYPE_CHECKING:
    from ...analysis import Row, Stage, StudyData
    from ...noise.bounds import CautiousBest


@click.command("best")
@name_argument(required=False)
@storage_option
@json_option
def best_command(name: str | None, storage: str | None, as_json: bool) -> None:
    """Show the best trial of a study, or the Pareto front of several objectives.

    NAME is a study's name or its study file; it may be left out when you have run only one.
    """
    from ...analysis import best_trials, certainty, certainty_json, study_cost

    data = read_named_study(name, storage)
    front, sure = best_trials(data), certainty(data)
    if as_json:
        best = [row.as_dict() for row in front]
        found = {"study": data.name, "directions": data.directions, "metrics": data.metrics, "best": best}
        stages = [stage.as_dict() for stage in schedule(data, front)]
        cost = study_cost(data)
        costs = {"cost": cost.as_dict() if cost else None}
        echo_json({**found, **costs, "certainty": certainty_json(sure), **({"schedule": stages} if stages else {})})
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
    if row.peak_memory is not None:
        lines.append(("memory", size_in_words(row.peak_memory)))
    if row.node_hours is not None:
        gpus = f", {amount(row.gpu_hours, 'gpu_hours')}" if row.gpu_hours else ""
        lines.append(("cost", f"{amount(row.node_hours, 'node_hours')}{gpus}"))
        lines += [("", sentence) for sentence in costs_of(data)]
    if row.attempts > max(1, len(row.repetitions)):
        lines.append(("attempts", str(row.attempts)))
    if row.directory:
        lines.append(("files", row.directory))
    stages = schedule(data, front)
    return f"{pairs(lines)}\n\n{schedule_text(data, stages)}" if stages else pairs(lines)


def costs_of(data: StudyData) -> list[str]:
    """What the study cost, and what pruning saved, in sentences."""
    from ...analysis import cost_sentences, study_cost

    cost = study_cost(data)
    return cost_sentences(cost) if cost else []


def schedule(data: StudyData, front: Sequence[Row]) -> list[Stage]:
    """The stages that led to the best trial of population-based training; empty for other studies."""
    from ...analysis import schedule_of

    copied = len(front) == 1 and front[0].start_step is not None
    return schedule_of(data, front[0].number) if copied else []


def schedule_text(data: StudyData, stages: Sequence[Stage]) -> str:
    """The schedule as a table of the parameters that change in it, and how to use it."""
    names = [name for name in stages[0].params if len({repr(stage.params.get(name)) for stage in stages}) > 1]
    lines = []
    for i, stage in enumerate(stages):
        steps = f"{stage.start + 1} to {stages[i + 1].start}" if i + 1 < len(stages) else f"{stage.start + 1} on"
        lines.append([steps, str(stage.trial), *(parameter(stage.params.get(name), number) for name in names)])
    shown = table(["steps", "trial", *names], lines, right=("trial", *names))
    return (
        f"It went on from copies of other trials, so its parameters alone do not lead to it. Its schedule:\n{shown}\n"
        f"`pilotune export {data.name} --schedule -o schedule.yaml` writes it, and `pilotune try STUDY --params "
        "schedule.yaml` runs it again"
    )
