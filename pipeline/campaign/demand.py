"""How many workers a campaign could use."""

from __future__ import annotations

from .campaign_study import CampaignStudy
from .durations import Durations
from .events import LastTrial, Scale
from .limits import UNLIMITED, CampaignLimits
from .node_hours import NodeHours

DEMAND_PERIOD = 1.0
"""Shortest time between two Scale actions, seconds: for each of them the pool goes through all its blocks."""


class Demand:
    """The demand for workers.

    Args:
        study: The campaign's study.
        limits: The budget.
        durations: How long trials run.
        hours: How many blocks the budget in node-hours allows.
        now: Unix seconds at the start.

    Attributes:
        last: What the pool was told last; None before.
    """

    def __init__(
        self, study: CampaignStudy, limits: CampaignLimits, durations: Durations, hours: NodeHours, now: float
    ):
        self._study, self._limits, self._durations, self._hours, self._next = study, limits, durations, hours, now
        self.last: Scale | None = None

    @property
    def planned(self) -> int | None:
        """How many trials the study will have at its end, by the budget and by what a finite space has left.

        None without a limit on trials.
        """
        left, limit = self._study.left, self._limits.trials
        if left is None:
            return limit
        most = self._study.asked + left
        return min(most, limit) if limit is not None else most if most <= UNLIMITED else None

    @property
    def shrinks(self) -> bool:
        """Whether new trials will need fewer and fewer workers: not where the sampler breeds generations."""
        return self.planned is not None and self._study.at_once is None

    def new_trials(self, in_flight: int) -> int:
        """How many trials could begin, beside those in flight."""
        planned, at_once = self.planned, self._study.at_once
        new = UNLIMITED if planned is None else max(0, planned - self._study.asked)
        return new if at_once is None else min(new, max(0, at_once - in_flight))

    def change(self, workers: int, now: float, final: bool, last: tuple[LastTrial, ...] = ()) -> list[Scale]:
        """What the pool is to be told of this demand, if it has changed and was not told of another just now.

        Args:
            workers: How many workers could be kept busy.
            now: Unix seconds.
            final: Whether the demand will not grow again.
            last: All trials that run, once nothing more will begin.
        """
        hours = self._hours
        blocks = dict(hours.allowed) if hours.allowed else None
        demand = Scale(workers, self._durations.expected, blocks, hours.spent, final=final, last=last)
        told = (self.last.blocks, self.last.spent) if self.last else None
        if demand == self.last or (now < self._next and told == (blocks, hours.spent)):
            return []
        self.last, self._next = demand, now + DEMAND_PERIOD
        return [demand]
