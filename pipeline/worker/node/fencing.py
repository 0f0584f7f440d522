"""Only the newest attempt of a trial has its checkpoint: those that were given up, and may still run, are kept out.

A driver gives a trial its next attempt when it takes the last one for lost; on a network that may be wrong. The folder
decides. It carries the attempt's number, and the next attempt renames it, which is atomic on one file system, so that
an attempt that was given up finds nothing any more under the name it knows. On the node of the old attempt, the new
one also ends the old one's process before it begins, since an open file is not fenced by its name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from ...trial.files import PROCESS, WORK, TrialFiles
from ...trial.protocol import AttemptSpec, Outcome, values_fit
from .channel import Channel
from .posix import kill_group, place, process_start
from .ranks import end_ranks

TRIES = 100
"""Attempts that may come between, one after the other, while one enters."""

LOOK = 2.0
"""Seconds between looks whether a trial was taken over, while its driver cannot be reached and so cannot tell."""

LEAVING = 10.0
"""Seconds that an old attempt's process may take to end by SIGKILL; one that takes longer hangs in the kernel."""


class TakenOver(Exception):
    """A later attempt has the trial's checkpoint. The message is one sentence."""


def enter(files: TrialFiles, attempt: int) -> None:
    """Take the newest checkpoint folder for this attempt, or make one.

    Raises TakenOver where a later attempt has it, OSError where it cannot be had.
    """
    own = files.checkpoint_of(attempt)
    for _ in range(TRIES):
        newest, folder = files.newest_checkpoint()
        if newest >= attempt:
            break
        try:
            if folder is None:
                own.mkdir(mode=0o700)
            else:
                folder.rename(own)
        except (FileNotFoundError, FileExistsError):
            continue  # another attempt was faster: look again
        break
    newest = _point(files, attempt)
    if newest > attempt:
        raise TakenOver(said(attempt, newest))
    if newest < attempt:
        raise OSError(f"no checkpoint folder can be made in {files.directory}")


def _point(files: TrialFiles, attempt: int) -> int:
    """Let the link that people follow show the newest folder, whose attempt is returned. Raises OSError."""
    part, shown = files.directory / f".checkpoint.{attempt}.part", -1
    while (newest := files.newest_checkpoint()[0]) != shown:  # a later attempt may come between
        shown = newest
        try:
            os.symlink(files.checkpoint_of(newest).name, part)
            os.replace(part, files.checkpoint)
        except OSError:  # a file system without links
            with contextlib.suppress(OSError):
                part.unlink()
    return newest


def said(attempt: int, newest: int) -> str:
    return f"attempt {newest} of the trial has begun, so that attempt {attempt} counts no more"


def taken_over(files: TrialFiles, attempt: int) -> str:
    """Why the attempt counts no more: a sentence; empty where it does, and where that cannot be told."""
    try:
        newest, _ = files.newest_checkpoint()
    except OSError:
        return ""
    return said(attempt, newest) if newest > attempt else ""


class FenceWatch:
    """Looks, while there is no connection to the driver, whether the trial was taken over by another one.

    Attributes:
        reason: Why the attempt counts no more; empty while it does.
    """

    def __init__(self, files: TrialFiles, attempt: int, channel: Channel):
        self.files, self.attempt, self.channel, self.reason = files, attempt, channel, ""
        self._next = 0.0

    def closed(self) -> bool:
        """Whether the attempt counts no more. To be asked again and again."""
        now = time.monotonic()
        if not self.reason and now >= self._next and self.channel.down():
            self._next = now + LOOK
            self.reason = taken_over(self.files, self.attempt)
        return bool(self.reason)


# -- the old attempt's process ----------------------------------------------------------------------------------------


def note_process(files: TrialFiles, attempt: int) -> str:
    """Note that this process runs the attempt; returns :func:`taken_over`, which is to be looked at after it.

    One of the two is seen in any case: the note by the attempt that takes over, or its folder by this one.
    """
    text = f"{place()}\n{os.getpid()} {process_start(os.getpid())}\n"
    with contextlib.suppress(OSError):  # on a full disk the folder's name has to do
        descriptor = os.open(files.process(attempt), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    return taken_over(files, attempt)


def forget_process(files: TrialFiles, attempt: int) -> None:
    """The attempt's process has ended."""
    with contextlib.suppress(OSError):
        files.process(attempt).unlink()


def end_earlier(files: TrialFiles, attempt: int, *, ranks: bool = False) -> None:
    """End the processes of earlier attempts that run on this host, and wait until they are gone.

    ``ranks``: launchers of processes on other nodes are among them, which they have to end first.
    """
    try:
        earlier = [number for number in files.attempts_with(PROCESS) if number < attempt]
    except OSError:
        return
    for number in earlier:
        pid, start = _noted(files.process(number))
        if pid and process_start(pid) == start:
            if ranks:
                end_ranks(pid)
            _end(pid, start)
        forget_process(files, number)


def _noted(path: Path) -> tuple[int, int]:
    """Process and start of a note of this host; zeros for those of others."""
    try:
        where, process, *_ = path.read_text().splitlines()
        pid, start = map(int, process.split())
    except (OSError, ValueError):
        return 0, 0
    return (pid, start) if where == place() and pid > 1 and pid != os.getpid() else (0, 0)


def _end(pid: int, start: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            kill_group(pid)
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + LEAVING
    while process_start(pid) == start and time.monotonic() < until:
        time.sleep(0.01)


# -- what an old attempt has done -------------------------------------------------------------------------------------


def ended_meanwhile(files: TrialFiles, spec: AttemptSpec) -> Outcome | None:
    """The result of the attempt before this one, as this one's; None where there is none.

    It came to its end after its driver had died and before this attempt began, when nobody collected it any more: what
    it found would be computed a second time. Only results count: what went wrong may have gone wrong by the fence.
    """
    try:
        begun = [number for number in files.attempts_with(WORK) if number < spec.attempt]
    except OSError:
        return None
    found = _result(files.outcome(begun[-1]), spec, begun[-1]) if begun else None
    if found is None:
        return None
    reason = f"attempt {found.attempt} had come to its end when attempt {spec.attempt} began; this is its result"
    return replace(found, token=spec.token, attempt=spec.attempt, reason=reason, leaving=False)


def _result(path: Path, spec: AttemptSpec, attempt: int) -> Outcome | None:
    try:
        outcome = Outcome.from_json(path.read_bytes())
        ours = (outcome.number, outcome.attempt) == (spec.number, attempt)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    whole = outcome.kind == "complete" and values_fit(outcome.values, spec.n_values)
    return outcome if ours and (outcome.kind == "pruned" or whole) else None
