"""A pool of pretended workers on a virtual clock: the real campaign runs thousands of workers on a laptop, and a seed
replays everything, faults included."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ..pipeline.campaign.events import (
    Action,
    Capacity,
    Ended,
    Event,
    Lost,
    Reply,
    StopAttempt,
    Submit,
)
from ..pipeline.trial.protocol import AttemptSpec, Outcome, Report, Started

Step = tuple[float, float | None]
"""Seconds until it happens, and the reported value; None is the end, and the trial's value the last one reported."""

Objective = Callable[[AttemptSpec], Iterator[Step]]


@dataclass(frozen=True)
class Faults:
    """How often things go wrong, as probabilities; all zero is a perfect machine.

    Attributes:
        lose: An attempt's worker dies at a step; the pool says so ``notice`` seconds later.
        late: A lost attempt's outcome arrives all the same, after it was declared lost.
        twice: A message or an outcome is delivered twice.
        fail: An attempt ends with an exception.
        shuffle: Events that are ready together are handed over in random order.
    """

    lose: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    fail: float = 0.0
    shuffle: bool = False
    notice: float = 5.0


@dataclass
class _Running:
    spec: AttemptSpec
    steps: Iterator[Step]
    started: float
    reports: list[list[float]] = field(default_factory=list)
    waiting_for: int = 0  # request whose answer it waits for
    over: bool = False


class SimulatedPool:
    """``workers`` pretended workers that run ``objective``; implements :class:`~pilotune.pipeline.campaign.pool.Pool`.

    Args:
        workers: Workers, all there from the start.
        objective: Makes the steps of an attempt.
        seed: Of delays and faults.
        latency: Seconds for a submission or a message to arrive.
        faults: What goes wrong.
    """

    def __init__(
        self, workers: int, objective: Objective, *, seed: int = 0, latency: float = 0.01, faults: Faults | None = None
    ):
        self.workers, self.objective, self.latency = workers, objective, latency
        self.faults = faults or Faults()
        self.random = random.Random(seed)
        self.clock = 0.0
        self.most_running = 0
        self.outcomes: list[Outcome] = []  # everything a worker ever wrote
        self.reports: list[tuple[int, int, float]] = []  # everything a trial ever said: number, step, value
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], Event | None]]] = []
        self._queue: list[AttemptSpec] = []
        self._running: dict[str, _Running] = {}
        self._at(0.0, lambda: Capacity(workers, latency))

    # -- Pool ---------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.clock

    def pause(self, seconds: float) -> None:
        self.clock += seconds

    def wait(self, timeout: float) -> list[Event]:
        """Move the clock to the next thing that happens and hand over what is ready there."""
        end = self.clock + timeout
        events: list[Event] = []
        while self._agenda and not events and self._agenda[0][0] <= max(end, self.clock):
            self.clock = max(self.clock, self._agenda[0][0])
            while self._agenda and self._agenda[0][0] <= self.clock:
                event = heapq.heappop(self._agenda)[2]()
                if event is not None:
                    events.append(event)
                    if self.random.random() < self.faults.twice:
                        events.append(event)
        if not events:
            self.clock = max(self.clock, end)
        if self.faults.shuffle:
            self.random.shuffle(events)
        return events

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Submit):
                self._queue.append(action.spec)
                self._at(self.latency, self._start_waiting)
            elif isinstance(action, Reply):
                self._answer(action)
            elif isinstance(action, StopAttempt):
                self._stop(action)

    def close(self) -> None:
        self._agenda.clear()
        self._running.clear()

    # -- workers ------------------------------------------------------------------------------------------------------

    def _at(self, delay: float, what: Callable[[], Event | None]) -> None:
        heapq.heappush(self._agenda, (self.clock + delay, next(self._order), what))

    def _start_waiting(self) -> Event | None:
        if not self._queue or len(self._running) >= self.workers:
            return None
        spec = self._queue.pop(0)
        running = _Running(spec, self.objective(spec), self.clock)
        self._running[spec.token] = running
        self.most_running = max(self.most_running, len(self._running))
        self._next_step(running)
        return Started(spec.token, host=f"node{len(self._running) % 4}", pid=1, block="0", worker="0")

    def _next_step(self, running: _Running) -> None:
        delay, value = next(running.steps)
        if self.random.random() < self.faults.lose:
            self._at(delay, lambda: self._die(running))
        elif self.random.random() < self.faults.fail:
            self._at(delay, lambda: self._end(running, "failed"))
        elif value is None:
            self._at(delay, lambda: self._end(running, "complete"))
        else:
            self._at(delay, lambda: self._say(running, value))

    def _say(self, running: _Running, value: float) -> Event | None:
        if running.over:
            return None
        step = len(running.reports) + 1
        running.reports.append([step, value])
        self.reports.append((running.spec.number, step, value))
        running.waiting_for = step
        return Report(running.spec.token, request=step, step=step, value=value)

    def _answer(self, reply: Reply) -> None:
        running = self._running.get(reply.token)
        if running is None or running.over or reply.request != running.waiting_for:
            return
        running.waiting_for = 0
        if reply.stop:
            kind = {"prune": "pruned", "yield": "yielded", "kill": "stopped"}[reply.stop]
            self._at(self.latency, lambda: self._end(running, kind))
        else:
            self._next_step(running)

    def _stop(self, action: StopAttempt) -> None:
        running = self._running.get(action.token)
        if running is not None and not running.over:
            kind = "stopped" if action.how == "kill" else "yielded"
            self._at(self.latency, lambda: self._end(running, kind))

    def _end(self, running: _Running, kind: str) -> Event | None:
        if running.over:
            return None
        self._leave(running)
        spec = running.spec
        value = running.reports[-1][1] if running.reports else 0.0
        outcome = Outcome(
            token=spec.token,
            number=spec.number,
            attempt=spec.attempt,
            kind=kind,  # type: ignore[arg-type]
            values=[value] * spec.n_values if kind == "complete" else None,
            failure="exception" if kind == "failed" else "",
            reason="the objective raised" if kind == "failed" else "",
            reports=running.reports,
            started=running.started,
            finished=self.clock,
        )
        self.outcomes.append(outcome)
        return Ended(outcome)

    def _die(self, running: _Running) -> Event | None:
        if running.over:
            return None
        if self.random.random() < self.faults.late:
            late = self._end(running, "complete" if running.reports else "failed")
            self._at(2 * self.faults.notice, lambda: late)
        else:
            self._leave(running)
        self._at(self.faults.notice, lambda: Lost(running.spec.token, "its worker died"))
        return None

    def _leave(self, running: _Running) -> None:
        running.over = True
        self._running.pop(running.spec.token, None)
        self._at(0.0, self._start_waiting)
