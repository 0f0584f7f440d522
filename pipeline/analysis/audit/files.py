"""Reads the outcome files that workers wrote into the run directories of a study."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...trial.files import TrialFiles
from ...trial.protocol import Outcome
from ...trial.report_log import LOG, ReportLog, read_log

NAME = re.compile(r"(?:outcome-(\d{1,9})\.json|(?:work|checkpoint)-(\d{1,9}))")
"""Names of outcome files, and of folders that an attempt has from its beginning on; the group is the attempt."""

RESULTS = ("complete", "pruned", "failed")
"""Kinds of outcomes that end a trial, or an attempt after which the trial is retried."""

READERS = 8
"""Threads that read files: on a parallel file system each file takes milliseconds of waiting."""

BATCH = 64
"""Folders of trials that a thread takes at a time."""


class Reports(NamedTuple):
    """Values by step, in arrays to save memory: a study may have millions."""

    steps: array[int]
    values: array[float]

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, float]]) -> Reports:
        """The first value of each step, which is the one that a trial keeps."""
        first: dict[int, float] = {}
        for step, value in pairs:
            first.setdefault(step, value)
        return cls(array("q", first), array("d", first.values()))

    def as_dict(self) -> dict[int, float]:
        return dict(zip(self.steps, self.values, strict=True))


NOTHING = Reports(array("q"), array("d"))
"""No reports."""


@dataclass(frozen=True, slots=True)
class WrittenOutcome:
    """An outcome file.

    Attributes:
        path: The file.
        number: The trial's number, from the folder's name.
        attempt: The attempt's number, from the file's name.
        token: The attempt's token, from the file's content.
        kind: The outcome's kind; empty if the file cannot be read.
        failure: The kind of failure; empty if it did not fail.
        values: What the objective returned; None if nothing.
        reports: Reports of this attempt.
        silent: The attempt may have made reports that the file does not have.
        finished: When the attempt ended, in Unix seconds of the worker's clock.
        problem: Why the file cannot be read, or is not the outcome of this trial and attempt; empty if it is.
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
    finished: float = 0.0
    problem: str = ""

    @property
    def is_result(self) -> bool:
        """Whether it ends a trial, or an attempt after which the trial is retried."""
        return self.kind in RESULTS


class TrialFolder(NamedTuple):
    """A trial's folder.

    Attributes:
        path: The folder.
        number: The trial's number.
        attempt: The latest attempt that has left a file; 0 if none has.
        written: The outcome files.
        logs: The report logs, by ascending attempt.
        problem: Why the folder cannot be read; empty if it can.
    """

    path: Path
    number: int
    attempt: int = 0
    written: tuple[WrittenOutcome, ...] = ()
    logs: tuple[ReportLog, ...] = ()
    problem: str = ""


def read_trials(folder: Path) -> list[TrialFolder]:
    """All trials in ``folder``, the ``trials`` of a run directory. Raises OSError if it cannot be read."""
    with os.scandir(folder) as entries:
        places = [Path(entry.path) for entry in entries if entry.name.isascii() and entry.name.isdigit()]
    batches = [places[start : start + BATCH] for start in range(0, len(places), BATCH)]
    with ThreadPoolExecutor(READERS) as readers:
        return [each for found in readers.map(_read_batch, batches) for each in found]


def _read_batch(places: list[Path]) -> list[TrialFolder]:
    return [read_trial(place, int(place.name)) for place in places]


def read_trial(folder: Path, number: int) -> TrialFolder:
    """One trial's folder; empty if it is gone."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return TrialFolder(folder, number)
    except OSError as error:
        return TrialFolder(folder, number, problem=error.strerror or str(error))
    known = [match for name in names if (match := NAME.fullmatch(name))]
    attempts = [int(match[1] or match[2]) for match in known]
    written = tuple(read_outcome(folder / match[0], number, int(match[1])) for match in known if match[1])
    reported = sorted(int(match[1]) for name in names if (match := LOG.fullmatch(name)))
    logs = tuple(log for attempt in reported if (log := read_log(TrialFiles(folder), attempt)))
    return TrialFolder(folder, number, max(attempts, default=0), written, logs)


def read_outcome(path: Path, number: int, attempt: int) -> WrittenOutcome:
    """One outcome file, read as a driver reads it. Sets ``problem`` instead of raising."""
    try:
        outcome = Outcome.from_json(path.read_bytes())
    except OSError as error:
        return WrittenOutcome(path, number, attempt, problem=error.strerror or str(error))
    except (ValueError, TypeError) as error:
        return WrittenOutcome(path, number, attempt, problem=f"it is not an outcome ({str(error)[:200]})")
    if (outcome.number, outcome.attempt) != (number, attempt) or not outcome.token.startswith(f"{number}.{attempt}."):
        return WrittenOutcome(path, number, attempt, problem=f"it is of attempt {outcome.token[:80]!r}")
    return WrittenOutcome(
        path,
        number,
        attempt,
        token=outcome.token,
        kind=outcome.kind,
        failure=outcome.failure,
        values=None if outcome.values is None else tuple(map(float, outcome.values)),
        reports=Reports.of((int(step), float(value)) for step, value in outcome.reports),
        silent=outcome.silent,
        finished=outcome.finished,
    )
