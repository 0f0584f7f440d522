"""Successive halving in its promotion form: trials pause at rungs, and the best of a rung go on (``mode: promote``).

ASHA of Li et al., MLSys 2020, algorithm 2, one for each of Hyperband's brackets: whenever a worker is free, the rungs
are looked through from the top down for a trial among the best ``1/reduction_factor`` of its rung that has not gone on
yet. Nothing here knows of time, workers or databases.
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
"""Of Hyperband and successive halving: a trial that is not among the best of its rung is pruned there, or pauses."""

Key = tuple[bool, float, int]
"""What a rung is ordered by, the best first: not a number, the value (as if minimized), the trial's number."""


@dataclass(frozen=True)
class RungSchedule:
    """The rungs of a pruner in the mode ``promote``.

    Attributes:
        brackets: Their ``rungs`` are the steps at which trials pause: below ``high``.
        factor: One in so many goes on.
        high: Steps of a full trial.
    """

    brackets: tuple[Bracket, ...]
    factor: int
    high: int


def rung_schedule(pruner: Named | None) -> RungSchedule | None:
    """The rungs of a study file's pruner; None unless its mode is ``promote``."""
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
    """A table in plain text; with the number of ``trials`` each bracket gets on average when the budget is known."""
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
    best: bool = False  # among the best 1/factor
    waiting: bool = False  # paused here


class Rung:
    """The trials of one bracket that came to one step, by their values there. Each operation is O(log n).

    Attributes:
        step: Its step.
        entries: By trial number.
        promotable: How many of those that wait are among the best.
    """

    def __init__(self, step: int, factor: int):
        self.step, self._factor, self._least = step, factor, 0
        self.entries: dict[int, _Entry] = {}
        self.promotable = 0
        self._best: list[tuple[bool, float, int]] = []  # a heap with the worst of the best in front, keys negated
        self._rest: list[Key] = []
        self._waiting: list[Key] = []  # with some that wait no more

    def add(self, number: int, key: Key) -> None:
        """A trial has come to this step."""
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
        """No more trials will come: where there are too few for any to go on, the best does."""
        self._least = 1
        self._fill()

    def wait(self, number: int) -> None:
        """The trial is paused here. One whose value is not a number waits in vain."""
        entry = self.entries[number]
        if not entry.waiting and not entry.key[0]:
            entry.waiting = True
            self.promotable += entry.best
            heappush(self._waiting, entry.key)

    def leave(self, number: int) -> None:
        """It waits no more: it goes on, or has ended. Its value stays."""
        entry = self.entries[number]
        if entry.waiting:
            entry.waiting = False
            self.promotable -= entry.best

    def first(self) -> int | None:
        """The best of those that wait, where it is among the best of all."""
        if not self.promotable:
            return None
        while not self.entries[self._waiting[0][2]].waiting:
            heappop(self._waiting)
        return self._waiting[0][2]

    def _fill(self) -> None:
        """So many are the best as there should be."""
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
    """Ordered the other way; its own inverse."""
    return not key[0], -key[1], -key[2]


class Promotions:
    """The rungs of all brackets, and where each trial is.

    What it says depends on the trials' reports alone, not on the order in which they came: told all of them again, it
    is the same.

    Args:
        ladder: The rungs.
        study: The study's name, which the brackets hash.
        maximize: The largest values are the best.
    """

    def __init__(self, rung_schedule: RungSchedule, study: str, *, maximize: bool = False):
        self.rung_schedule, self._study, self._sign = rung_schedule, study, -1.0 if maximize else 1.0
        self._rungs = [
            [Rung(step, rung_schedule.factor) for step in bracket.rungs] for bracket in rung_schedule.brackets
        ]
        # From the top down; in one step the bracket that began with the least.
        self._order = sorted((rung for rungs in self._rungs for rung in rungs), key=lambda rung: -rung.step)
        self._at: dict[int, tuple[int, int]] = {}  # trial -> its bracket, and how many rungs it has come to there

    @property
    def promotable(self) -> int:
        """How many of the trials that wait may go on now."""
        return sum(rung.promotable for rung in self._order)

    def report(self, number: int, step: int, value: float) -> int | None:
        """A trial reported. Returns the step of the rung at which it is to pause; None: it goes on.

        The first report at a rung's step or behind it counts there. It goes on where it is among the best already, and
        always from the second report at a rung on.
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
        return None if entry.best and not entry.key[0] else rungs[above - 1].step

    def learn(self, number: int, reports: Mapping[int, float]) -> None:
        """All that a trial has reported; what is known of it already changes nothing."""
        for step in sorted(reports):
            self.report(number, step, reports[step])

    def reached(self, number: int) -> int | None:
        """The step of the last rung that the trial came to; None: it came to none."""
        bracket, reached = self._at.get(number, (0, 0))
        return self.rung_schedule.brackets[bracket].rungs[reached - 1] if reached else None

    def pause(self, number: int) -> None:
        """The trial waits at the last rung that it came to."""
        bracket, reached = self._at.get(number, (0, 0))
        if reached:
            self._rungs[bracket][reached - 1].wait(number)

    def leave(self, number: int) -> None:
        """The trial waits no more: it goes on, or has ended."""
        self._leave(*self._at.get(number, (0, 0)), number)

    def _leave(self, bracket: int, reached: int, number: int) -> None:
        if reached:
            self._rungs[bracket][reached - 1].leave(number)

    def next(self) -> int | None:
        """The trial that is to go on next, if any: of the highest rung that has one the best."""
        return next((rung.first() for rung in self._order if rung.promotable), None)

    def close(self) -> None:
        """No further trial will begin: in rungs with fewer than ``reduction_factor`` trials the best may go on."""
        for rung in self._order:
            rung.close()
