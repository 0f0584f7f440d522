"""Judges each outcome that a worker wrote by what the database says of its trial: accounts for every one of them."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...record import RunDirectory
from ...trial.protocol import values_fit
from .database import Claims, RecordedTrial
from .files import TrialFolder, WrittenOutcome
from .findings import Audit, named

FATES = ("kept", "retried", "fenced", "waiting", "lost", "doubled", "altered", "unreadable")
"""What became of an outcome: told to the study; failed and tried again; of an attempt that another had superseded or
that was given up; to be collected by the next driver; and what must not be."""

VIOLATIONS = ("lost", "doubled", "altered")

GIVEN_UP = ("lost", "yielded", "paused")
"""Ends of a trial that its driver declares by itself: what its last attempt wrote afterwards came too late."""


class Judgement(NamedTuple):
    """One outcome's fate, and what is to be said about it; empty where nothing is."""

    fate: str
    words: str = ""


def check_outcomes(
    found: Audit, known: Claims, trials: Iterable[RecordedTrial], folders: Iterable[TrialFolder]
) -> None:
    """Account for every outcome, and for the reports in the database."""
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
            missing += [number] if _wants_file(several[0], files) else []
    if missing:
        found.note(f"of {named(missing)} the database has a result and there is no outcome file: it could not be "
                   "written, or was deleted")  # fmt: skip
    found.outcomes = {"written": fates.total(), **{fate: fates[fate] for fate in FATES}}


def _check_folder(found: Audit, claimed: Sequence[RecordedTrial], folder: TrialFolder) -> None:
    """Nothing begins that the database does not know of."""
    if folder.problem:
        found.note(f"the folder of trial {folder.number} cannot be read: {folder.problem}", folder.number, folder.path)
    told = max((written.attempt for written in folder.written if written.tells), default=0)
    known = max((trial.attempt for trial in claimed), default=0)
    if folder.attempt > max(known, told):  # of an outcome more is said below
        what = knows(known) if claimed else "the database has no such trial"
        found.violation(f"attempt {folder.attempt} of trial {folder.number} has begun, and {what}",
                        folder.number, folder.path)  # fmt: skip


def _account(
    found: Audit, known: Claims, claimed: Sequence[RecordedTrial], files: Sequence[WrittenOutcome]
) -> list[str]:
    """The fates of all outcomes of one number."""
    tokens = Counter(each.token for each in files if each.tells)
    fates = []
    for each in files:
        if each.problem:
            fates.append("unreadable")
            found.note(f"an outcome of trial {each.number} cannot be read: {each.problem}", each.number, each.path)
        if not each.tells:
            continue
        verdict = judge(each, claimed, known)
        if tokens[each.token] > 1:
            verdict = Judgement("doubled", f"{tokens[each.token]} files tell of this attempt")
        fates.append(verdict.fate)
        what = f"the outcome of attempt {each.attempt} of trial {each.number} is {verdict.fate}: {verdict.words}"
        if verdict.fate in VIOLATIONS:
            found.violation(what, each.number, each.path)
        elif verdict.words:
            found.note(what, each.number, each.path)
    return fates


def _wants_file(trial: RecordedTrial, files: Sequence[WrittenOutcome]) -> bool:
    """Whether a worker ended the trial, and left no file of it where there are files of other trials."""
    if trial.exit in (None, *GIVEN_UP) or not trial.directory or any(each.attempt == trial.attempt for each in files):
        return False
    return os.path.isdir(os.path.dirname(trial.directory))


def judge(written: WrittenOutcome, claimed: Sequence[RecordedTrial], known: Claims) -> Judgement:
    """The fate of one outcome that can be read; ``claimed``: the trials of its number in the database."""
    if not claimed:
        return Judgement("lost", "the database has no trial of this number")
    if len(claimed) > 1:
        return Judgement("doubled", f"the database has {len(claimed)} trials of this number")
    trial = claimed[0]
    if written.attempt > trial.attempt:
        return Judgement("lost", knows(trial.attempt))
    if written.attempt < trial.attempt:
        return Judgement("retried" if written.kind == "failed" else "fenced")
    if written.token != trial.token:
        return Judgement("altered", f"it is of the attempt {written.token}, and the database waited for {trial.token}")
    if not trial.final:
        return _awaited(written, trial, known)
    difference = _differs(written, trial, known.directions)
    if difference and trial.exit in GIVEN_UP:
        return Judgement("fenced")
    if difference and trial.exit is None:
        return Judgement("fenced", "another program than Pilotune had ended the trial")
    return Judgement("altered", difference) if difference else Judgement("kept")


def _awaited(written: WrittenOutcome, trial: RecordedTrial, known: Claims) -> Judgement:
    if trial.state != "running":
        return Judgement("lost", f"the database says that the trial is {trial.state}, as if it had never begun")
    place = _next_place(trial, known)
    if place and os.path.realpath(place) != os.path.realpath(written.path.parent):
        return Judgement("lost", f"the next driver will look for it in {place}")
    return Judgement("waiting")


def _next_place(trial: RecordedTrial, known: Claims) -> str:
    """The folder in which the driver that takes a trial over will look for its outcome; empty while it has a driver."""
    owner = str(trial.owner)
    if owner in known.alive:
        return ""
    left = trial.left if isinstance(trial.left, dict) else {}
    lease = known.leases.get(owner)
    home = str(RunDirectory(Path(lease.run)).trial(trial.number).directory) if lease and lease.run else ""
    return str(trial.directory or left.get("directory") or home)


def _differs(written: WrittenOutcome, trial: RecordedTrial, directions: int) -> str:
    """In which respect the database says something else; empty where it says the same."""
    state = written.kind
    if state == "complete" and not values_fit(written.values, directions):
        state = "failed"
    if trial.state != state:
        return f"it says {written.kind}, the database says {trial.state}"
    if state == "complete" and list(written.values or ()) != trial.values:
        return f"it says {_numbers(written.values or ())}, the database says {_numbers(trial.values)}"
    kept = trial.reports.as_dict()
    for step, value in written.reports.as_dict().items():
        if step not in kept:
            return f"its report at step {step} is not in the database"
        if written.attempt == 1 and not same(kept[step], value):
            return f"it reported {value} at step {step}, the database says {kept[step]}"
    return ""


def knows(attempt: int) -> str:
    return f"the database knows of attempt {attempt} only" if attempt else "the database knows of no attempt"


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(map(repr, values)) or "no value"


def same(one: float, other: float) -> bool:
    """Equal, or both NaN."""
    return one == other or (math.isnan(one) and math.isnan(other))


# -- reports ----------------------------------------------------------------------------------------------------------


def _check_reports(found: Audit, trial: RecordedTrial, files: Iterable[WrittenOutcome]) -> None:
    """Every report in the database was made by an attempt.

    Where the file of one is missing (its worker was killed), or tells nothing of reports (an error of the worker's cut
    it off), nobody can tell.
    """
    by_attempt = {each.attempt: each for each in files if each.kind and not each.silent}
    if not trial.reports.steps or any(attempt not in by_attempt for attempt in range(1, trial.attempt + 1)):
        return
    made: dict[int, list[float]] = defaultdict(list)
    for each in by_attempt.values():
        for step, value in each.reports.as_dict().items():
            made[step].append(value)
    for step, value in trial.reports.as_dict().items():
        if trial.attempt and not any(same(value, each) for each in made.get(step, ())):
            found.violation(f"trial {trial.number} has {value} reported at step {step}, which none of its "
                            f"{trial.attempt} attempts did", trial.number)  # fmt: skip
            return
