"""The report log of an attempt: a file in the trial's folder that each report is appended to before it is sent.

So a report that was made is never lost, whoever is killed afterwards: the trial's process, its worker or the driver.
The next attempt reads the newest log before its own, begins its own log with those reports, and tells the driver those
that the study lacks before its own first report (:func:`carry`). Where no next attempt follows, the driver reads the
log itself (:func:`newest_log`).

A line is ``[step, value, Unix seconds]``. The log of an attempt after the first begins with a line
``{"from": attempt, "size": bytes, "carried": reports}``: whose log it carries on, how much of that it has read, and how
many reports follow that were read there. What the older attempt wrote behind that came too late: its trial had gone on
without it. A log is there with all that it carries or not at all, so only the newest log counts. A last line that is
not whole, after a power failure or on a full disk, is no report.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...filesystems import filesystem_of
from .files import TrialFiles, write_atomically
from .from_json import read_json
from .protocol import STEP_LIMIT

LOG = re.compile(r"reported-(\d{1,9})\.jsonl$")
"""The name of a report log; the group is the attempt."""

HELD_BACK = ("nfs", "cifs", "smb", "afs", "fuse.sshfs", "9p")
"""Beginnings of file systems' types on which other hosts see what was written only when the file is closed or synced.

There each report is synced, since the next attempt may begin on another host while this one is still alive."""

LARGEST_LOG = 64 * 2**20
"""Most bytes of a log that are read, about a million reports, so that none fills a reader's memory."""


class LoggedReport(NamedTuple):
    """One report in a log.

    Attributes:
        step, value: As the objective gave them.
        at: When, in Unix seconds of the node's clock.
        end: Where its line ends in the file, in bytes.
    """

    step: int
    value: float
    at: float
    end: int


@dataclass(frozen=True)
class ReportLog:
    """What is in the log of one attempt.

    Attributes:
        attempt: Whose it is.
        reports: Its reports in their order, those that it carries first; the first value of each step.
        carried: How many of them it carries.
        source: The attempt whose log it carries on; 0 where there was none.
        read: How much of that log it has read, bytes.
        size: How much of this log was read, bytes.
    """

    attempt: int
    reports: tuple[LoggedReport, ...] = ()
    carried: int = 0
    source: int = 0
    read: int = 0
    size: int = 0

    @property
    def pairs(self) -> list[list[float]]:
        """``[[step, value], ...]``, as an outcome has them."""
        return [[report.step, report.value] for report in self.reports]


