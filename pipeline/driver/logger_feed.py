"""Feeds the loggers' process with the trials of this campaign, in threads beside the driver's loop."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from ..analysis import row_of
from ..attributes import OWNER
from ..loggers.journal import read_journals
from ..loggers.records import TrialRecord
from ..loggers.settings import destination
from ..record import study_leases
from ..study_changes import FINISHED

if TYPE_CHECKING:
    import optuna

    from ..record import RecordStorage
    from ..studyfile import StudyFile

log = logging.getLogger(__name__)

MOST_WAITING = 10_000
"""Most reports that wait to be written. Further ones follow with the end of their trial."""

LONGEST_WAIT = 120.0
"""Seconds that the loggers may be silent after the campaign has ended; the next campaign writes what they lack."""

FOLDER = "loggers"
"""The folder for loggers, in the study's folder of the run directories."""


class LoggerFeed:
    """Sends reports and ends of trials to the loggers' process, after they are committed.

    The loop only puts numbers into a queue. One thread makes records of them and writes them to the process, another
    reads what failed. A record at a trial's end has all its reports, so those that were not sent before are written
    then, those that were found on disk after a crash, too.

    Args:
        study_file: Its ``loggers``.
        storage: The record.
        study: The study, claimed.
        campaign: The campaign's id.
        folder: The study's folder of the run directories, ``<runs>/<name>``.

    Attributes:
        lost: A sentence about what was not written; empty while all is well.
    """

    def __init__(self, study_file: StudyFile, storage: RecordStorage, study: optuna.Study, campaign: str, folder: Path):
        self._storage, self._study, self._campaign, self._folder = storage, study, campaign, folder
        home = folder / FOLDER
        self._home = home
        self._metrics = study_file.metrics or _names(len(study_file.directions))
        self._constants = study_file.space.constants if study_file.space else {}
        self._destinations = [
            destination(each, study_file.name, study_file.folder, home) for each in study_file.loggers
        ]
        self._queue: queue.SimpleQueue[int | tuple[int, list[list[float]]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._failures: dict[str, str] = {}
        self._waiting = 0  # trials whose end is not written yet
        self._heard = time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []
        self.lost = ""

    def start(self) -> None:
        """Start the process, and send it what earlier campaigns in this folder have left."""
        others = {each.campaign for each in study_leases(self._storage, self._study) if each.state == "running"}
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self._home / "loggers.log").open("ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "pilotune.pipeline.loggers.process"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as error:
            self._give_up(f"the loggers cannot be started: {error.strerror}")
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        others.discard(self._campaign)
        for function, args in ((self._send, (self._process.stdin, others)), (self._listen, (self._process.stdout,))):
            thread = threading.Thread(target=function, args=args, name="loggers", daemon=True)
            thread.start()
            self._threads.append(thread)

    def put_ended(self, numbers: Sequence[int]) -> None:
        """These trials have ended, and their ends are committed."""
        if self._process is None:
            return
        with self._lock:
            self._waiting += len(numbers)
        for number in numbers:
            self._queue.put(number)

    def put_reports(self, reports: Mapping[int, Mapping[int, float]]) -> None:
        """These reports of trials, step -> value by trial number, are committed."""
        if self._process is None or self._queue.qsize() > MOST_WAITING:
            return
        now = time.time()
        for number, found in reports.items():
            self._queue.put((number, [[step, value, now] for step, value in found.items()]))

    @property
    def warnings(self) -> list[str]:
        """A sentence for each logger that failed, and about what was not written."""
        with self._lock:
            return [*self._failures.values(), *([self.lost] if self.lost else [])]

    def finish(self, stopped: Callable[[], bool], tell: Callable[[str], None]) -> None:
        """Wait until everything is written, as long as the loggers make progress.

        Args:
            stopped: Whether the user wants to wait no longer.
            tell: Called all the time with a sentence to show.
        """
        process = self._process
        if process is None:
            return
        self._queue.put(None)
        self._heard = began = time.monotonic()
        while process.poll() is None:
            silent = time.monotonic() - self._heard
            if stopped() or silent > LONGEST_WAIT:
                process.kill()
                self._give_up(f"the loggers were still writing {silent:.0f} s after the end")
                break
            tell("waiting for the loggers" if time.monotonic() - began > 1.0 else "")
            time.sleep(0.05)
        process.wait()
        for thread in self._threads:
            thread.join(timeout=1.0)
        with self._lock:
            left = self._waiting
        if left > 0 and not self.lost:
            self._give_up(f"the loggers' process ended with exit code {process.returncode}")

    def _give_up(self, what: str) -> None:
        with self._lock:
            self._process = None
            self.lost = f"{what}; the next campaign writes what they lack (their log: {self._home / 'loggers.log'})"
        log.warning("%s", self.lost)

    # -- the thread that sends ----------------------------------------------------------------------------------------

    def _send(self, pipe: IO[bytes], others: set[str]) -> None:
        try:
            with pipe:
                orders = {
                    "study": self._study.study_name,
                    "campaign": self._campaign,
                    "home": str(self._home),
                    "destinations": [dataclasses.asdict(each) for each in self._destinations],
                }
                pipe.write(f"{json.dumps(orders)}\n".encode())
                for number in self._left(others):
                    with self._lock:
                        self._waiting += 1
                    self._write(pipe, number)
                pipe.flush()
                while (item := self._queue.get()) is not None:
                    number, reports = item if isinstance(item, tuple) else (item, None)
                    self._write(pipe, number, reports)
                    pipe.flush()
        except BrokenPipeError:
            with self._lock:
                stopped = self._process is None
            if not stopped:
                self._give_up("the loggers' process died")
        except Exception:  # nothing may end the driver
            log.exception("sending to the loggers failed")
            self._give_up("sending to the loggers failed")

    def _left(self, others: set[str]) -> Iterator[int]:
        """Trials of campaigns in this folder that have ended, and that a destination lacks.

        ``others``: the campaigns of other drivers that run, which write their trials themselves.
        """
        journals = [read_journals(self._home, each.place) for each in self._destinations]
        ours = {each.name for each in self._folder.iterdir() if each.is_dir()} - others
        for trial in self._storage.get_all_trials(self._study._study_id, deepcopy=False, states=FINISHED):
            if trial.system_attrs.get(OWNER) in ours and any(trial.number not in each.ended for each in journals):
                yield trial.number

    def _write(self, pipe: IO[bytes], number: int, reports: list[list[float]] | None = None) -> None:
        """Send a running trial with these reports, or a finished one with all of its own."""
        storage = self._storage
        try:
            trial = storage.get_trial(storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number))
            line = record_of(trial, self._metrics, self._constants, reports).to_line()
        except Exception:  # one trial that cannot be told must not keep the others back
            log.exception("trial %d was not sent to the loggers", number)
            with self._lock:
                self._waiting -= reports is None
            return
        pipe.write(line.encode())

    # -- the thread that reads ----------------------------------------------------------------------------------------

    def _listen(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                try:
                    answer = json.loads(line)
                except ValueError:
                    continue
                self._heard = time.monotonic()
                with self._lock:
                    if "done" in answer:
                        self._waiting -= 1
                    else:
                        self._failures[answer["logger"]] = in_words(answer)


def record_of(
    trial: FrozenTrial,
    metrics: Sequence[str],
    constants: Mapping[str, Any],
    reports: list[list[float]] | None = None,
) -> TrialRecord:
    """What is written about a trial.

    Args:
        trial: The trial.
        metrics: Names of its values.
        constants: The space's.
        reports: ``[step, value, Unix seconds]``; None where the trial has ended, and all of its reports are meant.
    """
    row = row_of(trial, metrics, constants)
    started = row.start.timestamp() if row.start is not None else time.time()
    metric = metrics[0] if len(metrics) == 1 else "value"
    if reports is not None:
        return TrialRecord(row.number, dict(row.params), started, reports, metric=metric)
    ended = trial.datetime_complete.astimezone(UTC).timestamp() if trial.datetime_complete is not None else started
    tags = {
        "host": row.host,
        "pool": row.pool,
        "attempts": str(row.attempts),
        "seconds": "" if row.seconds is None else f"{row.seconds:.3f}",
        "exit": row.exit,
        "reason": row.reason,
        "directory": row.directory,
    }
    values = {name: value for name, value in row.values.items() if value is not None and math.isfinite(value)}
    return TrialRecord(
        row.number,
        dict(row.params),
        started,
        [[step, value, ended] for step, value in trial.intermediate_values.items()],
        row.state,
        values,
        ended,
        {name: text for name, text in tags.items() if text},
        metric,
    )


def in_words(answer: Mapping[str, Any]) -> str:
    """A failure that the process has told, as a sentence.

    >>> in_words({"logger": "mlflow", "times": 2, "trial": 7, "why": "OSError: no route to host"})
    'the logger mlflow failed 2 times, at last with trial 7: OSError: no route to host'
    """
    times = f"{answer['times']} times, at last " if answer["times"] > 1 else ""
    trial = f"with trial {answer['trial']}" if answer["trial"] >= 0 else "at the end"
    return f"the logger {answer['logger']} failed {times}{trial}: {answer['why']}"


def _names(count: int) -> tuple[str, ...]:
    return ("value",) if count == 1 else tuple(f"value_{i}" for i in range(count))
