"""Simulated campaigns with one driver: its CPU time delays the trials, and a sampler may wait for results."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from optuna.samplers import BaseSampler
from optuna.trial import Trial

from benchmarks.quality.problems import Outcome, Problem
from benchmarks.quality.simulate import Workers

MINUTE = 60.0
"""Median seconds of a trial whose data have no durations; they are drawn log-normally with a sigma of 0.5."""

PARTS = 10
"""Parts of a campaign's time for which the utilization is told."""

Span = tuple[float, float]
"""When a trial began and ended."""


@dataclass(frozen=True)
class Campaign:
    """What a simulated campaign found and cost.

    Attributes:
        steps: Each change of the best value: ended trials, seconds of the clock, and the value.
        seconds: When the last trial ended.
        busy: The share of the workers that were busy, in each of ``PARTS`` equal parts of that time.
        cpu: The driver's CPU seconds for all suggestions and results.
        largest: The CPU seconds of the most expensive one.
    """

    steps: tuple[tuple[int, float, float], ...]
    seconds: float
    busy: tuple[float, ...]
    cpu: float
    largest: float

    def at(self, trials: int | None = None, seconds: float = math.inf) -> float:
        """The best value when so many trials had ended, or at such a time; infinite before any."""
        values = [value for ended, when, value in self.steps if (trials is None or ended <= trials) and when <= seconds]
        return values[-1] if values else math.inf


def shares(spans: Sequence[Span], end: float, workers: int, parts: int = PARTS) -> tuple[float, ...]:
    """The share of workers that were busy in each part of the time from 0 to ``end``.

    >>> shares([(0.0, 5.0), (0.0, 10.0)], 10.0, 2, parts=2)
    (1.0, 0.5)
    """
    edges = np.linspace(0.0, end, parts + 1)
    begins, ends = np.array(spans).T
    busy = [np.clip(np.minimum(ends, high) - np.maximum(begins, low), 0.0, None).sum() for low, high in pairwise(edges)]
    return tuple(float(each) / (workers * end / parts) for each in busy)


class CampaignWorkers(Workers):
    """Simulated workers whose driver does one thing after the other.

    A trial begins when its worker is free and the driver has suggested it. Where the sampler waits, as one with a
    barrier does, free workers wait with it.

    Args:
        charged: Whether the CPU time of suggestions and results passes on the clock.
    """

    def __init__(
        self, problem: Problem, sampler: BaseSampler, workers: int, trials: int, seed: int, charged: bool = True
    ) -> None:
        super().__init__(problem, sampler, workers, trials, seed)
        self.charged, self.sampler = charged, sampler
        self.free, self.driver_free = workers, 0.0
        self.spans: list[Span] = []

    def campaign(self) -> Campaign:
        """Run all trials, after what the sampler does while a campaign's workers start."""
        prepare = getattr(self.sampler, "prepare", None)
        while prepare is not None and not prepare(self.study):
            pass
        self.fill()
        while self.events:
            self.now, _, trial, outcome, stage = heapq.heappop(self.events)
            self.goes_on(trial, outcome, stage)
            self.free += 1
            self.fill()
        steps = tuple((step.trials, step.seconds, step.value) for step in self.steps)
        busy = shares(self.spans, self.now, self.workers)
        return Campaign(steps, self.now, busy, self.cpu, self.largest)

    def fill(self) -> None:
        """Ask for trials while workers are free."""
        while self.free and self.asked < self.trials and not self.waits():
            self.free -= 1
            self.ask()

    def waits(self) -> bool:
        """Whether the sampler wants results first; as in a campaign, never with nothing running."""
        at_once = getattr(self.sampler, "at_once", None)
        return at_once is not None and bool(self.events) and bool(self.sampler.waits(self.study))  # type: ignore[attr-defined]

    def timed(self, call: Callable[[], Any]) -> Any:
        before = self.cpu
        result = super().timed(call)
        self.driver_free = max(self.driver_free, self.now) + (self.cpu - before if self.charged else 0.0)
        return result

    def wait(self, trial: Trial, outcome: Outcome, stage: int) -> None:
        pace = MINUTE * float(self.paces[trial.number])
        begin = max(self.now, self.driver_free)
        end = begin + (pace if outcome.seconds is None else outcome.seconds)
        self.spans.append((begin, end))
        heapq.heappush(self.events, (end, trial.number, trial, outcome, stage))
