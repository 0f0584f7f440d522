"""What a problem of the quality benchmark is: a search space, the result of each configuration, and its regret."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from pilotune.pipeline.space import Parameter, Space

ROUNDING = 1e-12
"""Values that are closer to the optimum, as a share of it, are equal to it: sums in another order differ so much."""

Params = dict[str, Any]
Noise = Callable[[Params, float, np.random.Generator], float]
"""From a configuration, its true value and a random generator to the value that the sampler is told."""


@dataclass(frozen=True)
class Outcome:
    """The result of one configuration.

    Attributes:
        values: One value an objective, all minimized; None: the trial fails.
        seconds: The trial's duration; None: the data have none, and the simulation draws it.
        curve: Reports as (step, value), for learning curves.
        constraints: By how much each soft constraint is broken; 0 or less is feasible.
    """

    values: tuple[float, ...] | None
    seconds: float | None = None
    curve: tuple[tuple[int, float], ...] = ()
    constraints: tuple[float, ...] = ()

    @property
    def feasible(self) -> bool:
        """Whether the trial is complete and breaks no constraint."""
        return self.values is not None and all(amount <= 0 for amount in self.constraints)


FAILED = Outcome(None)


@dataclass(frozen=True)
class Problem:
    """A search space with the result of each of its configurations.

    Attributes:
        optimum: The least value; with several objectives, minus the hypervolume of the true front.
        unit: What a regret of 1 is: 1.0 for plain differences; None: from the optimum to :attr:`reference`.
        steps: The last step of the learning curves, on which Hyperband prunes; None where there are none.
        noise: Makes of a true value the one that is told; None: they are equal.
        corner: With several objectives, the reference point of the hypervolume: the worst value of each that counts.
    """

    name: str
    space: Space
    evaluate: Callable[[Params], Outcome]
    optimum: float
    unit: float | None = None
    steps: int | None = None
    noise: Noise | None = None
    corner: tuple[float, ...] | None = None

    @property
    def objectives(self) -> int:
        """The number of objectives."""
        return len(self.corner) if self.corner else 1

    @property
    def constrained(self) -> bool:
        """Whether outcomes have soft constraints."""
        return bool(self.evaluate(self.space.sample(random.Random(0))).constraints)

    @cached_property
    def reference(self) -> float:
        """The median best value of 100 random configurations, estimated from 4,000 draws with one seed."""
        rng = random.Random(0)
        values = sorted(
            outcome.values[0] if outcome.values and outcome.feasible else math.inf
            for outcome in (self.evaluate(self.space.sample(rng)) for _ in range(4000))
        )
        return values[int(len(values) * (1 - 0.5 ** (1 / 100)))]

    def regret(self, value: float) -> float:
        """How far `value` is above the optimum, in :attr:`unit`. Infinite where no trial was feasible."""
        unit = self.reference - self.optimum if self.unit is None else self.unit
        gap = value - self.optimum
        return gap / unit if gap > ROUNDING * max(1.0, abs(self.optimum)) else 0.0


@dataclass(frozen=True)
class Listed:
    """A problem by its name in the benchmark, made when it is asked for.

    Attributes:
        make: Makes it; reads data where the problem has any.
        confirming: Whether it is kept for confirming: no constant of a sampler may be chosen by its results.
        needs: ``data`` (the folder), ``onnx`` (the folder and onnxruntime), or nothing.
    """

    make: Callable[[], Problem]
    confirming: bool
    needs: str = ""


def space_of(
    distributions: Mapping[str, BaseDistribution], when: Mapping[str, Mapping[str, tuple]] | None = None
) -> Space:
    """A search space of `distributions`, in order; `when` gives the conditions of those that have any."""
    conditions = when or {}
    return Space(tuple(Parameter(name, kind, conditions.get(name, {})) for name, kind in distributions.items()))


def gaussian(deviation: float) -> Noise:
    """Normal noise with a standard deviation in units of the value."""
    return lambda params, value, rng: value + deviation * float(rng.standard_normal())


def heavy_tailed(scale: float) -> Noise:
    """Noise of Student's t with 3 degrees of freedom: now and then ten times its usual size."""
    return lambda params, value, rng: value + scale * float(rng.standard_t(3))


def single(function: Callable[[Params], float]) -> Callable[[Params], Outcome]:
    """`function` of a configuration as an evaluation of one objective."""
    return lambda params: Outcome((float(function(params)),))
