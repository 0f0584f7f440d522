"""Which values of parameters have run in which pools.

Costs are learned from all parameters and pools together, so what differs in nothing else may be taken to differ in no
value that has not run in a pool. A value that is much cheaper in a pool than all others would then never run there.

Approximate: of a number, only the halves above and below the median are told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from statistics import median

from .features import MOST_CATEGORIES, Params, is_number

Value = tuple[str, object]
"""A parameter, with a choice or with whether a number is in the upper half."""


class Tried:
    """See the module.

    Args:
        trials: The parameters, their choices and the medians of their numbers are taken from these. A choice of more
            than ``MOST_CATEGORIES`` is left out.

    Example:
        >>> tried = Tried([{"model": "cnn", "units": 16}, {"model": "svm", "units": 64}])
        >>> tried.add({"model": "cnn", "units": 16}, "gpu")
        >>> [tried.values({"model": "cnn", "units": units}) <= tried.seen("gpu") for units in (32, 64)]
        [True, False]
    """

    def __init__(self, trials: Sequence[Params]) -> None:
        self._medians: dict[str, float] = {}
        self._choices: set[str] = set()
        for name in dict.fromkeys(name for params in trials for name in params):
            values = [params[name] for params in trials if name in params]
            numbers = [float(value) for value in values if is_number(value)]  # type: ignore[arg-type]
            if len(numbers) == len(values):
                self._medians[name] = median(numbers)
            elif len(set(map(str, values))) <= MOST_CATEGORIES:
                self._choices.add(name)
        self._seen: dict[str, set[Value]] = {}

    def add(self, params: Params, pool: str) -> None:
        """A trial with these parameters runs in a pool, or has run there."""
        self._seen.setdefault(pool, set()).update(self.values(params))

    def seen(self, pool: str) -> AbstractSet[Value]:
        """The values that run in a pool, or have run there."""
        return self._seen.get(pool, set())

    def values(self, params: Params) -> frozenset[Value]:
        """What of a trial is told apart."""
        found: list[Value] = []
        for name, value in params.items():
            if name in self._choices:
                found.append((name, str(value)))
            elif name in self._medians and is_number(value):
                found.append((name, float(value) > self._medians[name]))  # type: ignore[arg-type]
        return frozenset(found)
