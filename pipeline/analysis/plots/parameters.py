"""What the values of parameters did to the objective: parallel coordinates, slices, contours and importance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....errors import PilotuneError
from ...one_thread import one_thread
from .figure import BLACK, BLUE, GREY, Axis, Field, Figure, Line, Mark, Numbers, Panel, Parallel, Points, Spans, frame
from .trials import NOT_SET, NothingToShow, Parameter, Trials, view

if TYPE_CHECKING:
    import pandas as pd

MOST_LINES = 1000
"""Trials that parallel coordinates show: half of them the best ones, and an even choice of the others."""

MOST_PARALLEL, MOST_SLICES, MOST_CONTOUR = 12, 9, 4
"""Parameters that a plot shows if none are named: those that matter most."""

MOST_MEASURED = 500
"""Complete trials from which importance is computed; of more, an even choice. `pilotune importance` uses all."""

GRID, WIDTH = 40, 0.35
"""Points of a contour's grid in each direction; width of its smoothing as a share of the axis, over the sixth root of
the number of trials (Scott's rule for two dimensions)."""

LEAST_WEIGHT = 0.6
"""Where less than so many trials' weight lies around a point of the grid, nothing is known about it."""


def parallel(trials: Trials) -> Figure:
    """A line for each complete trial across an axis for each parameter and one for the objective."""
    trials.need_complete("parallel")
    chosen = _some(trials)
    parameters = trials.parameters(MOST_PARALLEL, "parallel")
    value = trials.value[chosen]
    axes, columns = [_spread(trials.metric, value, Axis(trials.wanted))], [value]
    for each in parameters:
        positions = each.scaled[chosen]
        axis = _spread(each.name, positions, each.axis)
        low, high = axis.limits or (0.0, 1.0)
        if np.isnan(positions).any():  # a place of its own below the axis
            place = low - 0.12 * (high - low)
            positions = np.where(np.isnan(positions), place, positions)
            axis = Axis(axis.label, axis.log, [(place, NOT_SET), *axis.ticks], (place, high))
        axes.append(axis)
        columns.append(positions)
    shown = value if (limits := view(value, trials.maximize)) is None else np.clip(value, *limits)
    return Figure(
        kind="parallel",
        title=f"Parameters and {trials.wanted}",
        panels=[Parallel(axes, np.column_stack([shown, *columns[1:]]), shown, trials.wanted, not trials.maximize)],
        make_table=lambda: _table(trials, parameters, trials.complete),
        caption=f"A line for each of {trials.drawn(chosen.sum())}, coloured by {trials.metric}. "
        f"From left to right, what matters most comes first: {', '.join(each.name for each in parameters)}.",
        main=_best_params(trials, parameters),
    )


def _some(trials: Trials) -> npt.NDArray[np.bool_]:
    """Which trials are drawn: all complete ones, or ``MOST_LINES`` of them."""
    found = np.flatnonzero(trials.complete)
    found = found[np.argsort(trials.value[found] * (-1.0 if trials.maximize else 1.0), kind="stable")]
    half = MOST_LINES // 2
    if len(found) > MOST_LINES:
        found = np.concatenate([found[:half], found[half :: -(-(len(found) - half) // half)]])
    chosen = np.zeros(len(trials.number), dtype=bool)
    chosen[found] = True
    return chosen


def _spread(label: str, positions: Numbers, axis: Axis) -> Axis:
    """The axis with limits, and with ticks where it is logarithmic or has choices."""
    low, high = (float(np.nanmin(positions)), float(np.nanmax(positions)))
    if axis.ticks:
        low, high = axis.ticks[0][0], axis.ticks[-1][0]
    if low == high:
        low, high = low - 0.5, high + 0.5
    digits = 2 - int(np.floor(np.log10(high - low)))
    places = [float(at) for at in np.linspace(low, high, 5)]
    ticks = axis.ticks or [(at, f"{10**at:.3g}" if axis.log else f"{round(at, digits) + 0.0:g}") for at in places]
    return Axis(axis.label, axis.log, ticks, (low, high))


def slices(trials: Trials) -> Figure:
    """A panel for each parameter: the objective over its values, later trials darker."""
    trials.need_complete("slice")
    chosen = np.flatnonzero(trials.complete)
    value, numbers = trials.value[chosen], trials.number[chosen]
    limits, panels = view(value, trials.maximize), []
    parameters = trials.parameters(MOST_SLICES, "slice")
    for each in parameters:
        known = ~np.isnan(each.positions[chosen])
        x = each.positions[chosen][known]
        if each.axis.ticks:  # dots of one choice beside each other
            x = x + 0.5 * ((numbers[known] * 0.618034) % 1.0 - 0.5)
        dots = Points("trials", x, value[known], BLUE, numbers[known].tolist(), numbers[known].astype(float), "trial")
        panels.append(Panel(each.axis, Axis(trials.wanted, limits=limits), [dots]))
    return Figure(
        kind="slice",
        title=f"{trials.wanted} by parameter",
        panels=panels,
        make_table=lambda: _table(trials, parameters, trials.complete),
        caption=f"{trials.metric} of {trials.drawn(len(chosen))} over each parameter; what matters comes first. "
        "The colour is the trial's number: where later trials lie, the sampler searched.",
        columns=min(3, len(panels)),
        main=_best_params(trials, parameters),
    )


def contour(trials: Trials) -> Figure:
    """A panel for each pair of parameters: a smooth mean of the objective over both, and the trials as dots."""
    trials.need_complete("contour", 4)
    parameters = trials.parameters(MOST_CONTOUR, "contour", 2)
    fields, panels = [], []
    with one_thread():
        for one, other in combinations(parameters, 2):
            chosen = np.flatnonzero(trials.complete & ~np.isnan(one.positions) & ~np.isnan(other.positions))
            if len(chosen) < 4:
                continue
            fields.append((one, other, chosen, *_smooth(one, other, trials.value, chosen, trials)))
    ends = _ends([z for *_, z in fields])
    for one, other, chosen, x, y, z in fields:
        dots = Points("trials", one.positions[chosen], other.positions[chosen], BLACK, trials.number[chosen].tolist())
        panels.append(Panel(one.axis, other.axis, [Field(x, y, z, trials.metric, ends), dots]))
    if not panels:
        raise NothingToShow(
            f"no two parameters of {trials.data.name!r} are in four complete trials together, as the plot contour needs"
        )
    named = ", ".join(each.name for each in parameters)
    return Figure(
        kind="contour",
        title=f"{trials.wanted} over pairs of parameters",
        panels=panels,
        make_table=lambda: _grid_table(trials.metric, fields),
        caption=f"The mean of {trials.metric} near each point, for each pair of {named}, "
        f"from {trials.drawn(trials.complete.sum())}. "
        "Nothing is drawn where there are no trials nearby.",
        columns=min(3, len(panels)),
        main=_best_params(trials, parameters),
    )


def _grid_table(metric: str, fields: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """The known points of all grids."""
    import pandas as pd

    lines = [
        (one.name, other.name, x[i], y[j], z[j, i])
        for one, other, _, x, y, z in fields
        for j, i in np.argwhere(np.isfinite(z)).tolist()
    ]
    return pd.DataFrame(lines, columns=["x_parameter", "y_parameter", "x", "y", metric])


def _smooth(
    one: Parameter, other: Parameter, value: Numbers, chosen: npt.NDArray[np.int64], trials: Trials
) -> tuple[Numbers, Numbers, npt.NDArray[np.float64]]:
    """A grid, and the mean of the values around each of its points, weighted by a Gaussian kernel."""
    y = value[chosen]
    if (limits := view(y, trials.maximize)) is not None:
        y = np.clip(y, *limits)
    grids, kernels = [], []
    for each in (one, other):
        at = each.scaled[chosen]
        if each.axis.ticks:
            grid, width = np.array([tick for tick, _ in each.axis.ticks]), 0.35
        else:
            grid = np.linspace(at.min(), at.max(), GRID)
            width = max(WIDTH * len(at) ** (-1 / 6) * (at.max() - at.min()), 1e-12)
        kernels.append(np.exp(-0.5 * ((grid[:, None] - at[None, :]) / width) ** 2))
        grids.append(10.0**grid if each.axis.log else grid)
    weight = kernels[1] @ kernels[0].T
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(weight >= LEAST_WEIGHT, (kernels[1] * y) @ kernels[0].T / weight, np.nan)
    return grids[0], grids[1], mean


def _ends(fields: list[npt.NDArray[np.float64]]) -> tuple[float, float]:
    """The smallest and the largest mean."""
    known = np.concatenate([z[np.isfinite(z)] for z in fields] or [np.zeros(1)])
    low, high = float(known.min()), float(known.max())
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def importance(trials: Trials) -> Figure:
    """A bar for each parameter: its share, its interval, and what chance makes of it."""
    from ..importance import measure

    complete = np.flatnonzero(trials.complete)
    sample = complete[:: max(1, -(-len(complete) // MOST_MEASURED))]
    data = replace(trials.data, trials=tuple(trials.data.trials[i] for i in sample))
    try:
        found = measure(data, metric=trials.metric if len(trials.data.metrics) > 1 else None, together=False)
    except PilotuneError as error:
        raise NothingToShow(str(error)) from None
    names = list(found.shares)
    rows = np.arange(len(names), dtype=np.float64)[::-1]
    shares = np.array([found.shares[name] for name in names])
    chance = np.array([found.chance[name] for name in names])
    low, high = np.array([found.intervals[name] for name in names]).T
    certain = np.array([name in found.certain for name in names])
    marks: list[Mark] = []
    for name, which, colour in (("told from chance", certain, BLUE), ("may be chance", ~certain, GREY)):
        if which.any():
            labels = [f"{names[i]}: {shares[i]:.3f}" for i in np.flatnonzero(which)]
            marks.append(Spans(name, rows[which], np.zeros(which.sum()), shares[which], colour, labels, 0.6))
    gap = np.full(len(names), np.nan)
    marks.append(Line("90 % interval", np.column_stack([low, high, gap]).ravel(), np.repeat(rows, 3), BLACK))
    marks.append(Points("reached by chance", chance, rows, "#D55E00"))
    ticks = [(float(row), name) for row, name in zip(rows, names, strict=True)]
    told = [name for name in names if name in found.certain]
    return Figure(
        kind="importance",
        title=f"Importance of the parameters for {trials.wanted}",
        panels=[Panel(Axis("share", limits=(0.0, max(1e-3, float(max(shares.max(), high.max(), chance.max())) * 1.05))),
                      Axis("", ticks=ticks, limits=(-0.6, len(names) - 0.4)), marks)],
        make_table=lambda: frame({"parameter": names, "share": shares, "low": low, "high": high, "by_chance": chance,
                                  "told_from_chance": certain}),
        caption=f"By {found.evaluator}, from {trials.drawn(found.used)}. "
        + (f"What can be told from chance: {', '.join(told)}." if told else "No parameter can be told from chance."),
        main=[(name, found.shares[name]) for name in names],
    )  # fmt: skip


def _table(trials: Trials, parameters: list[Parameter], chosen: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """The chosen trials with the objective and the parameters."""
    found = np.flatnonzero(chosen)
    columns = {"trial": trials.number[found], f"value_{trials.metric}": trials.value[found]}
    for each in parameters:
        columns[f"params_{each.name}"] = np.array(
            [trials.data.trials[i].params.get(each.name) for i in found], dtype=object
        )
    return frame(columns)


def _best_params(trials: Trials, parameters: list[Parameter]) -> list[tuple[str, object]]:
    """The best trial's values of the parameters."""
    if trials.best is None:
        return []
    params = trials.data.trials[int(np.flatnonzero(trials.number == trials.best)[0])].params
    best = [(f"best {each.name}", params[each.name]) for each in parameters if each.name in params]
    return [("best trial", trials.best), *best]
