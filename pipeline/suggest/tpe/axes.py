"""A parameter as the model sees it: a choice by its index, a number between two ends, its logarithm where ``log``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution


@dataclass(frozen=True)
class Axis:
    """One dimension of a mixture.

    Attributes:
        choices: How many; 0 for a number.
        low, high: The ends of the kernels: half a step beyond the range's, in logarithms where ``log``.
        bottom, top: The range's own ends.
        step: 0.0 for a continuous number.
    """

    name: str
    distribution: BaseDistribution
    choices: int = 0
    low: float = 0.0
    high: float = 0.0
    bottom: float = 0.0
    top: float = 0.0
    step: float = 0.0
    log: bool = False

    @property
    def width(self) -> float:
        return self.high - self.low

    def kernel(self, values: np.ndarray) -> np.ndarray:
        """Values as in trials in the model's coordinate."""
        if not self.log:
            return values
        logarithms: np.ndarray = np.log(values)
        return logarithms

    def external(self, value: float) -> Any:
        return self.distribution.to_external_repr(value)


def axes_of(space: Mapping[str, BaseDistribution]) -> tuple[Axis, ...]:
    return tuple(_axis(name, distribution) for name, distribution in space.items())


def _axis(name: str, distribution: BaseDistribution) -> Axis:
    if isinstance(distribution, CategoricalDistribution):
        return Axis(name, distribution, choices=len(distribution.choices))
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise ValueError(f"parameter {name!r}: TPE knows no {type(distribution).__name__}")
    bottom, top, step = float(distribution.low), float(distribution.high), float(distribution.step or 0.0)
    low, high = bottom - step / 2, top + step / 2
    if distribution.log:
        low, high = math.log(low), math.log(high)
    return Axis(name, distribution, 0, low, high, bottom, top, step, distribution.log)
