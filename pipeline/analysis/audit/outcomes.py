"""Accounts for every outcome that a worker wrote, by comparing it with its trial in the database."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...attributes import ENDED_PAUSED
from ...noise import Repetition
from ...record import folder_of
from ...trial.protocol import values_fit
from .database import Claims, RecordedTrial
from .files import TrialFolder, WrittenOutcome
from .findings import Audit, list_trials
from .report_logs import check_logs

FATE_WORDS = {"fenced": "late, and ignored"}
"""Fates whose names do not say what they mean -> words for a sentence."""

FATES = ("kept", "retried", "fenced", "waiting", "lost", "doubled", "altered", "unreadable")
"""What became of an outcome: kept in the database; of a failed attempt that was retried; fenced, since another attempt
had replaced its own or the trial had been given up; waiting for the next driver; lost, doubled or altered, which must
not happen; unreadable."""

VIOLATIONS = ("lost", "doubled", "altered")
"""Fates that must not happen."""

GIVEN_UP = ("lost", "yielded", *ENDED_PAUSED)
"""Ends that a driver decides without an outcome. What the last attempt writes afterwards comes too late."""


class Judgement(NamedTuple):
    """What became of an outcome.

    Attributes:
        fate: One of :data:`FATES`.
        words: Why; empty if there is nothing to say.
    """

    fate: str
    words: str = ""


def check_outcomes(
    found: Audit, known: Claims, trials: Iterable[RecordedTrial], folders: Iterable[TrialFolder]
) -> None:
    """Account for every outcome file, and for the reports in the database.

    Args:
        found: Gets the counts and the findings.
        known: The study's campaigns.
        trials: The trials in the database.
        folders: The trials' folders in the run directories.
    """
    claimed: dict[int, list[RecordedTrial]] = defaultdict(list)
    for trial in trials:
        claimed[trial.number].append(trial)
    places: dict[int, list[TrialFolder]] = defaultdict(list)
    for folder in folders:
        places[folder.number].append(folder)
    fates: Counter[str] = Counter()
    missing = []
    for number in sorted(claimed.keys() | places.keys()):
        several, homes = claimed.get(number, []), places.get(number, [])
        for folder in homes:
            _check_folder(found, several, folder)
        files = [written for folder in homes for written in folder.written]
        fates.update(_account(found, known, several, files))
        if len(several) == 1:
            _check_reports(found, several[0], files)
            for folder in homes:
                check_logs(found, several[0], folder)
            missing += [number] if _wants_file(several[0], files) else []
    if missing:
        found.note(f"{list_trials(missing)}: the database has a result, but there is no outcome file; it could not be "
                   "written, or was deleted")  # fmt: skip
    found.outcomes = {"written": fates.total(), **{fate: fates[fate] for fate in FATES}}


def _check_folder(found: Audit, claimed: Sequence[RecordedTrial], folder: TrialFolder) -> None:
    """Every attempt that has begun is in the database."""
    if folder.problem:
        found.note(f"the folder of trial {folder.number} cannot be read: {folder.problem}", folder.number, folder.path)
    with_result = max((written.attempt for written in folder.written if written.is_result), default=0)
    known = max((trial.attempt for trial in claimed), default=0)
    if folder.attempt > max(known, with_result):  # an attempt with a result gets its own finding in _account
        what = latest_known(known) if claimed else "the database has no such trial"
        found.violation(f"attempt {folder.attempt} of trial {folder.number} has begun, but {what}",
                        folder.number, folder.path)  # fmt: skip


def _account(
    found: Audit, known: Claims, claimed: Sequence[RecordedTrial], files: Sequence[WrittenOutcome]
) -> list[str]:
    """The fates of all outcomes of one trial number."""
    tokens = Counter(each.token for each in files if each.is_result)
    fates = []
    for each in files:
        if each.problem:
            fates.append("unreadable")
            found.note(f"an outcome of trial {each.number} cannot be read: {each.problem}", each.number, each.path)
        if not each.is_result:
            continue
        judgement = judge_outcome(each, claimed, known)
        if tokens[each.token] > 1:
            judgement = Judgement("doubled", f"{tokens[each.token]} files have an outcome of this attempt")
        fates.append(judgement.fate)
        fate = FATE_WORDS.get(judgement.fate, judgement.fate)
        what = f"the outcome of attempt {each.attempt} of trial {each.number} is {fate}: {judgement.words}"
        if judgement.fate in VIOLATIONS:
            found.violation(what, each.number, each.path)
        elif judgement.words:
            found.note(what, each.number, each.path)
    return fates


def _wants_file(trial: RecordedTrial, files: Sequence[WrittenOutcome]) -> bool:
    """Whether a worker ended the trial, but left no outcome file although its run directory exists."""
    if trial.exit in (None, *GIVEN_UP) or not trial.directory or any(each.attempt == trial.attempt for each in files):
        return False
    return os.path.isdir(os.path.dirname(trial.directory))


def judge_outcome(written: WrittenOutcome, claimed: Sequence[RecordedTrial], known: Claims) -> Judgement:
    """The fate of one outcome that could be read.

    Args:
        written: The outcome.
        claimed: The trials with its number in the database; one, if all is well.
        known: The study's campaigns.
    """
    if not claimed:
        return Judgement("lost", "the database has no trial of this number")
    if len(claimed) > 1:
        return Judgement("doubled", f"the database has {len(claimed)} trials of this number")
    trial = claimed[0]
    if written.attempt > trial.attempt:
        return Judgement("lost", latest_known(trial.attempt))
    repetition = next((each for each in trial.repetitions if each.token == written.token), None)
    if repetition is not None:
        difference = _differs_from_repetition(written, trial, repetition)
        return Judgement("altered", difference) if difference else Judgement("kept")
    if written.attempt < trial.attempt:
        return Judgement("retried" if written.kind == "failed" else "fenced")
    if written.token != trial.token:
        return Judgement("altered", f"it is of attempt {written.token}, but the database expects {trial.token}")
    if not trial.final:
        return _awaited(written, trial, known)
    difference = _differs(written, trial, known.directions)
    if difference and trial.exit in GIVEN_UP:
        return Judgement("fenced")
    if difference and trial.exit is None:
        return Judgement("fenced", "a program other than Pilotune had ended the trial")
    return Judgement("altered", difference) if difference else Judgement("kept")


def _awaited(written: WrittenOutcome, trial: RecordedTrial, known: Claims) -> Judgement:
    """The fate of an outcome whose trial has not ended in the database."""
    if trial.state != "running":
        return Judgement("lost", f"the database says that the trial is {trial.state}, as if it had never begun")
    place = _next_place(trial, known)
    if place and os.path.realpath(place) != os.path.realpath(written.path.parent):
        return Judgement("lost", f"the next driver will look for it in {place}")
    return Judgement("waiting")


def _next_place(trial: RecordedTrial, known: Claims) -> str:
    """Where the driver that takes the trial over will look for its outcome; empty while its driver is alive."""
    owner = str(trial.owner)
    if owner in known.alive:
        return ""
    left = trial.left if isinstance(trial.left, dict) else {}
    lease = known.leases.get(owner)
    recorded = str(trial.directory or left.get("directory") or "")
    return folder_of(recorded, lease.run if lease else "", trial.number)


def _differs_from_repetition(written: WrittenOutcome, trial: RecordedTrial, repetition: Repetition) -> str:
    """How the outcome and the database differ, where its values are those of a repetition; empty if they agree."""
    if written.kind != "complete":
        return f"it says {written.kind}, the database has values of it"
    if list(written.values or ()) != list(repetition.values):
        return f"it says {_numbers(written.values or ())}, the database says {_numbers(repetition.values)}"
    return _reports_differ(written, trial)


def _differs(written: WrittenOutcome, trial: RecordedTrial, directions: int) -> str:
    """How the outcome and the database differ; empty if they agree."""
    state = written.kind
    if state == "complete" and not values_fit(written.values, directions):
        state = "failed"
    if trial.state != state:
        return f"it says {written.kind}, the database says {trial.state}"
    if state == "complete" and list(written.values or ()) != trial.values:
        return f"it says {_numbers(written.values or ())}, the database says {_numbers(trial.values)}"
    return _reports_differ(written, trial)


def _reports_differ(written: WrittenOutcome, trial: RecordedTrial) -> str:
    """How the outcome's reports and the database differ; empty if they agree, and for later repetitions."""
    if written.attempt > trial.reporting:
        return ""
    kept = trial.reports.as_dict()
    for step, value in written.reports.as_dict().items():
        if step not in kept:
            return f"its report at step {step} is not in the database"
        # A trial keeps the first report of a step, so that of a later attempt may differ from an earlier one's.
        if written.attempt == 1 and not equal(kept[step], value):
            return f"it reported {value} at step {step}, the database says {kept[step]}"
    return ""


