"""A parameter as a coordinate of the densities: a choice by its index, a number as it is, or its logarithm if ``log``.

Three representations of a value are in use. *External*: what the objective gets (``"adamw"``, ``16``). *Internal*, as
in Optuna's database: a float, the index of a choice. *Transformed*: the internal one, or its logarithm with ``log``,
which is what kernels are centred at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ....grammar import a


@dataclass(frozen=True)
class Axis:
    """One dimension of a density.

    Attributes:
        name: Of the parameter.
        distribution: Of the parameter, as Optuna has it.
        choices: The number of choices; 0 for a numeric parameter, and then the following apply.
        low, high: Where kernels are truncated, transformed: half a step beyond the range.
        range_low, range_high: The ends of the range itself, not transformed.
        step: 0.0 for a continuous parameter.
        log: Kernels are over the logarithm of the value.
    """

    name: str
    distribution: BaseDistribution
    choices: int = 0
    low: float = 0.0
    high: float = 0.0
    range_low: float = 0.0
    range_high: float = 0.0
    step: float = 0.0
    log: bool = False

    @property
    def width(self) -> float:
        """The length of the transformed range: the bandwidth of the prior, and the most that a kernel may have."""
        return self.high - self.low

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Internal values as transformed ones."""
        if not self.log:
            return values
        logarithms: np.ndarray = np.log(values)
        return logarithms

    def to_external(self, value: float) -> Any:
        """An internal value as the objective gets it."""
        return self.distribution.to_external_repr(value)


def axes_of(space: Mapping[str, BaseDistribution]) -> tuple[Axis, ...]:
    """An axis for each parameter of ``space``, in its order. Raises ValueError for an unknown kind of distribution."""
    return tuple(_axis(name, distribution) for name, distribution in space.items())


def _axis(name: str, distribution: BaseDistribution) -> Axis:
    if isinstance(distribution, CategoricalDistribution):
        return Axis(name, distribution, choices=len(distribution.choices))
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise ValueError(f"parameter {name!r}: TPE cannot model {a(type(distribution).__name__)}")
    range_low, range_high, step = float(distribution.low), float(distribution.high), float(distribution.step or 0.0)
    low, high = range_low - step / 2, range_high + step / 2
    if distribution.log:
        low, high = math.log(low), math.log(high)
    return Axis(name, distribution, 0, low, high, range_low, range_high, step, distribution.log)
