"""Estimates how much longer a campaign runs, from the trials that have ended and those that run.

The rest of the campaign is played out with drawn durations: running trials end first, and each free worker takes the
next trial. Durations are drawn from the distribution of the trials that have ended lately, pruned and failed ones too.
Trials that still run belong to it as well, since they are known to take at least as long as they have run: else the
first trials that end, the short ones, would make all seem short. (This is the estimator of Kaplan and Meier 1958.)
"""

from __future__ import annotations

import bisect
import heapq
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..campaign.campaign import Campaign

SHOWN_FROM, WORKED_FROM = 0.25, 0.1
"""Share of a campaign's time that must have passed before the time left is shown, and share of the time after its first
worker came: before, too little is known."""

SAMPLES = 200
"""Most durations, and most running trials, that an estimate is made from."""

WAVES = 3
"""Durations are taken from at least this many trials for each worker: else the short ones would be too many."""

SLOTS = 32
"""Most workers that are played out. More are scaled down: what counts is how many trials each of them runs."""

ROUNDS = 7
"""How often the rest is played out; the estimate is the median."""

TAIL_WAVES = 3
"""Trials a worker that are played out one by one at the end; what comes before takes the mean duration each."""


@dataclass(frozen=True)
class Progress:
    """What a campaign knows of its speed. Times in seconds.

    Attributes:
        ended: Durations of the trials that ended lately, oldest first.
        known: How many trials have ended in all.
        running: How long each running trial has run.
        to_come: How many trials are still to begin.
        workers: Trials that can run at once.
        availability: The share of these workers that there was lately, on average; more than 1 where there were more.
        overhead: Time for which a worker is idle between two trials.
        elapsed: Time since the campaign began.
        worked: Time since the first worker came.

    >>> steady = Progress([10.0] * 8, 8, [5.0, 5.0], to_come=10, workers=2, elapsed=45.0, worked=45.0)
    >>> round(time_left(steady))
    55
    """

    ended: Sequence[float]
    known: int
    running: Sequence[float]
    to_come: float
    workers: int
    availability: float = 1.0
    overhead: float = 0.0
    elapsed: float = 0.0
    worked: float = 0.0


def campaign_time_left(campaign: Campaign) -> float | None:
    """Seconds until the campaign's trials or its time are used up, whichever comes first; None while unknown."""
    limits, passed = campaign.limits, campaign.now - campaign.began
    until_limit = None if limits.time is None else max(0.0, limits.time - passed)
    planned = campaign.planned
    if planned is None:
        return until_limit
    estimate = time_left(progress_of(campaign, planned)) if campaign.outcomes.stage_seconds else None
    if until_limit is None:
        return estimate
    if estimate is not None:
        return min(estimate, until_limit)
    # The trials may be used up earlier, so the limit says little before some of its time has passed.
    return until_limit if passed >= SHOWN_FROM * limits.time else None  # type: ignore[operator]


def progress_of(campaign: Campaign, trials: int) -> Progress:
    """What is known of a campaign's speed; ``trials``: how many the study will have at its end."""
    study, outcomes, now = campaign.study, campaign.outcomes, campaign.now
    running = [flight.stage_seconds + now - (flight.started or now) for flight in campaign.flights.running.values()]
    others_too = max(1, study.asked - study.asked_before)  # other drivers use up the same budget
    new = max(0, trials - study.asked) * min(1.0, max(1, study.asked_here) / others_too)
    waiting = campaign.in_flight - len(running)
    again, stages = _repetitions(campaign)
    if campaign.promotion:
        waiting += campaign.promotion.promotable
    workers, availability, overhead, worked = max(campaign.workers, len(running)), 1.0, 0.0, 0.0
    since = campaign.speed.recent(now)
    if since is not None:
        worked = now - campaign.speed.samples[0].time
        passed, worker_seconds = now - since.time, campaign.worker_seconds - since.worker_seconds
        idle = worker_seconds - (campaign.busy_seconds - since.busy_seconds)
        if passed > 0.0 and workers:
            availability = worker_seconds / passed / workers
        elif passed > 0.0:
            workers = max(1, round(worker_seconds / passed))
        overhead = max(0.0, idle) / max(1, outcomes.ended_in_all - since.ended + len(running))
        overhead += outcomes.handed_over / max(1, outcomes.ended_in_all)
    return Progress(
        ended=list(outcomes.stage_seconds),
        known=outcomes.ended_in_all,
        running=running,
        to_come=new * stages + waiting + again,
        workers=workers,
        availability=availability,
        overhead=overhead,
        elapsed=now - campaign.began,
        worked=worked,
    )


def _repetitions(campaign: Campaign) -> tuple[float, float]:
    """How many more repetitions the trials in flight will have after those that run, and the stages of a new trial.

    A stage is a repetition, or what a trial runs until it pauses at a rung. Trials that are repeated already have the
    least number before them; others, which may still be pruned, as many as trials have on average.
    """
    outcomes, repeats = campaign.outcomes, campaign.limits.repeats
    if repeats.most == 1:
        return 0.0, max(1.0, outcomes.ended_in_all / max(1, outcomes.first_stages))
    repeated = [flight.repeat for flight in campaign.flights.values() if flight.repeat]
    again = sum(max(0, repeats.least - 1 - repeat) for repeat in repeated)
    known = outcomes.ended_in_all + len(repeated) + again
    stages = max(1.0, known / outcomes.first_stages) if outcomes.first_stages else float(repeats.least)
    return again + (campaign.in_flight - len(repeated)) * (stages - 1.0), stages


