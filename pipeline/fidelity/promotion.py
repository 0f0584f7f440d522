"""Successive halving by promotion (``mode: promote``): trials pause at rungs, and the best of each rung are promoted.

This is ASHA of Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020, algorithm 2, with one
instance for each of Hyperband's brackets. When a worker is free, the highest rung that has one promotes its best paused
trial, if that is among the best ``1/reduction_factor`` of the rung. Nothing here knows of time, workers or databases.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, heappushpop
from typing import Any

from ..registry_args import Named
from .brackets import Bracket, bracket_of, hyperband_brackets

PROMOTE = "promote"
MODES = ("stop", PROMOTE)
"""What happens to a trial that is not among the best of its rung: it is pruned, or it pauses and may be promoted."""

Key = tuple[bool, float, int]
"""Orders a rung, the best first: whether the value is NaN, the value (negated where maximized), the trial's number."""


@dataclass(frozen=True)
class RungSchedule:
    """The steps at which trials pause, for a pruner with ``mode: promote``.

    Attributes:
        brackets: Hyperband's brackets, or one bracket for successive halving. Their ``rungs`` are the steps at which
            trials pause, all below ``high``.
        factor: The reduction factor: one trial in this many is promoted from a rung.
        high: Steps of a full trial, at which it ends without a pause.
    """

    brackets: tuple[Bracket, ...]
    factor: int
    high: int


def rung_schedule(pruner: Named | None) -> RungSchedule | None:
    """The rungs of a study file's pruner; None unless its mode is ``promote``.

    Args:
        pruner: ``hyperband`` or ``successive_halving`` with checked arguments, any other pruner, or None.

    Example:
        >>> args = {"mode": "promote", "max_resource": 9, "reduction_factor": 3}
        >>> schedule = rung_schedule(Named("hyperband", args))
        >>> [bracket.rungs for bracket in schedule.brackets], schedule.high
        ([(1, 3), (3,), ()], 9)
    """
    if pruner is None or pruner.args.get("mode") != PROMOTE:
        return None
    args: Mapping[str, Any] = pruner.args
    high = args["max_resource"]
    if pruner.name == "hyperband":
        factor = args.get("reduction_factor", 3)
        brackets = hyperband_brackets({**args, "reduction_factor": factor})
    else:
        factor, first = args.get("reduction_factor", 4), args.get("min_resource", 1)
        first *= factor ** args.get("min_early_stopping_rate", 0)
        rungs = []
        while first < high:
            rungs.append(first)
            first *= factor
        brackets = [Bracket(0, 1, 1.0, tuple(rungs))]
    below = (Bracket(b.id, b.allocation, b.share, tuple(r for r in b.rungs if r < high)) for b in brackets)
    return RungSchedule(tuple(below), factor, high)


def render_rung_schedule(brackets: Sequence[Bracket], trials: int | None = None) -> str:
    """The brackets as a table in plain text. ``trials``: the budget, to show how many trials each bracket gets."""
    head = ("bracket", "share of trials", "they pause at steps")
    rows = []
    for b in brackets:
        share = f"{100 * b.share:.1f} %" + (f" (about {b.share * trials:.0f})" if trials else "")
        rows.append((str(b.id), share, ", ".join(map(str, b.rungs)) or "none"))
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    )


@dataclass(slots=True)
class _Entry:
    key: Key
    best: bool = False  # among the best 1/factor of the rung
    waiting: bool = False  # paused at the rung


