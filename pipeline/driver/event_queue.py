"""Queues events, and hands them over in batches, so that no kind of event waits behind a flood of another."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable

from ..campaign.events import Ended, Event, Lost
from ..trial.protocol import Attributes, Query, Report, Started, Suggest

BATCH = 256
"""Most messages and ends of attempts in one batch. Where there are many of both, each kind gets at least half of it."""


_Message = Started | Report | Suggest | Query | Attributes


class EventQueue:
    """Two queues side by side, of attempts' messages and of their ends; all other events go first.

    The messages of one attempt keep their order, and come before its end. A request that is sent again while it is
    still queued is queued once. So the queue never holds more than what the attempts have to say: one request each, and
    the attributes that they set, once a second or with each request.

    >>> queue = EventQueue()
    >>> queue.put([Report("0.1.c", 1, 0, 0.5), Report("1.1.c", 1, 0, 0.5), Report("0.1.c", 1, 0, 0.5)])
    >>> len(queue.pop())
    2
    """

    def __init__(self) -> None:
        self._count = itertools.count()
        self._others: list[tuple[int, Event]] = []
        self._ends: deque[tuple[int, Ended | Lost]] = deque()
        self._messages: dict[str, list[tuple[int, _Message]]] = {}  # by token

    def __len__(self) -> int:
        """Number of queued ends and other events, and of attempts with queued messages."""
        return len(self._others) + len(self._ends) + len(self._messages)

    def put(self, events: Iterable[Event]) -> None:
        """Queue these events, in their order."""
        for event in events:
            if isinstance(event, _Message):
                queued = self._messages.setdefault(event.token, [])
                if all(event != other for _, other in queued):
                    queued.append((next(self._count), event))
            elif isinstance(event, Ended | Lost):
                self._ends.append((next(self._count), event))
            else:
                self._others.append((next(self._count), event))

    def pop(self) -> list[Event]:
        """Remove and return the next batch, in the order in which the events came."""
        batch: list[tuple[int, Event]] = [*self._others]
        self._others.clear()
        for _ in range(min(len(self._ends), max(BATCH // 2, BATCH - len(self._messages)))):
            place, end = self._ends.popleft()
            batch += self._messages.pop(end.outcome.token if isinstance(end, Ended) else end.token, ())
            batch.append((place, end))
        for token in list(itertools.islice(self._messages, max(BATCH // 2, BATCH - len(batch)))):
            batch += self._messages.pop(token)
        return [event for _, event in sorted(batch, key=lambda each: each[0])]
