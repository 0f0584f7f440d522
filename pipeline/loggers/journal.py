"""Remembers what was written about which trial, so that no driver writes it again.

Each campaign appends to a file of its own in ``<runs>/<study>/loggers/``, after a logger has written; all files are
read at the start. What a process wrote in the moment before it was killed may be written once more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PATTERN = "logged-*.jsonl"


class Journal:
    """What one destination has.

    Args:
        place: The destination, see :class:`.settings.Destination`.

    Attributes:
        ended: Numbers of the trials whose end is written.
        steps: By trial that has not ended, the steps whose reports are written.
        runs: By trial, the name that the tool has given to its run.

    >>> journal = Journal("here")
    >>> journal.add({"place": "here", "trial": 7, "steps": [1, 2]})
    >>> journal.new(7, [[2, 0.5, 0.0], [3, 0.6, 1.0]])
    [[3, 0.6, 1.0]]
    """

    def __init__(self, place: str):
        self.place = place
        self.ended: set[int] = set()
        self.steps: dict[int, set[int]] = {}
        self.runs: dict[int, str] = {}

    def add(self, entry: dict[str, Any]) -> None:
        """Take an entry of a file; those of other destinations are left out."""
        number = entry.get("trial")
        if entry.get("place") != self.place or not isinstance(number, int):
            return
        self.steps.setdefault(number, set()).update(entry.get("steps", ()))
        if "run" in entry:
            self.runs[number] = str(entry["run"])
        if entry.get("ended"):
            self.ended.add(number)
            self.steps.pop(number, None)

    def new(self, number: int, reports: Iterable[list[float]]) -> list[list[float]]:
        """Those of a trial's reports that are not written yet."""
        known = self.steps.get(number, set())
        return [report for report in reports if int(report[0]) not in known]


def read_journals(home: Path, place: str) -> Journal:
    """What all campaigns have written to a destination. Lines that were cut off by a crash are left out."""
    journal = Journal(place)
    for file in sorted(home.glob(PATTERN)):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                journal.add(entry)
    return journal


class JournalFile:
    """The file that one campaign appends to. It is made with mode 0600.

    Args:
        home: The folder for loggers; made if it is missing.
        campaign: The campaign's id.
    """

    def __init__(self, home: Path, campaign: str):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = home / PATTERN.replace("*", campaign)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append(self, journal: Journal, entry: dict[str, Any]) -> None:
        """Note an entry in the file, and in the journal of its destination."""
        whole = {"place": journal.place, **entry}
        journal.add(whole)
        os.write(self._descriptor, f"{json.dumps(whole)}\n".encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
