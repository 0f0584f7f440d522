"""Fences off old attempts, so that only the newest attempt of a trial can write its checkpoint.

A driver starts a trial's next attempt when it believes the last one lost; after a network failure that may be wrong,
and both run. The name of the checkpoint folder decides between them: it carries the attempt's number, and the next
attempt renames it, which is atomic on one file system. The old attempt then finds nothing under the name that it knows.
A file that it holds open is not fenced by this, so on the old attempt's own node the new one first kills its process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...trial.files import WORK, TrialFiles, other_checkpoints
from ...trial.protocol import AttemptSpec, Outcome, values_fit
from ..artifacts import take_over
from .channel import Channel
from .posix import kill_group, place, process_start
from .ranks import end_ranks

TRIES = 100
"""Most retries of the rename; each failure means that another attempt has renamed the folder first."""

CHECK_INTERVAL = 2.0
"""Seconds between checks for a later attempt, while the driver cannot be reached to say so."""

KILL_WAIT = 10.0
"""Seconds to wait for an old attempt's process after SIGKILL; one that takes longer hangs in the kernel."""


class TakenOver(Exception):
    """A later attempt has taken the trial's checkpoint. The message is one sentence."""


def enter(files: TrialFiles, attempt: int, since: int = 1) -> None:
    """Rename the newest checkpoint folder to this attempt's name, or create one.

    Files that it shares with the checkpoint of another trial are copied (see ``pipeline/driver/checkpoints.py``).

    Args:
        files: The trial's.
        attempt: This one.
        since: The attempt with which this repetition of the trial began. The folder of an earlier repetition stays
            as it is, so that this one begins with an empty folder.

    Raises:
        TakenOver: A later attempt has it.
        OSError: The file system refuses.
    """
    own = files.checkpoint_of(attempt)
    for _ in range(TRIES):
        newest, folder = files.newest_checkpoint()
        if newest >= attempt:
            break
        try:
            if folder is None or (since > 1 and newest < since):
                own.mkdir(mode=0o700)
            else:
                folder.rename(own)
                separate(own)
        except (FileNotFoundError, FileExistsError):
            continue  # another attempt was faster
        break
    newest = _point(files, attempt, max(newest, attempt))
    if newest > attempt:
        raise TakenOver(_taken_over_reason(attempt, newest))
    if newest < attempt:
        raise OSError(f"no checkpoint folder can be created in {files.directory}")


def separate(folder: Path) -> None:
    """Give a checkpoint folder files of its own, where it shares some with that of another trial.

    Each is copied under another name first, so that a crash leaves the shared one. Raises OSError.
    """
    for inside, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(inside, name)
            found = os.lstat(path)
            if found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
                _copy_in_place(path, os.path.join(inside, f".{name}.part"))


def _copy_in_place(path: str, part: str) -> None:
    import shutil  # it imports compression libraries, which few attempts need

    try:
        shutil.copy2(path, part)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def _point(files: TrialFiles, attempt: int, newest: int) -> int:
    """Point the link ``checkpoint`` at the newest folder; returns that folder's attempt. Raises OSError.

    Args:
        files: The trial's.
        attempt: This one.
        newest: The one whose folder seems to be the newest.
    """
    shown = -1
    while newest != shown:  # repeated where a later attempt came between
        shown = newest
        _link(files, attempt, newest)
        newest = files.newest_checkpoint()[0]
    return newest


def _link(files: TrialFiles, attempt: int, newest: int) -> None:
    """Point the link at the folder of ``newest``, where the file system has symbolic links."""
    name = files.checkpoint_of(newest).name
    try:
        os.symlink(name, files.checkpoint)
    except FileExistsError:
        part = files.directory / f".checkpoint.{attempt}.part"
        try:
            os.symlink(name, part)
            os.replace(part, files.checkpoint)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
    except OSError:
        pass


def _taken_over_reason(attempt: int, newest: int) -> str:
    return f"attempt {newest} of the trial has begun, so attempt {attempt} no longer counts"


def taken_over(files: TrialFiles, attempt: int) -> str:
    """One sentence where a later attempt has begun; empty where none has, or the folder cannot be read."""
    return _taken_over(str(files.directory), attempt)


def _taken_over(directory: str, attempt: int) -> str:
    """As :func:`taken_over`. A process that was just forked asks; it copies each page of memory that it touches."""
    try:
        if not other_checkpoints(directory, attempt):
            return ""
        newest, _ = TrialFiles(Path(directory)).newest_checkpoint()
    except OSError:
        return ""
    return _taken_over_reason(attempt, newest) if newest > attempt else ""


