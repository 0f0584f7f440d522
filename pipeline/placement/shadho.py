"""SHADHO's rule (Kinnison, Kremer-Herman, Thain and Scheirer, WACV 2018): free spaces to large hardware.

A *space* is a set of parameters that are there together, as those of one kind of model. Its complexity is the sum of
its parameters': for a number 2 and the width of its range, for a choice 2 less one over the number of choices. Spaces
and classes of hardware are ranked, and the ranks of the longer list are dealt to those of the shorter one in equal
parts. What was dealt goes to one neighbour as well: the next class in the lower half, the one before in the upper half.

It never asks how long a trial takes, so it loses where the largest hardware does not help the freest space. The
published code fails with an index error where a class has no such neighbour, as happens with two classes; here it then
takes the one on the other side. The published tool draws trials for a class; here a worker takes the oldest of the
trials that were dealt to its class, and the oldest of all where there is none, so that no worker is idle. Ranges are
those of the values seen. The rank's second factor, how uncertain the results in a space are, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

from .features import is_number
from .waiting import Entry, PoolRoom, in_order, oldest


class Shadho:
    """Deals spaces to pools; see the module.

    Example:
        >>> rule = Shadho()
        >>> rule.pools({"small": PoolRoom(4), "large": PoolRoom(1)})
        >>> for key, params in enumerate([{"c": 1.0}, {"c": 2.0}, {"c": 1.0, "degree": 2}, {"c": 1.0, "degree": 3}]):
        ...     rule.added(Entry(key, params, 0.0, None))
        >>> {pool: sorted(map(sorted, spaces)) for pool, spaces in rule.dealt().items()}
        {'small': [['c'], ['c', 'degree']], 'large': [['c'], ['c', 'degree']]}
    """

    def __init__(self) -> None:
        self._rooms: dict[str, PoolRoom] = {}
        self._spaces: dict[frozenset[str], dict[str, _Range]] = {}
        self._dealt: dict[str, list[frozenset[str]]] | None = None

    def pools(self, rooms: dict[str, PoolRoom]) -> None:
        """Deal to these pools."""
        self._rooms, self._dealt = rooms, None

    def added(self, entry: Entry) -> None:
        """Learn the space and its ranges."""
        space = self._spaces.setdefault(frozenset(entry.params), {name: _Range() for name in entry.params})
        grown = [space[name].add(value) for name, value in entry.params.items()]
        if any(grown):
            self._dealt = None

    def begun(self, entry: Entry, pool: str, now: float) -> None:
        """Nothing to do."""

    def ended(self, key: Hashable) -> None:
        """Nothing to do."""

    def choose(self, pool: str, waiting: Iterable[Entry], now: float) -> Entry | None:
        """The oldest trial that was dealt to the pool, else the oldest."""
        waiting = list(waiting)
        mine = self.dealt().get(pool, [])
        own = (entry for entry in waiting if frozenset(entry.params) in mine)
        return oldest(own, pool) or oldest(waiting, pool)

    def dealt(self) -> dict[str, list[frozenset[str]]]:
        """The spaces of each pool."""
        if self._dealt is None:
            ranked = sorted(self._spaces, key=lambda names: sum(r.freedom for r in self._spaces[names].values()))
            classes = in_order(self._rooms)
            self._dealt = {name: [] for name in classes}
            for space, place in deal(len(ranked), len(classes)):
                self._dealt[classes[place]].append(ranked[space])
        return self._dealt


def deal(spaces: int, classes: int) -> list[tuple[int, int]]:
    """Pairs of the ranks of spaces and of classes, both from the smallest: its own class and one neighbour.

    >>> deal(3, 3)
    [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 1)]
    >>> deal(4, 2)
    [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (2, 0), (3, 1), (3, 0)]
    """
    if not spaces or not classes:
        return []
    turned = spaces < classes
    longer, shorter = max(spaces, classes), min(spaces, classes)
    pairs: list[tuple[int, int]] = []
    for rank in range(longer):
        own = rank * shorter // longer
        beside = own + 1 if rank <= longer // 2 else own - 1
        if not 0 <= beside < shorter:
            beside = 2 * own - beside
        for other in (own, beside) if shorter > 1 else (own,):
            if 0 <= other < shorter:
                pairs.append((other, rank) if turned else (rank, other))
    return pairs


class _Range:
    """The values of a parameter that were seen."""

    def __init__(self) -> None:
        self._low, self._high = math.inf, -math.inf
        self._choices: set[str] = set()

    def add(self, value: object) -> bool:
        """Take a value in; returns whether the freedom has grown."""
        before = self.freedom
        if is_number(value):
            number = float(value)  # type: ignore[arg-type]
            self._low, self._high = min(self._low, number), max(self._high, number)
        else:
            self._choices.add(str(value))
        return self.freedom != before

    @property
    def freedom(self) -> float:
        width = max(0.0, self._high - self._low)
        free = 2.0 + width if width else 1.0 if self._high >= self._low else 0.0
        return free + (2.0 - 1.0 / len(self._choices) if self._choices else 0.0)
