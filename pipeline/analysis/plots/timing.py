"""When the attempts of a study ran, on which workers, and when its blocks waited and ran.

Campaigns write this to the study (``attributes.BEGAN``, ``RUNS`` and ``BLOCKS``). Studies of earlier versions and of
plain Optuna lack it: when the last attempt of a trial ran follows from when the trial was asked for, how long it waited
and how long it ran, and of their blocks nothing is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ...attributes import BEGAN, BLOCK, BLOCKS, LEASE, RUNS, UTILIZATION, WORKER, details_of
from ..reading import StudyData
from ..trial_facts import attempts_made, host_of, pool_of, seconds_of, state_of, waiting_of
from .figure import Numbers

if TYPE_CHECKING:
    import pandas as pd
    from optuna.trial import FrozenTrial

SHORTEST_GAP, CUT_GAP = 0.1, 0.02
"""A pause in which nothing ran is cut out of the axis of time if it is longer than so large a share of all that ran;
this is the share that is left of it."""

BINS = 200
"""Equal parts of the axis of time; what is shown over time is the mean of each."""

UNITS = (
    ("seconds", 1.0, 300.0),
    ("minutes", 60.0, 3 * 3600.0),
    ("hours", 3600.0, 4 * 86400.0),
    ("days", 86400.0, math.inf),
)
"""Units of time: name, seconds, and up to how many seconds in all it is used."""


@dataclass(frozen=True)
class Attempt:
    """One attempt of a trial. Times are Unix seconds.

    Attributes:
        trial, attempt: The trial's number, and the attempt's, from 1.
        asked: When it began to wait for a worker: when the trial was asked for, or its last attempt had ended.
        began, ended: When it ran; one that has not ended ran up to the last status of its driver.
        how: How it ended: the trial's state; ``lost``; ``failed`` and retried; or ``went on`` in another attempt.
            ``running`` or ``interrupted``: it has not ended.
        host, pool, block, worker: Where; empty where it is not known.
    """

    trial: int
    attempt: int
    asked: float
    began: float
    ended: float
    how: str
    host: str = ""
    pool: str = ""
    block: str = ""
    worker: str = ""

    @property
    def place(self) -> str:
        """The worker that ran it; its host where the worker is not known."""
        return self.worker or self.host or "?"


@dataclass(frozen=True)
class Block:
    """One block. Times are Unix seconds.

    Attributes:
        campaign, pool, block, job: Which one: Parsl's number of the block, and the scheduler's id of the job.
        queued: When it was submitted.
        started: When its job began to run; None if it never did.
        ended: When it ended; that of the campaign where that is not known; None while it lives.
        workers: Most workers that were connected at once.
        nodes: Its nodes.
        reason: Why it ended.
        joined: When its first worker was connected; None if none was, or if it is not known.
    """

    campaign: str
    pool: str
    block: str
    job: str
    queued: float
    started: float | None
    ended: float | None
    workers: int
    nodes: int
    reason: str = ""
    joined: float | None = None


def attempts_of(data: StudyData) -> list[Attempt]:
    """All attempts that have ended, as far as their times are known, by trial and attempt."""
    found: list[Attempt] = []
    for trial in data.trials:
        if trial.datetime_start is None:
            continue
        state = state_of(trial, data.live)
        asked = trial.datetime_start.timestamp()
        earlier = earlier_attempts(trial.number, asked, trial.system_attrs.get(RUNS))
        asked = earlier[-1].ended if earlier else asked
        found += earlier
        times = _last(trial, state, asked, sum(each.ended - each.began for each in earlier))
        if times is None:
            continue
        details = details_of(trial)
        found.append(Attempt(trial.number, attempts_made(trial, state), min(asked, times[0]), *times, state,
                             host_of(trial), pool_of(trial), str(details.get(BLOCK, "")),
                             str(details.get(WORKER, ""))))  # fmt: skip
    return one_at_a_time(found)


def one_at_a_time(attempts: list[Attempt]) -> list[Attempt]:
    """The attempts; where clocks and rounding let one overlap the next on its worker, its end is cut."""
    following: dict[str, float] = {}
    found = list(attempts)
    for at in sorted(range(len(attempts)), key=lambda i: -attempts[i].began):
        each = attempts[at]
        if each.worker:
            ended = min(each.ended, max(following.get(each.worker, each.ended), each.began))
            following[each.worker] = each.began
            found[at] = each if ended == each.ended else replace(each, ended=ended)
    return found


def earlier_attempts(number: int, asked: float, runs: Any) -> list[Attempt]:
    """The attempts before the last one, as they are in the attribute RUNS; what is not valid is left out."""
    found: list[Attempt] = []
    for run in runs if isinstance(runs, list) else ():
        try:
            attempt, began, seconds, how, host, pool, block, worker = run
            each = Attempt(number, int(attempt), min(asked, began), float(began), float(began) + float(seconds), how,
                           host, pool, block, worker)  # fmt: skip
        except (TypeError, ValueError):
            continue
        found.append(each)
        asked = each.ended
    return found


def _last(trial: FrozenTrial, state: str, asked: float, before: float) -> tuple[float, float] | None:
    """When the last attempt of a trial began and ended; None if the trial has not ended, or never ran."""
    seconds = seconds_of(trial, state)
    if trial.datetime_complete is None or seconds is None:
        return None
    end, ran = trial.datetime_complete.timestamp(), max(0.0, seconds - before)
    began: Any = trial.user_attrs.get(BEGAN)
    if isinstance(began, int | float) and math.isfinite(began):
        return float(began), min(float(began) + ran, max(end, float(began)))
    if attempts_made(trial, state) > 1:  # of earlier versions: only the whole time is known
        return max(asked, end - ran), end
    start = asked + (waiting_of(trial) or 0.0)
    return start, min(start + ran, max(end, asked))


def blocks_of(data: StudyData) -> list[Block]:
    """All blocks, by campaign and the time of their submission."""
    found = []
    for key, value in data.system_attrs.items():
        if not key.startswith(BLOCKS) or not isinstance(value, list):
            continue
        campaign = key.removeprefix(BLOCKS).rpartition(":")[0]
        end = _end_of(data, campaign)
        for each in value:
            try:
                pool, block, job, queued, started, ended, workers, nodes, reason, *more = each
                ended = end if ended is None else float(ended)
                joined = float(more[0]) if more and more[0] is not None else None
                found.append(Block(campaign, pool, block, job, float(queued),
                                   None if started is None else float(started), ended, int(workers), int(nodes),
                                   reason, joined))  # fmt: skip
            except (TypeError, ValueError):
                continue
    return sorted(found, key=lambda each: (each.queued, each.campaign, each.block))


def _end_of(data: StudyData, campaign: str) -> float | None:
    """The last sign of life of a campaign that has ended or died; None while it lives."""
    lease = data.system_attrs.get(LEASE + campaign)
    if campaign in data.live or not isinstance(lease, Mapping):
        return None
    heartbeat = lease.get("heartbeat")
    return float(heartbeat) if isinstance(heartbeat, int | float) else None


@dataclass(frozen=True)
class Clock:
    """Turns Unix seconds into positions on an axis of time, on which long pauses are cut.

    Attributes:
        label: The axis's label.
        unit: Seconds of one unit.
        known, places: The axis goes linearly from one of these moments (Unix seconds) to the next (its units).
        cuts: Where a pause was cut, and how long it was, in seconds.
    """

    label: str
    unit: float
    known: Numbers
    places: Numbers
    cuts: tuple[tuple[float, float], ...]

    @classmethod
    def over(cls, starts: Numbers, ends: Numbers) -> Clock:
        """A clock for everything that goes on between these times (Unix seconds); there is at least one."""
        order = np.argsort(starts)
        starts, ends = starts[order], np.maximum.accumulate(ends[order])
        gaps = starts[1:] - ends[:-1]
        busy = ends[-1] - starts[0] - gaps[gaps > 0.0].sum()
        long = np.flatnonzero(gaps > max(SHORTEST_GAP * busy, 1.0))
        known, places, cuts = [starts[0]], [0.0], []
        for at in long:
            places += [places[-1] + ends[at] - known[-1], 0.0]
            places[-1] = places[-2] + CUT_GAP * busy
            known += [ends[at], starts[at + 1]]
            cuts.append((0.5 * (places[-1] + places[-2]), float(gaps[at])))
        places.append(places[-1] + max(ends[-1] - known[-1], 1e-3))
        known.append(max(ends[-1], known[-1] + 1e-3))
        name, unit = next((name, unit) for name, unit, most in UNITS if places[-1] <= most)
        begin = datetime.fromtimestamp(starts[0], UTC).strftime("%Y-%m-%d %H:%M:%S")
        return cls(f"{name} since {begin} UTC", unit, np.array(known), np.array(places) / unit,
                   tuple((place / unit, gap) for place, gap in cuts))  # fmt: skip

    def __call__(self, moments: Numbers) -> Numbers:
        """Positions of these moments (Unix seconds)."""
        return np.interp(moments, self.known, self.places)

    @property
    def end(self) -> float:
        """The axis's last position."""
        return float(self.places[-1])