def latest_known(attempt: int) -> str:
    """Which attempt the database has, as the end of a sentence."""
    return f"the latest attempt in the database is {attempt}" if attempt else "the database has no attempt of it"


def _numbers(values: Iterable[float]) -> str:
    """The values of a trial, for a sentence."""
    return ", ".join(map(repr, values)) or "no value"


def equal(one: float, other: float) -> bool:
    """Equal, or both NaN."""
    return one == other or (math.isnan(one) and math.isnan(other))


# -- reports ----------------------------------------------------------------------------------------------------------


def _check_reports(found: Audit, trial: RecordedTrial, files: Iterable[WrittenOutcome]) -> None:
    """Every report in the database was made by an attempt.

    This can be checked only if there is an outcome file of each attempt, with its reports: a killed worker leaves no
    file, and one that failed by itself may leave a file without reports.
    """
    by_attempt = {each.attempt: each for each in files if each.kind and not each.silent}
    if not trial.reports.steps or any(attempt not in by_attempt for attempt in range(1, trial.reporting + 1)):
        return
    made: dict[int, list[float]] = defaultdict(list)
    for each in [each for attempt, each in by_attempt.items() if attempt <= trial.reporting]:
        for step, value in each.reports.as_dict().items():
            made[step].append(value)
    for step, value in trial.reports.as_dict().items():
        if trial.attempt and not any(equal(value, each) for each in made.get(step, ())):
            found.violation(
                f"trial {trial.number} has the report {value} at step {step}, which no attempt made", trial.number
            )
            return
