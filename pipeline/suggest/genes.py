"""A parameter as a gene: draws a value, another value, or one a step away."""

from __future__ import annotations

import math
import random
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ...grammar import a

DRAWS = 100
"""Times that a value is drawn again until it differs, where the values are not equally likely."""


class Gene:
    """One parameter, whose values lie from 0 to 1: choices and steps as bins of equal width, numbers to scale.

    Args:
        name: Of the parameter.
        distribution: Its values. With ``log`` they are drawn, and steps are taken, on the logarithmic scale.
        ordered: A step from a choice leads along their order; without, to any other.

    Attributes:
        name, distribution: As given.
        single: Whether there is only one value.

    Raises:
        ValueError: The distribution is of an unknown kind.

    Example:
        >>> gene = Gene("layers", IntDistribution(1, 4))
        >>> gene.place(1), gene.value(0.99)
        (0.125, 4)
        >>> sorted({gene.other(4, random.Random(seed)) for seed in range(20)})
        [1, 2, 3]
    """

    def __init__(self, name: str, distribution: BaseDistribution, ordered: bool = False) -> None:
        self.name, self.distribution, self.single = name, distribution, distribution.single()
        self._bins = 0  # the number of equally likely values; 0 where they are not, or there is no end of them
        self._jumps = False
        self._log = False
        if isinstance(distribution, CategoricalDistribution):
            self._bins, self._jumps = len(distribution.choices), not ordered
            return
        if not isinstance(distribution, FloatDistribution | IntDistribution):
            raise ValueError(f"parameter {name!r}: the sampler cannot vary {a(type(distribution).__name__)}")
        low, high, self._step = distribution.low, distribution.high, distribution.step
        self._low, self._high, self._log = low, high, distribution.log
        if distribution.log:
            half = 0.5 if isinstance(distribution, IntDistribution) else 0.0
            self._ends = math.log(low - half), math.log(high + half)
        elif self._step is not None:
            self._bins = round(high / self._step - low / self._step) + 1

    def draw(self, rng: random.Random) -> Any:
        """A value at random."""
        return self.value(rng.random())

    def value(self, place: float) -> Any:
        """The value at a place from 0 to 1."""
        distribution = self.distribution
        if self._bins:
            index = min(int(place * self._bins), self._bins - 1)
            return self._at(index)
        if not self._log:
            number = self._low * (1.0 - place) + self._high * place  # a difference of the two may overflow
        else:
            number = math.exp(self._ends[0] * (1.0 - place) + self._ends[1] * place)
        if isinstance(distribution, IntDistribution):
            number = round(number)
        return min(max(number, self._low), self._high)

    def _at(self, index: int) -> Any:
        """The value with this number, where values are numbered."""
        if isinstance(self.distribution, CategoricalDistribution):
            return self.distribution.choices[index]
        assert self._step is not None
        return min(self._low + index * self._step, self._high)

    def _index(self, value: Any) -> int:
        """The number of a value, where values are numbered."""
        if isinstance(self.distribution, CategoricalDistribution):
            return int(self.distribution.to_internal_repr(value))
        assert self._step is not None
        number: int = round(value / self._step - self._low / self._step)
        return min(max(number, 0), self._bins - 1)

    def place(self, value: Any) -> float:
        """Where a value lies from 0 to 1: in the middle of its bin."""
        if self._bins:
            return (self._index(value) + 0.5) / self._bins
        if self.single:
            return 0.5
        if self._log:
            found = (math.log(value) - self._ends[0]) / (self._ends[1] - self._ends[0] or 1.0)
        else:
            found = (value / 2 - self._low / 2) / (self._high / 2 - self._low / 2)
        return min(max(found, 0.0), 1.0)

    def other(self, value: Any, rng: random.Random) -> Any:
        """Another value, drawn as all are; the same where there is no other."""
        if self.single:
            return value
        if self._bins:
            index = rng.randrange(self._bins - 1)
            return self._at(index + (index >= self._index(value)))
        for _ in range(DRAWS):
            if (found := self.draw(rng)) != value:
                return found
        return self._neighbour(value, rng.choice((-1, 1)))

    def stepped(self, value: Any, sigma: float, rng: random.Random) -> Any:
        """The value a normally distributed step away, bounded by the range.

        Where ``sigma`` is less than the distance of two values, the step leads at least to the next one: else such a
        parameter would hardly ever change. An unordered choice becomes any other.

        Args:
            sigma: Standard deviation of the step, where the whole range is 1.
        """
        if self._jumps:
            return self.other(value, rng)
        step = rng.gauss(0.0, sigma)
        found = self.value(min(max(self.place(value) + step, 0.0), 1.0))
        if found == value and sigma < self._distance(value):
            return self._neighbour(value, 1 if step > 0 else -1)
        return found

    def _distance(self, value: Any) -> float:
        """The share of the range that a value has; 0 for a continuous range."""
        if self._bins:
            return 1.0 / self._bins
        if isinstance(self.distribution, IntDistribution):
            return (math.log(value + 0.5) - math.log(value - 0.5)) / (self._ends[1] - self._ends[0])
        return 0.0

    def _neighbour(self, value: Any, direction: int) -> Any:
        """The next value in a direction, or in the other one where there is none."""
        if self._bins:
            index = self._index(value)
            turned = index + direction if 0 <= index + direction < self._bins else index - direction
            return self._at(turned) if 0 <= turned < self._bins else value
        if not isinstance(self.distribution, IntDistribution):
            return value
        return value + direction if self._low <= value + direction <= self._high else value - direction

    def contains(self, value: Any) -> bool:
        """Whether ``value`` is one of this parameter."""
        try:
            return bool(self.distribution._contains(self.distribution.to_internal_repr(value)))
        except (ValueError, TypeError):
            return False
