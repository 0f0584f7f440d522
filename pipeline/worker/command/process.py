"""Runs a command as an objective: any program, in a process group of its own under the worker.

It gets its parameters in its arguments (template fields), in ``PILOTUNE_PARAM_<NAME>`` and in the JSON file
``PILOTUNE_PARAMS``. It writes JSON lines to the file ``PILOTUNE_REPORTS`` (:class:`.reports.ReportFile`), or prints
what the study file's regular expression matches. Exit status 0 is success; without a final value the last report is
the value.

A command is ended by SIGTERM, and by SIGKILL after the grace. One that is asked to yield also gets SIGTERM, but as much
time as it needs. It has yielded if it then exits with 0 or by that signal, and has written no final line.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

from ...trial.files import TrialFiles, write_atomically
from ...trial.protocol import AttemptSpec, Message
from ..dialogue import Answer
from ..node.block import launched, launcher
from ..node.fencing import ProcessNote, taken_over
from ..node.memory import peak_of
from ..node.posix import PR_SET_PDEATHSIG, in_job, process_control
from ..node.ranks import ask_ranks_to_yield, end_ranks
from ..objective.ending import Ending, tail
from ..objective.execute import change, environment
from ..objective.hints import program_hint
from ..objective.result import COMMAND, ValueProblem, read_result
from .reports import Reader, ReportFile, StdoutPattern
from .template import as_text, check_command, command_fields, fill, fill_arguments, variable

__all__ = ["CommandProcess", "check_command", "command_fields"]

POLL_INTERVAL = 0.1
"""Seconds between two reads of a command's reports."""


class CommandProcess:
    """A running command (see :class:`pilotune.pipeline.worker.process.base.Process`)."""

    takes_answers = False
    poll_interval = POLL_INTERVAL
    more_outputs: tuple[Path, ...] = ()
    peak_memory = 0

    def __init__(self, spec: AttemptSpec, files: TrialFiles) -> None:
        self.spec = spec
        self.running = True
        self.status: int | None = None
        self._failed: Ending | None = None
        self._reports = 0
        self._last: float | None = None
        self._several = launched(spec)
        self._stderr = files.stderr(spec.attempt)
        self._reader = reader(spec, files)
        self._pidfd: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = self._start(files)
        except ValueError as error:
            self._fail(str(error))
        except subprocess.SubprocessError:
            taken = taken_over(files, spec.attempt)
            if not taken:
                raise
            self._fail(taken)
        except OSError as error:
            program = "/bin/sh" if spec.objective.shell else error.filename
            hint = program_hint(str(program), spec.objective) if isinstance(error, FileNotFoundError) else ""
            self._fail(f"the command cannot be started: {program}: {error.strerror}{hint}")
        else:
            with contextlib.suppress(OSError, AttributeError):  # Linux before 5.3: its end is noticed by polling
                self._pidfd = os.pidfd_open(self._process.pid)

    def _start(self, files: TrialFiles) -> subprocess.Popen[bytes]:
        return start(self.spec, files)

    @property
    def pids(self) -> list[int]:
        return [] if self._process is None or self.status is not None else [self._process.pid]

    def descriptors(self) -> list[int]:
        return [] if self._pidfd is None else [self._pidfd]

    def receive(self) -> list[Message]:
        if self._process is not None and self.status is None and self._has_ended():
            self.kill()  # what it left behind, while its zombie keeps the group's number from being reused
            self._collect(self._process)
        reports = self._reader.read(last=self.status is not None)
        if reports:
            self._last = reports[-1].value
        if self._reader.problem and self.status is None:
            self.kill()
        return list(reports)

    def answer(self, answer: Answer) -> None:
        """Nothing: a command learns verdicts by signals only, which the supervisor sends."""

    def ask_to_yield(self) -> None:
        group = self._process.pid if self._process is not None and self.status is None and self._several else None
        if group is None or not ask_ranks_to_yield(group, launcher(self.spec)):
            self._signal(signal.SIGTERM)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        if self._several and self._process is not None and self.status is None:
            end_ranks(self._process.pid)
        self._signal(signal.SIGKILL)

    def ending(self, *, yielding: bool) -> Ending | None:
        if self._failed is not None:
            return self._failed
        if self._reader.problem:
            return Ending("failed", failure="value", reason=self._reader.problem)
        explicit = self.spec.objective.reports == "file" and self._reader.final is not None
        if (
            yielding
            and self.status in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
            and not (explicit and self.status == 0)
        ):
            return Ending("yielded", reason="the command was asked to yield")
        if self.status == 0:
            return self._value()
        if self.status is not None and self.status > 0:
            last = tail(self._stderr)
            reason = f"the command exited with {self.status}" + (f": {last.splitlines()[-1][:300]}" if last else "")
            return Ending("failed", failure="exit", reason=reason, traceback=last)
        return None

    def kept_pids(self) -> set[int]:
        return set()

    def close(self) -> None:
        if self._process is not None and self.status is None:
            self.kill()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _value(self) -> Ending:
        final = self._reader.final
        if final is None and self._last is None:
            where = "its report file" if self.spec.objective.reports == "file" else "its stdout"
            return Ending("failed", failure="value", reason=f"the command ended without a value in {where}")
        try:
            value = self._last if final is None else final
            result = read_result(value, self.spec.n_values, self.spec.metrics, COMMAND)
        except ValueProblem as problem:
            return Ending("failed", failure="value", reason=str(problem))
        return Ending("complete", values=result.values, user_attrs=result.user_attrs)

    def _fail(self, reason: str) -> None:
        self.status = 127
        self._failed = Ending("failed", failure="setup", reason=reason)

    def _collect(self, process: subprocess.Popen[bytes]) -> None:
        """Take the command's exit status and its peak memory; a launcher's ranks are not its own processes."""
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except ChildProcessError:
            self.status = process.wait()
            return
        self.status = process.returncode = os.waitstatus_to_exitcode(status)
        self.peak_memory = 0 if self._several else peak_of(usage)

    def _has_ended(self) -> bool:
        assert self._process is not None
        try:
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return ended is not None

    def _signal(self, number: int) -> None:
        if self._process is not None and self.status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def reader(spec: AttemptSpec, files: TrialFiles) -> Reader:
    """What reads the command's reports, by the study file's ``reports``."""
    if spec.objective.reports == "file":
        return ReportFile(files.reports(spec.attempt))
    return StdoutPattern(files.stdout(spec.attempt), spec.objective.reports)