def edges(clock: Clock) -> Numbers:
    """Moments (Unix seconds) that part the axis of time into ``BINS`` equal ones; each cut pause is one more."""
    places = np.union1d(np.linspace(0.0, clock.end, BINS + 1), clock.places)
    return np.unique(np.interp(places, clock.places, clock.known))


def lasted(seconds: float) -> str:
    """How long something lasted, in the largest unit of which it is more than two.

    >>> lasted(0.25), lasted(150.0), lasted(36000.0)
    ('0.25 s', '2.5 min', '10 h')
    """
    unit, size = next((each for each in (("h", 3600.0), ("min", 60.0)) if seconds > 2.0 * each[1]), ("s", 1.0))
    return f"{seconds / size:.3g} {unit}"


def moments(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The table with these columns, which hold Unix seconds, as times in UTC."""
    import pandas as pd

    return table.assign(**{name: pd.to_datetime(table[name], unit="s", utc=True) for name in columns})


def table_of(found: Sequence[Attempt] | Sequence[Block], *times: str) -> pd.DataFrame:
    """A line for each attempt or block; the columns ``times`` hold Unix seconds, and become times in UTC."""
    import pandas as pd

    return moments(pd.DataFrame([vars(each) for each in found]), *times)


def running(attempts: Sequence[Attempt]) -> tuple[Numbers, Numbers]:
    """How many attempts ran at once: moments (Unix seconds), and the number from each on."""
    return levels([(each.began, each.ended, 1) for each in attempts])


def available(attempts: Sequence[Attempt], blocks: Sequence[Block]) -> tuple[Numbers, Numbers]:
    """How many workers were connected: moments, and the number from each on.

    The workers of a block count from when the first of them was connected. Where no blocks are known, a worker counts
    from its first attempt to its last.
    """
    if blocks:
        last = max([each.ended for each in attempts] + [each.ended or each.queued for each in blocks])
        lived = [each for each in blocks if each.started is not None and each.workers]
        return levels([(each.joined or each.started or 0.0, each.ended or last, each.workers) for each in lived])
    first: dict[str, float] = {}
    final: dict[str, float] = {}
    for each in attempts:
        first[each.place] = min(first.get(each.place, each.began), each.began)
        final[each.place] = max(final.get(each.place, each.ended), each.ended)
    return levels([(first[place], final[place], 1) for place in first])


def starting(blocks: Sequence[Block]) -> tuple[Numbers, Numbers]:
    """How many workers had a block that ran, and were not connected yet: moments, and the number from each on."""
    return levels([(each.started, each.joined, each.workers) for each in blocks
                   if each.started is not None and each.joined is not None and each.joined > each.started])  # fmt: skip


def utilization_of(data: StudyData) -> float | None:
    """The part of the time of all connected workers in which they ran trials, as the campaigns have counted it.

    None where a campaign that had blocks has not: it has just begun, or is of an earlier version.
    """
    counted: dict[str, tuple[float, float]] = {}
    for key, value in data.system_attrs.items():
        if key.startswith(UTILIZATION):
            try:
                busy, connected = map(float, value)
            except (TypeError, ValueError):
                continue
            if 0.0 <= busy <= connected < math.inf and connected:
                counted[key.removeprefix(UTILIZATION)] = busy, connected
    if not counted or {each.campaign for each in blocks_of(data) if each.workers} - counted.keys():
        return None
    return sum(busy for busy, _ in counted.values()) / sum(connected for _, connected in counted.values())


def levels(spans: Sequence[tuple[float, float, int]]) -> tuple[Numbers, Numbers]:
    """The sum of the amounts of all spans (begin, end, amount) at each moment at which it changes.

    >>> [each.tolist() for each in levels([(0.0, 2.0, 3), (1.0, 4.0, 1)])]
    [[0.0, 1.0, 2.0, 4.0], [3.0, 4.0, 1.0, 0.0]]
    """
    if not spans:
        return np.empty(0), np.empty(0)
    begins, ends, amounts = np.array(spans, dtype=np.float64).T
    moments, which = np.unique(np.concatenate([begins, ends]), return_inverse=True)
    return moments, np.cumsum(np.bincount(which, np.concatenate([amounts, -amounts])))


def integral(moments: Numbers, amounts: Numbers, edges: Numbers) -> Numbers:
    """Amount times seconds between each two neighbouring edges, of an amount that holds from each moment on."""
    if not len(moments):
        return np.zeros(len(edges) - 1)
    total = np.concatenate([[0.0], np.cumsum(amounts[:-1] * np.diff(moments))])
    return np.diff(np.interp(edges, moments, total))
