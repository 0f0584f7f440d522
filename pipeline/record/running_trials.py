"""The running trials that a campaign's ``status.json`` lists: where each runs, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..trial.from_json import build, read_json
from .rundir import RunDirectory

LATEST = 1e11
"""Upper bound of a valid time, Unix seconds (the year 5138); the calendar functions fail somewhat beyond."""


@dataclass(frozen=True)
class RunningTrial:
    """A running trial in a status.

    Attributes:
        number: The trial's number.
        attempt: Its attempt, from 1.
        repeat: Which repetition of the trial it is, from 0.
        host: Where it runs.
        seconds: Since its current attempt began.
        step, value: Its last report; None before the first, and ``value`` also where it is not finite.
        pool, block, worker: Where it runs, in more detail; empty in a status of an earlier version, as is ``began``.
        began: When its current attempt began, Unix seconds on the driver's clock.
    """

    number: int
    attempt: int
    host: str
    seconds: float
    step: int | None = None
    value: float | None = None
    repeat: int = 0
    pool: str = ""
    block: str = ""
    worker: str = ""
    began: float | None = None


@dataclass(frozen=True)
class RunningTrials:
    """The running trials of a campaign, as its driver last wrote them.

    Attributes:
        campaign: The campaign's id.
        updated: When that was, Unix seconds.
        running_trials: Some of them, those that began first; a status does not list thousands.
    """

    campaign: str
    updated: float
    running_trials: tuple[RunningTrial, ...] = ()


def read_running_trials(run: Path, campaign: str) -> RunningTrials | None:
    """The running trials of a campaign; None where its run directory cannot be read from here.

    Args:
        run: The run directory.
        campaign: The campaign's id. The status of another one counts for nothing.
    """
    try:
        found = build(RunningTrials, read_json(RunDirectory(run).status.read_bytes()))
    except (OSError, ValueError):
        return None
    times = (found.updated, *(each.began or 0.0 for each in found.running_trials))
    lasted = (each.seconds for each in found.running_trials)
    valid = found.campaign == campaign and all(abs(number) < LATEST for number in (*times, *lasted))
    return found if valid else None
