"""The last report values of running trials, and how they are drawn as a line of blocks."""

from __future__ import annotations

import math
import os
import stat
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...driver.status import Status
    from ...record import RunDirectory
    from ...trial.files import TrialFiles

KEPT = 40
"""Most values that are kept of a trial: the widest spark line."""

TAIL = 4096
"""Bytes at the end of a report log that are read when a trial is first seen; some 80 reports."""

BLOCKS = "▁▂▃▄▅▆▇█"


def spark_line(values: Sequence[float], width: int) -> str:
    """The last ``width`` values as blocks between the lowest and the highest of them.

    >>> spark_line([0.0, 0.5, 1.0], 8), spark_line([3.0, 3.0], 8), spark_line([1.0, 2.0, 3.0], 2), spark_line([], 8)
    ('▁▄█', '▄▄', '▁█', '')
    """
    shown = list(values)[-width:] if width > 0 else []
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    if high == low:
        return BLOCKS[3] * len(shown)
    # Halved, so that the difference of two values near the largest float is finite.
    places = ((value / 2 - low / 2) / (high / 2 - low / 2) * (len(BLOCKS) - 1) for value in shown)
    return "".join(BLOCKS[int(place)] for place in places)


class RecentReports:
    """The last values that running trials have reported.

    A trial that is first seen with a report gets the end of its report log. Later values are those of the status, which
    has each trial's last one, so that a trial's log is read once.
    """

    def __init__(self) -> None:
        self._values: dict[int, deque[float]] = {}
        self._last: dict[int, tuple[int, int | None]] = {}  # repetition and step of the newest value

    def update(self, status: Status, run: RunDirectory) -> None:
        """Take the last report of each running trial, and forget trials that have ended."""
        running = {trial["number"]: trial for trial in status.running_trials}
        for number in self._values.keys() - running.keys():
            del self._values[number], self._last[number]
        for number, trial in running.items():
            last = (trial.get("repeat", 0), trial.get("step"))
            if number not in self._values:
                first_look = last[1] is not None and not last[0]
                self._values[number] = deque(logged(run.trial(number)) if first_look else [], KEPT)
                if not self._values[number]:
                    self._take(number, trial)
            elif last != self._last[number]:
                if last[0] != self._last[number][0]:
                    self._values[number].clear()
                self._take(number, trial)
            self._last[number] = last

    def _take(self, number: int, trial: dict[str, Any]) -> None:
        if trial.get("value") is not None:
            self._values[number].append(trial["value"])

    def of(self, number: int) -> Sequence[float]:
        """The values of a trial, the last one at the end."""
        return tuple(self._values.get(number, ()))


def logged(files: TrialFiles) -> list[float]:
    """The values at the end of a trial's newest report log; none where there is none, or it cannot be read."""
    from ...trial.report_log import LOG

    try:
        attempts = files.attempts_with(LOG)
        return last_values(read_end(str(files.report_log(attempts[-1])), TAIL)) if attempts else []
    except OSError:
        return []


def read_end(path: str, size: int) -> bytes:
    """The last ``size`` bytes of a regular file. Raises OSError, also for a symbolic link and a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is no regular file")
        file.seek(max(0, found.st_size - size))
        return file.read(size)


def last_values(data: bytes) -> list[float]:
    """The finite values of the lines ``[step, value, time]`` at the end of a report log; other lines are left out.

    >>> last_values(b'75, 1.0]\\n[8, 0.5, 2.0]\\n[9, NaN, 2.5]\\n[10, 0.25, 3.0]\\n[11, 0.1')
    [0.5, 0.25]
    """
    return list(_values(data.split(b"\n")[:-1]))


def _values(lines: Iterable[bytes]) -> Iterable[float]:
    from ...trial.from_json import read_json

    for line in lines:
        try:
            report = read_json(line)
        except ValueError:
            continue
        if isinstance(report, list) and len(report) == 3:
            value = report[1]
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf:
                yield float(value)
