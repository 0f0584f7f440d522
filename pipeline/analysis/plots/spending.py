"""Plots of what a study cost: its blocks with their waits in the queue, and the hours that were spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....grammar import count
from ...hours import amount
from ...record.hours import hours_by_pool
from ..costs import study_ledgers
from .figure import (
    BLACK,
    BLUE,
    ORANGE,
    STATE_COLOURS,
    VERMILLION,
    Axis,
    Figure,
    Line,
    Mark,
    Numbers,
    Panel,
    Spans,
    frame,
)
from .times import MOST_LABELS, Times
from .timing import UNITS, Attempt, Block, Clock, blocks_of, edges, integral, lasted, levels, moments, table_of
from .trials import DoesNotSuit, Trials

if TYPE_CHECKING:
    import pandas as pd

    from ..reading import StudyData


def blocks(trials: Trials) -> Figure:
    """A row for each block: how long it waited in the queue, and how long it ran."""
    found = blocks_of(trials.data)
    if not found:
        raise DoesNotSuit(
            f"study {trials.data.name!r} has no record of its blocks (plain Optuna and Pilotune 0.1.0 keep none), and "
            "the plot blocks needs one"
        )
    now = max(each.ended or each.started or each.queued for each in found)
    start = np.array([each.started or each.ended or now for each in found])
    queued, ended = np.array([each.queued for each in found]), np.array([each.ended or now for each in found])
    ran = np.array([each.started is not None for each in found])
    clock = Clock.over(queued, np.maximum(ended, queued + 1e-3))
    row = np.arange(len(found), dtype=np.float64)[::-1]
    first, middle, last = clock(queued), clock(start), clock(ended)
    labels = [_block_label(each) for each in found]
    marks: list[Mark] = [Spans("in the queue", row, first, middle - first, ORANGE, labels, 0.5)]
    if ran.any():
        named = [labels[i] for i in np.flatnonzero(ran)]
        marks.append(Spans("running", row[ran], middle[ran], (last - middle)[ran], BLUE, named))
    if not ran.all():
        marks.append(Spans("never ran", row[~ran], middle[~ran], (last - middle)[~ran] + clock.end / 500, VERMILLION))
    waits = (start - queued)[ran]
    names = [(float(at), f"{each.pool} {each.block}") for at, each in zip(row, found, strict=True)]
    hours = charged(trials.data, float(((ended - start) * [each.nodes for each in found])[ran].sum()) / 3600.0)
    waited = ""
    if len(waits):
        waited = f"; in the queue {lasted(float(np.median(waits)))} in the median, {lasted(float(waits.max()))} at most"
    side = Axis("block", ticks=names if len(names) <= MOST_LABELS else [], limits=(-0.6, len(found) - 0.4), whole=True)
    return Figure(
        kind="blocks",
        title="Blocks and their waits in the queue",
        panels=[Panel(Axis(clock.label, limits=(0.0, clock.end)), side, marks)],
        make_table=lambda: table_of(found, "queued", "started", "ended"),
        caption=f"{count(len(found), 'block')}, {int(ran.sum())} of which ran{waited}; {amount(hours, 'node_hours')}.",
        main=[("blocks", len(found)), ("node-hours", float(f"{hours:.4g}")),
              *([("median queue wait", lasted(float(np.median(waits))))] if len(waits) else [])],
    )  # fmt: skip


def _block_label(each: Block) -> str:
    job = f", job {each.job}" if each.job else ""
    why = f": {each.reason}" if each.reason else ""
    return f"block {each.block} of {each.pool}{job}, {count(each.nodes, 'node')}, {count(each.workers, 'worker')}{why}"


HOW = ("complete", "pruned", "failed", "interrupted", "lost", "went on")
"""How attempts end, in the order in which they are shown."""


def cost(trials: Trials) -> Figure:
    """The time of workers by how their attempts ended, node-hours of blocks, and the best value that they bought."""
    times = Times(trials, "cost")
    attempts = sorted(times.attempts, key=lambda each: each.ended)
    seconds = np.array([each.ended - each.began for each in attempts])
    name, unit = next((name, unit) for name, unit, most in UNITS[:3] if seconds.sum() <= most or name == "hours")
    ended = times.clock(np.array([each.ended for each in attempts]))
    how = np.array([each.how for each in attempts], dtype=object)
    totals = {each: float(seconds[how == each].sum()) for each in HOW if (how == each).any()}
    marks: list[Mark] = [Line("all", ended, np.cumsum(seconds) / unit, BLACK, steps=True)]
    for each in totals:
        marks.append(Line(each, ended, np.cumsum(seconds * (how == each)) / unit, STATE_COLOURS[each], steps=True))
    panels = [Panel(times.axis, Axis(f"worker {name}"), marks)]
    at = edges(times.clock)
    nodes = node_hours(times.blocks, at)
    if nodes.any():
        line = Line("blocks", times.clock(at[1:]), np.cumsum(nodes), BLUE, filled=True)
        panels.append(Panel(times.axis, Axis("node-hours"), [line]))
    if (value := _bought(trials, attempts, seconds / unit, f"worker {name}")) is not None:
        panels.append(value)
    parts = ", ".join(f"{lasted(value)} {each}" for each, value in totals.items())
    hours = charged(trials.data, float(nodes.sum()))
    more = f" Blocks ran for {amount(hours, 'node_hours')}." if hours else ""
    return Figure(
        kind="cost",
        title="Time spent",
        panels=panels,
        make_table=lambda: _cost_table(attempts, seconds),
        caption=f"Trials ran for {lasted(seconds.sum())} in all: {parts}.{more}{times.note()}",
        main=[("all trials", lasted(seconds.sum())), *((each, lasted(value)) for each, value in totals.items()),
              *([("node-hours", float(f"{hours:.4g}"))] if hours else [])],
    )  # fmt: skip


def _cost_table(attempts: Sequence[Attempt], seconds: Numbers) -> pd.DataFrame:
    columns = frame(
        {
            "trial": [each.trial for each in attempts],
            "attempt": [each.attempt for each in attempts],
            "ended": [each.ended for each in attempts],
            "how": [each.how for each in attempts],
            "seconds": seconds,
            "seconds_so_far": np.cumsum(seconds),
        }
    )
    return moments(columns, "ended")


def node_hours(found: Sequence[Block], at: Numbers) -> Numbers:
    """Node-hours of the blocks between each two neighbouring moments."""
    last = float(at[-1])
    spans = [(each.started, each.ended or last, each.nodes) for each in found if each.started is not None]
    return integral(*levels(spans), at) / 3600.0


def charged(data: StudyData, counted: float) -> float:
    """The node-hours that the study was charged; ``counted``, those of its blocks, where its campaigns kept none."""
    pools = hours_by_pool(study_ledgers(data)).values()
    return sum(each.node_hours for each in pools) if pools else counted


def _bought(trials: Trials, attempts: Sequence[Attempt], spent: Numbers, label: str) -> Panel | None:
    """The best value over what had been spent when it was found; None with several objectives."""
    if len(trials.data.metrics) > 1 or trials.best is None:
        return None
    by_trial = dict(zip([each.trial for each in attempts], np.cumsum(spent).tolist(), strict=True))  # its last attempt
    usable = np.flatnonzero(trials.complete & trials.feasible & np.isin(trials.number, list(by_trial)))
    x = np.array([by_trial[number] for number in trials.number[usable].tolist()])
    order = np.argsort(x)
    value = trials.value[usable][order]
    best = np.maximum.accumulate(value) if trials.maximize else np.minimum.accumulate(value)
    if not len(x):
        return None
    return Panel(Axis(label), Axis(trials.wanted), [Line("best so far", x[order], best, BLACK, steps=True)])
