"""Supervises one attempt from start to end: carries its messages, enforces its limits, decides how it ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ..trial.files import TrialFiles
from ..trial.protocol import AttemptSpec, Message
from ..trial.report_log import ReportWriter
from .dialogue import Dialogue, VerdictAnswer
from .node.block import YieldTimer
from .node.channel import Channel, exchange
from .node.fencing import FenceWatch, taken_over
from .node.memory import MemoryWatch
from .node.output_files import cut, first_over
from .objective.ending import Ending, crash, tail
from .process.base import Process
from .process.messages import AttrSet, Garbled, ObjectiveEnded, ParamRequested, Reported, StudyAsked

POLL_INTERVAL = 0.5
"""Longest time in seconds between two checks of the limits and of the output files' sizes."""

IMPORT_LIMIT = 900.0
"""Seconds that importing the objective may take on a busy parallel file system; the trial's timeout counts after it."""

KILL_WAIT = 30.0
"""Seconds to wait after SIGKILL. A process that is still there hangs in the kernel (a dead file system) and is left."""

OUTPUT_GRACE = 1.0
"""Longest grace in seconds for a trial that writes too much: at full speed it would fill a disk in the usual grace."""

TERMINATED_WAIT = 1.0
"""Longest time in seconds between a scheduler's signal to the trial's process and the one to this worker."""

ENDED_WORKER = "the worker, which is being ended"

STOPPED_FOR = 5.0
"""Seconds between two turns from which on this process was stopped with its job meanwhile: the scheduler has suspended
it. The trial's clock stands still for that time."""

Cause = Literal["", "timeout", "import", "output", "kill", "prune", "terminated", "fence", "refused"]
"""Why the supervisor ended the process. terminated: the worker was sent SIGTERM; fence: a later attempt runs; refused:
the driver could not handle its reports."""