class Rung:
    """The trials of one bracket that reached one rung, ordered by their values there. Each operation is O(log n).

    Args:
        step: At which trials pause.
        factor: The reduction factor: ``len(entries) // factor`` trials are the best.

    Attributes:
        entries: By trial number. A trial stays in it for ever, whatever becomes of it.
        promotable: The number of waiting trials that are among the best.
    """

    def __init__(self, step: int, factor: int):
        self.step, self._factor, self._least = step, factor, 0
        self.entries: dict[int, _Entry] = {}
        self.promotable = 0
        self._best: list[tuple[bool, float, int]] = []  # a heap of negated keys: the worst of the best is first
        self._rest: list[Key] = []
        self._waiting: list[Key] = []  # a heap; trials that no longer wait are dropped when they come first

    def add(self, number: int, key: Key) -> None:
        """Add a trial that reached the rung."""
        self.entries[number] = entry = _Entry(key)
        if self._best and key < _negated(self._best[0]):
            entry.best = True
            worst = _negated(heappushpop(self._best, _negated(key)))
            self._move(worst, best=False)
            heappush(self._rest, worst)
        else:
            heappush(self._rest, key)
        self._fill()

    def close(self) -> None:
        """Promote the best trial of a rung with fewer than ``factor`` trials, too: no further trials will come."""
        self._least = 1
        self._fill()

    def wait(self, number: int) -> None:
        """Let the trial wait for its promotion. One whose value is NaN is never promoted."""
        entry = self.entries[number]
        if not entry.waiting and not entry.key[0]:
            entry.waiting = True
            self.promotable += entry.best
            heappush(self._waiting, entry.key)

    def leave(self, number: int) -> None:
        """Let the trial wait no longer: it was promoted, or has ended. Its value still counts."""
        entry = self.entries[number]
        if entry.waiting:
            entry.waiting = False
            self.promotable -= entry.best

    def first(self) -> int | None:
        """The best waiting trial, if it is among the best of the rung."""
        if not self.promotable:
            return None
        while not self.entries[self._waiting[0][2]].waiting:
            heappop(self._waiting)
        return self._waiting[0][2]

    def _fill(self) -> None:
        """Move trials from the rest to the best until there are as many as there should be."""
        while len(self._best) < max(len(self.entries) // self._factor, min(self._least, len(self.entries))):
            key = heappop(self._rest)
            heappush(self._best, _negated(key))
            self._move(key, best=True)

    def _move(self, key: Key, *, best: bool) -> None:
        entry = self.entries[key[2]]
        entry.best = best
        if entry.waiting:
            self.promotable += 1 if best else -1


def _negated(key: Key) -> Key:
    """A key with the reverse order; its own inverse."""
    return not key[0], -key[1], -key[2]


class Promotions:
    """The rungs of all brackets, and the rung that each trial has reached.

    Decides which trials pause and which one is promoted next. Its state depends on the trials' reports only, not on the
    order in which they arrived; after a restart the reports are passed to ``learn`` again.

    Args:
        rung_schedule: The rungs.
        study: The study's name, which determines each trial's bracket.
        maximize: The largest values are the best.

    Example:
        >>> schedule = RungSchedule((Bracket(0, 1, 1.0, (1,)),), factor=2, high=4)
        >>> promotions = Promotions(schedule, "study")
        >>> promotions.report(0, step=1, value=0.5)  # trial 0 is to pause at step 1
        1
        >>> promotions.pause(0)
        >>> promotions.report(1, step=1, value=0.9)  # worse: it pauses as well
        1
        >>> promotions.pause(1)
        >>> promotions.next()  # the better half is promoted
        0
    """

    def __init__(self, rung_schedule: RungSchedule, study: str, *, maximize: bool = False):
        self.rung_schedule, self._study, self._sign = rung_schedule, study, -1.0 if maximize else 1.0
        self._rungs = [
            [Rung(step, rung_schedule.factor) for step in bracket.rungs] for bracket in rung_schedule.brackets
        ]
        # Highest rung first; at the same step, the bracket with the lowest first rung.
        self._order = sorted((rung for rungs in self._rungs for rung in rungs), key=lambda rung: -rung.step)
        self._at: dict[
            int, tuple[int, int]
        ] = {}  # trial number -> its bracket, and how many of its rungs it has reached

    @property
    def promotable(self) -> int:
        """The number of waiting trials that may be promoted now."""
        return sum(rung.promotable for rung in self._order)

    def report(self, number: int, step: int, value: float) -> int | None:
        """Take in a report of a trial. Returns the step of the rung at which it is to pause; None: it continues.

        The first report at or after a rung's step is the trial's value at the rung. A trial that is already among the
        best of the rung continues without a pause, and so does one that reports again before the next rung, or at the
        last step, where nothing is left to save.
        """
        bracket, reached = self._at.get(number) or (bracket_of(self._study, number, self.rung_schedule.brackets), 0)
        above = bisect_right(self.rung_schedule.brackets[bracket].rungs, step)
        if above <= reached:
            return None
        self._leave(bracket, reached, number)
        key = (math.isnan(value), 0.0 if math.isnan(value) else self._sign * value, number)
        rungs = self._rungs[bracket]
        for rung in rungs[reached:above]:
            rung.add(number, key)
        self._at[number] = bracket, above
        entry = rungs[above - 1].entries[number]
        if step >= self.rung_schedule.high:
            return None
        return None if entry.best and not entry.key[0] else rungs[above - 1].step

    def learn(self, number: int, reports: Mapping[int, float]) -> None:
        """Take in all reports of a trial, by step; those known already change nothing."""
        for step in sorted(reports):
            self.report(number, step, reports[step])

    def reached(self, number: int) -> int | None:
        """The step of the highest rung that the trial has reached; None where it has reached none."""
        bracket, reached = self._at.get(number, (0, 0))
        return self.rung_schedule.brackets[bracket].rungs[reached - 1] if reached else None

    def pause(self, number: int) -> None:
        """Let the trial wait at the highest rung that it has reached."""
        bracket, reached = self._at.get(number, (0, 0))
        if reached:
            self._rungs[bracket][reached - 1].wait(number)

    def leave(self, number: int) -> None:
        """Let the trial wait no longer: it was promoted, or has ended."""
        self._leave(*self._at.get(number, (0, 0)), number)

    def _leave(self, bracket: int, reached: int, number: int) -> None:
        if reached:
            self._rungs[bracket][reached - 1].leave(number)

    def next(self) -> int | None:
        """The trial to promote next: the best of the highest rung that has a promotable one. None where no rung has."""
        return next((rung.first() for rung in self._order if rung.promotable), None)

    def close(self) -> None:
        """No further trial will start: promote the best trial of small rungs, too (see ``Rung.close``)."""
        for rung in self._order:
            rung.close()
