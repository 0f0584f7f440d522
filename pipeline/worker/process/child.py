"""What a forked trial process does: sets itself up, runs the objective, reports how it ended, and exits."""

from __future__ import annotations

import atexit
import faulthandler
import functools
import os
import resource
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import NoReturn, TextIO

from ...trial.api import Trial
from ...trial.files import TrialFiles
from ...trial.report_log import ReportWriter
from ..node.output_files import open_output
from ..node.posix import PR_SET_PDEATHSIG, handle_signal, in_job, own_group, process_control
from ..objective.call import call_style
from ..objective.ending import Ending, first_line
from ..objective.execute import execute
from .connection import ChildConnection, RankConnection
from .messages import Begin, MessageStream, ObjectiveEnded

MEMORY_RESERVE = 64 * 2**20
"""Bytes by which the limit is raised after the objective has met it, so that the process can still report its end."""


@dataclass(frozen=True)
class Prepared:
    """What an attempt's process needs, made before it is forked.

    Attributes:
        begin: What the worker prepared.
        connection: To the worker.
        module: The objective's, where it is imported already.
        trial: What the objective gets.
        in_job: Whether the process stays in the job's session (see :func:`..node.posix.in_job`).
    """

    begin: Begin
    connection: ChildConnection
    module: ModuleType | None
    trial: Trial
    in_job: bool


def prepared(begin: Begin, worker: socket.socket, module: ModuleType | None) -> Prepared:
    """Prepare a process.

    Args:
        begin: What it is to run.
        worker: The socket to the worker.
        module: The objective's, where it is imported already.
    """
    spec = begin.spec
    files = TrialFiles(Path(spec.directory))
    function = vars(module).get(spec.objective.function) if module is not None else None
    if isinstance(function, FunctionType):
        call_style(function, spec.space_names)  # remembered
    log = ReportWriter(files, spec.attempt) if spec.rank == 0 else None
    connection = (RankConnection if spec.ranked else ChildConnection)(MessageStream(worker), log)
    trial = Trial(spec, files.checkpoint_of(spec.attempt), connection)
    return Prepared(begin, connection, module, trial, in_job())


def run_child(attempt: Prepared, parent: int, control: socket.socket) -> NoReturn:
    """Run one attempt in a process that was just forked, and exit.

    Args:
        attempt: What to run.
        parent: The fork server's pid.
        control: The fork server's socket, which is closed here.
    """
    code = 70  # EX_SOFTWARE of sysexits.h
    try:
        _own_process(parent, attempt.in_job)
        os.close(control.detach())
        try:  # an OpenMP library that the fork server has loaded may have bound its only thread to one core
            os.sched_setaffinity(0, attempt.begin.cores)
        except OSError:
            pass
        _run(attempt)
        code = 0
    finally:
        os._exit(code)


def _own_process(parent: int, in_job: bool) -> None:
    """Start a process group of its own that dies with its parent, and restore the default signal handlers."""
    own_group(in_job)
    process_control(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(70)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        handle_signal(number, signal.SIG_DFL)
    handle_signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()  # handlers that the preloaded modules registered belong to the fork server


def _run(attempt: Prepared) -> None:
    begin, connection = attempt.begin, attempt.connection
    stream = connection.stream
    taken = begin.note.write()
    if taken:
        stream.send(ObjectiveEnded(Ending("stopped", reason=taken)))
        return
    try:
        _surroundings(begin)
        handle_signal(signal.SIGTERM, connection.on_sigterm)
        _limit_memory(begin.spec.limits.memory)
    except (OSError, ValueError) as error:
        reason = f"the trial's process could not be set up: {first_line(error)}"
        stream.send(ObjectiveEnded(Ending("failed", failure="setup", reason=reason)))
        return
    ending = execute(begin.spec, connection, module=attempt.module, trial=attempt.trial)
    _limit_memory(None)
    stream.send(ObjectiveEnded(ending, time.time()))
    if ending.traceback:
        print(ending.traceback, file=sys.stderr)
    if attempt.module is None and ending.kind != "failed":
        _finalize_mpi()
    _leave()


def _finalize_mpi() -> None:
    """Do what mpi4py does at the end of the interpreter, which does not come; all ranks of a launcher have to.

    Only where this process has imported it: a fork server's MPI is not this process's.
    """
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized():
        mpi.Finalize()


@functools.cache
def output_streams() -> tuple[TextIO, TextIO]:
    """Streams that print to the descriptors 1 and 2, whatever these are later; the interpreter's crashes go to 2, too.

    Made by the fork server, so that a trial's process has them.
    """
    for stream in (sys.stdout, sys.stderr):  # preloaded modules may hold the old ones
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # printed lines survive a crash
    faulthandler.enable(file=2)
    return open_output(1, keep=True), open_output(2, keep=True)


def _surroundings(begin: Begin) -> None:
    """Redirect output to the attempt's files, and enter its working directory."""
    for target, path in enumerate(begin.outputs, start=1):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, target)
        os.close(opened)
    sys.stdout, sys.stderr = output_streams()
    os.chdir(begin.work)


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
