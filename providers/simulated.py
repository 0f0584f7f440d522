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
    BlocksSeen,
    BlockView,
    Capacity,
    Ended,
    Event,
    Lost,
    Reply,
    Scale,
    StopAttempt,
    Submit,
)
from ..pipeline.trial.protocol import AttemptSpec, Outcome, OutcomeKind, Report, Started
from .scaling import Block
from .simulated_blocks import BlockPlan, SimulatedBlocks

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


class Disk:
    """What trials keep in their folders, from attempt to attempt and from driver to driver.

    Args:
        every: A checkpoint is saved after so many steps; 0: only when an attempt yields.

    Raises:
        ValueError: A step is computed that nobody has lost since it was computed before.
    """

    def __init__(self, every: int = 0):
        self.every = every
        self.saved: dict[int, int] = {}  # steps in a trial's checkpoint
        self._computed: dict[int, int] = {}

    def compute(self, number: int, step: int) -> None:
        if step != self._computed.get(number, 0) + 1:
            raise ValueError(f"step {step} of trial {number} is computed after {self._computed.get(number, 0)}")
        self._computed[number] = step
        if self.every and step % self.every == 0:
            self.save(number)

    def save(self, number: int) -> None:
        self.saved[number] = self._computed.get(number, 0)

    def lose(self, number: int) -> None:
        """What came after the checkpoint is gone."""
        self._computed[number] = self.saved.get(number, 0)


DECLINED_PAUSE = 1.0
"""Seconds until a worker that declined an attempt takes another."""


@dataclass
class _Running:
    spec: AttemptSpec
    steps: Iterator[Step]
    started: float
    block: Block | None
    step: int = 0  # the last one, that of earlier attempts included
    value: float = 0.0  # its value
    yielding: bool = False
    reports: list[list[float]] = field(default_factory=list)
    waiting_for: int = 0  # request whose answer it waits for
    over: bool = False


