"""Judges each outcome that a worker wrote by what the database says of its trial."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .audit_files import Written
from .audit_rows import Kept

FATES = ("kept", "retried", "fenced", "waiting", "lost", "doubled", "altered", "unreadable")
"""What became of an outcome: told to the study; failed and tried again; of an attempt that another had superseded or
that was given up; to be collected by the next driver; and what must not be."""

GIVEN_UP = ("lost", "yielded")
"""Ends of a trial that its driver declares by itself: what its last attempt wrote afterwards came too late."""


class Verdict(NamedTuple):
    """One outcome's fate, and what is to be said about it; empty where nothing is."""

    fate: str
    words: str = ""


def judge(written: Written, claimed: Sequence[Kept], directions: int, earlier: bool, found_at: str) -> Verdict:
    """The fate of one outcome that can be read.

    Args:
        claimed: The trials of its number in the database.
        directions: How many values a complete trial has.
        earlier: Whether attempts before this one may have reported too.
        found_at: The folder in which the next driver will look for it; empty where that is not known.
    """
    if not claimed:
        return Verdict("lost", "the database has no trial of this number")
    if len(claimed) > 1:
        return Verdict("doubled", f"the database has {len(claimed)} trials of this number")
    trial = claimed[0]
    if written.attempt > trial.attempt:
        return Verdict("lost", f"the database knows of {trial.attempt} attempts only, and this is one more")
    if written.attempt < trial.attempt:
        return Verdict("retried" if written.kind == "failed" else "fenced")
    if written.token != trial.token:
        return Verdict("altered", f"it is of attempt {written.token}, and the database waited for {trial.token}")
    if not trial.final:
        return _awaited(written, trial, found_at)
    if trial.exit in GIVEN_UP:
        return Verdict("fenced")
    difference = _differs(written, trial, directions, earlier)
    if difference and trial.exit is None:
        return Verdict("fenced", "another program than Pilotune had ended the trial")
    return Verdict("altered", difference) if difference else Verdict("kept")


def _awaited(written: Written, trial: Kept, found_at: str) -> Verdict:
    if trial.state != "running":
        return Verdict("lost", f"the trial is {trial.state} in the database, as if it had never begun")
    if found_at and os.path.realpath(found_at) != os.path.realpath(written.path.parent):
        return Verdict("lost", f"the next driver will look for it in {found_at}")
    return Verdict("waiting")


def _differs(written: Written, trial: Kept, directions: int, earlier: bool) -> str:
    """In which respect the database says something else; empty where it says the same."""
    state = {"complete": "complete", "pruned": "pruned", "failed": "failed"}[written.kind]
    if state == "complete" and not _fit(written.values, directions):
        state = "failed"
    if trial.state != state:
        return f"it says {written.kind}, the database says {trial.state}"
    if state == "complete" and list(written.values or ()) != trial.values:
        return f"it says {_numbers(written.values or ())}, the database says {_numbers(trial.values)}"
    kept = trial.reports.as_dict()
    for step, value in written.reports.as_dict().items():
        if step not in kept:
            return f"its report at step {step} is not in the database"
        if not earlier and not same(kept[step], value):
            return f"it reported {value} at step {step}, the database says {kept[step]}"
    return ""


def _fit(values: tuple[float, ...] | None, directions: int) -> bool:
    return values is not None and len(values) == directions and all(map(math.isfinite, values))


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(map(repr, values)) or "no value"


def same(one: float, other: float) -> bool:
    """Equal, or both NaN."""
    return one == other or (math.isnan(one) and math.isnan(other))


# -- reports ----------------------------------------------------------------------------------------------------------


def invented(trial: Kept, files: Mapping[int, Written]) -> str:
    """A report in the database that no attempt made; empty where there is none, or where nobody can tell.

    Args:
        files: The outcome files of all kinds of this trial, by attempt. Where one is missing (its worker was killed) or
            tells nothing of reports (the attempt was cut off by an error of the worker's), nobody can tell.
    """
    attempts = range(1, trial.attempt + 1)
    if not trial.reports.steps or any(each not in files or _silent(files[each]) for each in attempts):
        return ""
    made: dict[int, list[float]] = defaultdict(list)
    for each in attempts:
        for step, value in files[each].reports.as_dict().items():
            made[step].append(value)
    for step, value in trial.reports.as_dict().items():
        if not any(same(value, each) for each in made.get(step, ())):
            return f"it has {value} reported at step {step}, which none of its {trial.attempt} attempts did"
    return ""


def _silent(written: Written) -> bool:
    return not written.kind or written.failure == "setup"
