"""Learning curves: what the trials reported at their steps, and the rungs at which they were pruned."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from ..trial_facts import rung_of
from .figure import BLACK, GREY, STATE_COLOURS, Axis, Figure, Line, Mark, Numbers, Panel, frame
from .trials import NothingToShow, Trials, view

MOST_REPORTS = 100_000
"""Reports that are drawn; of more, an even choice of the trials. The numbers that are exported have all."""

RUNG_SHARE = 0.02
"""A step at which at least this share of the pruned trials was pruned counts as a rung."""

MOST_RUNGS = 12


def curves(trials: Trials) -> Figure:
    """A line for each trial that reported, by state; the best one thick; a dashed line at each rung."""
    reported = [trial for trial in trials.data.trials if trial.intermediate_values]
    if not any(math.isfinite(value) for trial in reported for value in trial.intermediate_values.values()):
        what = "finite value" if reported else "value"
        raise NothingToShow(f"no trial of {trials.data.name!r} has reported a {what}; the plot curves needs reports")
    points = [sorted(trial.intermediate_values.items()) for trial in reported]
    number = np.repeat([trial.number for trial in reported], [len(each) for each in points])
    steps = np.array([step for each in points for step, _ in each], dtype=np.float64)
    values = np.array([value for each in points for _, value in each], dtype=np.float64)
    states = dict(zip(trials.number.tolist(), trials.state.tolist(), strict=True))
    state = np.array([states[each] for each in number.tolist()], dtype=object)
    stride = max(1, -(-len(steps) // MOST_REPORTS))
    kept = {trial.number for trial in reported[::stride]}
    kept |= {trial.number for trial in reported if trial.number == trials.best}
    marks = _lines(number, steps, values, state, np.isin(number, list(kept)))
    rungs = _rungs(trials)
    finite = values[np.isfinite(values)]
    limits = view(finite, trials.maximize)
    low, high = limits or (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if rungs:
        at = np.array([x for rung in rungs for x in (rung, rung, np.nan)], dtype=np.float64)
        marks.append(Line("rung", at, np.tile([low, high, np.nan], len(rungs)), GREY, dashed=True))
    if trials.best is not None and (chosen := number == trials.best).any():
        marks.append(Line(f"best trial ({trials.best})", steps[chosen], values[chosen], BLACK))
    positive = steps.min() > 0 and steps.max() >= 50 * steps.min() and len(rungs) > 1
    at_rungs = ", ".join(f"{number:,} at step {rung}" for rung, number in rungs.items())
    return Figure(
        kind="curves",
        title=f"Learning curves: {trials.wanted}",
        panels=[Panel(Axis("step", log=bool(positive), whole=True), Axis(trials.wanted, limits=limits), marks)],
        make_table=lambda: frame({"trial": number, "step": steps.astype(np.int64), "value": values, "state": state}),
        caption=f"What {trials.drawn(len(kept))} reported." + (f" Pruned: {at_rungs}." if rungs else ""),
        main=[("trials that reported", len(reported)), ("reports", len(steps)),
              *((f"pruned at step {rung}", number) for rung, number in rungs.items())],
    )  # fmt: skip


def _lines(number: Any, steps: Numbers, values: Numbers, state: Any, kept: Any) -> list[Mark]:
    """A line a state, interrupted between the trials."""
    marks: list[Mark] = []
    for name in ("pruned", "failed", "interrupted", "paused", "running", "complete"):
        chosen = np.flatnonzero(kept & (state == name))
        if not len(chosen):
            continue
        ends = np.flatnonzero(np.diff(number[chosen])) + 1
        x, y = np.insert(steps[chosen], ends, np.nan), np.insert(values[chosen], ends, np.nan)
        marks.append(Line(name, x, y, STATE_COLOURS[name], thin=True))
    return marks


def _rungs(trials: Trials) -> dict[int, int]:
    """The steps at which many trials were pruned, with how many."""
    pruned = [trials.data.trials[i] for i in np.flatnonzero(trials.state == "pruned")]
    counts = Counter(rung for trial in pruned if (rung := rung_of(trial, "pruned")) is not None)
    total = sum(counts.values())
    rungs = [step for step, count in counts.most_common(MOST_RUNGS) if count >= RUNG_SHARE * total]
    return {step: counts[step] for step in sorted(rungs)}
