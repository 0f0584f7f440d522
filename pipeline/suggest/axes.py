"""A parameter as a coordinate of the densities: a choice by its index, a number as it is, or its logarithm if ``log``.

Three representations of a value are in use. *External*: what the objective gets (``"adamw"``, ``16``). *Internal*, as
in Optuna's database: a float, the index of a choice. *Transformed*: the internal one, or its logarithm with ``log``,
which is what kernels are centred at.

Ranges that would overflow or vanish when differences are squared (wider than about 1e90, narrower than 1e-90) are
multiplied with a power of two, which changes no digit. Of a range that is far from 0, compared with its width, the
lower end is subtracted, so that the ends of steps keep their digits. A ``log`` range of nearly equal ends is modelled
as a linear one, since logarithms cannot tell its values apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ...grammar import a

MOST_EXPONENT = 300
"""A range is scaled if its width is above 2 to this power, or below 2 to its negative."""

FAR = 2.0**20
"""A range counts as far from 0 if its ends are more than this many times as large as its width."""

LEAST_LOG_WIDTH = 1e-6
"""The least width, in logarithms, of a range that is modelled on a logarithmic scale."""


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
        offset: What is subtracted from a value, or 0.0.
        scale: What it is multiplied with then, or 1.0.
    """

    name: str
    distribution: BaseDistribution = field(hash=False)  # choices of other programs may be lists
    choices: int = 0
    low: float = 0.0
    high: float = 0.0
    range_low: float = 0.0
    range_high: float = 0.0
    step: float = 0.0
    log: bool = False
    offset: float = 0.0
    scale: float = 1.0

    @property
    def plain(self) -> bool:
        """Whether transformed values are the internal ones."""
        return not self.log and self.scale == 1.0 and not self.offset

    @property
    def middle(self) -> float:
        """The middle of the transformed range, where the prior is centred."""
        return 0.5 * (self.low + self.high)

    @property
    def width(self) -> float:
        """The length of the transformed range: the bandwidth of the prior, and the most that a kernel may have."""
        return self.high - self.low

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Internal values as transformed ones."""
        if not self.log:
            return values if self.plain else (values - self.offset) * self.scale
        logarithms: np.ndarray = np.log(values)
        return logarithms

    def inverse(self, transformed: np.ndarray) -> np.ndarray:
        """Transformed values as internal ones within the range, on a step where there are steps."""
        if self.log:
            with np.errstate(over="ignore", under="ignore"):
                values = np.exp(transformed)
        elif self.plain:
            values = transformed
        else:  # bounded first, since half a step beyond the range may be more than a float holds
            ends = self.transform(np.array([self.range_low, self.range_high]))
            values = np.clip(transformed, *ends) / self.scale + self.offset
        if self.step:
            values = self.range_low + np.round((values - self.range_low) / self.step) * self.step
        return np.asarray(np.minimum(np.maximum(values, self.range_low), self.range_high))

    def step_ends(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The ends, transformed, of the step around each of ``values`` (internal), and its length.

        The length is exact where the ends are rounded to the same number.
        """
        if self.log:
            low = values - self.step / 2
            return np.log(low), np.log(values + self.step / 2), np.log1p(self.step / low)
        size = self.step * self.scale
        centre = self.transform(values)
        return centre - size / 2, centre + size / 2, np.full_like(centre, size)

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
        raise ValueError(f"parameter {name!r}: the sampler cannot model {a(type(distribution).__name__)}")
    range_low, range_high, step = float(distribution.low), float(distribution.high), float(distribution.step or 0.0)
    if distribution.log:
        low, high = math.log(range_low - step / 2), math.log(range_high + step / 2)
        if high - low >= LEAST_LOG_WIDTH:
            return Axis(name, distribution, 0, low, high, range_low, range_high, step, log=True)
    exponent = math.frexp(range_high - range_low)[1]
    scale = math.ldexp(1.0, min(-exponent, 1000)) if abs(exponent) > MOST_EXPONENT else 1.0
    far = max(abs(range_low), abs(range_high)) > FAR * (range_high - range_low)
    offset, half = range_low if far else 0.0, (step * scale) / 2
    low, high = (range_low - offset) * scale - half, (range_high - offset) * scale + half
    return Axis(name, distribution, 0, low, high, range_low, range_high, step, offset=offset, scale=scale)
