"""Simulated blocks with walltimes, requested and released by the rules of real ones (``blocks/scaling.py``)."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ...pipeline.campaign.events import BlockState, BlockView, PoolCharge, shape_key
from ...pipeline.trial.protocol import AttemptSpec
from ..blocks.block import Block
from ..blocks.block_leaving import BlockLeaving
from ..blocks.block_shape import BlockShape, BlockShapes
from ..blocks.scaling import accepts_no_more
from ..schedulers.jobs import End, Phase
from ..site.spec import BlockCounts, PoolSpec

NAME = "simulated"
"""The name of a simulated pool."""

SCALING_INTERVAL = 2.0
"""Seconds between two decisions about the number of blocks."""


@dataclass(frozen=True)
class PlannedShape:
    """One of several shapes of simulated blocks.

    Attributes:
        workers: Workers in a block.
        nodes: Its nodes.
        walltime: Seconds.
        queue: Mean seconds in the queue (exponentially distributed).
    """

    workers: int
    nodes: int
    walltime: float
    queue: float


@dataclass(frozen=True)
class BlockPlan:
    """The blocks that a simulated scheduler gives.

    Attributes:
        workers: Workers in each block.
        counts: Limits of the number of blocks, as in a site file.
        walltime: Seconds.
        queue: Mean seconds in the queue (exponentially distributed).
        preempt: Probability that a block is preempted before its walltime is over.
        suspend: Probability that a block is suspended for a while: none of its workers does anything meanwhile.
        holds: A block that ends soon is told to accept no more trials. Otherwise its workers decline what does not fit.
        yield_before: As in the study file.
        metered: A budget in node-hours limits the blocks: none is submitted before the campaign allows it.
        shapes: Several shapes of blocks, in place of ``workers``, ``walltime`` and ``queue``.
    """

    workers: int
    counts: BlockCounts
    walltime: float
    queue: float = 10.0
    preempt: float = 0.0
    suspend: float = 0.0
    holds: bool = True
    yield_before: float | None = None
    metered: bool = False
    shapes: tuple[PlannedShape, ...] = ()

    @property
    def by_shape(self) -> tuple[PlannedShape, ...]:
        """Its shapes, at least one."""
        return self.shapes or (PlannedShape(self.workers, 1, self.walltime, self.queue),)

    @property
    def shortest(self) -> float:
        """The shortest walltime of a block."""
        return min(shape.walltime for shape in self.by_shape)

    @property
    def most_workers(self) -> int:
        """Workers that there can be at once."""
        return self.counts.max * max(shape.workers for shape in self.by_shape)

    def block_shapes(self) -> BlockShapes:
        """Its shapes, as those of a real pool."""
        shapes = self.by_shape
        return BlockShapes(
            [
                BlockShape(
                    PoolSpec(NAME, walltime=shape.walltime, nodes_per_block=shape.nodes),
                    None,  # type: ignore[arg-type]  # it is never asked for anything
                    shape.workers,
                    shape_key(NAME, number) if len(shapes) > 1 else NAME,
                    self.yield_before,
                    allowed=0 if self.metered else None,
                )
                for number, shape in enumerate(shapes)
            ]
        )


class SimulatedBlocks:
    """The blocks of one simulated pool.

    Args:
        plan: What blocks there may be.
        at: Schedules a call so many seconds from now.
        now: The clock.
        on_start: Called when a block has started and its workers are connected.
        on_closing: Called when a block's trials must yield.
        on_resume: Called when a block was suspended and goes on.
        on_end: Called when a block, and with it every trial there, was ended.
        draw: Random numbers for queue times, preemptions and suspensions.

    Attributes:
        blocks: Every block that was ever submitted.
        demand: Workers that the campaign could keep busy; None before it has said so.
        final: Whether the demand will not grow again.
        expected: Seconds that the campaign expects the next trial to run; None where it does not know.
        shapes: The shapes of the blocks.
        leaving: Lets the last trials of the campaign leave large blocks.
        most: The most blocks that ever held nodes at once.
        suspensions: How often a block was suspended.
        withdrawn: How often a block was ended for one of another shape.
    """

    def __init__(
        self,
        plan: BlockPlan,
        at: Callable[[float, Callable[[], None]], None],
        now: Callable[[], float],
        on_start: Callable[[Block], None],
        on_closing: Callable[[Block], None],
        on_resume: Callable[[Block], None],
        on_end: Callable[[Block], None],
        draw: random.Random,
    ):
        self.plan, self._at, self._now, self._random = plan, at, now, draw
        self._on_start, self._on_closing, self._on_resume, self._on_end = on_start, on_closing, on_resume, on_end
        self.blocks: list[Block] = []
        self.demand: int | None = None
        self.final = False
        self.expected: float | None = None
        self.shapes = plan.block_shapes()
        self.leaving = BlockLeaving(NAME, self.shapes)
        self.most = self.suspensions = self.withdrawn = 0
        self._last_used: dict[str, float] = {}  # when a block last began or ended a trial
        self._at(0.0, self._scale)

    # -- what the pool asks -------------------------------------------------------------------------------------------

    def capacity(self) -> int:
        """Attempts that can run at once; a block that accepts no more, or is suspended, counts with those there."""
        living = [block for block in self.blocks if block.end is None]
        return sum(block.workers if _takes_attempts(block) else block.tasks for block in living)

    def free(self) -> Block | None:
        """A block with a worker for the next attempt; None where there is none."""
        return next((block for block in self._running() if accepts(block) and block.tasks < block.workers), None)

    def accepting(self) -> list[Block]:
        """The blocks that accept attempts."""
        return [block for block in self._running() if accepts(block)]

    def hold(self, numbers: Collection[str]) -> None:
        """Let these blocks accept no more attempts."""
        for block in self._running():
            if block.number in numbers:
                block.managers = {"0": False}

    def declines(self, spec: AttemptSpec, block: Block) -> bool:
        """Whether a worker of the block declines the attempt: the rule of ``pipeline/worker/node/block.py``."""
        assert block.ends is not None
        left, margin = block.ends - self._now(), self.shapes[block.shape].margin
        if left < margin or spec.expected is None:
            return left < margin
        return left < spec.expected and spec.expected + margin <= self.plan.by_shape[block.shape].walltime

    def occupy(self, block: Block, tasks: int) -> None:
        """Count attempts that begin (positive) or end (negative) in the block."""
        block.tasks += tasks
        self._last_used[block.number] = self._now()

    @property
    def served(self) -> int:
        """Trials that the blocks run at a time, or will: no more than now where the budget cannot pay further ones."""
        if self.shapes.unpaid:
            return sum(self.shapes.trials(block) for block in self.blocks if block.living)
        return self.plan.most_workers

    def views(self) -> tuple[BlockView, ...]:
        """The blocks that have not ended, as the campaign sees them."""
        return tuple(
            BlockView(NAME, block.number, block.job, _state(block), block.reason, block.workers, block.ends,
                      block.since, block.held.began, nodes=block.node_count)
            for block in self.blocks if block.end is None
        )  # fmt: skip

    def charges(self) -> dict[str, PoolCharge]:
        """For how long the blocks have held their nodes."""
        return self.shapes.charges(NAME, self.blocks, over=False)

    def end_all(self) -> None:
        """Nothing is left of any block."""
        for block in self.blocks:
            if block.end is None:
                block.held.follow(Phase.ENDED, self._now())
                block.given_back = True

    def nodes_of(self, block: Block) -> int:
        """The nodes of a block."""
        return self.plan.by_shape[block.shape].nodes

    def _running(self) -> list[Block]:
        return [block for block in self.blocks if block.end is None and block.phase == Phase.RUNNING]

    # -- what happens -------------------------------------------------------------------------------------------------

    def _scale(self) -> None:
        now, plan = self._now(), self.plan
        smaller = self.leaving.step(self.blocks, plan.counts, now)
        expected = self.leaving.expected(now, self.expected)
        usable = self.shapes.usable(self.blocks)
        for block in self._running():
            block.idle = now - self._last_used[block.number] if not block.tasks else 0.0
            margin = self.shapes[block.shape].margin
            near = accepts_no_more(block, now, usable, margin, expected)
            if block.left_for or (plan.holds and near):
                block.managers = {"0": False}
            if block.is_drained:
                self._end(block, End.CANCELLED)
        proven = any(block.was_connected for block in self.blocks)
        if self.demand is not None:
            withdrawn = self.shapes.to_withdraw(self.blocks, plan.counts, self.demand, expected, now)
            if withdrawn is not None:
                self.withdrawn += 1
                self._end(withdrawn, End.CANCELLED)
            kept = self.leaving.kept
            for block in self.shapes.needless(self.blocks, plan.counts, self.demand, self.final, kept):
                self._end(block, End.CANCELLED)
        further = self.shapes.further(self.blocks, plan.counts, self.demand, proven, expected, now)
        for shape in self.shapes.paid(self.blocks, further):
            self._submit(shape)
        holding = sum(block.holds_nodes for block in self.blocks)
        if smaller and holding + len(smaller) <= plan.counts.max and self.shapes.paid(self.blocks, smaller) == smaller:
            for shape in smaller:
                self._submit(shape)
            self.leaving.submitted(self.blocks[-len(smaller) :], self.blocks)
        self._at(SCALING_INTERVAL, self._scale)

    def _submit(self, shape: int) -> None:
        number = str(len(self.blocks))
        nodes = self.plan.shapes[shape].nodes if self.plan.shapes else 0
        block = Block(number, f"job{number}", self._now(), reason="Priority", shape=shape, node_count=nodes)
        self.blocks.append(block)
        self.most = max(self.most, sum(each.holds_nodes for each in self.blocks))
        self._at(self._random.expovariate(1.0 / self.plan.by_shape[shape].queue), lambda: self._begin(block))

    def _begin(self, block: Block) -> None:
        if block.end is not None:
            return
        now, shape = self._now(), self.plan.by_shape[block.shape]
        walltime = shape.walltime
        block.phase, block.reason, block.since, block.ends = Phase.RUNNING, "", now, now + walltime
        block.was_connected, block.managers, block.workers = True, {"0": True}, shape.workers
        self._last_used[block.number] = now
        block.held.follow(Phase.RUNNING, now)
        self._at(walltime - self.shapes[block.shape].margin, lambda: self._close(block))
        self._at(walltime, lambda: self._end(block, End.WALLTIME))
        if self._random.random() < self.plan.preempt:
            self._at(self._random.uniform(0.0, walltime), lambda: self._end(block, End.PREEMPTED))
        if self.plan.suspend and self._random.random() < self.plan.suspend:
            self._at(self._random.uniform(0.0, walltime), lambda: self._suspend(block))
        self._on_start(block)

    def _suspend(self, block: Block) -> None:
        if block.end is None:
            self.suspensions += 1
            block.enter(Phase.SUSPENDED, "suspended", self._now())
            walltime = self.plan.by_shape[block.shape].walltime
            self._at(self._random.expovariate(4.0 / walltime), lambda: self._resume(block))

    def _resume(self, block: Block) -> None:
        if block.end is None:
            block.enter(Phase.RUNNING, "", self._now())
            self._on_resume(block)

    def _close(self, block: Block) -> None:
        if block.end is None:
            self._on_closing(block)

    def _end(self, block: Block, end: End) -> None:
        if block.end is None:
            block.end, block.phase, block.workers = end, Phase.ENDED, 0
            block.held.follow(Phase.ENDED, self._now())
            self._on_end(block)


def accepts(block: Block) -> bool:
    """Whether the block accepts attempts."""
    return any((block.managers or {}).values())


def _takes_attempts(block: Block) -> bool:
    return block.phase == Phase.RUNNING and accepts(block)


def _state(block: Block) -> BlockState:
    if block.phase == Phase.SUSPENDED:
        return "suspended"
    return "queued" if block.phase == Phase.QUEUED else "running"
