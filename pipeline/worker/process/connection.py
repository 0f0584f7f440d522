"""The trial's connection to its worker, in the process that runs the objective."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, NoReturn

from ...trial.exceptions import TrialYield
from ...trial.link import Stopping
from ...trial.protocol import Message
from ...trial.report_log import ReportWriter
from ..dialogue import Answer, ValueAnswer, VerdictAnswer
from .messages import (
    AttrSet,
    MessageStream,
    ParamRequested,
    Reported,
    StudyAsked,
    Terminate,
    YieldRequest,
    YieldWanted,
)


class ChildConnection:
    """The trial's connection to its worker (see :class:`.link.DriverConnection`). Used by any thread of the objective.

    Questions from several threads wait for each other, since the worker answers one at a time.

    Args:
        stream: To the worker.
        log: Where reports are written before the worker gets them; None for a rank whose reports do not count.
    """

    bound_to_process = True
    alone = False

    def __init__(self, stream: MessageStream, log: ReportWriter | None) -> None:
        self.stream, self.log = stream, log
        self._lock = threading.Lock()
        self._yield = False

    def report(self, step: int, value: float) -> Stopping:
        if self.log is not None:
            self.log.append(step, value)
        answer = self._ask(Reported(step, value))
        if answer.error:
            raise ValueError(answer.error)
        return answer.stop if isinstance(answer, VerdictAnswer) else ""

    def suggest(self, name: str, distribution: str) -> Any:
        return self._value(ParamRequested(name, distribution))

    def ask(self, what: str, arguments: dict[str, Any]) -> Any:
        return self._value(StudyAsked(what, arguments))

    def _value(self, question: Message) -> Any:
        answer = self._ask(question)
        if answer.error:
            raise ValueError(answer.error)
        if not isinstance(answer, ValueAnswer):
            raise TrialYield("asked to yield")
        return answer.value

    def set_attr(self, key: str, value: Any, *, system: bool = False) -> None:
        self.stream.send(AttrSet(key, value, system))

    def yield_asked(self) -> bool:
        # Another thread that waits for an answer also receives the request to yield.
        if self._lock.acquire(blocking=False):
            try:
                self.handle(self.stream.receive())
            finally:
                self._lock.release()
        return self._yield

    def on_sigterm(self, *_: Any) -> None:
        """The worker's own SIGTERM ends the process; the scheduler's, at the end of the block, asks to yield."""
        if any(isinstance(message, Terminate) for message in self.stream.peek()):
            die()
        self._yield = True

    def _ask(self, question: Message) -> Answer:
        with self._lock:
            self.stream.send(question)
            while True:
                messages = self.stream.wait()
                if not messages:
                    die()  # the worker is gone, so nobody can answer
                answers = self.handle(messages)
                if answers:
                    return answers[0]

    def handle(self, messages: list[Message]) -> list[Answer]:
        """Act on the worker's requests; the answers among the messages are returned."""
        answers: list[Answer] = []
        for message in messages:
            if isinstance(message, Terminate):
                die()
            elif isinstance(message, YieldRequest):
                self._yield = True
            elif isinstance(message, VerdictAnswer | ValueAnswer):
                answers.append(message)
        return answers


def die() -> NoReturn:
    """End as SIGTERM ends a process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(128 + signal.SIGTERM)


class RankConnection(ChildConnection):
    """The connection of one rank of several: it hears of a yield by the verdict on a report only, as all ranks do.

    Otherwise one rank would leave in the middle of a step, and the others would wait for it.
    """

    _signalled = False

    def report(self, step: int, value: float) -> Stopping:
        if self._signalled:
            self._signalled = False
            self.stream.send(YieldWanted())
        return super().report(step, value)

    def yield_asked(self) -> bool:
        return False

    def on_sigterm(self, *_: Any) -> None:
        """The worker's own SIGTERM ends the process; for any other, all ranks are asked to yield."""
        if any(isinstance(message, Terminate) for message in self.stream.peek()):
            die()
        self._signalled = True
