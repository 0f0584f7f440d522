"""What a driver has heard is handled in turns: nobody waits behind a flood, and each attempt is heard in its order."""

from __future__ import annotations

from typing import Any

from pilotune.pipeline.campaign.events import Asked, Capacity, Ended, Lost
from pilotune.pipeline.driver.event_queue import AT_ONCE, EventQueue
from pilotune.pipeline.trial.protocol import Outcome, Report, Started


def report(attempt: int, request: int = 1) -> Report:
    return Report(f"{attempt}.1.c", request, request, 0.5)


def end(attempt: int) -> Ended:
    return Ended(Outcome(token=f"{attempt}.1.c", number=attempt, attempt=1, kind="complete"))


def begun(attempt: int) -> Started:
    return Started(f"{attempt}.1.c", "host", 1, "0", "0")


def turns(inbox: EventQueue) -> list[list[Any]]:
    found = []
    while inbox:
        found.append(inbox.take())
    return found


def test_a_turn_in_which_everything_fits_has_the_events_as_they_came() -> None:
    inbox, events = EventQueue(), [begun(1), report(1), Capacity(3), end(2), report(3), Asked("finish"), end(1)]
    inbox.put(events)
    assert turns(inbox) == [events]


def test_neither_reports_nor_ends_wait_behind_a_flood_of_the_others() -> None:
    for flood, few in ((report, end), (end, report)):
        inbox = EventQueue()
        inbox.put(flood(attempt) for attempt in range(10 * AT_ONCE))
        first = inbox.take()
        inbox.put([few(-1), Asked("yield")])
        second = inbox.take()
        assert len(first) == AT_ONCE
        assert second[-2:] == [few(-1), Asked("yield")]
        assert len(second) <= AT_ONCE + 1


def test_where_both_come_in_floods_each_gets_half_of_a_turn() -> None:
    inbox = EventQueue()
    inbox.put(event for attempt in range(1000) for event in (report(attempt), end(2000 + attempt)))
    kinds = [sum(isinstance(event, Report) for event in turn) for turn in turns(inbox)]
    assert kinds[:-1] == [AT_ONCE // 2] * (len(kinds) - 1)
    assert sum(kinds) == 1000


def test_what_an_attempt_said_comes_before_its_end_and_none_of_it_is_lost() -> None:
    inbox, attempts = EventQueue(), range(3 * AT_ONCE)
    inbox.put(event for attempt in attempts for event in (begun(attempt), report(attempt)))
    lost = Lost(f"{attempts[-1]}.1.c", "its worker died")
    inbox.put([end(attempts[-2]), lost])
    (first, *rest) = turns(inbox)
    last = attempts[-1]
    assert [event for event in first if event in (begun(last), report(last), lost)] == [begun(last), report(last), lost]
    everything = [event for turn in (first, *rest) for event in turn]
    assert len(everything) == 2 * len(attempts) + 2
    for attempt in attempts:
        assert everything.index(begun(attempt)) < everything.index(report(attempt))


def test_a_request_that_is_sent_again_and_again_stands_in_the_row_once() -> None:
    inbox = EventQueue()
    for _ in range(100):
        inbox.put([report(1), report(2)])
    assert len(inbox) == 2
    inbox.put([report(1, request=2)])
    assert turns(inbox) == [[report(1), report(2), report(1, request=2)]]
