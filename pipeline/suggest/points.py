"""The points of a finite search space, each with a number: what exhaustive samplers go through.

A point is one configuration: a value for each *active* parameter. Its number writes the values' places in base
``counts``: parameter by parameter, 0 for an inactive one. So two combinations that differ only in parameters that are
inactive are one point, and whether a trial took a point is seen from its parameters alone, whoever ran it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ..distributions import cardinality
from ..space import Parameter, Space

COUNTED = 20_000
"""Spaces of at most this many combinations are gone through at once, so that the number of points is exact."""

LISTED = 1_000_000
"""Spaces of at most this many combinations are tried in a shuffled order that is kept in memory; others at random."""

DRAWS = 1_000
"""Random points that are tried to find a new one in a larger space, before its points are gone through in order."""

SCANNED = 1_000_000
"""Most points that are gone through then: constraints that allow none of them allow hardly any."""

_SAME_STEP = 1e-8  # Optuna's tolerance for a value between two steps


class Axis:
    """The values of one parameter, by their place from 0 on.

    Args:
        parameter: The parameter.
        given: The values to use, all of them in the parameter's range; None: the whole range.

    Attributes:
        count: Number of values. Of those that mean the same to Optuna (1 and 1.0) only one counts.

    Example:
        >>> axis = Axis(Parameter("rate", FloatDistribution(0.0, 0.3, step=0.1)))
        >>> [axis.value(place) for place in range(axis.count)], axis.place(0.3), axis.place(0.15)
        ([0.0, 0.1, 0.2, 0.3], 3, None)
    """

    def __init__(self, parameter: Parameter, given: Sequence[Any] | None = None) -> None:
        self.name, self._distribution = parameter.name, parameter.distribution
        self._range: range | None = None
        self._places: dict[float, int] | None = None  # by Optuna's internal representation
        distribution = parameter.distribution
        if given is None and isinstance(distribution, CategoricalDistribution):
            given = distribution.choices
        if given is not None:
            self._places = {}
            for value in given:
                self._places.setdefault(_internal(distribution, value), len(self._places))
            self._values = [distribution.to_external_repr(internal) for internal in self._places]
            self.count = len(self._values)
        elif isinstance(distribution, IntDistribution):
            self._range = range(distribution.low, distribution.high + 1, distribution.step)
            self.count = len(self._range)
        else:
            self.count = int(cardinality(distribution))

    def value(self, place: int) -> Any:
        """The value there, with the type that trials get."""
        if self._range is not None:
            return self._range[place]
        if self._places is not None:
            return self._values[place]
        distribution = self._distribution
        assert isinstance(distribution, FloatDistribution)
        return stepped(distribution, place)

    def place(self, value: Any) -> int | None:
        """Where the value is; None where it is not one of them."""
        try:
            internal = _internal(self._distribution, value)
        except (ValueError, TypeError):
            return None
        if self._range is not None:
            # As an int: a range looks for a float one number after the other.
            whole = int(internal) if math.isfinite(internal) else None
            return self._range.index(whole) if whole == internal and whole in self._range else None
        if self._places is not None:
            return self._places.get(internal)
        distribution = self._distribution
        assert isinstance(distribution, FloatDistribution)
        if not math.isfinite(internal):
            return None
        steps = (internal - distribution.low) / (distribution.step or 1.0)
        place = round(steps)
        return place if abs(steps - place) < _SAME_STEP and 0 <= place < self.count else None


def stepped(distribution: FloatDistribution, place: int) -> float:
    """The value that is ``place`` steps above the lowest, without the rounding errors of adding up steps.

    >>> stepped(FloatDistribution(0.0, 0.3, step=0.1), 3), stepped(FloatDistribution(0.0, 3e-13, step=1e-13), 2)
    (0.3, 2e-13)
    """
    if place == 0 or distribution.step is None:
        return distribution.low
    value = float(Decimal(str(distribution.low)) + place * Decimal(str(distribution.step)))
    return min(value, distribution.high)


def _internal(distribution: BaseDistribution, value: Any) -> float:
    return float(distribution.to_internal_repr(value))


class Points:
    """All points of a space, without those that its constraints forbid.

    Args:
        space: The space.
        values: The values to use, by parameter; the other parameters take all of their range, which must be finite.

    Attributes:
        axes: One for each parameter, in the space's order.
        size: Number of points; an upper bound where there are constraints and more than ``COUNTED`` combinations.

    Example:
        >>> kind = Parameter("kind", CategoricalDistribution(["sgd", "adam"]))
        >>> space = Space((kind, Parameter("nesterov", IntDistribution(0, 1), {"kind": ("sgd",)})))
        >>> points = Points(space)
        >>> points.size, [points.params(number) for number in range(3)]
        (3, [{'kind': 'sgd', 'nesterov': 0}, {'kind': 'adam'}, {'kind': 'sgd', 'nesterov': 1}])
        >>> points.number({"kind": "sgd", "nesterov": 1})
        2
    """

    def __init__(self, space: Space, values: Mapping[str, Sequence[Any]] | None = None) -> None:
        self.space = space
        self.axes = [Axis(parameter, (values or {}).get(parameter.name)) for parameter in space.parameters]
        self._radices = [1]
        for axis in self.axes:
            self._radices.append(self._radices[-1] * axis.count)
        self._every = self._radices.pop()  # combinations, inactive parameters included
        self._order: Sequence[int] | None = None
        self.size = self._every
        if self._every <= COUNTED:
            self._order = [number for number in range(self._every) if self.allows(number)]
            self.size = len(self._order)
        elif space.conditional:
            self.size = self._count()

    def _count(self) -> int:
        """The number of points by the conditions, without regard to the constraints."""
        ranges = {axis.name: axis for axis in self.axes}
        parameters = []
        for parameter in self.space.parameters:
            count = ranges[parameter.name].count
            same = count == cardinality(parameter.distribution)
            values = None if same else [ranges[parameter.name].value(place) for place in range(count)]
            kind = parameter.distribution if values is None else CategoricalDistribution(values)
            parameters.append(Parameter(parameter.name, kind, parameter.when))
        return int(Space(tuple(parameters), self.space.constants).size())

    # -- a point and its number ---------------------------------------------------------------------------------------

    def params(self, number: int) -> dict[str, Any] | None:
        """The values of the active parameters; None where ``number`` is that of no point."""
        values, params = dict(self.space.constants), {}
        for parameter, axis in zip(self.space.parameters, self.axes, strict=True):
            number, place = divmod(number, axis.count)
            if not parameter.when or parameter.active(values):
                params[axis.name] = values[axis.name] = axis.value(place)
            elif place:
                return None
        return params

    def number(self, params: Mapping[str, Any]) -> int | None:
        """The number of the point with these parameters; None where it is none of the points."""
        values, number, used = dict(self.space.constants), 0, 0
        for parameter, axis, radix in zip(self.space.parameters, self.axes, self._radices, strict=True):
            if parameter.when and not parameter.active(values):
                continue
            place = axis.place(params[axis.name]) if axis.name in params else None
            if place is None:
                return None
            used += 1
            number += radix * place
            values[axis.name] = axis.value(place)
        return number if used == len(params) else None

    def allows(self, number: int) -> bool:
        """Whether it is the number of a point, and the constraints allow that.

        A number whose parameters do not lead back to it is none: two values that are the same as floats.
        """
        params = self.params(number)
        return params is not None and self.number(params) == number and self._feasible(params)

    def _feasible(self, params: Mapping[str, Any]) -> bool:
        try:
            return self.space.feasible(params)
        except (TypeError, ValueError, ArithmeticError):  # who asks for the trial is told
            return True

    # -- their order --------------------------------------------------------------------------------------------------

    def shuffled(self, rng: np.random.Generator) -> Sequence[int] | None:
        """The numbers of all points in random order, with some that :meth:`allows` refuses; None for larger spaces."""
        if self._order is not None:
            return [self._order[place] for place in rng.permutation(len(self._order))]
        return array("q", rng.permutation(self._every).tolist()) if self._every <= LISTED else None

    def draw(self, rng: np.random.Generator, fixed: Mapping[str, Any]) -> dict[str, Any]:
        """A random point with the values of ``fixed``, which need not be on the axes; without regard to constraints."""
        values, params = dict(self.space.constants), {}
        for parameter, axis in zip(self.space.parameters, self.axes, strict=True):
            if not parameter.when or parameter.active(values):
                value = fixed[axis.name] if axis.name in fixed else axis.value(_below(axis.count, rng))
                params[axis.name] = values[axis.name] = value
        return params

    def in_order(self, fixed: Mapping[str, Any]) -> Iterator[int]:
        """The numbers of all points with the values of ``fixed``, in order."""
        held = {axis.name: place for axis in self.axes if (place := self._held(axis, fixed)) is not None}
        places = [held.get(axis.name, 0) for axis in self.axes]
        while True:
            values, active = dict(self.space.constants), []
            for index, (parameter, axis) in enumerate(zip(self.space.parameters, self.axes, strict=True)):
                if not parameter.when or parameter.active(values):
                    active.append(index)
                    values[axis.name] = axis.value(places[index])
            yield sum(self._radices[index] * places[index] for index in active)
            free = [i for i in active if self.axes[i].name not in held and places[i] + 1 < self.axes[i].count]
            if not free:
                return
            places[free[-1]] += 1
            for index in range(free[-1] + 1, len(places)):
                places[index] = held.get(self.axes[index].name, 0)

    def _held(self, axis: Axis, fixed: Mapping[str, Any]) -> int | None:
        return axis.place(fixed[axis.name]) if axis.name in fixed else None


def _below(count: int, rng: np.random.Generator) -> int:
    """A random whole number from 0 on below ``count``, which may be larger than 64 bits hold."""
    if count < 2**63:
        return int(rng.integers(count))
    return int.from_bytes(rng.bytes(count.bit_length() // 8 + 8), "big") % count