class Supervisor:
    """Runs one attempt's process until it has ended.

    Each turn of its loop waits for the driver or the process, passes messages on by the rules of :class:`.Dialogue`,
    and checks the limits. The first cause to end the process is the one that the outcome names.

    Args:
        spec: The attempt.
        files: The trial's files.
        channel: To the driver.
        process: Already started.
        yield_timer: When the attempt must yield because its block ends.
        terminated: Whether the worker itself was sent SIGTERM.
        carried: Reports of earlier attempts that the driver did not hear.

    Attributes:
        dialogue: The conversation with the driver; holds the reports, the suggested parameters and the attributes.
        cause: Why the supervisor ended the process; empty while it has not.
        yielding: Who asked the attempt to yield, for the outcome's reason; empty while nobody has.
        suspended: Seconds for which this process and its trial were stopped with their job.
    """

    def __init__(
        self,
        spec: AttemptSpec,
        files: TrialFiles,
        channel: Channel,
        process: Process,
        yield_timer: YieldTimer,
        terminated: Callable[[], bool],
        carried: Sequence[Sequence[float]] = (),
    ) -> None:
        self.spec, self.files, self.channel, self.process = spec, files, channel, process
        self.dialogue = Dialogue(spec.token, carried)
        self.log = ReportWriter(files, spec.attempt)  # of a command; a Python objective's own process writes it
        self.fence = FenceWatch(files, spec.attempt, channel)
        self._own_outputs = files.stdout(spec.attempt), files.stderr(spec.attempt)
        self.ended: Ending | None = None  # what the process itself said
        self.cause: Cause = ""
        self.yielding = ""
        self.suspended = 0.0
        self._terminated, self._yield_timer = terminated, yield_timer
        self._started = time.monotonic()
        self._running_since: float | None = None  # since then the objective's own code runs
        self._kill_at: float | None = None  # SIGKILL
        self._abandon_at: float | None = None  # no more waiting for the end
        self._yield_until: float | None = None  # SIGTERM, where the worker itself is being ended
        self._outputs_checked = 0.0
        self._memory = MemoryWatch()
        self._last_turn = self._started

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files that the trial prints to: stdout, stderr, and those of further ranks once they are known."""
        return (*self._own_outputs, *self.process.more_outputs)

    @property
    def peak_memory(self) -> int | None:
        """Peak memory of the attempt on a node, in bytes; None where that is not known. To be asked at its end."""
        known = 0 if self._memory.elsewhere else self.process.peak_memory
        return max(known, self._memory.peak) if known else None

    def run(self) -> Ending:
        """Wait for the process's end and say how it ended. Its output files are cut to their limit."""
        try:
            self._converse()
            while self.process.status is None and not self._past(self._abandon_at):
                self.channel.wait(self.process.descriptors(), self._timeout())
                self._turn()
            self._turn()
            self._await_terminated()
        finally:
            self.process.close()
            self.log.close()
        return self._judge()

    def _await_terminated(self) -> None:
        """If SIGTERM has killed the process, wait a moment for this worker's own: some schedulers send it to both."""
        if self.cause or self.yielding or self.process.status not in (-signal.SIGTERM, 128 + signal.SIGTERM):
            return
        until = time.monotonic() + TERMINATED_WAIT
        while not self._terminated() and time.monotonic() < until:
            time.sleep(0.02)
        if self._terminated():
            self.yielding = ENDED_WORKER

    def _timeout(self) -> float:
        timeout = min(POLL_INTERVAL, self.process.poll_interval)
        deadline = self.dialogue.deadline()
        return timeout if deadline is None else max(0.0, min(timeout, deadline - time.monotonic()))

    def _turn(self) -> None:
        self._converse()
        messages = self.process.receive()
        for message in messages:
            self._on_trial_message(message)
        if self.process.status is None and not all(isinstance(message, ObjectiveEnded) for message in messages):
            self._converse()
        self._check_limits()

    # -- messages -----------------------------------------------------------------------------------------------------

    def _on_trial_message(self, message: Message) -> None:
        if isinstance(message, Reported):
            self._yield_timer.on_report()
            waits = self.process.takes_answers
            if not waits:
                self.log.append(message.step, message.value)
            self.dialogue.report(message.step, message.value, time.monotonic(), waits=waits)
        elif isinstance(message, ParamRequested):
            self.dialogue.suggest(message.name, message.distribution)
        elif isinstance(message, StudyAsked):
            self.dialogue.ask(message.what, message.arguments)
        elif isinstance(message, AttrSet):
            self.dialogue.attributes.set(message.key, message.value, time.monotonic(), system=message.system)
        elif isinstance(message, ObjectiveEnded):
            self.ended = message.ending
            self._kill_at = time.monotonic() + self.spec.limits.grace  # it has only to exit
        elif isinstance(message, Garbled) and self.process.takes_answers:
            self.process.answer(VerdictAnswer(error=f"the worker could not handle what the trial sent: {message.why}"))

    def _converse(self) -> None:
        """Exchange messages with the driver, follow its orders, and answer the trial where an answer is ready."""
        now = time.monotonic()
        exchange(self.channel, self.dialogue, now, send=self.process.status is None)
        if self.dialogue.order == "kill":
            self._stop("kill")
        elif self.dialogue.order == "yield":
            self._yield("the driver")
        if self.dialogue.verdict == "prune" and not self.process.takes_answers:
            self._stop("prune")
        if self.dialogue.error and not self.process.takes_answers:
            self._stop("refused")
        answer = self.dialogue.take_answer(now)
        if answer is not None:
            self.process.answer(answer)

    # -- limits -------------------------------------------------------------------------------------------------------

    def _leave_out_stop(self, now: float) -> None:
        """Move all deadlines by the time for which this process and its trial were stopped."""
        gap, self._last_turn = now - self._last_turn, now
        if gap < STOPPED_FOR:
            return
        self.suspended += gap
        self._started += gap
        for name in ("_running_since", "_kill_at", "_abandon_at", "_yield_until"):
            moment: float | None = getattr(self, name)
            if moment is not None:
                setattr(self, name, moment + gap)

    def _check_limits(self) -> None:
        now = time.monotonic()
        self._leave_out_stop(now)
        if self.process.running and self._running_since is None:
            self._running_since = now
            self._yield_timer.start()
        self._check_reasons_to_yield(now)
        if self.fence.closed() and self.cause != "fence" and self.process.status is None:
            self.cause, self._kill_at = "fence", now
        timeout = self.spec.limits.timeout
        if self._running_since is None:
            if now >= self._started + IMPORT_LIMIT:
                self._stop("import")
        elif timeout is not None and now >= self._running_since + timeout and self.ended is None:
            self._stop("timeout")
        if now >= self._outputs_checked + POLL_INTERVAL:
            self._outputs_checked = now
            if first_over(self.outputs, self.spec.limits.max_output):
                self._stop("output")
            if self.process.status is None:
                self._memory.look(self.process.pids)
        if self._past(self._kill_at):
            self._kill_at = None
            self._abandon_at = self._abandon_at or now + KILL_WAIT
            self.process.kill()

    def _check_reasons_to_yield(self, now: float) -> None:
        if self._yield_timer.due():
            self._yield("the worker, since its block ends soon")
        if self._terminated():
            self._yield(ENDED_WORKER)
            self._yield_until = self._yield_until or now + self.spec.limits.grace
        if self._past(self._yield_until):
            self._stop("terminated")
        if self.channel.gone():
            self._yield("the worker, since the driver is gone")

    def _past(self, deadline: float | None) -> bool:
        return deadline is not None and time.monotonic() >= deadline

    def _yield(self, who: str) -> None:
        if not self.yielding:
            self.yielding = who
            self.process.ask_to_yield()

    def _stop(self, cause: Cause) -> None:
        """SIGTERM now, SIGKILL after the grace; only for the first cause."""
        if self.cause or self.process.status is not None:
            return
        self.cause = cause
        grace = self.spec.limits.grace if self.process.running else 0.0
        self._kill_at = time.monotonic() + (min(grace, OUTPUT_GRACE) if cause == "output" else grace)
        self.process.terminate()

    # -- the end ------------------------------------------------------------------------------------------------------

    def _judge(self) -> Ending:
        limit = self.spec.limits.max_output
        too_long = first_over(self.outputs, limit)
        for path in self.outputs:
            if too_long and first_over((path,), limit):
                cut(path, limit)
        if too_long:
            reason = f"it wrote more than {limit} bytes to {too_long.name}; its middle was cut out"
            return Ending("failed", failure="output", reason=reason)
        ending = self.ended or self._stopped() or self.process.ending(yielding=bool(self.yielding)) or self._crashed()
        # An attempt whose checkpoint a later one has taken, or whose process that one has killed, is no failure.
        taken = taken_over(self.files, self.spec.attempt) if ending.kind == "failed" else ""
        return Ending("stopped", reason=taken) if taken else ending

    def _stopped(self) -> Ending | None:
        """How a process ended that the supervisor ended; None for others."""
        limits, last = self.spec.limits, tail(self.outputs[1])
        if self.cause == "kill":
            return Ending("stopped", reason="stopped by the driver")
        if self.cause == "fence":
            return Ending("stopped", reason=self.fence.reason)
        if self.cause == "prune":
            reports = self.dialogue.reports
            return Ending("pruned", reason=f"pruned at step {reports[-1][0]}" if reports else "pruned")
        if self.cause == "terminated":
            return Ending("yielded", reason="its worker was ended")
        if self.cause == "refused":
            return Ending("failed", failure="exception", reason=self.dialogue.error, traceback=last)
        if self.cause == "timeout":
            reason = f"it ran longer than its timeout of {limits.timeout:g} s"
            return Ending("failed", failure="timeout", reason=reason, traceback=last)
        if self.cause == "import":
            reason = f"importing the objective took longer than {IMPORT_LIMIT:g} s"
            return Ending("failed", failure="timeout", reason=reason)
        return None

    def _crashed(self) -> Ending:
        """How a process ended that said nothing of its end."""
        status = self.process.status
        if status is None:
            reason = "its process does not end, even by SIGKILL; it hangs in the kernel"
            return Ending("failed", failure="lost", reason=reason)
        if status == -signal.SIGTERM and self.yielding:
            return Ending("yielded", reason=f"asked to yield by {self.yielding}")
        return crash(status, memory_limit=self.spec.limits.memory, stderr=tail(self.outputs[1]))
