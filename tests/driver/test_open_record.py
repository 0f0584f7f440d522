"""A database server that is not ready at the start of a campaign is waited for, and not taken for a mistake."""

from __future__ import annotations

from typing import Any

import pytest

from pilotune.errors import RecordStarting, UserError
from pilotune.pipeline.driver.open_record import INTERVAL, PATIENCE, open_when_ready

NOT_READY = RecordStarting("the database server of pg is not ready (the database system is starting up)")


class Server:
    """Is ready after some tries, and knows the time."""

    def __init__(self, *answers: Exception | str):
        self.answers, self.now, self.told = list(answers), 1000.0, list[str]()

    def open(self, url: str) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def awaited(self, **more: Any) -> Any:
        arguments = {"clock": lambda: self.now, "pause": self.pause, "open_record": self.open, **more}
        return open_when_ready("postgresql://pg/studies", "digits", self.told.append, **arguments)


def test_it_is_opened_once_it_is_ready_and_the_user_is_told_once() -> None:
    server = Server(NOT_READY, NOT_READY, NOT_READY, "opened")
    assert server.awaited() == "opened"
    assert server.now == 1000.0 + 3 * INTERVAL
    assert len(server.told) == 1
    assert server.told[0].startswith(f"{NOT_READY}; it is waited for until ")


def test_after_a_time_it_is_given_up_with_what_to_do() -> None:
    server = Server(NOT_READY)
    with pytest.raises(RecordStarting, match=r"was not within 2m; once it is, pilotune resume digits goes on") as error:
        server.awaited()
    assert error.value.exit_code == 3
    assert PATIENCE <= server.now - 1000.0 <= PATIENCE + INTERVAL


def test_a_mistake_is_not_waited_for() -> None:
    server = Server(NOT_READY, UserError("no such database"))
    with pytest.raises(UserError):
        server.awaited()


def test_the_user_can_end_the_wait() -> None:
    server = Server(NOT_READY)
    with pytest.raises(KeyboardInterrupt):
        server.awaited(stop=lambda: server.now >= 1010.0)
