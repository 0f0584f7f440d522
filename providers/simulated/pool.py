"""A pool of simulated workers on a virtual clock.

The real campaign runs thousands of these workers on a laptop, faults included, and a seed replays a run exactly. What a
worker says to the driver, and when it says it again, follows the state machine of real workers
(:class:`pilotune.pipeline.worker.dialogue.Dialogue`).
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ...pipeline.campaign.events import (
    Action,
    BlocksSeen,
    BlockView,
    Capacity,
    Charged,
    Ended,
    Event,
    Lost,
    PoolCharge,
    Quarantine,
    Reply,
    Request,
    Scale,
    StopAttempt,
    Submit,
)
from ...pipeline.trial.files import TrialFiles
from ...pipeline.trial.protocol import AttemptSpec, Attributes, Outcome, OutcomeKind, Started, Stop, Suggested, Verdict
from ...pipeline.trial.report_log import ReportWriter, carry, unheard
from ...pipeline.worker.dialogue import Answer, VerdictAnswer
from ..blocks.block import Block
from ..blocks.packed_node import NodeRoom
from .attempt import Attempt, Note, Objective, Question, Step, Wish
from .blocks import BlockPlan, SimulatedBlocks
from .clock import VirtualTime
from .faults import Disk, Faults, Witness
from .hosts import Nodes, SimulatedHosts
from .packed import PackedNodes
from .suspension import Suspension, is_suspended

__all__ = ["Note", "Objective", "Question", "SimulatedPool", "Step", "Wish"]


DECLINED_PAUSE = 1.0
"""Seconds until a worker that declined an attempt takes another, as on a real worker."""

KINDS: dict[str, OutcomeKind] = {"prune": "pruned", "yield": "yielded", "kill": "stopped"}
"""How an attempt ends when it is told so."""


class SimulatedPool:
    """Simulated workers that run ``objective``; implements :class:`~pilotune.pipeline.campaign.pool.Pool`.

    Args:
        workers: How many; all are there from the start and for ever. Ignored where there is a ``plan``.
        objective: Makes the steps of a trial, the same for all its attempts.
        seed: Of delays and faults.
        latency: Seconds until a submission arrives at a worker, or a stop takes effect.
        faults: What goes wrong, and how often.
        plan: Blocks that come and go, instead of ``workers``.
        disk: Where trials keep checkpoints; None: each attempt begins at the first step.
        nodes: The hosts that workers are on; None: the driver learns of none.
        rooms: Nodes on which attempts are packed by what each takes; with a ``plan`` those of each block. They replace
            ``workers`` and ``nodes``.
        time: The clock, which several pools may share.
        witness: Records what the workers really do.
        logs: Attempts write their reports into the trials' folders before they send them, and carry what earlier ones
            wrote there, as on real workers.

    Attributes:
        skew: Seconds by which the workers' clocks are ahead.
        most_running: The most attempts that ever ran at once.
        over: No worker is left.

    ::

        pool = SimulatedPool(4, lambda spec: iter([(1.0, 0.5), (1.0, None)]))
        pool.perform([Submit(spec)])
        events = pool.wait(10.0)  # Capacity, then Started, Report, Ended as the virtual time passes
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
        rooms: Sequence[NodeRoom] = (),
        time: VirtualTime | None = None,
        witness: Witness | None = None,
        logs: bool = False,
    ):
        self.objective, self.latency, self.disk, self.logs = objective, latency, disk, logs
        self.faults, self.time, self.witness = faults or Faults(), time or VirtualTime(), witness or Witness()
        self.random = random.Random(seed)
        self.skew, self.most_running, self.over = 0.0, 0, False
        self._events: list[Event] = []
        self._driver_alive = True
        self._queue: deque[AttemptSpec] = deque()
        self._running: dict[str, Attempt] = {}  # by token
        self._declining: dict[str, tuple[AttemptSpec, Block | None, str]] = {}  # a worker is about to decline
        self._suspension = Suspension()
        self._capacity = Capacity(0, latency)
        self._views: tuple[BlockView, ...] = ()
        self._charges: dict[str, PoolCharge] = {}
        self._leaves = 0  # how many the driver was told
        self._workers = workers
        self.blocks: SimulatedBlocks | None = None
        if plan:
            calls = (self._on_block_start, self._on_block_closing, self._on_block_resume, self._on_block_end)
            self.blocks = SimulatedBlocks(plan, self._at, self.now, *calls, self.random)
        self.hosts = SimulatedHosts(nodes, workers, self.blocks, self.random) if nodes else None
        self.packed = PackedNodes(rooms, self.blocks, self.witness) if rooms else None
        if self.blocks:
            self.blocks.leaving.packed = bool(rooms)

    # -- Pool ---------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.time.now

    def pause(self, seconds: float) -> None:
        self.time.advance(seconds)

    def wait(self, timeout: float) -> list[Event]:
        """Let up to ``timeout`` seconds pass, until there are events; returns those that are ready."""
        end = self.time.now + timeout
        self._report_changes()
        while not self._events and self.time.step(end):
            self._report_changes()
        return self._taken()

    def take_events(self) -> list[Event]:
        """The events that are ready, without waiting."""
        self._report_changes()
        return self._taken()

    def _taken(self) -> list[Event]:
        events, self._events = self._events, []
        if self.faults.shuffle:
            self.random.shuffle(events)
        return events

    def serves(self, workers: int) -> int:
        """How many of so many workers there are, or will be."""
        return min(workers, self.blocks.served if self.blocks else self._workers)

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Submit):
                if self.packed:
                    self.packed.submit(action.spec)
                else:
                    self._queue.append(action.spec)
                self._at(self.latency, self._start_next)
            elif isinstance(action, Reply):
                self._on_reply(action)
            elif isinstance(action, StopAttempt):
                if self.packed and self.packed.withdraw(action.token):
                    self._deliver(Lost(action.token, "it was stopped before it had begun"), twice=False)
                self._on_message(Stop(action.token, action.how))
            elif isinstance(action, Scale) and self.blocks:
                self.blocks.demand, self.blocks.expected = action.workers, action.expected
                self.blocks.final = action.final
                here = (trial for trial in action.last if trial.token in self._running)
                self.blocks.leaving.last = tuple(here)
                if action.blocks is not None:
                    self.blocks.shapes.allow(action.blocks, action.spent)
            elif isinstance(action, Quarantine) and self.hosts:
                self.hosts.quarantine(action.host)

    def close(self) -> None:
        """The driver ends everything; with the fault ``linger`` half of the attempts still save their checkpoint."""
        self._driver_alive = False
        for attempt in list(self._running.values()):
            if self.faults.linger and not is_suspended(attempt.block) and self.random.random() < 0.5:
                self._end(attempt, "yielded")
        self._remove_workers()

    def abandon(self) -> None:
        """The driver has died. Workers run on for ``linger`` seconds, and write outcomes that nobody receives."""
        self._driver_alive = False
        self._events.clear()
        if not self.faults.begin:
            self._forget_waiting()
        if self.faults.linger:
            self._at(self.faults.linger, self._yield_all)
        else:
            self._remove_workers()

    def _yield_all(self) -> None:
        """The workers of a dead driver save their checkpoints, and end."""
        for attempt in list(self._running.values()):
            if not is_suspended(attempt.block):
                self._end(attempt, "yielded")
        self._remove_workers()

    def _remove_workers(self) -> None:
        self.over = True
        if self.blocks:
            self.blocks.end_all()
        self._forget_waiting()
        for attempt in list(self._running.values()):
            self._leave(attempt, lost=True)

    def _forget_waiting(self) -> None:
        self._queue.clear()
        if self.packed:
            self.packed.forget_waiting()

    # -- what the driver receives -------------------------------------------------------------------------------------

    def _deliver(self, event: Event, *, twice: bool = True) -> None:
        """Hand the driver an event; with the fault ``twice`` it may come again later."""
        if not self._driver_alive:
            return
        self._events.append(event)
        if twice and self.random.random() < self.faults.twice:
            self._at(self.random.uniform(0.0, self.faults.delay), lambda: self._deliver(event, twice=False))

    def _report_changes(self) -> None:
        """Tell the driver what has changed of the workers and their blocks."""
        if self.packed:
            capacity = self.packed.capacity(self.latency)
        else:
            capacity = Capacity(self._slots(), self.latency, self.hosts.accepting() if self.hosts else frozenset())
        views = self.blocks.views() if self.blocks else ()
        if capacity != self._capacity:
            self._capacity = capacity
            self._events.append(capacity)
        if views != self._views:
            self._views = views
            self._events.append(BlocksSeen(views))
        charges = self.blocks.charges() if self.blocks else self._charges
        if charges != self._charges:
            self._charges = charges
            self._events.append(Charged(charges))
        leaves = self.blocks.leaving.leaves if self.blocks else ()
        self._events += leaves[self._leaves :]
        self._leaves = len(leaves)

    def _slots(self) -> int:
        """Attempts that can run at once."""
        if self.blocks:
            return self.blocks.capacity()
        return self.hosts.capacity() if self.hosts else self._workers

    def _at(self, delay: float, what: Callable[[], None]) -> None:
        """Schedule something of the workers; it does not happen once they are gone."""
        self.time.at(delay, lambda: None if self.over else what())

    def _of_worker(self, block: Block | None, delay: float, what: Callable[[], None]) -> None:
        """Schedule something that a worker in the block does itself: not while the block is suspended."""
        self._at(delay, lambda: self._suspension.do(block, what))

    # -- blocks -------------------------------------------------------------------------------------------------------

    def _on_block_start(self, block: Block) -> None:
        if self.packed:
            self.packed.begin_block(block)
        if self.hosts:
            self.hosts.home(block.number)
        for _ in range(block.workers):
            self._at(0.0, self._start_next)

    def _on_block_closing(self, block: Block) -> None:
        for attempt in [each for each in self._running.values() if each.block is block]:
            self._of_worker(block, 0.0, partial(self._ask_to_yield, attempt))

    def _on_block_resume(self, block: Block) -> None:
        self._suspension.resume(block)
        for _ in range(block.workers):
            self._at(0.0, self._start_next)

    def _on_block_end(self, block: Block) -> None:
        if self.packed:
            self.packed.end_block(block)
        for attempt in [each for each in self._running.values() if each.block is block]:
            self._lose(attempt)
        for spec, where, host in list(self._declining.values()):
            if where is block:
                del self._declining[spec.token]
                self._free(block, host, spec.token)
                self.witness.unbegun.append(spec)
                self._notice(spec.token)

    # -- an attempt begins --------------------------------------------------------------------------------------------

    def _start_next(self) -> None:
        if self.packed:
            for spec, placement, where in self.packed.ready():
                self._start(spec, where, placement.host)
            return
        block = self.blocks.free() if self.blocks else None
        host = self._free_host(block)
        if not self._queue or not host:
            return
        self._start(self._queue.popleft(), block, host)

    def _start(self, spec: AttemptSpec, block: Block | None, host: str) -> None:
        """A worker takes the attempt, and begins or declines it."""
        self._occupy(block, host, 1)
        if host in spec.avoid or (self.blocks and block and self.blocks.declines(spec, block)):
            self._declining[spec.token] = spec, block, host
            self._of_worker(block, DECLINED_PAUSE, lambda: self._decline(spec))
            return
        if any(each.spec.number == spec.number and is_suspended(each.block) for each in self._running.values()):
            raise ValueError(f"trial {spec.number} begins again while it is only suspended")
        carried, log = self._take_up_log(spec)
        attempt = Attempt(spec, self.objective(spec), self.time.now + self.skew, block, host, carried, log)
        self._running[spec.token] = attempt
        self.most_running = max(self.most_running, len(self._running))
        self.witness.began(spec)
        for _ in range(self.disk.begin(spec.number, spec.attempt, spec.since) if self.disk else 0):
            attempt.step, attempt.value = attempt.step + 1, _number(next(attempt.steps)[1])
        if self.hosts and self.hosts.fails(host):
            self._end_soon(attempt, "failed")
        else:
            self._next_step(attempt)
        number = block.number if block else "0"
        self._deliver(Started(spec.token, host=host, pid=1, block=number, worker="0"))
        self._converse(attempt)

    def _take_up_log(self, spec: AttemptSpec) -> tuple[list[list[float]], ReportWriter | None]:
        """What earlier attempts reported and the study lacks, and the log of this one."""
        if not self.logs:
            return [], None
        files = TrialFiles(Path(spec.directory))
        files.create(spec.attempt)
        carried = carry(files, spec.attempt, spec.since) if spec.attempt > 1 else []
        return unheard(carried, spec.reported), ReportWriter(files, spec.attempt, lambda: self.time.now + self.skew)

    def _free_host(self, block: Block | None) -> str:
        """Where the next attempt begins; empty while no worker is free."""
        if self.blocks:
            return "" if block is None else self.hosts.home(block.number) if self.hosts else "node0"
        if self.hosts:
            return self.hosts.free()
        return f"node{(len(self._running) + 1) % 4}" if len(self._running) < self._workers else ""

    def _occupy(self, block: Block | None, host: str, attempts: int) -> None:
        """Count attempts that begin (1) or end (-1) there."""
        if self.hosts:
            self.hosts.occupy(host, attempts)
        if self.blocks and block:
            self.blocks.occupy(block, attempts)

    def _free(self, block: Block | None, host: str, token: str) -> None:
        """An attempt leaves its worker."""
        self._occupy(block, host, -1)
        if self.packed:
            self.packed.end(token)

    def _decline(self, spec: AttemptSpec) -> None:
        if spec.token not in self._declining:  # the worker has died meanwhile
            return
        self.witness.declined += 1
        _, block, host = self._declining.pop(spec.token)
        self._free(block, host, spec.token)
        self._at(0.0, self._start_next)
        outcome = Outcome(token=spec.token, number=spec.number, attempt=spec.attempt, kind="declined", host=host)
        self._deliver(Ended(outcome), twice=False)

    # -- an attempt runs ----------------------------------------------------------------------------------------------

    def _next_step(self, attempt: Attempt) -> None:
        delay, what = next(attempt.steps)
        if self.random.random() < self.faults.lose:
            self._of_worker(attempt.block, delay, lambda: self._lose(attempt))
        elif self.random.random() < self.faults.fail:
            self._end_soon(attempt, "failed", delay)
        elif what is None:
            self._end_soon(attempt, "complete", delay)
        elif isinstance(what, Wish | Question):
            self._of_worker(attempt.block, delay, lambda: self._question(attempt, what))
        elif isinstance(what, Note):
            self._of_worker(attempt.block, delay, lambda: self._note(attempt, what))
        else:
            self._of_worker(attempt.block, delay, lambda: self._report(attempt, what))

    def _question(self, attempt: Attempt, asked: Wish | Question) -> None:
        if attempt.over:
            return
        if isinstance(asked, Wish):
            attempt.dialogue.suggest(asked.name, asked.distribution)
        else:
            attempt.dialogue.ask(asked.what, asked.arguments)
        self._converse(attempt)

    def _note(self, attempt: Attempt, note: Note) -> None:
        if not attempt.over:
            attempt.dialogue.attributes.set(note.key, note.value, self.time.now, system=note.system)
            self._converse(attempt)
            self._next_step(attempt)

    def _report(self, attempt: Attempt, value: float) -> None:
        if attempt.over or attempt.hangs:
            return
        spec = attempt.spec
        attempt.step, attempt.value = attempt.step + 1, value
        if self.disk:
            self.disk.compute(spec.number, spec.attempt, attempt.step)
        self.witness.said(spec, attempt.step, value)
        self._write_down(attempt, attempt.step, value)
        if self.faults.mute and self.random.random() < self.faults.mute:
            self._vanish(attempt)
            return
        attempt.dialogue.report(attempt.step, value, self.time.now)
        self._converse(attempt)

    def _write_down(self, attempt: Attempt, step: int, value: float) -> None:
        """A report goes into the attempt's log."""
        if attempt.log:
            attempt.log.append(step, value)

    def _converse(self, attempt: Attempt) -> None:
        """Send what is to be sent now, let the trial go on where it is answered, and come back at the next deadline."""
        if attempt.over:
            return
        dialogue, now = attempt.dialogue, self.time.now
        request = dialogue.outgoing(now)
        for message in (dialogue.attributes.outgoing(now, request=request is not None), request):
            if message is not None:
                self._send(message)
        answer = dialogue.take_answer(now)
        if answer is not None:
            self._on_answer(attempt, answer)
        deadline = dialogue.deadline()
        if deadline is not None and deadline < attempt.wake_at:
            attempt.wake_at = deadline
            self._of_worker(attempt.block, deadline - now, lambda: self._wake(attempt))

    def _wake(self, attempt: Attempt) -> None:
        attempt.wake_at = math.inf
        self._converse(attempt)

    def _send(self, message: Request | Attributes) -> None:
        """A message goes to the driver; with the fault ``drop`` it may be lost on the way."""
        if self.random.random() >= self.faults.drop:
            self._deliver(message)

    def _on_answer(self, attempt: Attempt, answer: Answer) -> None:
        """The trial is answered: it goes on, or ends as it is told."""
        stop = answer.stop if isinstance(answer, VerdictAnswer) else ""
        if answer.error:
            self._end_soon(attempt, "failed")
        elif stop or attempt.yielding:
            self._end_soon(attempt, KINDS[stop or "yield"])
        else:
            self._next_step(attempt)

    def _on_reply(self, reply: Reply) -> None:
        """The driver answers a request; with the fault ``drop`` the answer is lost, and the request is sent again."""
        if self.random.random() >= self.faults.drop:
            self._on_message(reply.message)

    def _on_message(self, message: Verdict | Suggested | Stop) -> None:
        """A message of the driver arrives at a worker, which does with it what a real one does."""
        attempt = self._running.get(message.token)
        if attempt is not None:
            self._suspension.do(attempt.block, lambda: self._on_arrival(attempt, message))

    def _on_arrival(self, attempt: Attempt, message: Verdict | Suggested | Stop) -> None:
        if attempt.over or not attempt.dialogue.receive(message):
            return
        if attempt.dialogue.order == "kill":
            self._end_soon(attempt, "stopped")
        elif isinstance(message, Stop):
            if self.faults.deaf and self.random.random() < self.faults.deaf:
                attempt.hangs, attempt.immortal = True, self.random.random() < 0.5
            self._end_soon(attempt, "yielded")
        elif attempt.dialogue.order == "yield" and not attempt.yielding:
            self._ask_to_yield(attempt)
        self._converse(attempt)

    def _ask_to_yield(self, attempt: Attempt) -> None:
        """Half of the objectives ask all the time whether to yield, the others only when they report."""
        attempt.yielding = True
        if attempt.spec.seed % 2:
            self._end_soon(attempt, "yielded")

    # -- an attempt ends ----------------------------------------------------------------------------------------------

    def _end_soon(self, attempt: Attempt, kind: OutcomeKind, delay: float | None = None) -> None:
        self._of_worker(attempt.block, self.latency if delay is None else delay, lambda: self._end(attempt, kind))

    def _end(self, attempt: Attempt, kind: OutcomeKind) -> None:
        if attempt.over or (attempt.hangs and (attempt.immortal or kind != "stopped")):
            return
        self._deliver(Ended(self._write(attempt, kind)))

    def _write(self, attempt: Attempt, kind: OutcomeKind) -> Outcome:
        """The attempt ends, and its worker writes its outcome."""
        spec = attempt.spec
        if self.disk and kind == "yielded":
            self.disk.save(spec.number, spec.attempt)
        # What follows the last checkpoint is lost: where nobody can read the outcome, the trial goes on from there.
        self._leave(attempt, lost=kind != "yielded")
        outcome = attempt.outcome(kind, self.time.now + self.skew)
        self.witness.wrote(spec, outcome)
        return outcome

    def _lose(self, attempt: Attempt) -> None:
        """The worker dies; with the fault ``late`` it has just ended the attempt, and the outcome arrives late."""
        if attempt.over:
            return
        if self.random.random() < self.faults.late:
            outcome = self._write(attempt, "complete" if attempt.dialogue.reports else "failed")
            self._at(2 * self.faults.notice, lambda: self._deliver(Ended(outcome)))
            if self.disk:
                self.disk.lose(attempt.spec.number, attempt.spec.attempt)
            self._notice(attempt.spec.token)
        else:
            self._vanish(attempt)

    def _vanish(self, attempt: Attempt) -> None:
        """The worker dies, and leaves no outcome."""
        self._leave(attempt, lost=True)
        self._notice(attempt.spec.token)

    def _notice(self, token: str) -> None:
        self._at(self.faults.notice, lambda: self._deliver(Lost(token, "its worker died")))

    def _leave(self, attempt: Attempt, *, lost: bool) -> None:
        """The worker is free again. ``lost``: what the attempt did since its last checkpoint is gone."""
        attempt.over = True
        if attempt.log:
            attempt.log.close()
        self._running.pop(attempt.spec.token, None)
        if self.disk:
            self.disk.leave(attempt.spec.number, attempt.spec.attempt, lost=lost)
        self._free(attempt.block, attempt.host, attempt.spec.token)
        self._at(0.0, self._start_next)


def _number(value: float | Wish | Question | Note | None) -> float:
    return value if isinstance(value, float) else 0.0
