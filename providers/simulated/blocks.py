"""Blocks with walltimes on the simulated pool's clock, scaled and held by the rules of the real ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ...pipeline.campaign.events import BlockState, BlockView
from ...pipeline.trial.block_env import yield_margin
from ...pipeline.trial.protocol import AttemptSpec
from ..blocks.block import Block
from ..blocks.scaling import accepts_no_more, surplus, wanted
from ..schedulers.jobs import End, Phase
from ..site.spec import BlockCounts

TURN = 2.0
"""Seconds between looks at the blocks."""


@dataclass(frozen=True)
class BlockPlan:
    """What blocks a pretended scheduler gives.

    Attributes:
        workers: Of one block.
        counts: How many blocks.
        walltime: Seconds.
        queue: Mean seconds in the queue.
        preempt: Chance that a block is ended before its time.
        holds: Blocks that end soon are told to take no more trials; otherwise their workers decline what does not fit.
        yield_before: As in the study file.
    """

    workers: int
    counts: BlockCounts
    walltime: float
    queue: float = 10.0
    preempt: float = 0.0
    holds: bool = True
    yield_before: float | None = None

    @property
    def yield_margin(self) -> float:
        """Seconds before a block's end at which its trials are asked to yield."""
        return yield_margin(self.walltime, self.yield_before)


class SimulatedBlocks:
    """The blocks of one pool.

    Args:
        plan: What they are like.
        at: Has something done so many seconds from now.
        now: The clock.
        begun: Called when workers of a block are there.
        closing: Called when a block's trials are to yield.
        gone: Called when a block was ended, with its trials.
        draw: Of queue times and preemptions.

    Attributes:
        demand: Workers that the campaign could keep busy; None before it has said.
        expected: Seconds that it expects the next trial to run.
        most: The most blocks that ever held nodes at a time.
    """

    def __init__(
        self,
        plan: BlockPlan,
        at: Callable[[float, Callable[[], None]], None],
        now: Callable[[], float],
        begun: Callable[[Block], None],
        closing: Callable[[Block], None],
        gone: Callable[[Block], None],
        draw: random.Random,
    ):
        self.plan, self._at, self._now, self._random = plan, at, now, draw
        self._begun, self._closing, self._gone = begun, closing, gone
        self.blocks: list[Block] = []
        self.demand: int | None = None
        self.expected: float | None = None
        self.most = 0
        self._rested: dict[str, float] = {}  # since when a block is without a trial
        self._at(0.0, self._turn)

    # -- what the pool asks -------------------------------------------------------------------------------------------

    def capacity(self) -> int:
        """Attempts that can run at once: where no more are taken, only those that do."""
        return sum(block.workers if takes(block) else block.tasks for block in self._running())

    def free(self) -> Block | None:
        """A block with a worker that takes the next attempt."""
        return next((block for block in self._running() if takes(block) and block.tasks < block.workers), None)

    def taking(self) -> list[Block]:
        """The blocks whose workers take attempts."""
        return [block for block in self._running() if takes(block)]

    def hold(self, numbers: Collection[str]) -> None:
        """These blocks take no more attempts."""
        for block in self._running():
            if block.number in numbers:
                block.managers = {"0": False}

    def declines(self, spec: AttemptSpec, block: Block) -> bool:
        """Whether a worker of the block would rather not begin the attempt: the rule of ``trial/block.py``."""
        assert block.ends is not None
        left, ahead = block.ends - self._now(), self.plan.yield_margin
        if left < ahead or spec.expected is None:
            return left < ahead
        return left < spec.expected and spec.expected + ahead <= self.plan.walltime

    def occupy(self, block: Block, tasks: int) -> None:
        """So many attempts more, or fewer, run in the block."""
        block.tasks += tasks
        self._rested[block.number] = self._now()

    def views(self) -> tuple[BlockView, ...]:
        return tuple(
            BlockView("simulated", block.number, block.job, _state(block), block.reason, block.workers, block.ends,
                      block.since)
            for block in self.blocks if block.end is None
        )  # fmt: skip

    def _running(self) -> list[Block]:
        return [block for block in self.blocks if block.end is None and block.phase == Phase.RUNNING]

    # -- what happens -------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        now, plan = self._now(), self.plan
        for block in self._running():
            block.idle = now - self._rested[block.number] if not block.tasks else 0.0
            if plan.holds and accepts_no_more(block, now, plan.walltime, plan.yield_margin, self.expected):
                block.managers = {"0": False}
            if block.is_drained:
                self._end(block, End.CANCELLED)
        want = wanted(plan.counts, plan.workers, self.demand, any(block.was_connected for block in self.blocks))
        for block in surplus(self.blocks, want, plan.counts.idle):
            self._end(block, End.CANCELLED)
        for _ in range(want - sum(block.living for block in self.blocks)):
            self._submit()
        self._at(TURN, self._turn)

    def _submit(self) -> None:
        number = str(len(self.blocks))
        block = Block(number, f"job{number}", self._now(), reason="Priority")
        self.blocks.append(block)
        self.most = max(self.most, sum(each.holds_nodes for each in self.blocks))
        self._at(self._random.expovariate(1.0 / self.plan.queue), lambda: self._begin(block))

    def _begin(self, block: Block) -> None:
        if block.end is not None:
            return
        now, walltime = self._now(), self.plan.walltime
        block.phase, block.reason, block.since, block.ends = Phase.RUNNING, "", now, now + walltime
        block.was_connected, block.managers, block.workers = True, {"0": True}, self.plan.workers
        self._rested[block.number] = now
        self._at(walltime - self.plan.yield_margin, lambda: self._close(block))
        self._at(walltime, lambda: self._end(block, End.WALLTIME))
        if self._random.random() < self.plan.preempt:
            self._at(self._random.uniform(0.0, walltime), lambda: self._end(block, End.PREEMPTED))
        self._begun(block)

    def _close(self, block: Block) -> None:
        if block.end is None:
            self._closing(block)

    def _end(self, block: Block, end: End) -> None:
        if block.end is None:
            block.end, block.phase, block.workers = end, Phase.ENDED, 0
            self._gone(block)


def takes(block: Block) -> bool:
    return any((block.managers or {}).values())


def _state(block: Block) -> BlockState:
    return "queued" if block.phase == Phase.QUEUED else "running"
