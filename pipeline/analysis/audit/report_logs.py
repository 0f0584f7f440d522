"""Checks that the database has every report of the attempts that a trial went on from, by the logs of its attempts.

Each log after a trial's first says how much of the log before it was read when its attempt began (see
:mod:`pilotune.pipeline.trial.report_log`). These reports must be in the database; what was written there later came too
late, since the trial had gone on without it. No clock is asked where a log says this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from ...trial.files import CLOCKS
from ...trial.report_log import LoggedReport, ReportLog
from .database import RecordedTrial
from .files import TrialFolder, WrittenOutcome
from .findings import Audit

NAMED = 5
"""Most steps that a sentence lists."""


class Required(NamedTuple):
    """Reports of one attempt that the database must have."""

    attempt: int
    reports: tuple[LoggedReport, ...]


def check_logs(found: Audit, trial: RecordedTrial, folder: TrialFolder) -> None:
    """Add a violation for each attempt of the trial whose reports are lost.

    Args:
        found: Gets the violations.
        trial: As the database has it, read after the folder.
        folder: One of the trial's folders.
    """
    if trial.copied is not None or trial.learned is not None or (trial.final and trial.exit is None):
        return  # another study accounts for it, or another program has ended it
    kept = set(trial.reports.steps)
    # The reports of a trial that is repeated are those of its first repetition, which has ended.
    ended = trial.final or trial.repetitions
    required = _of_ended(trial, folder) if ended else _of_running(kept, folder.logs)
    said: set[int] = set()
    for attempt, reports in required:
        lost = [each for each in reports if each.step not in kept and each.step not in said]
        said.update(each.step for each in lost)
        if lost:
            found.violation(_sentence(trial.number, attempt, lost), trial.number, folder.path)


def _of_ended(trial: RecordedTrial, folder: TrialFolder) -> Iterator[Required]:
    """What the database must have of a trial that has ended: all that was carried, and what its last attempt told."""
    logs = [log for log in folder.logs if log.attempt <= trial.reporting]
    for log, after in pairwise(logs):
        if after.source == log.attempt:
            yield Required(log.attempt, tuple(each for each in log.reports if each.end <= after.read))
    for log in logs[-1:]:
        yield Required(log.attempt, log.reports[: log.carried])
        yield Required(log.attempt, _told_at_end(trial, log, folder.written))


def _told_at_end(trial: RecordedTrial, log: ReportLog, written: Iterable[WrittenOutcome]) -> tuple[LoggedReport, ...]:
    """The reports in the newest log that were made before the trial's end was decided."""
    heard = trial.heard
    if isinstance(heard, list) and len(heard) == 2 and heard[0] == log.attempt and type(heard[1]) is int:
        return tuple(each for each in log.reports if each.end <= heard[1])
    token = trial.repetitions[0].token if trial.repetitions else trial.token
    last = [each for each in written if each.attempt == log.attempt == trial.reporting and each.token == token]
    # What a thread of the objective wrote after its end came too late.
    return tuple(each for each in log.reports if last and last[0].is_result and each.at <= last[0].finished + CLOCKS)


def _of_running(kept: set[int], logs: Sequence[ReportLog]) -> Iterator[Required]:
    """What the database must have of a trial that has not ended: what an attempt carried, once its own reports come.

    An attempt tells what it carries first. Before it has told anything, everything may still be on its way.
    """
    for log in logs:
        if any(each.step in kept for each in log.reports[log.carried :]):
            yield Required(log.attempt, log.reports[: log.carried])


def _sentence(number: int, attempt: int, lost: Sequence[LoggedReport]) -> str:
    steps = ", ".join(str(each.step) for each in lost[:NAMED]) + (", ..." if len(lost) > NAMED else "")
    if len(lost) == 1:
        what, it, such = f"a report of trial {number} is", "it at step", "it"
    else:
        what, it, such = f"{len(lost)} reports of trial {number} are", "them at steps", "them"
    return (
        f"{what} lost: attempt {attempt} has {it} {steps} in its report log, the trial went on from there, and the "
        f"database does not have {such}"
    )
