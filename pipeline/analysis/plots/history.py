"""The values of the trials in their order, and the best value so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....grammar import count
from ..reading import StudyData
from .figure import BLACK, GREY, STATE_COLOURS, Axis, Figure, Line, Mark, Numbers, Panel, Points, frame
from .trials import Trials, view

if TYPE_CHECKING:
    import pandas as pd


def history(trials: Trials) -> Figure:
    """A panel for each objective: complete trials, the last reports of pruned ones, and the best value so far."""
    shown = np.isfinite(trials.values).any(axis=1) & np.isin(trials.state, ("complete", "pruned"))
    if not shown.any():
        raise trials.nothing("history")
    panels, bests = [], []
    for index, metric in enumerate(trials.data.metrics):
        best = best_so_far(trials, index)
        panels.append(_panel(trials, index, metric, best))
        bests.append(best)
    return Figure(
        kind="history",
        title=f"Value of each trial: {_objectives(trials.data)}",
        panels=panels,
        make_table=lambda: _table(trials, bests),
        caption=_caption(trials, int(shown.sum()), bests[0]),
        main=_main(trials),
    )


def _table(trials: Trials, bests: Sequence[Numbers]) -> pd.DataFrame:
    table = frame({"trial": trials.number, "state": trials.state.astype(str)})
    single = len(bests) == 1
    for index, (metric, best) in enumerate(zip(trials.data.metrics, bests, strict=True)):
        table["value" if single else f"value_{metric}"] = trials.values[:, index]
        table["best" if single else f"best_{metric}"] = best
    return table


def best_so_far(trials: Trials, index: int) -> Numbers:
    """The best value of the complete and feasible trials up to each one; NaN before the first."""
    usable = trials.complete & trials.feasible
    if trials.data.directions[index] == "maximize":
        best = np.maximum.accumulate(np.where(usable, trials.values[:, index], -np.inf))
    else:
        best = np.minimum.accumulate(np.where(usable, trials.values[:, index], np.inf))
    return np.where(np.isfinite(best), best, np.nan)


def _panel(trials: Trials, index: int, metric: str, best: Numbers) -> Panel:
    values, marks = trials.values[:, index], list[Mark]()
    kinds = [
        ("pruned, last report", trials.state == "pruned", STATE_COLOURS["pruned"]),
        ("breaks a constraint", trials.complete & ~trials.feasible, GREY),
        ("complete", trials.complete & trials.feasible, STATE_COLOURS["complete"]),
    ]
    for name, chosen, colour in kinds:
        found = np.flatnonzero(chosen & np.isfinite(values))
        if len(found):
            numbers = trials.number[found]
            marks.append(Points(name, numbers.astype(np.float64), values[found], colour, numbers.tolist()))
    if np.isfinite(best).any():
        marks.append(Line("best so far", trials.number.astype(np.float64), best, BLACK, steps=True))
    shown = values[np.isfinite(values)]
    limits = view(shown, trials.data.directions[index] == "maximize")
    return Panel(Axis("trial", whole=True), Axis(f"{metric} ({trials.data.directions[index]})", limits=limits), marks)


def _objectives(data: StudyData) -> str:
    pairs = zip(data.metrics, data.directions, strict=True)
    return ", ".join(f"{metric} ({direction})" for metric, direction in pairs)


def _caption(trials: Trials, shown: int, best: Numbers) -> str:
    counts = {state: int((trials.state == state).sum()) for state in ("complete", "pruned", "failed")}
    parts = ", ".join(f"{number:,} {state}" for state, number in counts.items())
    text = f"{trials.drawn(shown)}, those with a value; {parts}"
    if len(trials.data.metrics) > 1 or trials.best is None:
        return text + "."
    improved = int((np.diff(best[np.isfinite(best)]) != 0.0).sum())
    value = float(trials.value[trials.number == trials.best][0])
    return (
        f"{text}. The best is trial {trials.best} with {value:.6g}; the best value improved {count(improved, 'time')}."
    )


def _main(trials: Trials) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = [("trials", len(trials.number))]
    found += [(state, int((trials.state == state).sum())) for state in ("complete", "pruned", "failed")]
    if len(trials.data.metrics) == 1 and trials.best is not None:
        at = int(np.flatnonzero(trials.number == trials.best)[0])
        found += [("best trial", trials.best), (f"best {trials.metric}", float(trials.value[at]))]
    return found
