"""A trial's own process, from the fork on: set up, run the objective, say how it ended, leave."""

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
from ...trial.protocol import AttemptSpec
from ..node.fencing import note_process
from ..node.jsonlines import Lines
from ..node.output_files import open_output
from ..node.posix import PR_SET_PDEATHSIG, process_control
from ..objective.ending import Ending, first_line
from ..objective.execute import change, execute

MEMORY_RESERVE = 64 * 2**20
"""Bytes that are given back above the limit when it was met, so that the end can be told."""


class ChildConnection:
    """The trial's way to its worker. Requests from several threads wait for each other."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self._lock = threading.Lock()
        self._yield = False

    def report(self, step: int, value: float) -> Stopping:
        stop: Stopping = self._ask({"type": "report", "step": step, "value": value}).get("stop", "")
        return stop

    def suggest(self, name: str, distribution: str) -> Any:
        reply = self._ask({"type": "suggest", "name": name, "distribution": distribution})
        if reply.get("stop"):
            raise TrialYield("asked to yield")
        if reply.get("error"):
            raise ValueError(reply["error"])
        return reply.get("value")

    def set_attr(self, key: str, value: Any) -> None:
        self.lines.send({"type": "attr", "key": key, "value": value})

    def yield_asked(self) -> bool:
        # Another thread that waits for an answer takes the request to yield with it.
        if self._lock.acquire(blocking=False):
            try:
                self.take(self.lines.here())
            finally:
                self._lock.release()
        return self._yield

    def on_sigterm(self, *_: Any) -> None:
        """A signal of the worker's ends the process; one of the scheduler's, at the end of the block, asks to yield."""
        if b'"die"' in self.lines.peek():
            die()
        self._yield = True

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.lines.send(request)
            while True:
                messages = self.lines.wait()
                if not messages:
                    die()  # the worker is gone, and with it everybody who could answer
                answers = self.take(messages)
                if answers:
                    return answers[0]

    def take(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Act on what came unasked; the rest are answers."""
        answers = []
        for message in messages:
            if "die" in message:
                die()
            elif "yield" in message:
                self._yield = True
            else:
                answers.append(message)
        return answers


def die() -> NoReturn:
    """End as SIGTERM ends a process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(128 + signal.SIGTERM)


def run_child(descriptor: int, parent: int) -> NoReturn:
    """What a forked process does: the worker's end of the socket ``descriptor`` first sends the attempt's spec."""
    code = 70
    try:
        _own_process(parent)
        lines = Lines(socket.socket(fileno=descriptor))
        (first, *rest) = lines.wait() or [{}]
        if "spec" in first:
            link = ChildConnection(lines)
            link.take(rest)
            # An OpenMP library that the fork server has loaded may have bound its only thread to one core.
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, first["cores"])
            change(os.environ, first["environment"])
            _run(AttemptSpec.from_dict(first["spec"]), link)
            code = 0
    finally:
        os._exit(code)


def _own_process(parent: int) -> None:
    """A session of its own, that dies with its parent and has the usual signal handlers."""
    os.setsid()
    process_control(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(70)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()  # what the fork server's imports registered is the fork server's


def _run(spec: AttemptSpec, link: ChildConnection) -> None:
    lines = link.lines
    taken = note_process(TrialFiles(Path(spec.directory)), spec.attempt)
    if taken:
        lines.send({"type": "end", **Ending("stopped", reason=taken).to_dict()})
        return
    try:
        _surroundings(spec)
        signal.signal(signal.SIGTERM, link.on_sigterm)
        _limit_memory(spec.limits.memory)
    except (OSError, ValueError) as error:
        reason = f"the trial's process could not be set up: {first_line(error)}"
        lines.send({"type": "end", **Ending("failed", failure="setup", reason=reason).to_dict()})
        return
    ending = execute(spec, link)
    _limit_memory(None)
    lines.send({"type": "end", **ending.to_dict()})
    if ending.traceback:
        print(ending.traceback, file=sys.stderr)
    _leave()


def _surroundings(spec: AttemptSpec) -> None:
    """Output files and working directory."""
    files = TrialFiles(Path(spec.directory))
    for target, path in ((1, files.stdout(spec.attempt)), (2, files.stderr(spec.attempt))):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, target)
        os.close(opened)
    for stream in (sys.stdout, sys.stderr):  # whoever holds them already goes on with them
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # what was printed survives a crash
    sys.stdout, sys.stderr = open_output(1, keep=True), open_output(2, keep=True)
    faulthandler.enable(file=2)
    os.chdir(files.work(spec.attempt))


def _limit_memory(limit: int | None) -> None:
    """Limit the process's data (heap and private mappings) to ``limit`` bytes; None gives the reserve back."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if limit is None:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
        return
    ceiling = limit + MEMORY_RESERVE if hard == resource.RLIM_INFINITY else min(hard, limit + MEMORY_RESERVE)
    resource.setrlimit(resource.RLIMIT_DATA, (min(limit, ceiling), ceiling))


def _leave() -> None:
    """What the interpreter does before it ends, without its slow teardown; the worker kills what hangs here."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._exit_function()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
