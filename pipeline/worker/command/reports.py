"""Reads a command's reports: JSON lines in its report file, or what a regular expression matches in its stdout."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ...trial.from_json import read_json
from ...trial.protocol import STEP_LIMIT
from ..process.messages import Reported

PIECE = 2**20
"""Bytes that are read at a time, and the longest line that is kept."""


class Reader(Protocol):
    """Reads a command's new reports.

    Attributes:
        final: What the command gave as its value, in the form of a Python objective's result; None before it has.
        problem: One sentence about what cannot be used; empty while there is none.
    """

    final: Any
    problem: str

    def read(self, *, last: bool = False) -> list[Reported]:
        """New reports. ``last``: the command has ended, so a last line without a newline is complete."""


class _Tail:
    """Reads the new complete lines of a growing file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0
        self.line = 0
        self._rest = b""

    def lines(self, last: bool) -> list[str]:
        found: list[bytes] = []
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self.position:  # the program has truncated the file
                    self.position, self.line, self._rest = 0, 0, b""
                file.seek(self.position)
                while piece := file.read(PIECE):
                    self.position += len(piece)
                    *whole, self._rest = (self._rest + piece).split(b"\n")
                    found += whole
                    self._rest = self._rest[-PIECE:]  # an endless line must not fill the memory
                    if not last:
                        break
        except OSError:
            return []
        if last and self._rest:
            found, self._rest = [*found, self._rest], b""
        return [line.decode(errors="replace") for line in found]


class ReportFile:
    """Reads JSON lines: an object with ``step`` and ``value`` is a report, one without ``step`` the final value.

    The final line is what a Python objective would return as a dictionary: ``{"value": 0.9}``,
    ``{"values": [0.9, 12]}`` or the metrics by name; its other keys become user attributes. Empty lines are skipped.
    Any other line fails the trial, so that no report is lost silently.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._tail = _Tail(path)
        self.final: Any = None
        self.problem = ""

    def read(self, *, last: bool = False) -> list[Reported]:
        found = []
        for text in self._tail.lines(last):
            self._tail.line += 1
            if not text.strip() or self.problem:
                continue
            try:
                line = read_json(text)
            except ValueError:
                line = None
            if not isinstance(line, dict):
                self._refuse(text, "it is not a JSON object")
            elif "step" not in line:
                self.final = line
            elif _is_step(line["step"]) and _is_number(line.get("value")):
                found.append(Reported(int(line["step"]), float(line["value"])))
            else:
                self._refuse(text, 'a report is {"step": <whole number from 0 to 2147483647>, "value": <number>}')
        return found

    def _refuse(self, text: str, why: str) -> None:
        shown = text if len(text) <= 120 else f"{text[:117]}..."
        self.problem = f"line {self._tail.line} of the report file, {shown!r}, cannot be used: {why}"


class StdoutPattern:
    """Searches each line of stdout for a regular expression; the last match's ``value`` is the final value.

    Every match is a report at its ``step``; without a group of that name at steps 0, 1, 2, ... A match whose ``value``
    is not a number fails the trial.

    Args:
        path: The file that stdout goes to.
        pattern: With a group ``value`` and optionally ``step``.
    """

    def __init__(self, path: Path, pattern: str) -> None:
        self._tail = _Tail(path)
        self._pattern = re.compile(pattern)
        self._matches = 0
        self.final: Any = None
        self.problem = ""

    def read(self, *, last: bool = False) -> list[Reported]:
        found = []
        for text in self._tail.lines(last):
            for match in self._pattern.finditer(text):
                groups: Mapping[str, str | None] = match.groupdict()
                if groups.get("value") is None:
                    continue
                try:
                    value = float(groups["value"] or "")
                    step = int(float(groups["step"] or "")) if groups.get("step") is not None else self._matches
                    if not 0 <= step < STEP_LIMIT:
                        raise ValueError
                except (ValueError, OverflowError):
                    self.problem = self.problem or f"{match.group()[:120]!r} on stdout matches, but is not a number"
                    continue
                self._matches += 1
                self.final = {"value": value}
                found.append(Reported(step, value))
        return found


def _is_step(step: Any) -> bool:
    return type(step) in (int, float) and 0 <= step < STEP_LIMIT and step == int(step)


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return float(value) is not None
    except OverflowError:
        return False
