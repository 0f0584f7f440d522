"""Plots over time: what each worker did, how many ran, when blocks waited, and what it all cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ....grammar import count
from .figure import BLACK, BLUE, GREEN, GREY, ORANGE, STATE_COLOURS, Axis, Figure, Line, Mark, Panel, Spans, frame
from .timing import (
    Attempt,
    Clock,
    available,
    blocks_of,
    edges,
    integral,
    lasted,
    moments,
    one_at_a_time,
    running,
    starting,
    table_of,
    utilization_of,
)
from .trials import NothingToShow, Trials
from .unfinished import unfinished_attempts

if TYPE_CHECKING:
    import pandas as pd

MOST_LABELS = 40
"""Rows that have a name on their axis."""

UNFINISHED = ("running", "interrupted")
"""How attempts are that have not ended."""


class Times:
    """The attempts and blocks of a study, and their common axis of time.

    Args:
        trials: The study's.
        kind: The plot, for the message of NothingToShow: nothing has run.
        unfinished: Attempts that have not ended and are to be shown as well.
    """

    def __init__(self, trials: Trials, kind: str, unfinished: Sequence[Attempt] = ()):
        self.attempts = one_at_a_time([*trials.attempts, *unfinished]) if unfinished else trials.attempts
        self.blocks = blocks_of(trials.data)
        if not self.attempts:
            raise NothingToShow(f"no trial of {trials.data.name!r} has run to its end; the plot {kind} needs one")

    @cached_property
    def clock(self) -> Clock:
        """The axis of time, from the first attempt or running block to the last."""
        spans = [(each.began, each.ended) for each in self.attempts]
        spans += [(each.started, each.ended) for each in self.blocks if each.started and each.ended]
        starts, ends = np.array(spans).T
        return Clock.over(starts, ends)

    @property
    def axis(self) -> Axis:
        """It as an axis."""
        return Axis(self.clock.label, limits=(0.0, self.clock.end))

    def note(self) -> str:
        """A sentence about the pauses that were cut; empty where none was."""
        cuts = self.clock.cuts
        verb = "is" if len(cuts) == 1 else "are"
        long = lasted(sum(gap for _, gap in cuts))
        return f" {count(len(cuts), 'pause')} without any trial {verb} cut, {long} in all." if cuts else ""

    def cut_lines(self, top: float) -> list[Mark]:
        """A dashed line where each pause was cut."""
        at = [x for place, _ in self.clock.cuts for x in (place, place, np.nan)]
        height = [-0.6, top, np.nan] * len(self.clock.cuts)
        return [Line("pause", np.array(at), np.array(height), BLACK, dashed=True)] if at else []


def timeline(trials: Trials) -> Figure:
    """A row for each worker: its attempts by how they ended, and how long each waited while the worker was free."""
    unfinished = unfinished_attempts(trials.data)
    times = Times(trials, "timeline", unfinished)
    attempts = sorted(times.attempts, key=lambda each: each.began)
    rows = _worker_rows(attempts)
    row = np.array([rows[each.place] for each in attempts], dtype=np.float64)
    began = times.clock(np.array([each.began for each in attempts]))
    ended = times.clock(np.array([each.ended for each in attempts]))
    marks: list[Mark] = _waits(attempts, times.clock, rows)
    how = np.array([each.how for each in attempts], dtype=object)
    for state in ("complete", "pruned", "failed", "running", "interrupted", "lost", "went on"):
        chosen = np.flatnonzero(how == state)
        if len(chosen):
            labels = [_label(attempts[i]) for i in chosen]
            length = np.maximum(ended[chosen] - began[chosen], 0.0)
            marks.append(Spans(state, row[chosen], began[chosen], length, STATE_COLOURS[state], labels))
    marks += times.cut_lines(len(rows) - 0.4)
    ticks = [(float(at), name) for name, at in rows.items()] if len(rows) <= MOST_LABELS else []
    lost = sum(each.how == "lost" for each in attempts)
    return Figure(
        kind="timeline",
        title="What each worker did",
        panels=[Panel(times.axis, Axis("worker", ticks=ticks, limits=(-0.6, len(rows) - 0.4), whole=True), marks)],
        make_table=lambda: _timeline_table(attempts),
        caption=f"{count(len(attempts), 'attempt')} on {count(len(rows), 'worker')}, a row for each. A bar begins "
        "when the worker began the attempt. Thin grey: the worker was free, and the trial that came next waited."
        + (f" {count(lost, 'attempt')} {'was' if lost == 1 else 'were'} lost." if lost else "")
        + times.note()
        + _open_note(trials, unfinished),
        main=[("attempts", len(attempts)), ("workers", len(rows)), ("lost", lost)],
    )


def _timeline_table(attempts: Sequence[Attempt]) -> pd.DataFrame:
    """The numbers of the timeline; an attempt that has not ended has no end."""
    table = table_of(attempts, "asked", "began", "ended")
    return table.assign(ended=table["ended"].mask(table["how"].isin(UNFINISHED)))


def _open_note(trials: Trials, unfinished: Sequence[Attempt]) -> str:
    """Sentences on running and interrupted trials: up to when they are shown, and how many are not."""
    text, open_trials = "", count(len(unfinished), "trial")
    if len(unfinished) == 1:
        text = f" The bar of {open_trials} that has not ended goes up to the last status of its driver."
    elif unfinished:
        text = f" The bars of {open_trials} that have not ended go up to the last status of their driver."
    hidden = int((trials.state == "running").sum()) - sum(each.how == "running" for each in unfinished)
    if hidden:
        are, they = ("is", "it") if hidden == 1 else ("are", "they")
        why = f"no status that can be read here says when {they} began"
        text += f" {count(hidden, 'running trial')} {are} not shown: {why}."
    return text


def _worker_rows(attempts: Sequence[Attempt]) -> dict[str, int]:
    """The row of each worker: by pool, block and name, from above."""
    order = sorted({(each.pool, each.block.zfill(8), each.place) for each in attempts}, reverse=True)
    rows: dict[str, int] = {}
    for _, _, place in order:
        rows.setdefault(place, len(rows))
    return rows


def _waits(attempts: Sequence[Attempt], clock: Clock, rows: dict[str, int]) -> list[Mark]:
    """Where a trial waited for its worker and the worker ran nothing else: thin bars."""
    free: dict[str, float] = {}
    spans = []
    for each in attempts:
        since = max(each.asked, free.get(each.place, each.asked))
        if each.began > since:
            spans.append((rows[each.place], since, each.began))
        free[each.place] = max(free.get(each.place, 0.0), each.ended)
    if not spans:
        return []
    row, start, end = np.array(spans, dtype=np.float64).T
    first = clock(start)
    return [Spans("waiting", row, first, clock(end) - first, GREY, thick=0.2)]


def _label(each: Attempt) -> str:
    again = f", attempt {each.attempt}" if each.attempt > 1 else ""
    ran, waited = lasted(each.ended - each.began), lasted(each.began - each.asked)
    so_far = " so far" if each.how == "running" else ""
    return f"trial {each.trial}{again}: {each.how}, ran {ran}{so_far}, waited {waited}"


def utilization(trials: Trials) -> Figure:
    """How many attempts ran and how many workers were connected, and the share of the workers that were busy."""
    times = Times(trials, "utilization", unfinished_attempts(trials.data))
    at = edges(times.clock)
    seconds, middle = np.diff(at), 0.5 * (at[:-1] + at[1:])
    busy = integral(*running(times.attempts), at)
    free = integral(*available(times.attempts, times.blocks), at)
    workers = np.maximum(free, busy) / seconds
    share = np.where(workers > 0.0, busy / seconds / np.maximum(workers, 1e-12), np.nan)
    x = times.clock(middle)
    begun = integral(*starting(times.blocks), at) / seconds
    whole = utilization_of(trials.data)
    if whole is None:
        whole = busy.sum() / max(1e-12, np.maximum(free, busy).sum())
    peak = float(running(times.attempts)[1].max())
    top = 1.05 * max(1.0, float(workers.max()), float(begun.max()))
    panels = [
        Panel(times.axis, Axis("trials, workers", limits=(0.0, top), whole=True), [
            Line("running trials", x, busy / seconds, BLUE, filled=True),
            Line("workers", x, workers, BLACK),
            *([Line("workers that start", x, begun, ORANGE, thin=True)] if begun.any() else []),
            *times.cut_lines(float(workers.max())),
        ]),
        Panel(times.axis, Axis("utilization, %", limits=(0.0, 105.0)), [Line("utilization", x, 100.0 * share, GREEN)]),
    ]  # fmt: skip
    how = "" if times.blocks else " The workers are those that have run a trial, from their first to their last one."
    return Figure(
        kind="utilization",
        title="How busy the workers were",
        panels=panels,
        make_table=lambda: moments(frame({"time": middle, "seconds": seconds, "running": busy / seconds,
                                          "workers": workers, "starting": begun, "utilization": share}), "time"),
        caption=f"Utilization {100 * whole:.0f} %: so much of the time in which workers were connected they ran "
        f"trials. At most {count(int(peak), 'trial')} ran at once." + how + times.note(),
        main=[("utilization", f"{100 * whole:.0f} %"), ("most trials at once", int(peak)),
              ("time of all trials", lasted(busy.sum()))],
    )  # fmt: skip
