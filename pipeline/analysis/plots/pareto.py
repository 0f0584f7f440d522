"""The Pareto front of a study with several objectives."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ....grammar import count
from .figure import BLUE, GREY, VERMILLION, Axis, Figure, Line, Mark, Numbers, Panel, Points, frame
from .trials import DoesNotSuit, Trials, view

if TYPE_CHECKING:
    import pandas as pd


def pareto(trials: Trials) -> Figure:
    """A panel for each pair of objectives: all complete trials, and those on the front."""
    data = trials.data
    if len(data.metrics) < 2:
        raise DoesNotSuit(f"study {data.name!r} has one objective; the plot pareto needs several")
    trials.need_complete("pareto")
    usable = np.flatnonzero(trials.complete & trials.feasible)
    signs = np.array([-1.0 if each == "maximize" else 1.0 for each in data.directions])
    front = np.zeros(len(trials.number), dtype=bool)
    front[usable[on_front(trials.values[usable] * signs)]] = True
    panels = [_panel(trials, front, one, other) for one, other in combinations(range(len(data.metrics)), 2)]
    ends = [(f"best {metric} on the front", _best(trials.values[front, i], data.directions[i]))
            for i, metric in enumerate(data.metrics) if front.any()]  # fmt: skip
    return Figure(
        kind="pareto",
        title="Pareto front: " + ", ".join(f"{m} ({d})" for m, d in zip(data.metrics, data.directions, strict=True)),
        panels=panels,
        make_table=lambda: _table(trials, front),
        caption=f"{trials.drawn(trials.complete.sum())}; {count(int(front.sum()), 'trial')} on the Pareto front: "
        "no other trial is better in one objective and as good in the others.",
        columns=min(3, len(panels)),
        main=[("trials on the front", int(front.sum())), *ends],
    )


def _table(trials: Trials, front: npt.NDArray[np.bool_]) -> pd.DataFrame:
    table = frame({"trial": trials.number[trials.complete], "on_front": front[trials.complete]})
    for index, metric in enumerate(trials.data.metrics):
        table[f"value_{metric}"] = trials.values[trials.complete, index]
    return table


def on_front(costs: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which rows are dominated by no other row; small numbers are good.

    >>> on_front(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])).tolist()
    [True, True, False]
    """
    order = np.lexsort(costs.T[::-1])
    found = np.zeros(len(costs), dtype=bool)
    kept = np.empty((0, costs.shape[1]))
    for at in order:  # whoever dominates a row comes before it
        row = costs[at]
        if not ((kept <= row).all(axis=1) & (kept < row).any(axis=1)).any():
            found[at] = True
            kept = np.vstack([kept, row])
    return found


def _best(values: Numbers, direction: str) -> float:
    return float(values.max() if direction == "maximize" else values.min())


def _panel(trials: Trials, front: npt.NDArray[np.bool_], one: int, other: int) -> Panel:
    marks: list[Mark] = []
    for name, chosen, colour in (("dominated", trials.complete & ~front, GREY), ("on the front", front, VERMILLION)):
        if chosen.any():
            x, y = trials.values[chosen, one], trials.values[chosen, other]
            marks.append(Points(name, x, y, colour, trials.number[chosen].tolist(), large=bool(name[0] == "o")))
    if len(trials.data.metrics) == 2:
        points = trials.values[front]
        points = points[np.lexsort((points[:, other], points[:, one]))]
        marks.insert(1, Line("", points[:, one], points[:, other], BLUE, thin=True))
    axes = []
    for index in (one, other):
        direction = trials.data.directions[index]
        axes.append(Axis(f"{trials.data.metrics[index]} ({direction})",
                         limits=view(trials.values[trials.complete, index], direction == "maximize")))  # fmt: skip
    return Panel(axes[0], axes[1], marks)
