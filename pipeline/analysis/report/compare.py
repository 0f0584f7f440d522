"""Compares several studies in a report: a table, and their best values side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..best import best_trials, certainty
from ..plots import Figure, Trials
from ..plots.figure import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, Axis, Line, Panel
from ..plots.history import best_so_far
from ..plots.timing import lasted
from ..reading import StudyData
from ..summary import summarize
from .parts import Section, Table, shown

if TYPE_CHECKING:
    import pandas as pd

COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK)


def comparison(found: Sequence[StudyData]) -> Section:
    """The studies beside each other."""
    names = ("trials", "complete", "pruned", "failed", "best", "90 % interval", "time of all trials")
    columns = [_column(data) for data in found]
    rows = [(name, *(column[i] for column in columns)) for i, name in enumerate(names)]
    tables = [Table("Studies", ("", *(data.name for data in found)), rows)]
    goals = {(data.metrics, data.directions) for data in found}
    if len(goals) > 1 or len(found[0].metrics) > 1:
        why = "have different objectives" if len(goals) > 1 else "have several objectives"
        return Section(
            "comparison", "Comparison", [f"The studies {why}, so their values are not drawn together."], tables
        )
    winner = _winner(found)
    if winner is None:
        text = "No trial of any of the studies has completed, so there are no values to compare."
        return Section("comparison", "Comparison", [text], tables)
    text = f"The best value of all is that of {winner}."
    return Section("comparison", "Comparison", [text], tables, [_together(found)])


def _column(data: StudyData) -> list[str]:
    summary, front, sure = summarize(data), best_trials(data), certainty(data)
    best = f"{len(front)} on the Pareto front" if len(data.metrics) > 1 else "none"
    if front and len(data.metrics) == 1:
        best = f"{shown(front[0].values[data.metrics[0]])} (trial {front[0].number})"
    interval = "not known" if sure is None else f"{shown(float(sure.low))} to {shown(float(sure.high))}"
    amounts = [f"{getattr(summary, name):,}" for name in ("total", "complete", "pruned", "failed")]
    return [*amounts, best, interval, lasted(summary.seconds)]


def _winner(found: Sequence[StudyData]) -> str | None:
    """The name of the study with the best value; None where none has one."""
    sign = -1.0 if found[0].directions[0] == "maximize" else 1.0
    values = {data.name: sign * float(front[0].values[data.metrics[0]] or 0.0) for data in found
              if (front := best_trials(data))}  # fmt: skip
    return min(values, key=values.__getitem__) if values else None


def _table(lines: Sequence[Line]) -> pd.DataFrame:
    import pandas as pd

    tables = [pd.DataFrame({"study": line.name, "trials": line.x, "best": line.y}) for line in lines]
    return pd.concat(tables, ignore_index=True)


def _together(found: Sequence[StudyData]) -> Figure:
    """The best values so far of all studies in one panel."""
    marks = list[Line]()
    for place, data in enumerate(found):
        trials = Trials(data)
        best = best_so_far(trials, 0)
        x = np.arange(1, len(best) + 1, dtype=np.float64)
        marks.append(Line(data.name, x, best, COLOURS[place % len(COLOURS)], steps=True, dashed=place >= len(COLOURS)))
    ends = [(data.name, _column(data)[4]) for data in found]
    goal = f"{found[0].metrics[0]} ({found[0].directions[0]})"
    return Figure(
        kind="comparison",
        title=f"The best value so far: {goal}",
        panels=[Panel(Axis("trials", whole=True), Axis(goal), marks)],
        make_table=lambda: _table(marks),
        caption="The best value that each study had found after so many trials: "
        + "; ".join(f"{name} {best}" for name, best in ends) + ".",
        main=ends,
    )  # fmt: skip