def read_log(files: TrialFiles, attempt: int) -> ReportLog | None:
    """The log of an attempt; None where there is none, or it cannot be read. Lines that are no reports are skipped."""
    try:
        # Not a symbolic link, and not a pipe, at which a reader would wait for ever.
        descriptor = os.open(files.report_log(attempt), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            data = file.read(LARGEST_LOG)
    except OSError:
        return None
    return _parsed(attempt, data)


def _parsed(attempt: int, data: bytes) -> ReportLog:
    found: dict[int, LoggedReport] = {}
    source = read = carried = end = 0
    *lines, torn = data.split(b"\n")
    for number, line in enumerate(lines):
        end += len(line) + 1
        try:
            value = read_json(line)
        except ValueError:
            continue
        if isinstance(value, list) and (report := _report(value, end)):
            found.setdefault(report.step, report)
        elif number == 0 and isinstance(value, dict):
            source, read, carried = (_whole(value.get(key)) for key in ("from", "size", "carried"))
    return ReportLog(attempt, tuple(found.values()), min(carried, len(found)), source, read, len(data) - len(torn))


def _report(value: list[object], end: int) -> LoggedReport | None:
    if len(value) != 3 or not all(type(each) in (int, float) for each in value):
        return None
    step, number, at = value
    try:
        return LoggedReport(int(step), float(number), float(at), end) if _is_step(step) else None  # type: ignore[call-overload, arg-type]
    except OverflowError:
        return None


def _is_step(step: object) -> bool:
    return isinstance(step, int | float) and math.isfinite(step) and 0 <= step < STEP_LIMIT and step == int(step)


def _whole(value: object) -> int:
    return value if type(value) is int and value >= 0 else 0


def newest_log(files: TrialFiles, attempt: int, since: int = 1) -> ReportLog | None:
    """The newest log of the attempts from ``since`` to ``attempt``; None where there is none that can be read."""
    try:
        numbers = files.attempts_with(LOG)
    except OSError:
        return None
    logs = (read_log(files, number) for number in reversed(numbers) if since <= number <= attempt)
    return next((log for log in logs if log is not None), None)


def carry(files: TrialFiles, attempt: int, since: int = 1) -> list[LoggedReport]:
    """Begin the log of an attempt after the first with the reports of the attempts from ``since`` on, and return these.

    To be called when the attempt has taken the trial over (:func:`pilotune.pipeline.worker.node.fencing.enter`). Where
    the log cannot be written, the attempt has none, and the next one carries on the older log.
    """
    older = newest_log(files, attempt - 1, since)
    reports = older.reports if older else ()
    head = {
        "from": older.attempt if older else 0,
        "size": older.size if older else 0,
        "carried": len(reports),
    }
    lines = [json.dumps(head), *(_line(report.step, report.value, report.at) for report in reports)]
    with contextlib.suppress(OSError):
        write_atomically(files.report_log(attempt), "\n".join(lines) + "\n")
    return list(reports)


def _line(step: int, value: float, at: float) -> str:
    return json.dumps([step, value, round(at, 3)])


class ReportWriter:
    """Appends the reports of one attempt to its log, before they are sent. Used by any thread of the objective.

    The file is opened at the first report, and each report is one ``write`` to a descriptor in append mode: it is in
    the system's hands when :meth:`append` returns, and on NFS in the server's. What a full disk did not take is written
    with the next report. An objective never fails because of its log.

    Args:
        files: The trial's.
        attempt: Whose log it is. The log of an attempt after the first must be there (see :func:`carry`).
        clock: Gives Unix seconds.
    """

    def __init__(self, files: TrialFiles, attempt: int, clock: Callable[[], float] = time.time) -> None:
        self._files, self._attempt, self._clock = files, attempt, clock
        self._lock = threading.RLock()  # a signal handler of the objective may report, too
        self._descriptor: int | None = None
        self._inode = (0, 0)
        self._unwritten = b""
        self._off = self._synced = False

    def append(self, step: int, value: float) -> None:
        """Write a report down."""
        line = (_line(step, value, self._clock()) + "\n").encode()
        with self._lock:
            if not self._off:
                self._unwritten += line
                with contextlib.suppress(OSError):
                    self._flush()

    def _flush(self) -> None:
        descriptor = self._opened()
        if descriptor is None:
            self._unwritten = b""
            return
        written = os.write(descriptor, self._unwritten)
        if self._synced:
            os.fdatasync(descriptor)
        # After a line that is not whole, all of it is written again on a line of its own.
        self._unwritten = b"" if written == len(self._unwritten) else b"\n" + self._unwritten.lstrip(b"\n")

    def _opened(self) -> int | None:
        """The file's descriptor; None where this attempt has no log."""
        if self._descriptor is None:
            path = self._files.report_log(self._attempt)
            create = os.O_CREAT if self._attempt == 1 else 0
            try:
                self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | create, 0o600)
            except FileNotFoundError:  # it could not be begun, or the trial's folder is gone
                self._off = True
                return None
            self._inode = _inode(self._descriptor)
            self._synced = filesystem_of(path).kind.startswith(HELD_BACK)
        elif _inode(self._descriptor) != self._inode:  # the objective has closed it, and perhaps opened another file
            self._descriptor, self._off = None, True
        return self._descriptor

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._descriptor is not None and _inode(self._descriptor) == self._inode:
                os.close(self._descriptor)
            self._descriptor, self._off = None, True


def _inode(descriptor: int) -> tuple[int, int]:
    """Which file a descriptor is of; zeros where it is closed."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


# -- what a study lacks -----------------------------------------------------------------------------------------------


def as_ranges(steps: Iterable[int]) -> list[list[int]]:
    """Steps as ``[[first, last], ...]``, which are few where steps follow each other.

    >>> as_ranges([3, 1, 2, 7])
    [[1, 3], [7, 7]]
    """
    found: list[list[int]] = []
    for step in sorted(steps):
        if found and step == found[-1][1] + 1:
            found[-1][1] = step
        else:
            found.append([step, step])
    return found


def unheard(reports: Iterable[LoggedReport], known: Sequence[Sequence[int]]) -> list[list[float]]:
    """``[[step, value], ...]`` of those reports whose steps are not in the ranges ``known``, in their order.

    >>> unheard([LoggedReport(1, 0.5, 0.0, 9), LoggedReport(2, 0.25, 1.0, 18)], [[1, 1]])
    [[2, 0.25]]
    """
    steps = {step for first, last in known for step in range(first, last + 1)} if known else set()
    return [[report.step, report.value] for report in reports if report.step not in steps]
