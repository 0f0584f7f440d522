"""DHPO's own evolution as its code has it, to compare with Pilotune's sampler of that name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

SIZE = 4
MUTATE = 0.2
NARROWEST = 0.001


class PublishedEvolution(BaseSampler):
    """Generations of four children; the best four of parents and children survive.

    A gene that mutates is drawn from a normal distribution: around the mean of three of the population, with the root
    of the population's standard deviation as its own. So it is wide: 0.5 where the population is uniform. What leaves
    the range becomes its end. For one trial at a time, all parameters floats, values to be maximized.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        self.population: list[tuple[float, tuple[float, ...]]] = []
        self.waiting: list[tuple[float, ...]] = []
        self.child: tuple[float, ...] | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        if len(self.population) >= SIZE and not self.waiting:
            self.population = sorted(self.population, reverse=True)[:SIZE]
            self.waiting = self.bred([genes for _, genes in self.population])
        self.child = self.waiting.pop() if self.waiting else None
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> float:
        assert isinstance(param_distribution, FloatDistribution)
        low, high = param_distribution.low, param_distribution.high
        if self.child is None:
            return float(self.rng.uniform(low, high))
        return float(np.clip(self.child[len(trial.params)], low, high))

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        if values:
            self.population.append((values[0], tuple(trial.params.values())))

    def bred(self, parents: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        """Four children that differ from all parents."""
        children: list[tuple[float, ...]] = []
        while len(children) < SIZE:
            some = [parents[k] for k in self.rng.permutation(len(parents))]  # their order is that of a set
            means, widths = np.mean(some[:3], axis=0), np.sqrt(np.std(some, axis=0))
            for parent in some:
                drawn = self.rng.normal(means, np.maximum(widths, NARROWEST)).clip(0.0, 1.0)
                mutated = self.rng.random(len(parent)) < MUTATE
                if mutated.any():
                    children.append(tuple(np.where(mutated, drawn, parent).tolist()))
        return [children[k] for k in self.rng.permutation(len(children))[:SIZE]]
