"""Keeps one process of a block's program out of the job's session, so that nothing of the block outlives its job.

Some schedulers know a job by its session: PBS stops, kills and accounts for the processes of that session only. So the
program that runs on each node (:mod:`.agent`) is two processes:

- The *front* is what the scheduler has started. It stays in the job's session, passes signals on, and its exit status
  is the program's.
- The *guardian* is forked from it, does the work, and leaves the session (:func:`leave_session`) once it has started
  the worker pool, which therefore stays there with all that it starts. A scheduler that kills the session does not
  reach the guardian. The kernel tells it by SIGTERM that the front is dead, and it ends whatever is left.

If the guardian is killed itself, the front inherits its descendants and ends them. Both are copies of one small
program, and share its memory. Only the standard library is used.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ...pipeline.worker.node.block import busy_workers, mark_ending
from ...pipeline.worker.node.posix import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    children,
    collect_status,
    end_children,
    name_process,
    parents,
    process_control,
    process_state,
)
from .yielding import END_SIGNALS, ask_to_yield

ANNOUNCED_FOR = 5.0
"""Seconds after the scheduler's announcement within which it stops this process."""

ADOPTION_TIME = 1.0
"""Seconds for the worker pool to die with its parent, a guardian that was killed; its workers are children then."""


def guarded(work: Callable[[], int], folder: Path) -> int:
    """Run ``work`` in a guardian, and return its exit status, or 128 + n when signal n killed the guardian.

    Args:
        work: Called in the guardian, with END_SIGNALS, SIGCHLD and SIGTSTP blocked. It gets the signals that the front
            is sent.
        folder: The node's folder, which has a file for each busy worker.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # some launchers ignore it, and then no child's status is kept
    awaited = END_SIGNALS | {signal.SIGCHLD, signal.SIGTSTP}  # the last one announces that the job is suspended
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    process_control(PR_SET_CHILD_SUBREAPER, 1)  # its children become those of the front if the guardian dies
    front, others = os.getpid(), children()  # others: daemons of the block's set-up, which are left alone
    guardian = os.fork()
    if guardian == 0:
        _guard(work, front)
    while True:
        number = signal.sigwait(awaited)
        if number != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(guardian, number)
            continue
        for pid in children() - others - {guardian}:
            collect_status(pid)
        ended, status = os.waitpid(guardian, os.WNOHANG)
        if ended:
            break
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    mark_ending(folder)
    time.sleep(ADOPTION_TIME)
    ask_to_yield(lambda: [pid for pid in busy_workers(folder) if pid in children()])
    end_children(others)
    return 128 + os.WTERMSIG(status)


def _guard(work: Callable[[], int], front: int) -> None:
    """The guardian's life; does not return."""
    status = 70
    try:
        name_process("guardian")
        process_control(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == front:  # else it died before the line above, and nothing has been started
            status = work()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def leave_session() -> None:
    """Take this process out of the job's session. Its children stay there, and its later ones will not be in it."""
    with contextlib.suppress(PermissionError):  # it leads a session already
        os.setsid()


class Suspension:
    """Stops all of the block while the job is suspended, and lets it go on with the job.

    The scheduler stops the job's session; this stops the descendants of the guardian that have left it, such as
    launchers of trials. Without this they would compute on nodes that have been given to another job.

    The driver is told by a file (:mod:`pilotune.pipeline.worker.node.suspended`). Where the scheduler stops this
    process, too, as Slurm does, it sends SIGTSTP two seconds before (:meth:`announced`).

    Args:
        front: The process that stands for the job: the job is suspended while it is stopped.
        file: The file that exists while the job is suspended.
    """

    def __init__(self, front: int, file: Path):
        self.front, self.file, self.session = front, file, os.getsid(front)
        self._stopped: set[int] = set()
        self._announced = -ANNOUNCED_FOR
        self._told = False

    def announced(self, now: float) -> None:
        """The scheduler is about to stop this process. ``now``: the monotonic clock, in seconds."""
        self._announced = now
        self._tell()

    def follow(self, now: float) -> None:
        """Do what the job does. To be called every few seconds. ``now``: the monotonic clock, in seconds."""
        if process_state(self.front) == "T":
            self._tell()
            for pid in self._strangers() - self._stopped:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGSTOP)
                    self._stopped.add(pid)
        elif now >= self._announced + ANNOUNCED_FOR:
            self.resume()

    def _tell(self) -> None:
        if not self._told:
            with contextlib.suppress(OSError):
                self.file.touch(0o600)
                self._told = True

    def resume(self) -> None:
        """Let everything that was stopped here go on, and tell the driver."""
        if self._told:
            with contextlib.suppress(OSError):
                self.file.unlink(missing_ok=True)
                self._told = False
        for pid in self._stopped:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGCONT)
        self._stopped.clear()

    def _strangers(self) -> set[int]:
        """Descendants of this process that are not in the job's session."""
        above, found = parents(), set[int]()
        for pid in above:
            ancestor = above.get(pid, 0)
            while ancestor > 1 and ancestor != os.getpid():
                ancestor = above.get(ancestor, 0)
            if ancestor == os.getpid():
                found.add(pid)
        return {pid for pid in found if _session(pid) != self.session}


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0
