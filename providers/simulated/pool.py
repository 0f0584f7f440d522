"""A pool of pretended workers on a virtual clock: the real campaign runs thousands of workers on a laptop, and a seed
replays everything, faults included."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence

from ...pipeline.campaign.events import (
    Action,
    BlocksSeen,
    BlockView,
    Capacity,
    Ended,
    Event,
    Lost,
    Quarantine,
    Reply,
    Scale,
    StopAttempt,
    Submit,
)
from ...pipeline.trial.protocol import PATIENCE, AttemptSpec, Outcome, OutcomeKind, Report, Started, Suggest
from ..blocks.scaling import Block
from .attempt import Objective, Running, Step, Wish
from .blocks import BlockPlan, SimulatedBlocks
from .clock import VirtualTime
from .faults import Disk, Faults, Witness
from .hosts import Nodes, SimulatedHosts

__all__ = ["Objective", "SimulatedPool", "Step", "Wish"]


DECLINED_PAUSE = 1.0
"""Seconds until a worker that declined an attempt takes another."""

RESEND = 2.0
"""Seconds until a worker sends a message again that is not answered."""


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
        nodes: The hosts that workers are on; None: the driver is told of none.
        time: The time that this pool shares with others.
        witness: Sees what the workers really do.

    Attributes:
        skew: Seconds by which the workers' clocks are ahead.
        most_running: The most attempts that ever ran at once.
        over: No worker is left.
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
        nodes: Nodes | None = None,
        time: VirtualTime | None = None,
        witness: Witness | None = None,
    ):
        self.objective, self.latency, self.disk = objective, latency, disk
        self.faults, self.time, self.witness = faults or Faults(), time or VirtualTime(), witness or Witness()
        self.random = random.Random(seed)
        self.skew, self.most_running, self.over = 0.0, 0, False
        self._inbox: list[Event] = []
        self._heard = True  # whether a driver is there to hear of anything
        self._queue: deque[AttemptSpec] = deque()
        self._running: dict[str, Running] = {}
        self._capacity = Capacity(0, latency)
        self._views: tuple[BlockView, ...] = ()
        self._workers = workers
        self.blocks: SimulatedBlocks | None = None
        if plan:
            calls = (self._block_begins, self._block_closes, self._block_gone)
            self.blocks = SimulatedBlocks(plan, self._at, self.now, *calls, self.random)
        self.hosts = SimulatedHosts(nodes, workers, self.blocks, self.random) if nodes else None

    # -- Pool ---------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.time.now

    def pause(self, seconds: float) -> None:
        self.time.advance(seconds)

    def wait(self, timeout: float) -> list[Event]:
        """Let time pass until there is anything to tell, and hand over what is ready."""
        end = self.time.now + timeout
        self._look()
        while not self._inbox and self.time.step(end):
            self._look()
        events, self._inbox = self._inbox, []
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
            elif isinstance(action, Quarantine) and self.hosts:
                self.hosts.quarantine(action.host)

    def close(self) -> None:
        """The driver ends everything; some of what runs still writes down how far it came."""
        self._heard = False
        for running in list(self._running.values()):
            if self.faults.linger and self.random.random() < 0.5:
                self._end(running, "yielded")
        self._vanish()

    def abandon(self) -> None:
        """The driver is dead. Workers go on with what they have for a while, and write outcomes that nobody hears."""
        self._heard = False
        self._inbox.clear()
        if not self.faults.begin:
            self._queue.clear()
        if self.faults.linger:
            self._at(self.faults.linger, self._give_up)
        else:
            self._vanish()

    def _give_up(self) -> None:
        """The workers of a dead driver save what they have, and end."""
        for running in list(self._running.values()):
            self._end(running, "yielded")
        self._vanish()

    def _vanish(self) -> None:
        self.over = True
        self._queue.clear()
        for running in list(self._running.values()):
            self._leave(running, lost=True)

    # -- what a driver hears ------------------------------------------------------------------------------------------

    def _tell(self, event: Event, *, twice: bool = True) -> None:
        """Hand the driver an event, sometimes twice, the second time later."""
        if not self._heard:
            return
        self._inbox.append(event)
        if twice and self.random.random() < self.faults.twice:
            self._at(self.random.uniform(0.0, self.faults.delay), lambda: self._tell(event, twice=False))

    def _look(self) -> None:
        """Tell what has changed of the workers and their blocks."""
        capacity = Capacity(self._room(), self.latency, self.hosts.here() if self.hosts else frozenset())
        views = self.blocks.views() if self.blocks else ()
        if capacity != self._capacity:
            self._capacity = capacity
            self._inbox.append(capacity)
        if views != self._views:
            self._views = views
            self._inbox.append(BlocksSeen(views))

    def _room(self) -> int:
        """Attempts that can run at once."""
        if self.blocks:
            return self.blocks.capacity()
        return self.hosts.capacity() if self.hosts else self._workers

    def _at(self, delay: float, what: Callable[[], None]) -> None:
        self.time.at(delay, lambda: None if self.over else what())

    # -- blocks -------------------------------------------------------------------------------------------------------

    def _block_begins(self, block: Block) -> None:
        if self.hosts:
            self.hosts.home(block.number)
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

    def _start_waiting(self) -> None:
        block = self.blocks.free() if self.blocks else None
        host = self._free_host(block)
        if not self._queue or not host:
            return
        spec = self._queue.popleft()
        self._take(block, host, 1)
        if host in spec.avoid or (self.blocks and block and self.blocks.declines(spec, block)):
            self._at(DECLINED_PAUSE, lambda: self._decline(spec, block, host))
            return
        running = Running(spec, self.objective(spec), self.time.now + self.skew, block, host)
        self._running[spec.token] = running
        self.most_running = max(self.most_running, len(self._running))
        self.witness.began(spec)
        for _ in range(self.disk.begin(spec.number, spec.attempt) if self.disk else 0):
            running.step, running.value = running.step + 1, _number(next(running.steps)[1])
        if self.hosts and self.hosts.fails(host):
            self._end_soon(running, "failed")
        else:
            self._next_step(running)
        self._tell(Started(spec.token, host=host, pid=1, block="0", worker="0"))

    def _free_host(self, block: Block | None) -> str:
        """Where the next attempt begins; empty while there is no room."""
        if self.blocks:
            return "" if block is None else self.hosts.home(block.number) if self.hosts else "node0"
        if self.hosts:
            return self.hosts.free()
        return f"node{(len(self._running) + 1) % 4}" if len(self._running) < self._workers else ""

    def _take(self, block: Block | None, host: str, attempts: int) -> None:
        """So many attempts more, or fewer, are there."""
        if self.hosts:
            self.hosts.take(host, attempts)
        if self.blocks and block:
            self.blocks.take(block, attempts)

    def _decline(self, spec: AttemptSpec, block: Block | None, host: str) -> None:
        self.witness.declined += 1
        self._take(block, host, -1)
        self._at(0.0, self._start_waiting)
        outcome = Outcome(token=spec.token, number=spec.number, attempt=spec.attempt, kind="declined", host=host)
        self._tell(Ended(outcome), twice=False)

    def _next_step(self, running: Running) -> None:
        delay, value = next(running.steps)
        if self.random.random() < self.faults.lose:
            self._at(delay, lambda: self._die(running))
        elif self.random.random() < self.faults.fail:
            self._end_soon(running, "failed", delay)
        elif value is None:
            self._end_soon(running, "complete", delay)
        elif isinstance(value, Wish):
            self._at(delay, lambda: self._wish(running, value))
        else:
            self._at(delay, lambda: self._say(running, value))

    def _wish(self, running: Running, wish: Wish) -> None:
        if running.over:
            return
        if running.asked is not None:
            self._at(RESEND, lambda: self._wish(running, wish))
            return
        running.requests += 1
        running.waiting = True
        self._ask(running, Suggest(running.spec.token, running.requests, wish.name, wish.distribution))

    def _say(self, running: Running, value: float) -> None:
        if running.over:
            return
        spec = running.spec
        running.step, running.value = running.step + 1, value
        if self.disk:
            self.disk.compute(spec.number, spec.attempt, running.step)
        running.reports.append([running.step, value])
        self.witness.said(spec, running.step, value)
        running.unsent.append([running.step, value])
        if running.asked is not None:  # the driver is behind
            self._next_step(running)
            return
        running.waiting = True
        self._report(running)
        message = running.asked
        self._at(PATIENCE, lambda: self._go_on(running) if running.asked is message and running.waiting else None)

    def _report(self, running: Running) -> None:
        """Say all that is not said yet."""
        running.requests += 1
        reports, running.unsent = running.unsent, []
        self._ask(running, Report.of(running.spec.token, running.requests, reports))

    def _go_on(self, running: Running) -> None:
        if not running.over:
            running.waiting = False
            self._next_step(running)

    def _ask(self, running: Running, message: Report | Suggest) -> None:
        """Send a message, and again when its answer does not come."""
        running.asked = message
        self._tell(message)
        if self.faults.drop and self.random.random() < self.faults.drop:
            self._at(RESEND, lambda: self._tell(message) if running.asked is message else None)

    def _answer(self, reply: Reply) -> None:
        running = self._running.get(reply.token)
        if running is None or running.over or running.asked is None or reply.request != running.asked.request:
            return
        if self.random.random() < self.faults.drop:
            message = running.asked
            self._at(RESEND, lambda: self._tell(message) if running.asked is message else None)
            return
        running.asked = None
        if reply.stop or running.yielding:
            kinds: dict[str, OutcomeKind] = {"prune": "pruned", "yield": "yielded", "kill": "stopped"}
            self._end_soon(running, kinds[reply.stop or "yield"])
        elif reply.error:
            self._end_soon(running, "failed")
        else:
            if running.unsent:
                self._report(running)
            if running.waiting:
                self._go_on(running)

    def _stop(self, action: StopAttempt) -> None:
        running = self._running.get(action.token)
        if running is not None and not running.over:
            self._end_soon(running, "stopped" if action.how == "kill" else "yielded")

    def _end_soon(self, running: Running, kind: OutcomeKind, delay: float | None = None) -> None:
        self._at(self.latency if delay is None else delay, lambda: self._end(running, kind))

    def _end(self, running: Running, kind: OutcomeKind) -> None:
        if not running.over:
            self._tell(Ended(self._write(running, kind)))

    def _write(self, running: Running, kind: OutcomeKind) -> Outcome:
        """The attempt ends, and its worker writes its outcome."""
        spec = running.spec
        if self.disk and kind == "yielded":
            self.disk.save(spec.number, spec.attempt)
        # An end that nobody can read, since its file is rubbish and its driver dead, leaves the last checkpoint.
        self._leave(running, lost=kind != "yielded")
        outcome = Outcome(
            token=spec.token,
            number=spec.number,
            attempt=spec.attempt,
            kind=kind,
            values=[running.value] * spec.n_values if kind == "complete" else None,
            failure="exception" if kind == "failed" else "",
            reason="the objective raised" if kind == "failed" else "",
            reports=running.reports,
            host=running.host,
            started=running.started,
            finished=self.time.now + self.skew,
        )
        self.witness.wrote(spec, outcome)
        return outcome

    def _die(self, running: Running) -> None:
        """The worker is gone; sometimes it has just ended the attempt, and its word of that is late."""
        if running.over:
            return
        if self.random.random() < self.faults.late:
            late = self._write(running, "complete" if running.reports else "failed")
            self._at(2 * self.faults.notice, lambda: self._tell(Ended(late)))
            if self.disk:
                self.disk.lose(running.spec.number, running.spec.attempt)
        else:
            self._leave(running, lost=True)
        self._at(self.faults.notice, lambda: self._tell(Lost(running.spec.token, "its worker died")))

    def _leave(self, running: Running, *, lost: bool) -> None:
        running.over = True
        self._running.pop(running.spec.token, None)
        if self.disk:
            self.disk.leave(running.spec.number, running.spec.attempt, lost=lost)
        self._take(running.block, running.host, -1)
        self._at(0.0, self._start_waiting)


def _number(value: float | Wish | None) -> float:
    return value if isinstance(value, float) else 0.0
