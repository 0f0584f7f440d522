"""What a peer is, and how a library that Optuna does not know becomes a sampler of a study."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..problems import Params, Problem


@dataclass(frozen=True)
class Setting:
    """What a sampler is made for."""

    problem: Problem
    seed: int
    workers: int
    trials: int


@dataclass(frozen=True)
class Peer:
    """A sampler that is compared.

    Attributes:
        make: Makes it.
        packages: What must be installed.
        several: Whether it can work on several objectives.
        constraints: Whether it makes use of soft constraints.
        slow: Whether a suggestion takes so long that it gets fewer seeds.
        most: The most trials of a run: its cost a suggestion grows with them.
    """

    make: Callable[[Setting], BaseSampler]
    packages: tuple[str, ...] = ()
    several: bool = False
    constraints: bool = False
    slow: bool = False
    most: int = 100_000


class Outside(BaseSampler):
    """A library's optimizer as a sampler: asked for one configuration at a time, told each result.

    Subclasses define :meth:`ask` and :meth:`tell`. Conditions of the space are not passed on: the library chooses a
    value for every parameter, and those that are inactive have no effect.
    """

    def __init__(self, setting: Setting):
        self.distributions: dict[str, BaseDistribution] = setting.problem.space.distributions
        self.open: dict[int, Params] = {}
        self.worst = 0.0

    def ask(self) -> Params:
        """The next configuration."""
        raise NotImplementedError

    def tell(self, params: Params, value: float | None) -> None:
        """The result of a configuration: a value, the last report of a pruned one, or None where it failed."""
        raise NotImplementedError

    def penalty(self, value: float | None) -> float:
        """`value`; for a failed trial the worst value so far. For libraries that know no failures."""
        if value is None:
            return self.worst
        self.worst = max(self.worst, value) if self.told else value
        self.told = True
        return value

    told = False

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.distributions

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Params:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asked = {name: _native(value) for name, value in self.ask().items()}
        self.open[trial.number] = asked
        return asked

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise AssertionError(f"{param_name} was not asked for with the others, or its value is out of range")

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        value = values[0] if values else trial.intermediate_values.get(trial.last_step or 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.tell(self.open.pop(trial.number), None if state == TrialState.FAIL else value)


def _native(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


class Cube:
    """Configurations as points of a unit cube: a number is one coordinate, a category one for each choice.

    Integers have half a step of margin at both ends, so that each has an equal share.
    """

    def __init__(self, distributions: dict[str, BaseDistribution]):
        self.distributions = distributions
        self.size = sum(_width(kind) for kind in distributions.values())

    def point(self, params: Params) -> np.ndarray:
        """The point of a configuration."""
        parts: list[float] = []
        for name, kind in self.distributions.items():
            if isinstance(kind, CategoricalDistribution):
                parts += [float(i == kind.choices.index(params[name])) for i in range(len(kind.choices))]
            else:
                low, high = _ends(kind)
                parts.append((_scaled(kind, params[name]) - low) / (high - low))
        return np.array(parts)

    def params(self, point: np.ndarray) -> Params:
        """The configuration at a point: integers are rounded, and the largest coordinate of a category counts."""
        found: Params = {}
        at = 0
        for name, kind in self.distributions.items():
            part = point[at : at + _width(kind)]
            at += len(part)
            if isinstance(kind, CategoricalDistribution):
                found[name] = kind.choices[int(np.argmax(part))]
                continue
            assert isinstance(kind, FloatDistribution | IntDistribution)
            low, high = _ends(kind)
            value = float(low + min(max(float(part[0]), 0.0), 1.0) * (high - low))
            value = float(np.exp(value)) if kind.log else value
            if isinstance(kind, IntDistribution):
                value = kind.low + round((value - kind.low) / kind.step) * kind.step
            found[name] = type(kind.low)(min(max(value, kind.low), kind.high))
        return found

    def snapped(self, point: np.ndarray) -> np.ndarray:
        """The point of the configuration that `point` stands for."""
        return self.point(self.params(point))


def _width(kind: BaseDistribution) -> int:
    return len(kind.choices) if isinstance(kind, CategoricalDistribution) else 1


def _scaled(kind: BaseDistribution, value: float) -> float:
    return float(np.log(value)) if getattr(kind, "log", False) else float(value)


def _ends(kind: BaseDistribution) -> tuple[float, float]:
    assert isinstance(kind, FloatDistribution | IntDistribution)
    half = kind.step / 2 if isinstance(kind, IntDistribution) else 0.0
    return _scaled(kind, kind.low - half), _scaled(kind, kind.high + half)
