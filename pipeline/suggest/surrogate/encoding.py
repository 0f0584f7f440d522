"""Configurations as rows of numbers: their places in the ranges, and the features that distances are taken between.

Two representations are in use. *Places*: one column a parameter; a number's place in [0, 1] of its (logarithmic) range,
a choice's index. *Features*: the place of a number; a one-hot vector times sqrt(1/2) for a choice, so that two choices
have a distance of 1. Numbers in steps have a margin of half a step at both ends of [0, 1]. An inactive parameter has
the place 0.5, or -1 for a choice, and lies in the middle of all its values, so that the model knows that it is the same
whatever it would have been.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from ...space import Space
from ..axes import axes_of
from .columns import Columns
from .layout import Layout

CHOICE = math.sqrt(0.5)
"""The feature of a choice that is taken."""

FARTHEST = 1.0
"""How far beyond its range a value of another study may lie, in units of the range, to count."""


class Encoding:
    """The encoding of one space.

    Args:
        distributions: The parameters, in the order in which columns lie; those of a single value are left out.
        space: Tells which parameters are active, and which configurations its constraints forbid; None: all are
            active, and nothing is forbidden.

    Attributes:
        names: The parameters.
        choices: By parameter, its number of choices; 0 for a number.
        layout: Of the features.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], space: Space | None = None) -> None:
        self.names = tuple(distributions)
        self._axes = axes_of(distributions)
        self.choices = np.array([axis.choices for axis in self._axes])
        self._discrete = self.choices > 0
        self._numbers = np.flatnonzero(~self._discrete)
        self._columns = Columns([axis for axis in self._axes if not axis.choices])
        self._stepped = np.array([i for i, axis in enumerate(self._axes) if not axis.choices and axis.step], dtype=int)
        self._steps = Columns([self._axes[i] for i in self._stepped.tolist()])
        self.layout = Layout(tuple(max(1, axis.choices) for axis in self._axes))
        self._neutral = np.where(self._discrete, -1.0, 0.5)
        self._fixed: np.ndarray | None = None
        self._space = space
        self._conditions = [] if space is None else _conditions(space, self.names, self._axes)

    @property
    def conditional(self) -> bool:
        """Whether some parameters are active only for some values of others."""
        return bool(self._conditions)

    def fixing(self, params: Mapping[str, Any]) -> Encoding:
        """This encoding, but all that it draws has these values; what is none of the space's values is passed over."""
        fixed = np.full(len(self.names), np.nan)
        for i, axis in enumerate(self._axes):
            internal = _internal(axis.distribution, params.get(axis.name, _MISSING))
            if math.isfinite(internal) and axis.distribution._contains(internal):
                fixed[i] = internal
        fixed[self._numbers] = self._columns.places(fixed[None, self._numbers])[0]
        found = copy.copy(self)
        found._fixed = fixed
        return found

    # -- drawing ------------------------------------------------------------------------------------------------------

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Places of ``count`` configurations drawn uniformly."""
        return self._finished(self._uniform(rng, count))

    def _uniform(self, rng: np.random.Generator, count: int) -> np.ndarray:
        places = rng.random((count, len(self.names)))
        found: np.ndarray = np.where(self._discrete, np.floor(places * self.choices), places)
        return found

    def mutate(self, rng: np.random.Generator, places: np.ndarray, scales: np.ndarray) -> np.ndarray:
        """Configurations near others.

        Each coordinate moves with a probability that is drawn for each row, at least one in each row: numbers by a
        normal step, reflected at the ends of the range, and at least to the next one where there are steps; choices
        to any.

        Args:
            places: Where to start from, a row each.
            scales: The standard deviation of the steps of each row.
        """
        count, size = places.shape
        start = self._with_inactive_drawn(rng, places)
        share = np.maximum(1.0 / size, rng.random(count))
        moves = rng.random((count, size)) < share[:, None]
        one = rng.integers(size, size=count)
        if self._fixed is not None:
            free = np.flatnonzero(np.isnan(self._fixed))
            one = free[one % len(free)] if len(free) else one
        moves[np.arange(count), one] = True
        moved = start + scales[:, None] * rng.standard_normal((count, size))
        moved = np.abs(moved) % 2.0
        moved = np.where(moved > 1.0, 2.0 - moved, moved)
        fresh = np.floor(rng.random((count, size)) * self.choices)
        signs = np.where(rng.random((count, size)) < 0.5, -1.0, 1.0)
        found = np.where(moves, np.where(self._discrete, fresh, moved), start)
        return self._finished(found, start, moves, signs)

    def _with_inactive_drawn(self, rng: np.random.Generator, places: np.ndarray) -> np.ndarray:
        """Parameters that are inactive have no place to move from, and may become active."""
        if not self._conditions:
            return places
        return np.where(self.active(places), places, self._uniform(rng, len(places)))

    def _finished(
        self,
        places: np.ndarray,
        start: np.ndarray | None = None,
        moves: np.ndarray | None = None,
        signs: np.ndarray | None = None,
    ) -> np.ndarray:
        """On the steps of the ranges, at least one step from ``start`` where it moves, with inactive ones neutral."""
        if self._fixed is not None:
            places = np.where(np.isnan(self._fixed), places, self._fixed)
        if len(which := self._stepped):
            steps = self._steps
            values = steps.values(places[:, which])
            if start is not None and moves is not None and signs is not None:
                before = steps.values(start[:, which])
                stays = moves[:, which] & (values == before)
                if self._fixed is not None:
                    stays &= np.isnan(self._fixed[which])
                step = signs[:, which] * steps.step
                step = np.where((before + step > steps.most) | (before + step < steps.least), -step, step)
                values = np.where(stays, np.minimum(np.maximum(before + step, steps.least), steps.most), values)
            places[:, which] = steps.places(values)
        return self._neutralized(places)

    def _neutralized(self, places: np.ndarray) -> np.ndarray:
        if self._conditions:
            return np.where(self.active(places), places, self._neutral)
        return places

    # -- internal values ----------------------------------------------------------------------------------------------

    def _internal_column(self, i: int, places: np.ndarray) -> np.ndarray:
        axis = self._axes[i]
        return places if axis.choices else axis.inverse(axis.low + places * axis.width)

    def active(self, places: np.ndarray) -> np.ndarray:
        """Which parameters are active, by row and parameter."""
        found = np.ones(places.shape, dtype=bool)
        for i, never, parents in self._conditions:
            if never:
                found[:, i] = False
            for j, wanted in parents:
                found[:, i] &= found[:, j] & np.isin(self._internal_column(j, places[:, j]), wanted)
        return found

    def params(self, places: np.ndarray) -> dict[str, Any]:
        """The active parameters' values of one configuration, as the objective gets them."""
        active = self.active(places[None, :])[0] if self._conditions else None
        internal = places.copy()
        internal[self._numbers] = self._columns.values(places[None, self._numbers])[0]
        return {
            axis.name: axis.to_external(value)
            for i, (axis, value) in enumerate(zip(self._axes, internal.tolist(), strict=True))
            if active is None or active[i]
        }

    def places_of(self, many: Sequence[Mapping[str, Any]], whole: Sequence[bool]) -> list[np.ndarray | None]:
        """The places of trials' parameters.

        Args:
            many: By trial, its parameters as the objective gets them; others than this space's are passed over.
            whole: By trial, whether every active parameter must have a value; otherwise those without are taken for
                inactive.

        Returns:
            By trial; None where a value is missing, is not one of the space's, or lies too far beyond its range.
        """
        if not many:
            return []
        axes = [(axis.name, axis.distribution) for axis in self._axes]
        found = np.array([[_internal(kind, params.get(name, _MISSING)) for name, kind in axes] for params in many])
        present = ~np.isnan(found)
        found[:, self._numbers] = self._columns.places(found[:, self._numbers])
        found = np.where(present, found, self._neutral)
        numbers = found[:, self._numbers]
        usable = (
            present.any(axis=1)
            & np.isfinite(found).all(axis=1)
            & ((numbers >= -FARTHEST) & (numbers <= 1 + FARTHEST)).all(axis=1)
        )
        active = self.active(found) if self._conditions else np.ones(found.shape, dtype=bool)
        usable &= (present | ~active).all(axis=1) | ~np.asarray(whole)
        found = np.where(present & active, found, self._neutral)
        return [row if good else None for row, good in zip(found, usable.tolist(), strict=True)]

    def features(self, places: np.ndarray) -> np.ndarray:
        """The features of configurations, a row each."""
        found = np.zeros((len(places), self.layout.width))
        found[:, self.layout.starts[self._numbers]] = places[:, self._numbers]
        rows = np.arange(len(places))
        for i in np.flatnonzero(self._discrete).tolist():
            start, count = int(self.layout.starts[i]), int(self.choices[i])
            index = places[:, i].astype(int)
            found[rows, start + np.maximum(index, 0)] = CHOICE
            found[index < 0, start : start + count] = CHOICE / count
        return found

    def key(self, places: np.ndarray) -> int:
        """A number that two configurations have in common only if they are the same, to rounding."""
        return hash((np.round(places, 9) + 0.0).tobytes())

    def feasible(self, places: np.ndarray) -> np.ndarray:
        """Which configurations the study file's constraints allow, a row each."""
        if self._space is None or not self._space.constraints:
            return np.ones(len(places), dtype=bool)
        return np.array([self._allows(self.params(row)) for row in places], dtype=bool)

    def _allows(self, params: Mapping[str, Any]) -> bool:
        assert self._space is not None
        try:
            return self._space.feasible({**_single_values(self._space), **params})
        except (TypeError, ValueError, ArithmeticError):  # who asks for the trial is told
            return True


