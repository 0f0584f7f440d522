"""Runs an objective in the worker itself (``isolate: false``): faster, but without a timeout or limits.

A crash of the objective also kills the worker.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...trial.exceptions import TrialYield
from ...trial.files import TrialFiles
from ...trial.link import Stopping
from ...trial.protocol import AttemptSpec
from ...trial.report_log import ReportWriter
from ..dialogue import Answer, Dialogue, ValueAnswer, VerdictAnswer
from ..node.block import YieldTimer
from ..node.channel import Channel, exchange
from ..node.fencing import FenceWatch, ProcessNote
from ..node.output_files import open_output
from ..objective.ending import Ending
from ..objective.execute import change, environment, execute

POLL_INTERVAL = 0.5
"""Longest time in seconds between two checks, while the trial waits, whether the attempt must end."""


class InlineConnection:
    """The trial's connection to the driver, straight over the worker's channel (see :class:`.link.DriverConnection`).

    Questions from several threads of the objective wait for each other.

    Args:
        spec: The attempt.
        files: The trial's files.
        channel: To the driver.
        yield_timer: When the attempt must yield because its block ends.
        terminated: Whether the worker was sent SIGTERM.
        carried: Reports of earlier attempts that the driver did not hear.

    Attributes:
        dialogue: The conversation with the driver; holds the reports, the suggested parameters and the attributes.
    """

    bound_to_process = True
    alone = False

    def __init__(
        self,
        spec: AttemptSpec,
        files: TrialFiles,
        channel: Channel,
        yield_timer: YieldTimer,
        terminated: Callable[[], bool],
        carried: Sequence[Sequence[float]] = (),
    ) -> None:
        self.channel, self.dialogue = channel, Dialogue(spec.token, carried)
        self.log = ReportWriter(files, spec.attempt)
        self.fence = FenceWatch(files, spec.attempt, channel)
        self._yield_timer, self._terminated = yield_timer, terminated
        self._lock = threading.RLock()  # a signal handler of the objective may report, too

    @property
    def killed(self) -> bool:
        """The driver has ordered to end the attempt, or a later attempt runs: nothing that it returns counts."""
        return self.dialogue.order == "kill" or bool(self.fence.reason)

    def report(self, step: int, value: float) -> Stopping:
        with self._lock:
            self._yield_timer.on_report()
            self.log.append(step, value)
            self.dialogue.report(step, value, time.monotonic())
            answer = self._wait()
        if answer is None:
            return self.dialogue.verdict
        if answer.error:
            raise ValueError(answer.error)
        return answer.stop if isinstance(answer, VerdictAnswer) else "yield"

    def suggest(self, name: str, distribution: str) -> Any:
        return self._value(lambda: self.dialogue.suggest(name, distribution))

    def ask(self, what: str, arguments: dict[str, Any]) -> Any:
        return self._value(lambda: self.dialogue.ask(what, arguments))

    def _value(self, ask: Callable[[], None]) -> Any:
        answer: Answer | None = None
        with self._lock:
            while answer is None:
                ask()
                answer = self._wait()
        if answer.error:
            raise ValueError(answer.error)
        if not isinstance(answer, ValueAnswer):
            raise TrialYield("asked to yield")
        return answer.value

    def set_attr(self, key: str, value: Any, *, system: bool = False) -> None:
        with self._lock:
            now = time.monotonic()
            self.dialogue.attributes.set(key, value, now, system=system)
            exchange(self.channel, self.dialogue, now)  # nobody else sends what was set before while it computes

    def yield_asked(self) -> bool:
        # Another thread that waits for an answer also receives what the driver orders.
        if self._lock.acquire(blocking=False):
            try:
                exchange(self.channel, self.dialogue, time.monotonic())
                self.fence.closed()
            finally:
                self._lock.release()
        ordered = self.dialogue.order is not None or bool(self.fence.reason)
        return ordered or self._terminated() or self.channel.gone() or self._yield_timer.due()

    def _wait(self) -> Answer | None:
        """The answer to the trial's question; a verdict to yield where the attempt must end before there is one.

        None where a signal handler asked a question meanwhile, which took the place of this one.
        """
        asked = self.dialogue.questions
        while asked == self.dialogue.questions:
            now = time.monotonic()
            exchange(self.channel, self.dialogue, now)
            answer = self.dialogue.take_answer(now)
            if answer is not None:
                return answer
            if self.fence.closed() or self.killed or self._terminated():
                self.dialogue.withdraw()
                return VerdictAnswer("yield")
            deadline = self.dialogue.deadline()
            left = POLL_INTERVAL if deadline is None else min(POLL_INTERVAL, max(0.0, deadline - now))
            self.channel.wait([], left)
        return None


def run_inline(spec: AttemptSpec, files: TrialFiles, connection: InlineConnection) -> Ending:
    """Run the objective in this process, with its output in the attempt's files and in the attempt's directory."""
    note = ProcessNote(files, spec.attempt)
    try:
        taken = note.write()
        if taken:
            return Ending("stopped", reason=taken)
        exchange(connection.channel, connection.dialogue, time.monotonic())  # what earlier attempts reported
        with _surroundings(spec, files), contextlib.closing(connection.log):
            ending = execute(spec, connection)
    finally:
        note.withdraw()
    if connection.killed:
        return Ending("stopped", reason=connection.fence.reason or "stopped by the driver")
    return ending


@contextlib.contextmanager
def _surroundings(spec: AttemptSpec, files: TrialFiles) -> Iterator[None]:
    """The attempt's output files, directory and variables; the worker's own are restored afterwards."""
    before, values, cores = os.getcwd(), environment(spec), os.sched_getaffinity(0)
    saved = {name: os.environ.get(name) for name in values}
    with contextlib.ExitStack() as stack:
        for path, redirect in (
            (files.stdout(spec.attempt), contextlib.redirect_stdout),
            (files.stderr(spec.attempt), contextlib.redirect_stderr),
        ):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            stack.enter_context(redirect(stack.enter_context(open_output(descriptor))))
        os.chdir(files.work(spec.attempt))
        change(os.environ, values)
        try:
            yield
        finally:
            os.chdir(before)
            change(os.environ, saved)
            # An OpenMP library that the objective loaded may have bound the process to one core.
            os.sched_setaffinity(0, cores)
