"""What workers wrote: the outcome files in the run directories of a study."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...trial.protocol import Outcome

NAME = re.compile(r"(?:outcome-(\d{1,9})\.json|(?:work|checkpoint)-(\d{1,9}))")
"""Of an outcome, and of what is there from an attempt's beginning on."""

RESULTS = ("complete", "pruned", "failed")
"""Kinds of outcomes that end a trial, or an attempt that is tried again."""

CUT_OFF, LEFT_OUT = ("failed", "stopped"), "reports were left out"
"""Kinds of outcomes that an error of the worker's may have cut off, and its words where they were too large: such an
outcome without any reports does not say that there were none."""

READERS = 8
"""Threads: on a parallel file system each file is a wait of milliseconds."""

BATCH = 64
"""Folders of trials that a thread reads at a time."""


class Reports(NamedTuple):
    """Values by step, compact: a study may hold millions."""

    steps: array[int]
    values: array[float]

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, float]]) -> Reports:
        """The first value of each step, as a trial keeps it."""
        first: dict[int, float] = {}
        for step, value in pairs:
            first.setdefault(step, value)
        return cls(array("q", first), array("d", first.values()))

    def as_dict(self) -> dict[int, float]:
        return dict(zip(self.steps, self.values, strict=True))


NOTHING = Reports(array("q"), array("d"))


@dataclass(frozen=True, slots=True)
class WrittenOutcome:
    """An outcome file.

    Attributes:
        path: The file.
        number: The trial's, from the folder's name.
        attempt: From the file's name.
        token: Of the attempt, as the file tells it.
        kind: Of the outcome; empty for a file that cannot be read.
        failure: Why it failed.
        values: Returned by the objective; None without any.
        reports: Of this attempt.
        silent: It may have reported more than the file says.
        problem: Why the file cannot be read, or is not what its place says.
    """

    path: Path
    number: int
    attempt: int
    token: str = ""
    kind: str = ""
    failure: str = ""
    values: tuple[float, ...] | None = None
    reports: Reports = NOTHING
    silent: bool = False
    problem: str = ""

    @property
    def tells(self) -> bool:
        """Whether it holds the end of a trial."""
        return self.kind in RESULTS


class TrialFolder(NamedTuple):
    """What is in a trial's folder.

    Attributes:
        attempt: The latest of which there is anything.
        written: The outcomes.
        problem: Why the folder cannot be read.
    """

    path: Path
    number: int
    attempt: int = 0
    written: tuple[WrittenOutcome, ...] = ()
    problem: str = ""


def read_trials(folder: Path) -> list[TrialFolder]:
    """All trials under ``folder``, the ``trials`` of one run directory. Raises OSError where it cannot be read."""
    with os.scandir(folder) as entries:
        places = [Path(entry.path) for entry in entries if entry.name.isascii() and entry.name.isdigit()]
    batches = [places[start : start + BATCH] for start in range(0, len(places), BATCH)]
    with ThreadPoolExecutor(READERS) as readers:
        return [each for found in readers.map(_read_batch, batches) for each in found]


def _read_batch(places: list[Path]) -> list[TrialFolder]:
    return [read_trial(place, int(place.name)) for place in places]


def read_trial(folder: Path, number: int) -> TrialFolder:
    """One trial's folder; empty where it is gone."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return TrialFolder(folder, number)
    except OSError as error:
        return TrialFolder(folder, number, problem=error.strerror or str(error))
    known = [match for name in names if (match := NAME.fullmatch(name))]
    attempts = [int(match[1] or match[2]) for match in known]
    written = tuple(read_outcome(folder / match[0], number, int(match[1])) for match in known if match[1])
    return TrialFolder(folder, number, max(attempts, default=0), written)


def read_outcome(path: Path, number: int, attempt: int) -> WrittenOutcome:
    """One outcome file, read as a driver reads it; what is wrong with it is told, not raised."""
    try:
        outcome = Outcome.from_json(path.read_bytes())
    except OSError as error:
        return WrittenOutcome(path, number, attempt, problem=error.strerror or str(error))
    except (ValueError, TypeError) as error:
        return WrittenOutcome(path, number, attempt, problem=f"it is no outcome ({str(error)[:200]})")
    if (outcome.number, outcome.attempt) != (number, attempt) or not outcome.token.startswith(f"{number}.{attempt}."):
        return WrittenOutcome(path, number, attempt, problem=f"it tells of attempt {outcome.token[:80]!r}")
    return WrittenOutcome(
        path,
        number,
        attempt,
        token=outcome.token,
        kind=outcome.kind,
        failure=outcome.failure,
        values=None if outcome.values is None else tuple(map(float, outcome.values)),
        reports=Reports.of((int(step), float(value)) for step, value in outcome.reports),
        silent=not outcome.reports and (outcome.kind in CUT_OFF or LEFT_OUT in outcome.reason),
    )
