"""Simulates asynchronous workers on a virtual clock: a free one asks, and tells when its trial's duration is over."""

from __future__ import annotations

import heapq
import math

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from .problems import Outcome, Problem

SPREAD = 0.5
"""Sigma of the lognormal durations (median 1) of trials whose data have no durations."""


def pruner_of(problem: Problem) -> optuna.pruners.BasePruner:
    """Hyperband where the problem has learning curves, from one step to the last; else no pruner."""
    if problem.steps is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=problem.steps, reduction_factor=3)


class Workers:
    """`workers` simulated workers on one study in memory.

    Attributes:
        best: The best value so far, after each trial that ended.
    """

    def __init__(self, problem: Problem, sampler: BaseSampler, workers: int, trials: int, seed: int):
        self.problem, self.workers, self.trials = problem, workers, trials
        name = f"{problem.name} {seed}"  # determines the trials' brackets in Hyperband
        self.study = optuna.create_study(study_name=name, sampler=sampler, pruner=pruner_of(problem))
        self.paces = np.random.default_rng([seed, 1]).lognormal(0.0, SPREAD, trials)
        self.events: list[tuple[float, int, Trial, Outcome, int]] = []
        self.asked = 0
        self.best: list[float] = []

    def run(self) -> list[float]:
        """Run all trials. Returns the best value of complete trials after each trial that ended."""
        for _ in range(min(self.workers, self.trials)):
            self.ask(0.0)
        while self.events:
            now, _, trial, outcome, stage = heapq.heappop(self.events)
            if self.goes_on(trial, outcome, stage):
                self.wait(now, trial, outcome, stage + 1)
            elif self.asked < self.trials:
                self.ask(now)
        return self.best

    def ask(self, now: float) -> None:
        trial = self.study.ask(self.problem.space)
        self.asked += 1
        self.wait(now, trial, self.problem.evaluate(trial.params), 0)

    def wait(self, now: float, trial: Trial, outcome: Outcome, stage: int) -> None:
        """Schedule the trial's next report, or its end."""
        pace = float(self.paces[trial.number])
        if self.problem.steps is None:
            takes = pace if outcome.seconds is None else outcome.seconds
        else:
            steps = [0, *(step for step, _ in outcome.curve)]
            takes = pace * (steps[stage + 1] - steps[stage] if stage < len(outcome.curve) else 0.5)
        heapq.heappush(self.events, (now + takes, trial.number, trial, outcome, stage))

    def goes_on(self, trial: Trial, outcome: Outcome, stage: int) -> bool:
        """Report a value, or end the trial. Returns whether it goes on."""
        if stage < len(outcome.curve):
            step, value = outcome.curve[stage]
            trial.report(value, step)
            last = stage + 1 == len(outcome.curve) and outcome.value is not None
            if not last and trial.should_prune():
                self.tell(trial, TrialState.PRUNED, None)
                return False
            if not last:
                return True
        self.tell(trial, TrialState.FAIL if outcome.value is None else TrialState.COMPLETE, outcome.value)
        return False

    def tell(self, trial: Trial, state: TrialState, value: float | None) -> None:
        self.study.tell(trial, value, state=state)
        before = self.best[-1] if self.best else math.inf
        self.best.append(min(before, value) if value is not None else before)


def regrets(problem: Problem, sampler: BaseSampler, workers: int, trials: int, seed: int) -> list[float]:
    """Normalized regret after each quarter of the trials."""
    best = Workers(problem, sampler, workers, trials, seed).run()
    return [problem.regret(best[math.ceil(trials * quarter / 4) - 1]) for quarter in (1, 2, 3, 4)]