def start(spec: AttemptSpec, files: TrialFiles) -> subprocess.Popen[bytes]:
    """Start the command.

    Raises:
        ValueError: The template cannot be filled.
        OSError: The command cannot be executed.
        subprocess.SubprocessError: A later attempt of the trial has begun.
    """
    arguments = prepare_arguments(spec, files)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    outputs = [os.open(path, flags, 0o600) for path in (files.stdout(spec.attempt), files.stderr(spec.attempt))]
    memory, note = spec.limits.memory, ProcessNote(files, spec.attempt)
    death_signal = signal.SIGTERM if launched(spec) else signal.SIGKILL  # a killed launcher leaves its ranks
    in_session = in_job() and not launched(spec)  # a scheduler that kills the session must not kill a launcher

    def prepare() -> None:
        process_control(PR_SET_PDEATHSIG, death_signal)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if note.write():
            raise RuntimeError  # becomes a SubprocessError in the worker
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

    try:
        return subprocess.Popen(
            arguments,
            cwd=files.work(spec.attempt),
            env=surroundings(spec, files),
            stdin=subprocess.DEVNULL,
            stdout=outputs[0],
            stderr=outputs[1],
            start_new_session=not in_session,
            process_group=0 if in_session else None,
            preexec_fn=prepare,
        )
    finally:
        for descriptor in outputs:
            os.close(descriptor)


def prepare_arguments(spec: AttemptSpec, files: TrialFiles) -> list[str]:
    """Write the files that the command reads, and return its words. Raises as :func:`start`."""
    write_atomically(files.params(spec.attempt), json.dumps(spec.params))
    files.reports(spec.attempt).unlink(missing_ok=True)
    files.artifacts(spec.attempt).mkdir(mode=0o700, parents=True, exist_ok=True)
    values = fields(spec, files)
    objective = spec.objective
    if objective.shell:
        return ["/bin/sh", "-c", fill(str(objective.command), values, quote=True)]
    arguments = fill_arguments(objective.command, values)
    if not arguments:
        raise ValueError("the command is empty")
    return arguments


def fields(spec: AttemptSpec, files: TrialFiles) -> dict[str, Any]:
    """The value of every template field. An inactive conditional parameter is None: empty text."""
    return {
        "number": spec.number,
        "attempt": spec.attempt,
        "repeat": spec.repeat,
        "seed": spec.seed,
        "study": spec.study,
        "study_dir": spec.objective.folder,
        "work_dir": str(files.work(spec.attempt)),
        "checkpoint_dir": str(files.checkpoint_of(spec.attempt)),
        "artifact_dir": str(files.artifacts(spec.attempt)),
        "params_file": str(files.params(spec.attempt)),
        "reports_file": str(files.reports(spec.attempt)),
        "cores": spec.cores,
        "gpus": spec.gpus,
        "nodes": spec.nodes,
        "ranks": spec.ranks,
        "ranks_per_node": spec.ranks_per_node,
        "launcher": launcher(spec),
        **dict.fromkeys(spec.space_names),
        **spec.params,
    }


def surroundings(spec: AttemptSpec, files: TrialFiles) -> dict[str, str]:
    """The command's environment: the worker's and the trial's variables, and one for each active parameter."""
    values = dict(os.environ)
    change(values, environment(spec))
    return {
        **values,
        **{variable(name): as_text(value) for name, value in spec.params.items()},
        "PILOTUNE_PARAMS": str(files.params(spec.attempt)),
        "PILOTUNE_REPORTS": str(files.reports(spec.attempt)),
        "PILOTUNE_WORK_DIR": str(files.work(spec.attempt)),
    }
