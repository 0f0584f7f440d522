"""Learns what attempts cost in each pool, from the events between the pools and the campaign."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from itertools import islice
from typing import Any

from ..placement import Costs
from ..trial.protocol import AttemptSpec, Outcome
from .durations import REMEMBERED, SHARE, Durations
from .whole_trial import WholeTrial


def note_cost(
    costs: Costs,
    params: Mapping[str, Any],
    pool: str,
    seconds: float,
    whole: bool,
    steps: int | None,
    of: int | None,
    memory: int | None,
) -> None:
    """Tell ``costs`` what a trial took in a pool: a whole one, or one that ended early.

    Args:
        costs: Is told.
        params: The trial's parameters.
        pool: Where it ran.
        seconds: How long.
        whole: It ran to its end.
        steps: How many it has done; None where it reported none.
        of: How many whole trials have; None where that is not known.
        memory: Its peak memory in bytes, where that is known. That of a trial which ended before its first report says
            little of what it would have taken, and is left out.
    """
    more: dict[str, Any] = {"steps": steps, "of_steps": of} if steps and of else {}
    if memory and (whole or steps):
        more["memory"] = float(memory)
    costs.note(params, pool, seconds, censored=not whole, **more)


@dataclass
class _Running:
    """An attempt that a pool has.

    Attributes:
        began: When a worker began it, Unix seconds; None before.
        last_step: The last step that it has reported; None before the first.
        first_steps: The first two that the trial has reported, in any attempt.
    """

    spec: AttemptSpec
    pool: str
    began: float | None = None
    last_step: int | None = None
    first_steps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._keep(step for first, last in self.spec.reported for step in range(first, last + 1))

    @property
    def earlier(self) -> int | None:
        """The last step of the attempts before it in the same repetition; None where they reported none."""
        if self.spec.attempt == self.spec.since:
            return None
        return max((last for _, last in self.spec.reported), default=None)

    @property
    def whole(self) -> WholeTrial | None:
        """The steps of the trial, if it is complete."""
        return WholeTrial.of(self.first_steps if self.last_step is None else (*self.first_steps, self.last_step))

    def report(self, steps: Sequence[int]) -> None:
        """It has reported these steps, at least one."""
        self.last_step = max(steps) if self.last_step is None else max(self.last_step, *steps)
        self._keep(steps)

    def _keep(self, steps: Iterable[int]) -> None:
        self.first_steps = tuple(nsmallest(2, {*self.first_steps, *islice(steps, 2)}))


class CostLearner:
    """What attempts cost in each pool.

    A complete trial says how long it ran, and how many steps it has. One that ended early gives a lower bound; where it
    reported steps, it says how long each of them takes. An attempt that goes on from a checkpoint counts by the steps
    that it has done itself. Each says what memory it took at most; one that failed for lack of memory needs more.

    Args:
        costs: Is told of each attempt that has ended.
        given: The user has said how long a trial runs, so that attempts are not expected to take other times by pool.
    """

    def __init__(self, costs: Costs, *, given: bool = False):
        self.costs, self._given = costs, given
        self._running: dict[str, _Running] = {}
        self._durations: dict[str, Durations] = {}
        self._whole: WholeTrial | None = None  # the last complete one
        self._predicted: deque[float] = deque(maxlen=REMEMBERED)  # for the last attempts that were given to pools

    def submitted(self, spec: AttemptSpec, pool: str) -> AttemptSpec:
        """An attempt is given to a pool; returns it with the seconds that it is expected to run there.

        The campaign expects the same of all trials. The attempt is expected to take more by as much as its predicted
        time is above that of recent attempts.
        """
        self._running[spec.token] = _Running(spec, pool)
        seconds = self.costs.seconds(spec.params, pool)
        if seconds is None:
            return spec
        self._predicted.append(seconds)
        if self._given or spec.expected is None:
            return spec
        row = sorted(self._predicted)
        usual = row[math.ceil(SHARE * len(row)) - 1]
        return replace(spec, expected=spec.expected * seconds / usual)

    def started(self, token: str, now: float) -> None:
        """A worker has begun an attempt."""
        if token in self._running:
            self._running[token].began = now

    def has_begun(self, token: str) -> bool:
        """Whether a worker has begun an attempt that a pool has."""
        attempt = self._running.get(token)
        return attempt is not None and attempt.began is not None

    def reported(self, token: str, steps: Sequence[int], now: float) -> float | None:
        """An attempt has reported steps, at least one.

        Returns:
            By this report, the seconds of a whole trial; None while nobody knows how many steps that has.
        """
        attempt = self._running.get(token)
        if attempt is None:
            return None
        attempt.report(steps)
        if self._whole is None or attempt.began is None or attempt.last_step is None:
            return None
        return self._whole.seconds(attempt.last_step, now - attempt.began, attempt.earlier)

    def ended(self, token: str, outcome: Outcome | None, now: float) -> None:
        """An attempt is over; ``outcome`` is None where it was lost."""
        attempt = self._running.pop(token, None)
        if attempt is None or attempt.began is None or (outcome and outcome.kind == "declined"):
            return
        params, pool = attempt.spec.params, attempt.pool
        seconds = max(0.0, now - attempt.began) if outcome is None else outcome.ran
        self._durations.setdefault(pool, Durations()).add(seconds, whole=False)
        if outcome and outcome.kind == "failed":
            if outcome.failure == "memory":
                self.costs.failed_by_memory(params, pool, outcome.memory)
            return
        whole = outcome is not None and outcome.kind == "complete"
        if whole and attempt.last_step is not None:
            self._whole = attempt.whole
        like = self._whole or attempt.whole
        steps = None if like is None or attempt.last_step is None else like.done(attempt.last_step, attempt.earlier)
        if attempt.earlier is None or (steps and self._whole):
            memory = None if outcome is None else outcome.memory
            of = None if self._whole is None else self._whole.steps
            note_cost(self.costs, params, pool, seconds, whole, steps, of, memory)

    def median(self, pool: str) -> float | None:
        """Median seconds of the attempts that ended in a pool; None before the first."""
        return self._durations[pool].median if pool in self._durations else None
