"""Population-based training: members train side by side, and the worst of them go on from copies of the best.

Jaderberg et al.: Population Based Training of Neural Networks, 2017 (arXiv:1711.09846), with truncation. A member is a
trial. It pauses whenever it has trained for another ``interval`` of steps. When its turn comes to go on, it is compared
with all trials that have reached that step: if it is among the worst, it ends, and one of the best is copied in its
place. The least advanced member goes on first, so that more members than workers share the time. Nothing here knows of
time, workers, files or databases.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ..registry_args import Named

POPULATION_BASED = ("pbt", "pb2")
"""The samplers of a study file that train a population."""

Key = tuple[bool, float, int]
"""Orders the values at a step, the best first: whether it is NaN, the value (negated where maximized), the trial."""


@dataclass(frozen=True)
class PopulationPlan:
    """How a population is trained.

    Attributes:
        size: Number of members.
        interval: Steps between two pauses.
        quantile: Share of the members that are the worst, and that are the best.
        last: Steps of a whole training, at which no member pauses; None where the objective alone knows.
    """

    size: int
    interval: int
    quantile: float
    last: int | None = None

    def few(self, known: int) -> int:
        """How many are the worst, and the best, of as many as have reached a step.

        At most half of them; none before half of the population is there, since the first values say little.
        """
        return 0 if 2 * known < self.size else min(math.ceil(self.quantile * known), known // 2)


def population_plan(sampler: Named) -> PopulationPlan | None:
    """How a study file's sampler trains a population; None where it does not.

    Args:
        sampler: With checked arguments, among them those that the file leaves out.

    Example:
        >>> population_plan(Named("pbt", {"population": 8, "interval": 2, "quantile": 0.25}))
        PopulationPlan(size=8, interval=2, quantile=0.25, last=None)
        >>> population_plan(Named("tpe", {})) is None
        True
    """
    if sampler.name not in POPULATION_BASED:
        return None
    args: Mapping[str, Any] = sampler.args
    return PopulationPlan(
        size=args["population"],
        interval=args["interval"],
        quantile=args["quantile"],
        last=args.get("max_resource"),
    )


@dataclass(frozen=True)
class Origin:
    """Where a copy starts.

    Attributes:
        parent: The trial that is copied.
        step: The last step that its checkpoint holds.
        folder: The copy of its checkpoint.
    """

    parent: int
    step: int
    folder: str


class Population:
    """The members, by their trials' numbers: who pauses, who goes on next, and who goes on as a copy of another.

    Args:
        plan: How they are trained.
        study: The study's name; with the trial's number it decides which of the best is copied.
        maximize: Whether larger values are better.

    Example:
        >>> members = Population(PopulationPlan(size=4, interval=2, quantile=0.25), "digits")
        >>> [members.report(number, 2, value) for number, value in enumerate([0.5, 0.1, 0.7, 0.9])]
        [2, 2, 2, 2]
        >>> for number in range(4):
        ...     members.keep(number, Origin(number, 2, f"/runs/{number}"))
        ...     members.pause(number)
        >>> members.next()  # all are equally advanced, so the first
        0
        >>> members.origin_for(3)  # the worst of four goes on as a copy of the best
        Origin(parent=1, step=2, folder='/runs/1')
        >>> members.origin_for(2) is None
        True
    """

    def __init__(self, plan: PopulationPlan, study: str, *, maximize: bool = False):
        self.plan, self._study, self._sign = plan, study, -1.0 if maximize else 1.0
        self._at: dict[int, int] = {}  # by number: how many intervals the trial has done
        self._values: dict[int, dict[int, Key]] = {}  # by number of intervals: the trials that have done as many
        self._sorted: dict[int, list[Key]] = {}  # the same, the best first
        self._waiting: list[tuple[int, int]] = []  # intervals and number of those that pause, in their order
        self._copies: dict[int, Origin] = {}  # by number, of trials that may be copied

    @property
    def promotable(self) -> int:
        """The number of members that pause: each of them may go on."""
        return len(self._waiting)

    def start(self, number: int, step: int) -> None:
        """A trial starts from a checkpoint that holds ``step`` steps."""
        self._at.setdefault(number, step // self.plan.interval)

    def report(self, number: int, step: int, value: float) -> int | None:
        """Take in a report. Returns the step at which the trial is to pause; None: it continues.

        The first report at or after a multiple of the interval is the trial's value there.
        """
        done, reached = step // self.plan.interval, self._at.get(number, 0)
        if done <= reached:
            return None
        self.leave(number)
        self._at[number] = done
        nan = math.isnan(value)
        key = (nan, 0.0 if nan else self._sign * value, number)
        self._values.setdefault(done, {})[number] = key
        insort(self._sorted.setdefault(done, []), key)
        if self.plan.last is not None and step >= self.plan.last:
            return None
        return done * self.plan.interval

    def learn(self, number: int, reports: Mapping[int, float]) -> None:
        """Take in all reports of a trial, by step; those known already change nothing."""
        for step in sorted(reports):
            self.report(number, step, reports[step])

    def reached(self, number: int) -> int | None:
        """The step of the last pause that the trial has reached; None where it has reached none."""
        done = self._at.get(number, 0)
        return done * self.plan.interval if done else None

    def pause(self, number: int) -> None:
        """Let the trial wait."""
        entry = (self._at.get(number, 0), number)
        if entry not in self._waiting:
            insort(self._waiting, entry)

    def leave(self, number: int) -> None:
        """Let the trial wait no longer: it goes on, or has ended."""
        entry = (self._at.get(number, 0), number)
        place = bisect_left(self._waiting, entry)
        if place < len(self._waiting) and self._waiting[place] == entry:
            del self._waiting[place]

    def next(self) -> int | None:
        """The trial that goes on next: the least advanced. None where none waits."""
        return self._waiting[0][1] if self._waiting else None

    def close(self) -> None:
        """No new member will start. Changes nothing."""

    # -- copies -------------------------------------------------------------------------------------------------------

    def keep(self, number: int, origin: Origin) -> None:
        """The trial pauses with this copy of its checkpoint, from which others may start."""
        self._copies[number] = origin

    def drop(self, number: int) -> bool:
        """The trial has ended: nothing starts from its checkpoint any more. Returns whether something could."""
        return self._copies.pop(number, None) is not None

    def origin_for(self, number: int) -> Origin | None:
        """The checkpoint from which the trial's place goes on; None where the trial itself goes on.

        That is so where it is among the worst of those that have done as many steps, or its value is NaN.
        """
        done = self._at.get(number, 0)
        values = self._sorted.get(done, [])
        own = self._values.get(done, {}).get(number)
        few = self.plan.few(len(values))
        if own is None or not (own[0] or own in values[len(values) - few :]):
            return None
        better = [key for key in values[: max(1, few)] if not key[0] and key < own]
        return self._choose([key[2] for key in better], number)

    def origin_for_new(self) -> Origin | None:
        """The checkpoint from which a member goes on that replaces a failed one; None where there is none.

        It is one of the best at the step that most trials have reached.
        """
        if not self._copies:
            return None
        done = max(self._sorted, key=lambda done: (len(self._sorted[done]), done), default=0)
        values = [key for key in self._sorted.get(done, []) if not key[0]]
        best = values[: max(1, self.plan.few(len(values)))]
        return self._choose([key[2] for key in best], len(self._at))

    def _choose(self, numbers: list[int], draw: int) -> Origin | None:
        """One of the trials that may be copied, the same whenever it is asked with the same ``draw``."""
        found = [number for number in numbers if number in self._copies]
        if not found:
            return None
        digest = sha256(f"{self._study}:{draw}".encode()).digest()
        return self._copies[found[int.from_bytes(digest[:4], "big") % len(found)]]
