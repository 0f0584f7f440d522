"""The event queue returns batches in which no kind of event waits behind a flood, and each attempt keeps its order."""

from __future__ import annotations

from typing import Any

from pilotune.pipeline.campaign.events import Capacity, Ended, Lost, StopRequested
from pilotune.pipeline.driver.event_queue import BATCH, EventQueue
from pilotune.pipeline.trial.protocol import Outcome, Report, Started


def report(attempt: int, request: int = 1) -> Report:
    return Report(f"{attempt}.1.c", request, request, 0.5)


def end(attempt: int) -> Ended:
    return Ended(Outcome(token=f"{attempt}.1.c", number=attempt, attempt=1, kind="complete"))


def begun(attempt: int) -> Started:
    return Started(f"{attempt}.1.c", "host", 1, "0", "0")


def batches(queue: EventQueue) -> list[list[Any]]:
    found = []
    while queue:
        found.append(queue.pop())
    return found


def test_a_batch_in_which_everything_fits_has_the_events_as_they_came() -> None:
    queue, events = EventQueue(), [begun(1), report(1), Capacity(3), end(2), report(3), StopRequested("finish"), end(1)]
    queue.put(events)
    assert batches(queue) == [events]


def test_neither_reports_nor_ends_wait_behind_a_flood_of_the_others() -> None:
    for flood, few in ((report, end), (end, report)):
        queue = EventQueue()
        queue.put(flood(attempt) for attempt in range(10 * BATCH))
        first = queue.pop()
        queue.put([few(-1), StopRequested("yield")])
        second = queue.pop()
        assert len(first) == BATCH
        assert second[-2:] == [few(-1), StopRequested("yield")]
        assert len(second) <= BATCH + 1


def test_where_both_come_in_floods_each_gets_half_of_a_batch() -> None:
    queue = EventQueue()
    queue.put(event for attempt in range(1000) for event in (report(attempt), end(2000 + attempt)))
    kinds = [sum(isinstance(event, Report) for event in batch) for batch in batches(queue)]
    assert kinds[:-1] == [BATCH // 2] * (len(kinds) - 1)
    assert sum(kinds) == 1000


def test_an_attempts_messages_come_before_its_end_and_none_is_lost() -> None:
    queue, attempts = EventQueue(), range(3 * BATCH)
    queue.put(event for attempt in attempts for event in (begun(attempt), report(attempt)))
    lost = Lost(f"{attempts[-1]}.1.c", "its worker died")
    queue.put([end(attempts[-2]), lost])
    (first, *rest) = batches(queue)
    last = attempts[-1]
    assert [event for event in first if event in (begun(last), report(last), lost)] == [begun(last), report(last), lost]
    everything = [event for batch in (first, *rest) for event in batch]
    assert len(everything) == 2 * len(attempts) + 2
    for attempt in attempts:
        assert everything.index(begun(attempt)) < everything.index(report(attempt))


def test_a_request_that_is_sent_again_and_again_is_queued_once() -> None:
    queue = EventQueue()
    for _ in range(100):
        queue.put([report(1), report(2)])
    assert len(queue) == 2
    queue.put([report(1, request=2)])
    assert batches(queue) == [[report(1), report(2), report(1, request=2)]]
