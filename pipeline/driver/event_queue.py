"""What a driver has heard and not handled yet: each turn takes a part of it, so that nobody waits behind a flood."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable

from ..campaign.events import Ended, Event, Lost
from ..trial.protocol import Report, Started, Suggest

AT_ONCE = 256
"""Words and ends of attempts that one turn handles; of each kind at least half as many, where there are so many."""


class EventQueue:
    """Two rows, handled side by side: what attempts say while they run, and their ends. All else goes before.

    What one attempt says stays in its order, and before its end. A request that is sent again while it still stands in
    the row is there once. So no more stands here than the attempts that there are have to say: one request each.
    """

    def __init__(self) -> None:
        self._count = itertools.count()
        self._first: list[tuple[int, Event]] = []
        self._ends: deque[tuple[int, Ended | Lost]] = deque()
        self._words: dict[str, list[tuple[int, Started | Report | Suggest]]] = {}  # by token

    def __len__(self) -> int:
        """So many attempts and other events stand here."""
        return len(self._first) + len(self._ends) + len(self._words)

    def put(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Started | Report | Suggest):
                said = self._words.setdefault(event.token, [])
                if all(event != other for _, other in said):
                    said.append((next(self._count), event))
            elif isinstance(event, Ended | Lost):
                self._ends.append((next(self._count), event))
            else:
                self._first.append((next(self._count), event))

    def take(self) -> list[Event]:
        """The next turn's events, in the order in which they came."""
        taken: list[tuple[int, Event]] = [*self._first]
        self._first.clear()
        for _ in range(min(len(self._ends), max(AT_ONCE // 2, AT_ONCE - len(self._words)))):
            place, end = self._ends.popleft()
            taken += self._words.pop(end.outcome.token if isinstance(end, Ended) else end.token, ())
            taken.append((place, end))
        for token in list(itertools.islice(self._words, max(AT_ONCE // 2, AT_ONCE - len(taken)))):
            taken += self._words.pop(token)
        return [event for _, event in sorted(taken, key=lambda each: each[0])]