class SimulatedPool:
    """Pretended workers that run ``objective``; implements :class:`~pilotune.pipeline.campaign.pool.Pool`.

    Args:
        workers: Workers, all there from the start and for ever, where there is no plan of blocks.
        objective: Makes the steps of a trial, the same for all its attempts.
        seed: Of delays and faults.
        latency: Seconds for a submission or a message to arrive.
        faults: What goes wrong.
        plan: Blocks that come and go, instead of ``workers``.
        disk: Where trials keep checkpoints; None: each attempt begins at the first step.
        clock: Unix seconds at the start.
    """

    def __init__(
        self,
        workers: int,
        objective: Objective,
        *,
        seed: int = 0,
        latency: float = 0.01,
        faults: Faults | None = None,
        plan: BlockPlan | None = None,
        disk: Disk | None = None,
        clock: float = 0.0,
    ):
        self.objective, self.latency, self.disk = objective, latency, disk
        self.faults = faults or Faults()
        self.random = random.Random(seed)
        self.clock = clock
        self.most_running = 0
        self.outcomes: list[Outcome] = []  # everything a worker ever wrote
        self.reports: list[tuple[int, int, float]] = []  # everything a trial ever said: number, step, value
        self.begun: set[tuple[int, int]] = set()  # attempts that a worker began: number, attempt
        self.declined = 0
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], Event | None]]] = []
        self._queue: list[AttemptSpec] = []
        self._running: dict[str, _Running] = {}
        self._capacity = 0
        self._views: tuple[BlockView, ...] = ()
        self._workers = workers
        self.blocks: SimulatedBlocks | None = None
        if plan:
            calls = (self._block_begins, self._block_closes, self._block_gone)
            self.blocks = SimulatedBlocks(plan, self._do, self.now, *calls, self.random)

    # -- Pool ---------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.clock

    def pause(self, seconds: float) -> None:
        self.clock += seconds

    def wait(self, timeout: float) -> list[Event]:
        """Move the clock to the next thing that happens and hand over what is ready there."""
        end = self.clock + timeout
        events = self._machine()
        while self._agenda and not events and self._agenda[0][0] <= max(end, self.clock):
            self.clock = max(self.clock, self._agenda[0][0])
            while self._agenda and self._agenda[0][0] <= self.clock:
                event = heapq.heappop(self._agenda)[2]()
                if event is not None:
                    events.append(event)
                    if self.random.random() < self.faults.twice:
                        events.append(event)
            events += self._machine()
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
            elif isinstance(action, Scale) and self.blocks:
                self.blocks.demand, self.blocks.expected = action.workers, action.expected

    def close(self) -> None:
        """End everything; what ran loses what its checkpoint does not hold."""
        self._agenda.clear()
        for running in list(self._running.values()):
            self._leave(running, lost=True)
        self._running.clear()

    # -- blocks -------------------------------------------------------------------------------------------------------

    def _machine(self) -> list[Event]:
        """What has changed of the workers and their blocks."""
        events: list[Event] = []
        capacity = self.blocks.capacity() if self.blocks else self._workers
        views = self.blocks.views() if self.blocks else ()
        if capacity != self._capacity:
            self._capacity = capacity
            events.append(Capacity(capacity, self.latency))
        if views != self._views:
            self._views = views
            events.append(BlocksSeen(views))
        return events

    def _block_begins(self, block: Block) -> None:
        for _ in range(block.workers):
            self._at(0.0, self._start_waiting)

    def _block_closes(self, block: Block) -> None:
        """Half of the trials look whether they are to yield all the time, the others when they report."""
        for running in [each for each in self._running.values() if each.block is block]:
            running.yielding = True
            if running.spec.seed % 2:
                self._end_soon(running, "yielded")

    def _block_gone(self, block: Block) -> None:
        for running in [each for each in self._running.values() if each.block is block]:
            self._die(running)

    # -- workers ------------------------------------------------------------------------------------------------------

    def _at(self, delay: float, what: Callable[[], Event | None]) -> None:
        heapq.heappush(self._agenda, (self.clock + delay, next(self._order), what))

    def _do(self, delay: float, what: Callable[[], None]) -> None:
        self._at(delay, lambda: what())

    def _start_waiting(self) -> Event | None:
        block = self.blocks.free() if self.blocks else None
        if not self._queue or (len(self._running) >= self._workers if self.blocks is None else block is None):
            return None
        spec = self._queue.pop(0)
        if self.blocks and block:
            self.blocks.take(block, 1)
            if self.blocks.declines(spec, block):
                self._at(DECLINED_PAUSE, lambda: self._decline(spec, block))
                return None
        running = _Running(spec, self.objective(spec), self.clock, block)
        self._running[spec.token] = running
        self.most_running = max(self.most_running, len(self._running))
        self.begun.add((spec.number, spec.attempt))
        for _ in range(self.disk.saved.get(spec.number, 0) if self.disk else 0):
            running.step, running.value = running.step + 1, next(running.steps)[1] or 0.0
        self._next_step(running)
        return Started(spec.token, host=f"node{len(self._running) % 4}", pid=1, block="0", worker="0")

    def _decline(self, spec: AttemptSpec, block: Block) -> Event | None:
        assert self.blocks is not None
        self.declined += 1
        self.blocks.take(block, -1)
        self._at(0.0, self._start_waiting)
        return Ended(Outcome(token=spec.token, number=spec.number, attempt=spec.attempt, kind="declined"))

    def _next_step(self, running: _Running) -> None:
        delay, value = next(running.steps)
        if self.random.random() < self.faults.lose:
            self._at(delay, lambda: self._die(running))
        elif self.random.random() < self.faults.fail:
            self._end_soon(running, "failed", delay)
        elif value is None:
            self._end_soon(running, "complete", delay)
        else:
            self._at(delay, lambda: self._say(running, value))

    def _say(self, running: _Running, value: float) -> Event | None:
        if running.over:
            return None
        running.step, running.value = running.step + 1, value
        step, number = running.step, running.spec.number
        if self.disk:
            self.disk.compute(number, step)
        running.reports.append([step, value])
        self.reports.append((number, step, value))
        running.waiting_for = len(running.reports)
        return Report(running.spec.token, request=running.waiting_for, step=step, value=value)

    def _answer(self, reply: Reply) -> None:
        running = self._running.get(reply.token)
        if running is None or running.over or reply.request != running.waiting_for:
            return
        running.waiting_for = 0
        if reply.stop or running.yielding:
            kinds: dict[str, OutcomeKind] = {"prune": "pruned", "yield": "yielded", "kill": "stopped"}
            self._end_soon(running, kinds[reply.stop or "yield"])
        else:
            self._next_step(running)

    def _stop(self, action: StopAttempt) -> None:
        running = self._running.get(action.token)
        if running is not None and not running.over:
            self._end_soon(running, "stopped" if action.how == "kill" else "yielded")

    def _end_soon(self, running: _Running, kind: OutcomeKind, delay: float | None = None) -> None:
        self._at(self.latency if delay is None else delay, lambda: self._end(running, kind))

    def _end(self, running: _Running, kind: OutcomeKind) -> Event | None:
        if running.over:
            return None
        if self.disk and kind == "yielded":
            self.disk.save(running.spec.number)
        self._leave(running, lost=kind in ("stopped", "failed"))
        spec = running.spec
        outcome = Outcome(
            token=spec.token,
            number=spec.number,
            attempt=spec.attempt,
            kind=kind,
            values=[running.value] * spec.n_values if kind == "complete" else None,
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
            if self.disk:
                self.disk.lose(running.spec.number)
        else:
            self._leave(running, lost=True)
        self._at(self.faults.notice, lambda: Lost(running.spec.token, "its worker died"))
        return None

    def _leave(self, running: _Running, *, lost: bool) -> None:
        running.over = True
        self._running.pop(running.spec.token, None)
        if self.disk and lost:
            self.disk.lose(running.spec.number)
        if self.blocks and running.block:
            self.blocks.take(running.block, -1)
        self._at(0.0, self._start_waiting)
