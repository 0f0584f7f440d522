"""The process that writes: reads records from its standard input, one a line, and says on its output what failed.

The first line says what to write to. The end of the input ends it, also where the driver was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import words_of
from ..trial.from_json import build, read_json
from .base import Logger, make_logger
from .journal import Journal, JournalFile, read_journals
from .records import TrialRecord
from .settings import Destination

MOST_WORDS = 300
"""Most characters of what an exception says that are told."""


@dataclass(frozen=True)
class Orders:
    """The first line.

    Attributes:
        study: The study's name.
        campaign: The campaign's id.
        home: The folder for loggers.
        destinations: Where to write, as :class:`~.settings.Destination`.
    """

    study: str
    campaign: str
    home: str
    destinations: list[dict[str, Any]]


class Writer:
    """Writes records to one destination. What fails is told, and written again with the trial's next record.

    Args:
        destination: Where to write.
        study: The study's name.
        file: Where to note what was written.
        home: The folder for loggers.
        tell: Called with what failed.
    """

    def __init__(
        self,
        destination: Destination,
        study: str,
        file: JournalFile,
        home: Path,
        tell: Callable[[dict[str, Any]], None],
    ):
        self._destination, self._study, self._file, self._tell = destination, study, file, tell
        self.journal: Journal = read_journals(home, destination.place)
        self._logger: Logger | None = None
        self._failures = 0

    def write(self, record: TrialRecord) -> None:
        """Write what is new of a trial."""
        number, journal = record.number, self.journal
        if number in journal.ended:
            return
        try:
            if self._logger is None:
                if problem := self._destination.why_unwritable():  # wandb would write elsewhere
                    raise OSError(problem)
                self._logger = make_logger(self._destination, self._study)
            if not (record.state or self._logger.live):
                return
            new = replace(record, reports=journal.new(number, record.reports))
            run = self._logger.write(new, journal.runs.get(number))
        except Exception as error:
            self._failed(record, error)
            return
        entry: dict[str, Any] = {"trial": number, "steps": [int(each[0]) for each in new.reports]}
        if run is not None and journal.runs.get(number) != run:
            entry["run"] = run
        if record.state:
            entry["ended"] = True
        self._file.append(journal, entry)

    def _failed(self, record: TrialRecord, error: Exception) -> None:
        self._failures += 1
        why = f"{type(error).__name__}: {' '.join(words_of(error).split())}"[:MOST_WORDS]
        why = self._destination.why_unwritable() or why
        print(f"{self._destination.name} failed with trial {record.number}: {why}", file=sys.stderr, flush=True)
        self._tell({"logger": self._destination.name, "times": self._failures, "trial": record.number, "why": why})

    def close(self) -> None:
        """Write out what is left."""
        try:
            if self._logger is not None:
                self._logger.close()
        except Exception as error:
            self._failed(TrialRecord(-1, {}, 0.0), error)


def serve(lines: BinaryIO, answers: BinaryIO) -> None:
    """Write records until there are no more. Each is answered by a line: the trial, if it has ended, or a failure."""

    def tell(answer: dict[str, Any]) -> None:
        try:
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()
        except OSError:
            pass  # the driver is gone; what it has sent is written all the same

    orders = build(Orders, read_json(lines.readline()))
    home = Path(orders.home)
    file = JournalFile(home, orders.campaign)
    destinations = [build(Destination, each) for each in orders.destinations]
    writers = [Writer(each, orders.study, file, home, tell) for each in destinations]
    for line in lines:
        record = TrialRecord.from_line(line)
        for writer in writers:
            writer.write(record)
        if record.state:
            tell({"done": record.number})
    for writer in writers:
        writer.close()
    file.close()


def main() -> None:
    """Serve the driver. Output of the loggers' packages goes to the log, where stderr goes, too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of the input is the end
    os.umask(0o077)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