_MISSING = object()


def _internal(distribution: BaseDistribution, value: Any) -> float:
    """A value as Optuna stores it; infinite where it is none of the distribution's, NaN where there is none."""
    if value is _MISSING:
        return math.nan
    try:
        return float(distribution.to_internal_repr(value))
    except (ValueError, TypeError, OverflowError):
        return math.inf


_Condition = tuple[int, bool, list[tuple[int, np.ndarray]]]


def _single_values(space: Space) -> dict[str, Any]:
    """The values of the parameters that have only one, where they are always active."""
    found = {}
    for parameter in space.parameters:
        if parameter.distribution.single() and not parameter.when:
            distribution: Any = parameter.distribution
            found[parameter.name] = distribution.choices[0] if hasattr(distribution, "choices") else distribution.low
    return found


def _conditions(space: Space, names: tuple[str, ...], axes: tuple[Any, ...]) -> list[_Condition]:
    """By conditional parameter: its column, whether it is never active, and the values that its parents must have."""
    found: list[_Condition] = []
    known = {**space.constants, **_single_values(space)}
    for parameter in space.parameters:
        if not parameter.when or parameter.name not in names:
            continue
        never, parents = False, []
        for parent, wanted in parameter.when.items():
            if parent in names:
                column = names.index(parent)
                inside = [value for value in wanted if _is_value(axes[column].distribution, value)]
                values = [float(axes[column].distribution.to_internal_repr(value)) for value in inside]
                parents.append((column, np.array(values)))
            else:
                never = never or parent not in known or known[parent] not in wanted
        found.append((names.index(parameter.name), never, parents))
    return found


def _is_value(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False
