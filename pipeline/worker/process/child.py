"""What a forked trial process does: sets itself up, runs the objective, reports how it ended, and exits."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

from ...trial.exceptions import TrialYield
from ...trial.files import TrialFiles
from ...trial.link import Stopping
from ...trial.protocol import AttemptSpec, Message
from ...trial.report_log import ReportWriter
from ..dialogue import Answer, ValueAnswer, VerdictAnswer
from ..node.fencing import note_process
from ..node.output_files import open_output
from ..node.posix import PR_SET_PDEATHSIG, own_group, process_control
from ..objective.ending import Ending, first_line
from ..objective.execute import change, execute
from .messages import (
    AttrSet,
    Begin,
    MessageStream,
    ObjectiveEnded,
    ParamRequested,
    Reported,
    StudyAsked,
    Terminate,
    YieldRequest,
)

MEMORY_RESERVE = 64 * 2**20
"""Bytes by which the limit is raised after the objective has met it, so that the process can still report its end."""


class ChildConnection:
    """The trial's connection to its worker (see :class:`.link.DriverConnection`). Used by any thread of the objective.

    Questions from several threads wait for each other, since the worker answers one at a time.

    Args:
        stream: To the worker.
        log: Where reports are written before the worker gets them.
    """

    bound_to_process = True
    alone = False

    def __init__(self, stream: MessageStream, log: ReportWriter) -> None:
        self.stream, self.log = stream, log
        self._lock = threading.Lock()
        self._yield = False

    def report(self, step: int, value: float) -> Stopping:
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


def run_child(descriptor: int, parent: int) -> NoReturn:
    """Run one attempt in a process that was just forked, and exit.

    Args:
        descriptor: A socket to the worker, which has sent :class:`.Begin` first.
        parent: The fork server's pid.
    """
    code = 70  # EX_SOFTWARE of sysexits.h
    try:
        _own_process(parent)
        stream = MessageStream(socket.socket(fileno=descriptor))
        (first, *rest) = stream.wait() or [Message()]
        if isinstance(first, Begin):
            files = TrialFiles(Path(first.spec.directory))
            connection = ChildConnection(stream, ReportWriter(files, first.spec.attempt))
            connection.handle(rest)
            # An OpenMP library that the fork server has loaded may have bound its only thread to one core.
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, first.cores)
            change(os.environ, first.environment)
            _run(first.spec, connection)
            code = 0
    finally:
        os._exit(code)


def _own_process(parent: int) -> None:
    """Start a process group of its own that dies with its parent, and restore the default signal handlers."""
    own_group()
    process_control(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(70)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()  # handlers that the preloaded modules registered belong to the fork server


def _run(spec: AttemptSpec, connection: ChildConnection) -> None:
    stream = connection.stream
    taken = note_process(TrialFiles(Path(spec.directory)), spec.attempt)
    if taken:
        stream.send(ObjectiveEnded(Ending("stopped", reason=taken)))
        return
    try:
        _surroundings(spec)
        signal.signal(signal.SIGTERM, connection.on_sigterm)
        _limit_memory(spec.limits.memory)
    except (OSError, ValueError) as error:
        reason = f"the trial's process could not be set up: {first_line(error)}"
        stream.send(ObjectiveEnded(Ending("failed", failure="setup", reason=reason)))
        return
    ending = execute(spec, connection)
    _limit_memory(None)
    stream.send(ObjectiveEnded(ending))
    if ending.traceback:
        print(ending.traceback, file=sys.stderr)
    _leave()


def _surroundings(spec: AttemptSpec) -> None:
    """Redirect output to the attempt's files, and enter its working directory."""
    files = TrialFiles(Path(spec.directory))
    for target, path in ((1, files.stdout(spec.attempt)), (2, files.stderr(spec.attempt))):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, target)
        os.close(opened)
    for stream in (sys.stdout, sys.stderr):  # preloaded modules may hold the old ones
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # printed lines survive a crash
    sys.stdout, sys.stderr = open_output(1, keep=True), open_output(2, keep=True)
    faulthandler.enable(file=2)
    os.chdir(files.work(spec.attempt))


def _limit_memory(limit: int | None) -> None:
    """Limit the process's data (heap and private mappings) to ``limit`` bytes; None raises it by MEMORY_RESERVE."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if limit is None:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
        return
    ceiling = limit + MEMORY_RESERVE if hard == resource.RLIM_INFINITY else min(hard, limit + MEMORY_RESERVE)
    resource.setrlimit(resource.RLIMIT_DATA, (min(limit, ceiling), ceiling))


def _leave() -> None:
    """Run exit handlers and flush, without the interpreter's slow teardown; the worker kills one that hangs here."""
    # As at the end of the interpreter, and first: they end the process pools of concurrent.futures and joblib, whose
    # processes the next handler waits for.
    for handler in reversed(getattr(threading, "_threading_atexits", ())):
        handler()
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._exit_function()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
