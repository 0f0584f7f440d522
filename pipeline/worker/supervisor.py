"""Watches one attempt from start to end: carries its messages, keeps its limits, judges how it ended."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from ..trial.files import TrialFiles
from ..trial.link import Stopping
from ..trial.protocol import (
    PATIENCE,
    REPORTS_AT_ONCE,
    AttemptSpec,
    Message,
    Report,
    Stop,
    StopHow,
    Suggest,
    Suggested,
    Verdict,
)
from .node.block import YieldTimer
from .node.channel import Channel
from .node.fencing import FenceWatch, taken_over
from .node.output_files import cut, over
from .objective.ending import Ending, crash, tail
from .process.base import Process

LOOK = 0.5
"""Seconds between two looks at the clock and the output files."""

IMPORT_LIMIT = 900.0
"""Seconds that importing the objective may take on a busy parallel file system; the trial's timeout counts after it."""

GIVE_UP = 30.0
"""Seconds after SIGKILL; a process that is still there hangs in the kernel (a dead file system) and is left alone."""

Cause = Literal["", "timeout", "import", "output", "kill", "prune", "terminated", "fence"]


class Supervisor:
    """Runs the loop for one process. ``terminated`` says whether the worker itself was sent SIGTERM."""

    def __init__(
        self,
        spec: AttemptSpec,
        files: TrialFiles,
        channel: Channel,
        process: Process,
        yield_timer: YieldTimer,
        terminated: Callable[[], bool],
    ) -> None:
        self.spec, self.channel, self.process, self.terminated = spec, channel, process, terminated
        self.files, self.fence = files, FenceWatch(files, spec.attempt, channel)
        self.outputs = (files.stdout(spec.attempt), files.stderr(spec.attempt))
        self.reports: list[list[float]] = []
        self.params: dict[str, Any] = {}
        self.user_attrs: dict[str, Any] = {}
        self.end: Ending | None = None
        self.cause: Cause = ""
        self.yielding = ""  # who asked for it
        self._queue: deque[dict[str, Any]] = deque()  # requests that the driver was not asked yet
        self._asked: dict[str, Any] | None = None  # the last one of those that it was asked
        self._waiting_since: float | None = None  # the trial waits for the answer to its last request
        self._verdict: Stopping = ""  # the last one
        self._request = 0
        self._begun = time.monotonic()
        self._yield_timer = yield_timer
        self._running_since: float | None = None
        self._kill_at: float | None = None
        self._give_up_at: float | None = None
        self._yield_until: float | None = None
        self._looked = 0.0

    def run(self) -> Ending:
        """Until the process has ended and everything that it said is read. Its output files are within their limit."""
        try:
            while self.process.status is None and not self._past(self._give_up_at):
                self.channel.wait(self.process.descriptors(), min(LOOK, self.process.interval))
                self._listen()
            self._listen()
        finally:
            self.process.close()
        return self._judge()

    def _listen(self) -> None:
        for reply in self.channel.receive():
            self._from_driver(reply)
        for message in self.process.pump():
            self._from_trial(message)
        self._ask_next()
        self._keep_limits()

    # -- messages ---------------------------------------------------------------------------------------------------

    def _from_trial(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "report":
            self.reports.append([message["step"], message["value"]])
            self._yield_timer.on_report()
            behind = self._asked is not None
            self._queue.append(message)
            self._waiting_since = time.monotonic() - PATIENCE if behind else time.monotonic()
        elif kind == "suggest":
            self._queue.append(message)
            self._waiting_since = time.monotonic()
        elif kind == "attr":
            self.user_attrs[message["key"]] = message["value"]
        elif kind == "end":
            self.end = Ending.from_dict(message)
            self._kill_at = time.monotonic() + self.spec.limits.grace  # it has no more to do than to leave

    def _ask_next(self) -> None:
        """Pass on what the trial asked meanwhile: one request at a time, and all reports in a row as one."""
        if self._asked is None and self._queue and self.process.status is None:
            self._asked = self._queue.popleft()
            self._request += 1
            if self.channel.gone():
                self._answered("yield")
            elif self._asked["type"] == "report":
                self.channel.ask(Report.of(self.spec.token, self._request, self._row_of_reports(self._asked)))
            else:
                name, distribution = self._asked["name"], self._asked["distribution"]
                self.channel.ask(Suggest(self.spec.token, self._request, name, distribution))
        self._let_go_on()

    def _row_of_reports(self, first: dict[str, Any]) -> list[tuple[int, float]]:
        row = [first]
        while self._queue and self._queue[0]["type"] == "report" and len(row) < REPORTS_AT_ONCE:
            row.append(self._queue.popleft())
        self._asked = row[-1]
        return [(report["step"], report["value"]) for report in row]

    def _let_go_on(self) -> None:
        """A trial that has reported does not wait for a slow driver, nor for one that has told it to end."""
        last = self._queue[-1] if self._queue else self._asked
        if self._waiting_since is None or last is None or last["type"] != "report":
            return
        if self._verdict or self._past(self._waiting_since + PATIENCE):
            self._answer({"stop": self._verdict})

    def _from_driver(self, reply: Message) -> None:
        if isinstance(reply, Stop):
            self._told(reply.how)
        elif isinstance(reply, Suggested):
            if self._asked is not None and not reply.error:
                self.params[self._asked["name"]] = reply.value
            self._asked = None
            self._answer({"value": reply.value, "error": reply.error})
        elif isinstance(reply, Verdict):
            if reply.stop == "prune" and not self.process.patient:
                self._stop("prune")
            elif reply.stop == "yield" and self.process.patient and self._waiting_since is not None:
                self.yielding = self.yielding or "the driver"  # the answer tells it
            elif reply.stop in ("yield", "kill"):
                self._told(reply.stop)
            self._answered(reply.stop)
            self._ask_next()

    def _told(self, how: StopHow) -> None:
        if how == "kill":
            self._stop("kill")
        else:
            self._yield("the driver")

    def _answered(self, stop: Stopping) -> None:
        """There is a verdict on what the driver was asked last. One to prune is for a report that the trial makes."""
        self._asked = None
        self._verdict = stop or self._verdict
        if not self._queue or (stop and (stop != "prune" or self._queue[-1]["type"] == "report")):
            self._answer({"stop": stop})

    def _answer(self, reply: dict[str, Any]) -> None:
        """Answer the trial's last request, if it still waits."""
        if self._waiting_since is not None:
            self._waiting_since = None
            self.process.answer(reply)

    # -- limits -----------------------------------------------------------------------------------------------------

    def _keep_limits(self) -> None:
        now = time.monotonic()
        if self.process.running and self._running_since is None:
            self._running_since = now
            self._yield_timer.start()
        if self._yield_timer.due():
            self._yield("the worker, since its block ends soon")
        if self.terminated():
            self._yield("the worker, which is being ended")
            self._yield_until = self._yield_until or now + self.spec.limits.grace
        if self._past(self._yield_until):
            self._stop("terminated")
        if self.channel.gone():
            self._yield("the worker, since the driver is gone")
            self._asked = None
            self._answer({"stop": "yield"})
        if self.fence.closed() and self.cause != "fence" and self.process.status is None:
            self.cause, self._kill_at = "fence", now
        timeout = self.spec.limits.timeout
        if self._running_since is None:
            if now >= self._begun + IMPORT_LIMIT:
                self._stop("import")
        elif timeout is not None and now >= self._running_since + timeout and self.end is None:
            self._stop("timeout")
        if now >= self._looked + LOOK:
            self._looked = now
            if over(self.outputs, self.spec.limits.max_output):
                self._stop("output")
        if self._past(self._kill_at):
            self._kill_at = None
            self._give_up_at = self._give_up_at or now + GIVE_UP
            self.process.kill()

    def _past(self, deadline: float | None) -> bool:
        return deadline is not None and time.monotonic() >= deadline

    def _yield(self, who: str) -> None:
        if not self.yielding:
            self.yielding = who
            self.process.ask_to_yield()

    def _stop(self, cause: Cause) -> None:
        """SIGTERM now, SIGKILL after the grace. The first cause is the one that is told."""
        if self.cause or self.process.status is not None:
            return
        self.cause = cause
        grace = self.spec.limits.grace if self.process.running else 0.0
        self._kill_at = time.monotonic() + (min(grace, 1.0) if cause == "output" else grace)  # a disk fills fast
        self.process.terminate()

    # -- the end ----------------------------------------------------------------------------------------------------

    def _judge(self) -> Ending:
        too_long = over(self.outputs, self.spec.limits.max_output)
        for path in self.outputs:
            if too_long and over((path,), self.spec.limits.max_output):
                cut(path, self.spec.limits.max_output)
        if too_long:
            reason = (
                f"it wrote more than {self.spec.limits.max_output} bytes to {too_long.name}; its middle was cut out"
            )
            return Ending("failed", failure="output", reason=reason)
        ending = self.end or self._stopped() or self.process.ending(yielding=bool(self.yielding)) or self._crashed()
        # One that another attempt has ended, or taken the checkpoint from, has not failed by itself.
        taken = taken_over(self.files, self.spec.attempt) if ending.kind == "failed" else ""
        return Ending("stopped", reason=taken) if taken else ending

    def _stopped(self) -> Ending | None:
        """For a process that the worker ended."""
        limits, last = self.spec.limits, tail(self.outputs[1])
        if self.cause == "kill":
            return Ending("stopped", reason="stopped by the driver")
        if self.cause == "fence":
            return Ending("stopped", reason=self.fence.reason)
        if self.cause == "prune":
            return Ending("pruned", reason=f"pruned at step {self.reports[-1][0]}" if self.reports else "pruned")
        if self.cause == "terminated":
            return Ending("yielded", reason="its worker was ended")
        if self.cause == "timeout":
            reason = f"it ran longer than its timeout of {limits.timeout:g} s"
            return Ending("failed", failure="timeout", reason=reason, traceback=last)
        if self.cause == "import":
            reason = f"importing the objective took longer than {IMPORT_LIMIT:g} s"
            return Ending("failed", failure="timeout", reason=reason)
        return None

    def _crashed(self) -> Ending:
        status = self.process.status
        if status is None:
            reason = "its process does not end, even by SIGKILL; it hangs in the kernel"
            return Ending("failed", failure="lost", reason=reason)
        if status == -signal.SIGTERM and self.yielding:
            return Ending("yielded", reason=f"asked to yield by {self.yielding}")
        return crash(status, memory_limit=self.spec.limits.memory, stderr=tail(self.outputs[1]))