class FenceWatch:
    """Checks for a later attempt while there is no connection to the driver, which would otherwise end this one.

    Args:
        files: The trial's.
        attempt: This one.
        channel: To the driver.

    Attributes:
        reason: One sentence where a later attempt has begun; empty before.
    """

    def __init__(self, files: TrialFiles, attempt: int, channel: Channel):
        self.files, self.attempt, self.channel, self.reason = files, attempt, channel, ""
        self._next = 0.0

    def closed(self) -> bool:
        """Whether a later attempt has begun. To be called often; it reads the folder every CHECK_INTERVAL seconds."""
        now = time.monotonic()
        if not self.reason and now >= self._next and self.channel.down():
            self._next = now + CHECK_INTERVAL
            self.reason = taken_over(self.files, self.attempt)
        return bool(self.reason)


# -- the old attempt's process ----------------------------------------------------------------------------------------


class ProcessNote:
    """The note of the process that runs an attempt. It may be made in another process before, and pickled.

    Args:
        files: The trial's.
        attempt: Which one.
        rank: Which of its ranks.
    """

    def __init__(self, files: TrialFiles, attempt: int, rank: int = 0):
        self.directory, self.attempt = str(files.directory), attempt
        self._path, self._place = str(files.process(attempt, rank)), place()

    def write(self) -> str:
        """Write down that this process runs the attempt, then return :func:`taken_over`.

        In this order one side always notices the other: a later attempt finds the note, or this one finds its folder.
        The note may be left when the process ends: with its start time, it is about no other process.
        """
        pid = os.getpid()
        text = f"{self._place}\n{pid} {process_start(pid)}\n"
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)
        except OSError:  # on a full disk only the folder's name fences
            pass
        return _taken_over(self.directory, self.attempt)

    def withdraw(self) -> None:
        """The attempt has ended in this process, which goes on."""
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)


def end_earlier(files: TrialFiles, attempt: int, *, ranks: bool = False) -> None:
    """Kill the processes of earlier attempts on this host, and wait until they are gone.

    Args:
        files: The trial's.
        attempt: This one.
        ranks: The trial runs on several nodes: launchers get time to end their ranks on other nodes first.
    """
    try:
        earlier = [path for number, path in files.processes() if number < attempt]
    except OSError:
        return
    for path in earlier:
        pid, start = _noted(path)
        if pid and process_start(pid) == start:
            if ranks:
                end_ranks(pid)
            _end(pid, start)
        with contextlib.suppress(OSError):
            path.unlink()


def _noted(path: Path) -> tuple[int, int]:
    """Pid and start time in a note of this host; zeros for a note of another host."""
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
    until = time.monotonic() + KILL_WAIT
    while process_start(pid) == start and time.monotonic() < until:
        time.sleep(0.01)


# -- what an old attempt has done -------------------------------------------------------------------------------------


def ended_meanwhile(files: TrialFiles, spec: AttemptSpec, carried: Sequence[Sequence[float]]) -> Outcome | None:
    """The result of the attempt before this one, as this attempt's outcome; None where it has none.

    An attempt may end after its driver died and before the next attempt begins, when no driver collects its outcome;
    without this the same result would be computed twice. Its artifacts become this attempt's. Failures are not taken
    over, since the fence itself may have caused them.

    Args:
        files: The trial's.
        spec: This attempt.
        carried: Reports of earlier attempts that the driver did not hear; the result brings them, too.
    """
    try:
        begun = [number for number in files.attempts_with(WORK) if spec.since <= number < spec.attempt]
    except OSError:
        return None
    found = _result(files.outcome(begun[-1]), spec, begun[-1]) if begun else None
    if found is None:
        return None
    take_over(files, found.attempt, spec.attempt)
    reason = f"attempt {found.attempt} had ended when attempt {spec.attempt} began; this is its result"
    reports: dict[float, float] = {}
    for step, value in (*carried, *found.reports):
        reports.setdefault(step, value)
    return replace(
        found,
        token=spec.token,
        attempt=spec.attempt,
        reason=reason,
        leaving=False,
        signalled=False,
        reports=[[step, value] for step, value in reports.items()],
    )


def _result(path: Path, spec: AttemptSpec, attempt: int) -> Outcome | None:
    try:
        outcome = Outcome.from_json(path.read_bytes())
        ours = (outcome.number, outcome.attempt) == (spec.number, attempt)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    whole = outcome.kind == "complete" and values_fit(outcome.values, spec.n_values)
    return outcome if ours and (outcome.kind == "pruned" or whole) else None
