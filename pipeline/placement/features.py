"""Trials' parameters as rows of numbers, with scales that are taken from the trials themselves.

A number becomes one column from -1 to 1 over the values seen, on a logarithmic scale where all of them are positive.
Anything else is a category: a column for each value seen. Where a parameter is missing in some trials, one more column
says so; a missing number lies in the middle. :meth:`Features.multiplied` adds the squares of the numbers on logarithmic
scales and the products of their pairs, since layers and units multiply what a trial costs.

Approximate: values outside of those seen count as if they were at most a quarter of the range away, new categories as
none of the others, and of more than ``MOST_COLUMNS`` columns those that vary most are kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from numbers import Real

import numpy as np

MOST_CATEGORIES = 16
"""Most columns of one parameter: the values that occur most often have them."""

MOST_COLUMNS = 80
"""Most columns before products: the time of a fit grows with their third power."""

MOST_MULTIPLIED = 8
"""Most numbers that are multiplied with each other: 36 products."""

BEYOND = 1.5
"""How far from the middle of the values seen a number may lie, in halves of their range."""

Params = Mapping[str, object]


@dataclass(frozen=True)
class Number:
    """The scale of a number: of its logarithm, where ``log``."""

    middle: float
    half: float
    log: bool

    def place(self, value: float) -> float:
        """From -1 to 1 in the range seen."""
        if self.log:
            if value <= 0:
                return -BEYOND
            value = math.log(value)
        return min(BEYOND, max(-BEYOND, (value - self.middle) / self.half))


class Features:
    """What columns the trials have; see the module.

    Args:
        many: The parameters of the trials that the columns are taken from.

    Attributes:
        groups: By column, the number of the group that it belongs to: all columns of a parameter are one. Column 0 is
            always one, and the only column of group 0.
        pairs: The columns that are multiplied, as pairs.

    Example:
        >>> features = Features([{"units": 16, "kind": "a"}, {"units": 64, "kind": "b"}])
        >>> features.rows([{"units": 32, "kind": "b"}]).round(2).tolist()
        [[1.0, 0.0, 0.0, 1.0]]
        >>> features.groups.tolist(), features.pairs
        ([0, 1, 2, 2], [(1, 1)])
    """

    def __init__(self, many: Sequence[Params]) -> None:
        self._numbers: dict[str, tuple[int, Number]] = {}
        self._categories: dict[str, dict[str, int]] = {}
        self._missing: dict[str, int] = {}
        groups = [0]
        patterns: dict[tuple[bool, ...], int] = {}
        for group, name in enumerate(dict.fromkeys(name for params in many for name in params), start=1):
            self._add(name, [params[name] for params in many if name in params], groups, 2 * group)
            present = tuple(name in params for params in many)
            if not all(present):  # parameters with the same condition are missing together, and share the column
                if present not in patterns:
                    patterns[present] = len(groups)
                    groups.append(2 * group + 1)
                self._missing[name] = patterns[present]
        self._width = len(groups)
        self._kept = self._most_varied(many)
        self.groups = np.unique(np.array(groups)[self._kept], return_inverse=True)[1]
        logs = [column for column, number in self._numbers.values() if number.log]
        places = [place for place, column in enumerate(self._kept.tolist()) if column in logs]
        self.pairs = list(combinations_with_replacement(places[:MOST_MULTIPLIED], 2))

    def _add(self, name: str, values: Sequence[object], groups: list[int], group: int) -> None:
        """Add the columns of a parameter with these values, unless they are all the same."""
        numbers = [float(value) for value in values if is_number(value)]  # type: ignore[arg-type]
        if len(numbers) == len(values):
            number = _scale(numbers)
            if number is not None:
                self._numbers[name] = len(groups), number
                groups.append(group)
            return
        counts = Counter(map(str, values))
        if len(counts) > 1:
            often = [value for value, _ in counts.most_common(MOST_CATEGORIES)]
            self._categories[name] = {value: len(groups) + place for place, value in enumerate(often)}
            groups.extend([group] * len(often))

    def _most_varied(self, many: Sequence[Params]) -> np.ndarray:
        """The columns that are kept: of too many, the first and those with the largest variance."""
        if self._width <= MOST_COLUMNS:
            return np.arange(self._width)
        variance = self._all(many).var(axis=0)
        variance[0] = np.inf
        return np.sort(np.argsort(-variance, kind="stable")[:MOST_COLUMNS])

    def rows(self, many: Sequence[Params]) -> np.ndarray:
        """The rows of trials, one each, without products."""
        found = self._all(many)
        return found if len(self._kept) == self._width else found[:, self._kept]

    def _all(self, many: Sequence[Params]) -> np.ndarray:
        found = np.zeros((len(many), self._width))
        found[:, 0] = 1.0
        for row, params in zip(found, many, strict=True):
            for name, (column, number) in self._numbers.items():
                value = params.get(name)
                if is_number(value):
                    row[column] = number.place(value)  # type: ignore[arg-type]
            for name, columns in self._categories.items():
                if name in params and (place := columns.get(str(params[name]))) is not None:
                    row[place] = 1.0
            for name, column in self._missing.items():
                if name not in params:
                    row[column] = 1.0
        return found

    def multiplied(self, rows: np.ndarray) -> np.ndarray:
        """Rows with the squares and products after their other columns."""
        if not self.pairs:
            return rows
        one, other = np.array(self.pairs).T
        return np.hstack([rows, rows[:, one] * rows[:, other]])

    @property
    def multiplied_groups(self) -> np.ndarray:
        """The groups of the columns of :meth:`multiplied`: each product is one of its own."""
        first = int(self.groups.max()) + 1
        return np.concatenate([self.groups, first + np.arange(len(self.pairs))])


def is_number(value: object) -> bool:
    """Whether a value has a place on a scale: a finite number, no truth value.

    >>> is_number(3), is_number(True), is_number("3"), is_number(float("nan"))
    (True, False, False, False)
    """
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is int:
        return True
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _scale(values: Sequence[float]) -> Number | None:
    """The scale of a parameter with these values; None where they are all the same."""
    low, high = min(values), max(values)
    if not low < high:
        return None
    log = low > 0
    if log:
        low, high = math.log(low), math.log(high)
    half = (high - low) / 2
    return Number((low + high) / 2, half, log) if half > 0 else None
