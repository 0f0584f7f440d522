"""Simulates asynchronous workers on a virtual clock: a free one asks, and tells when its trial's duration is over."""

from __future__ import annotations

import heapq
import math
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from .problems import Outcome, Problem
from .problems.several import hypervolume

SPREAD = 0.5
"""Sigma of the lognormal durations (median 1) of trials whose data have no durations."""


class OutOfTime(Exception):
    """The benchmark's time budget ended before the run."""


@dataclass(frozen=True)
class Step:
    """A change of the best result: after `trials` ended trials, at `seconds` of the virtual clock and `cpu` seconds."""

    trials: int
    seconds: float
    cpu: float
    value: float


@dataclass(frozen=True)
class Trace:
    """How the best result of a run changed, and what the sampler cost.

    Attributes:
        steps: Each change of the best result, in order.
        trials: Trials that ended.
        seconds: When the last one ended, on the virtual clock.
        cpu: CPU seconds of all calls of the sampler.
        largest: CPU seconds of the most expensive single call: one ask, or one result.
    """

    steps: tuple[Step, ...]
    trials: int
    seconds: float
    cpu: float
    largest: float

    def at(self, key: str, limit: float) -> float:
        """The best result when `key` (``trials``, ``seconds`` or ``cpu``) reaches `limit`; infinite before any."""
        found = bisect_right([getattr(step, key) for step in self.steps], limit)
        return self.steps[found - 1].value if found else math.inf


class Incumbent:
    """The value of what a run has found: the least true value, or minus the hypervolume.

    With noise it is the true value of the trial that *looks* best, which is the one that a user would take. So it may
    also become worse.
    """

    def __init__(self, problem: Problem):
        self.corner = problem.corner
        self.least = self.value = math.inf
        self.front = np.empty((0, problem.objectives))

    def add(self, outcome: Outcome, told: float) -> float:
        """Count a complete trial, whose first objective was told as `told`. Returns the value of what is found now."""
        assert outcome.values is not None
        if not outcome.feasible:
            return self.value
        if self.corner is None:
            if told < self.least:
                self.least, self.value = told, outcome.values[0]
            return self.value
        point = np.array(outcome.values)
        if not (self.front <= point).all(axis=1).any():
            self.front = np.vstack([self.front[(self.front < point).any(axis=1)], point])
            self.value = -hypervolume(self.front, self.corner)
        return self.value


def pruner_of(problem: Problem) -> optuna.pruners.BasePruner:
    """Hyperband where the problem has learning curves, from one step to the last; else no pruner."""
    if problem.steps is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=problem.steps, reduction_factor=3)


class Workers:
    """`workers` simulated workers on one study in memory.

    Args:
        deadline: When to give up, on the clock of ``time.monotonic``.
    """

    def __init__(
        self,
        problem: Problem,
        sampler: BaseSampler,
        workers: int,
        trials: int,
        seed: int,
        deadline: float = math.inf,
    ):
        self.problem, self.workers, self.trials, self.deadline = problem, workers, trials, deadline
        name = f"{problem.name} {seed}"  # determines the trials' brackets in Hyperband
        self.study = optuna.create_study(
            study_name=name, sampler=sampler, pruner=pruner_of(problem), directions=["minimize"] * problem.objectives
        )
        self.paces = np.random.default_rng([seed, 1]).lognormal(0.0, SPREAD, trials)
        self.seed = seed
        self.events: list[tuple[float, int, Trial, Outcome, int]] = []
        self.incumbent = Incumbent(problem)
        self.steps: list[Step] = []
        self.asked = self.ended = 0
        self.now = self.cpu = self.largest = 0.0

    def run(self) -> Trace:
        """Run all trials. Raises OutOfTime at the deadline, and what the sampler raises."""
        for _ in range(min(self.workers, self.trials)):
            self.ask()
        while self.events:
            self.now, _, trial, outcome, stage = heapq.heappop(self.events)
            if self.goes_on(trial, outcome, stage):
                self.wait(trial, outcome, stage + 1)
            elif self.asked < self.trials:
                self.ask()
        return Trace(tuple(self.steps), self.ended, self.now, self.cpu, self.largest)

    def timed(self, call: Callable[[], Any]) -> Any:
        """The result of `call`, whose CPU time counts as the sampler's."""
        began = time.process_time()
        result = call()
        spent = time.process_time() - began
        self.cpu += spent
        self.largest = max(self.largest, spent)
        return result

    def ask(self) -> None:
        if time.monotonic() > self.deadline:
            raise OutOfTime
        trial, params = self.timed(self.suggested)
        self.asked += 1
        self.wait(trial, self.problem.evaluate(params), 0)

    def suggested(self) -> tuple[Trial, dict[str, Any]]:
        trial = self.study.ask()
        return trial, self.problem.space.suggest(trial)

    def wait(self, trial: Trial, outcome: Outcome, stage: int) -> None:
        """Schedule the trial's next report, or its end."""
        pace = float(self.paces[trial.number])
        if self.problem.steps is None:
            takes = pace if outcome.seconds is None else outcome.seconds
        else:
            steps = [0, *(step for step, _ in outcome.curve)]
            takes = pace * (steps[stage + 1] - steps[stage] if stage < len(outcome.curve) else 0.5)
        heapq.heappush(self.events, (self.now + takes, trial.number, trial, outcome, stage))

    def goes_on(self, trial: Trial, outcome: Outcome, stage: int) -> bool:
        """Report a value, or end the trial. Returns whether it goes on."""
        if stage < len(outcome.curve):
            step, value = outcome.curve[stage]
            trial.report(value, step)
            last = stage + 1 == len(outcome.curve) and outcome.values is not None
            if not last and trial.should_prune():
                self.tell(trial, TrialState.PRUNED, None)
                return False
            if not last:
                return True
        for i, amount in enumerate(outcome.constraints):
            trial.set_constraint(f"c{i}", amount)
        self.tell(trial, TrialState.FAIL if outcome.values is None else TrialState.COMPLETE, outcome)
        return False

    def tell(self, trial: Trial, state: TrialState, outcome: Outcome | None) -> None:
        values = None if outcome is None or outcome.values is None else list(outcome.values)
        if values and self.problem.noise:
            values[0] = self.problem.noise(trial.params, values[0], np.random.default_rng([self.seed, 2, trial.number]))
        self.timed(lambda: self.study.tell(trial, values, state=state))
        self.ended += 1
        if outcome is None or values is None:
            return
        before = self.incumbent.value
        value = self.incumbent.add(outcome, values[0])
        if value != before:
            self.steps.append(Step(self.ended, self.now, self.cpu, value))
