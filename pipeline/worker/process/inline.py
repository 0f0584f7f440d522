"""``isolate: false``: the objective runs in the worker itself. Fast, and without timeout, limits or a crash's mercy."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from ...trial.exceptions import TrialYield
from ...trial.files import TrialFiles
from ...trial.link import Stopping
from ...trial.protocol import PATIENCE, REPORTS_AT_ONCE, AttemptSpec, Message, Report, Stop, Suggest, Suggested, Verdict
from ..node.block import YieldTimer
from ..node.channel import Channel
from ..node.fencing import FenceWatch, note_process
from ..node.output_files import open_output
from ..objective.ending import Ending
from ..objective.execute import change, environment, execute


class InlineConnection:
    """The trial's way to the driver, straight over the worker's channel."""

    def __init__(
        self,
        spec: AttemptSpec,
        files: TrialFiles,
        channel: Channel,
        yield_timer: YieldTimer,
        terminated: Callable[[], bool],
    ) -> None:
        self.token, self.channel, self.terminated = spec.token, channel, terminated
        self.fence = FenceWatch(files, spec.attempt, channel)
        self.reports: list[list[float]] = []
        self.params: dict[str, Any] = {}
        self.user_attrs: dict[str, Any] = {}
        self.killed = False
        self._yield = False
        self._request = 0
        self._unsent: list[tuple[int, float]] = []  # reports
        self._open = False  # reports were sent, and not answered yet
        self._verdict: Stopping = ""  # what an answer said that told it to end
        self._yield_timer = yield_timer

    def report(self, step: int, value: float) -> Stopping:
        self.reports.append([step, value])
        self._yield_timer.on_report()
        self._unsent.append((step, value))
        self._take()
        patience = 0.0 if self._open else PATIENCE  # the driver has not even answered the last one
        answered = self._wait_for_verdicts(patience)
        return self._verdict if answered else "yield"

    def suggest(self, name: str, distribution: str) -> Any:
        self._wait_for_verdicts(math.inf)
        reply = self._ask(Suggest(self.token, self._next_request(), name, distribution))
        if not isinstance(reply, Suggested):
            raise TrialYield("asked to yield")
        if reply.error:
            raise ValueError(reply.error)
        self.params[name] = reply.value
        return reply.value

    def set_attr(self, key: str, value: Any) -> None:
        self.user_attrs[key] = value

    def yield_asked(self) -> bool:
        self._take()
        self._send()
        self._look_at_fence()
        return self._yield or self.terminated() or self.channel.gone() or self._yield_timer.due()

    def _next_request(self) -> int:
        self._request += 1
        return self._request

    def _wait_for_verdicts(self, patience: float) -> bool:
        """Send what was reported, and wait so many seconds for the driver's verdict on all of it.

        False where there is nobody to give one, or the attempt was stopped meanwhile.
        """
        until = time.monotonic() + patience
        while (self._open or self._unsent) and not self._verdict:
            self._send()
            self._take()
            if self._over():
                return self._verdict != ""
            left = until - time.monotonic()
            if self._open and left <= 0.0:
                return True
            if self._open:
                self.channel.wait([], min(0.5, left))
                self._look_at_fence()
        return True

    def _send(self) -> None:
        """Send what was reported meanwhile, unless the driver still owes an answer."""
        if self._unsent and not self._open and not self._verdict:
            row, self._unsent = self._unsent[:REPORTS_AT_ONCE], self._unsent[REPORTS_AT_ONCE:]
            self.channel.ask(Report.of(self.token, self._next_request(), row))
            self._open = True

    def _ask(self, request: Suggest) -> Message | None:
        """The answer; None when there is nobody to give one, or the attempt was stopped meanwhile."""
        self.channel.ask(request)
        while True:
            answer = self._take()
            if answer is not None or self._over():
                return answer
            self.channel.wait([], 0.5)
            self._look_at_fence()

    def _over(self) -> bool:
        return self.killed or self.terminated() or self.channel.gone()

    def _look_at_fence(self) -> None:
        if self.fence.closed():
            self._yield = self.killed = True

    def _take(self) -> Message | None:
        """Act on what the driver said; an answer to a suggestion is returned."""
        answer = None
        for message in self.channel.receive():
            if isinstance(message, Stop):
                self._yield = True
                self.killed = self.killed or message.how == "kill"
            elif isinstance(message, Verdict):
                self._open = False
                self._verdict = message.stop or self._verdict
                self._yield = self._yield or message.stop in ("yield", "kill")
                self.killed = self.killed or message.stop == "kill"
            else:
                answer = message
        return answer


def run_inline(spec: AttemptSpec, files: TrialFiles, link: InlineConnection) -> Ending:
    """Run the objective here; printed output goes to the attempt's files, the working directory is the attempt's."""
    taken = note_process(files, spec.attempt)
    if taken:
        return Ending("stopped", reason=taken)
    with _surroundings(spec, files):
        ending = execute(spec, link)
    return Ending("stopped", reason=link.fence.reason or "stopped by the driver") if link.killed else ending


@contextlib.contextmanager
def _surroundings(spec: AttemptSpec, files: TrialFiles) -> Iterator[None]:
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
            os.sched_setaffinity(0, cores)  # an OpenMP library that the objective loaded may have taken one of them
