"""Runs one attempt in this process and on this terminal, for ``pilotune try``: without worker, driver and limits.

The objective finds the same files, working directory and environment variables as on a worker. Its output and its
input are the terminal's, so that ``breakpoint()`` works, in a Python objective as in a command.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import subprocess
import sys
import threading
import time
from bdb import BdbQuit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..trial.api import Trial
from ..trial.files import TrialFiles
from ..trial.link import DriverConnection
from ..trial.protocol import AttemptSpec
from .command.process import POLL_INTERVAL, CommandProcess, prepare_arguments, surroundings
from .objective.ending import Ending, crash
from .objective.execute import change, environment, execute
from .process.messages import Reported
from .ranks.environment import LOOPBACK, MeetingPort, rank_environment

PUMP_WAIT = 5.0
"""Seconds that a command's output is read on after its end: a process that it left behind may keep the pipe open."""


@dataclass(frozen=True)
class ForegroundFiles(TrialFiles):
    """A trial's files, with the checkpoint folder in a place of its own.

    Attributes:
        checkpoints: The checkpoint folder.
        kept: The folder of its artifacts; None: in the trial's folder.
    """

    checkpoints: Path
    kept: Path | None = None

    def checkpoint_of(self, attempt: int) -> Path:
        return self.checkpoints

    def artifacts(self, attempt: int) -> Path:
        return self.kept or super().artifacts(attempt)


def run_in_foreground(
    spec: AttemptSpec,
    files: ForegroundFiles,
    connection: DriverConnection,
    on_error: Callable[[BaseException], None] | None = None,
) -> Ending:
    """Run the attempt and return how it ended. The working directory and the environment are restored afterwards.

    Args:
        spec: The attempt; its limits are not enforced.
        files: Where its files are; the folders are made.
        connection: Answers the objective, and hears a command's reports.
        on_error: Called with an exception of a Python objective before it becomes the ending, as for a debugger.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, or a debugger was quit.
        OSError: A folder or a file cannot be written.
    """
    files.create(spec.attempt)
    files.checkpoints.mkdir(mode=0o700, parents=True, exist_ok=True)
    if spec.objective.command:
        return _run_command(spec, files, connection)

    def noticed(error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt | BdbQuit):
            raise KeyboardInterrupt from error
        if on_error is not None:
            on_error(error)

    if not faulthandler.is_enabled() and sys.stderr is sys.__stderr__:
        faulthandler.enable()  # a crash in a library says where
    with MeetingPort() as port, _surroundings(spec, files, rank_environment(spec, LOOPBACK, port.number)):
        trial = Trial(spec, files.checkpoints, connection, files.artifacts(spec.attempt))
        return execute(spec, connection, trial=trial, on_error=noticed)


@contextlib.contextmanager
def _surroundings(spec: AttemptSpec, files: ForegroundFiles, ranks: dict[str, str | None]) -> Iterator[None]:
    """The attempt's working directory and variables; this process's own are restored afterwards.

    ``ranks``: the variables of its only rank, where it has ranks.
    """
    before, values = os.getcwd(), {**_environment(spec, files), **(ranks if spec.ranked else {})}
    saved = {name: os.environ.get(name) for name in values}
    os.chdir(files.work(spec.attempt))
    change(os.environ, values)
    try:
        yield
    finally:
        os.chdir(before)
        change(os.environ, saved)


def _environment(spec: AttemptSpec, files: ForegroundFiles) -> dict[str, str | None]:
    places = files.checkpoints, files.artifacts(spec.attempt)
    return {
        **environment(spec),
        **dict(zip(("PILOTUNE_CHECKPOINT_DIR", "PILOTUNE_ARTIFACTS"), map(str, places), strict=True)),
    }


# -- commands ---------------------------------------------------------------------------------------------------------


class ForegroundCommand(CommandProcess):
    """A command in this process's own group, so that Ctrl-C reaches it and it may read from the terminal.

    Where its reports are read from its stdout, that is copied to the terminal as it comes.
    """

    _pump: threading.Thread | None = None
    yields = False
    """It was asked to yield."""

    def _start(self, files: TrialFiles) -> subprocess.Popen[bytes]:
        assert isinstance(files, ForegroundFiles)
        spec, from_stdout = self.spec, self.spec.objective.reports != "file"
        values = surroundings(spec, files)
        change(values, _environment(spec, files))
        sys.stdout.flush()
        process = subprocess.Popen(
            prepare_arguments(spec, files),
            cwd=files.work(spec.attempt),
            env=values,
            stdout=subprocess.PIPE if from_stdout else None,
        )
        if process.stdout is not None:
            path = files.stdout(spec.attempt)
            path.write_bytes(b"")  # an earlier attempt in the same folder may have left one
            self._pump = threading.Thread(target=_copy, args=(process.stdout, path), daemon=True)
            self._pump.start()
        return process

    def _has_ended(self) -> bool:
        ended = super()._has_ended()
        if ended and self._pump is not None:
            self._pump.join(PUMP_WAIT)
        return ended

    def kill(self) -> None:
        """Nothing: the process has no group of its own."""

    def ask_to_yield(self) -> None:
        """Send SIGTERM to the process alone, once."""
        if self._process is not None and self.status is None and not self.yields:
            self.yields = True
            self._process.terminate()

    def end(self) -> None:
        """End it where it still runs: ask, wait as long as a campaign's grace, kill."""
        if self._process is None or self.status is not None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.wait(self.spec.limits.grace)
        if self._process.poll() is None:
            self._process.kill()
        self.status = self._process.wait()


def _copy(source: IO[bytes], path: Path) -> None:
    """Copy what a command prints into ``path`` and to the terminal, as it comes."""
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError, ValueError):
        while piece := os.read(source.fileno(), 2**16):
            file.write(piece)
            os.write(1, piece)


def _run_command(spec: AttemptSpec, files: ForegroundFiles, connection: DriverConnection) -> Ending:
    process = ForegroundCommand(spec, files)
    try:
        while True:
            ended = process.status is not None
            for message in process.receive():
                if isinstance(message, Reported) and connection.report(message.step, message.value):
                    process.ask_to_yield()
            if ended or process.status is not None:
                break
            time.sleep(POLL_INTERVAL)
    finally:
        process.end()  # Ctrl-C has reached it as well
        process.close()
    assert process.status is not None
    return process.ending(yielding=process.yields) or crash(process.status, memory_limit=None, stderr="")