def time_left(progress: Progress) -> float | None:
    """Seconds until the last trial ends; None while nothing is known, or little of the way has passed."""
    if not progress.ended or (not progress.running and progress.to_come <= 0):
        return None
    left = Rest(progress).seconds()
    shown = progress.elapsed >= SHOWN_FROM * (progress.elapsed + left)
    return left if shown and progress.worked >= WORKED_FROM * (progress.worked + left) else None


class Durations:
    """The distribution of durations, as far as it is known from trials that have ended and trials that run.

    Args:
        ended: Durations of trials that have ended; at least one.
        running: How long the others have run.
        weight: What a running trial counts. Less than 1 where ``ended`` has only a part of the trials that ended.

    Attributes:
        mean: The mean duration.
    """

    def __init__(self, ended: Sequence[float], running: Sequence[float], weight: float):
        seen = sorted([(seconds, 0, 1.0) for seconds in ended] + [(seconds, 1, weight) for seconds in running])
        self._at: list[float] = []
        masses: list[float] = []
        at_risk, alive = sum(each[2] for each in seen), 1.0
        for seconds, still_runs, counts in seen:
            if not still_runs:
                share = min(1.0, counts / at_risk)
                self._at.append(seconds)
                masses.append(alive * share)
                alive -= alive * share
            at_risk -= counts
        self._beyond = _exposure(seen, self._at) / max(1.0, len(self._at) // 2)
        self._upto = list(accumulate(masses))
        self._alive = max(0.0, alive)
        known = sum(map(float.__mul__, self._at, masses))
        self.mean = known + self._alive * (self._at[-1] + self._beyond)

    def quantile(self, share: float, ran: float = 0.0) -> float:
        """The duration below which this share of the trials stays that have run for ``ran`` seconds already."""
        place = bisect.bisect_right(self._at, ran) if ran else 0
        before = self._upto[place - 1] if place else 0.0
        known = self._upto[-1] - before
        whole = known + self._alive
        if share * whole < known:
            return self._at[min(bisect.bisect_left(self._upto, before + share * whole), len(self._at) - 1)]
        longer = (1.0 - share) * whole / self._alive if self._alive > 0.0 else 1.0 - share
        return max(ran, self._at[-1]) - self._beyond * math.log(min(1.0, longer))


def _exposure(seen: Sequence[tuple[float, int, float]], at: Sequence[float]) -> float:
    """Seconds that trials have run beyond the median of the known durations, all together.

    With the number of trials that ended there, it gives how fast trials end that have run for long.
    """
    since = at[len(at) - 1 - len(at) // 2] if len(at) > 1 else 0.0
    return sum(counts * max(0.0, seconds - since) for seconds, _, counts in seen)


class Rest:
    """The rest of a campaign, scaled down to at most SLOTS workers.

    Args:
        progress: What is known; at least one trial has ended.
    """

    def __init__(self, progress: Progress):
        workers = max(1, progress.workers, len(progress.running))
        ended, weight = _lately(progress, workers)
        running = _thinned(progress.running, SAMPLES)
        self.durations = Durations(ended, running, weight * max(1.0, len(progress.running) / max(1, len(running))))
        self.overhead, self.availability = progress.overhead, progress.availability
        scale = max(1.0, (workers if progress.to_come > 0 else len(progress.running)) / SLOTS)
        self.each = scale  # how many workers and trials each one that is played out stands for
        self.workers = max(1, round(workers / scale))
        self.running = _thinned(progress.running, max(1, round(len(progress.running) / scale)))
        self.to_come = max(0, math.ceil(progress.to_come / scale))

    def seconds(self) -> float:
        """Seconds until the last trial ends."""
        chance = random.Random(0)
        first = min(self.to_come, TAIL_WAVES * self.workers)
        bulk = (self.to_come - first) * (self.durations.mean + self.overhead) / self.workers
        ends = sorted(self._played_out(chance, first) for _ in range(ROUNDS))
        return ends[ROUNDS // 2] + bulk / max(self.availability, 1e-3)

    def _played_out(self, chance: random.Random, to_come: int) -> float:
        quantile, last, longest = self.durations.quantile, 0.0, 0.0
        free = [0.0] * (self.workers - len(self.running))
        for ran in self.running:
            share = chance.random()
            free.append(quantile(share, ran) - ran)
            last = max(last, quantile(self._longest(share), ran) - ran)
        heapq.heapify(free)
        for _ in range(to_come):
            share, start = chance.random(), free[0] + self.overhead
            heapq.heapreplace(free, start + quantile(share))
            longest = max(longest, start + quantile(self._longest(share)))
        return last + max(0.0, longest - last) / max(self.availability, 1e-3)

    def _longest(self, share: float) -> float:
        """The share of the longest among the trials that one stands for."""
        return float(share ** (1.0 / self.each))


def _lately(progress: Progress, workers: int) -> tuple[list[float], float]:
    """Durations of trials that ended lately, and what share they are of all that belong to those that run.

    The trials that end when no new ones begin are the long ones of many, so they are left out, unless all are known.
    """
    window, ended = max(SAMPLES, WAVES * workers), list(progress.ended)
    if progress.known > min(len(ended), window) and progress.to_come <= 0:
        last = len(ended) - (workers - len(progress.running))
        ended = ended[:last] if last >= SAMPLES // 4 else ended
    ended = [max(1e-3, each) for each in _thinned(ended[-window:], SAMPLES)]
    return ended, min(1.0, len(ended) / max(progress.known, 1))


def _thinned(items: Sequence[float], most: int) -> list[float]:
    """At most so many of the items, evenly chosen."""
    return list(_strided(items, most)) if len(items) > most else list(items)


def _strided(items: Sequence[float], most: int) -> Iterator[float]:
    return (items[int(place * len(items) / most)] for place in range(most))
