"""The shapes of a pool's blocks, each with what submits them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...pipeline.campaign.events import PoolCharge
from ...pipeline.trial.block_env import yield_margin
from ..schedulers.jobs import Phase
from ..site import BlockCounts, PoolSpec, shapes_in_words
from .block import Block
from .charges import allowed_now, shape_charges
from .scaling import surplus
from .shapes import WITHDRAWAL_PERIOD, Fleet, Offer, further_blocks, is_late, wait_of

if TYPE_CHECKING:
    from ..schedulers.batch import BatchBlocks


ESTIMATE_PERIOD, MOST_UNANSWERED = 60.0, 3
"""Least seconds between two estimates of the scheduler for blocks of a shape, and after how many in a row that it did
not give it is not asked again."""

CLOSED_FOR = 2.0
"""No block of a shape is submitted for so many times as long as its blocks waited, after one was withdrawn: what is
learned of its wait is a lower bound only."""

NEVER = "it will never start"
"""What the reasons of schedulers say of a job that was taken in vain: larger than a partition allows, for example."""

ESTIMATE_HOLDS = 1800.0
"""Seconds for which an estimate counts."""


@dataclass
class BlockShape:
    """One shape of a pool's blocks.

    Attributes:
        pool: The pool with blocks of this shape alone.
        provider: Submits them.
        trials: Trials that a block runs at a time.
        key: What charges and budgets call it: the pool's name, or ``cpu/1`` where there are several.
        yield_before: Seconds before the end of a block at which trials yield, from the study file; None for the
            default.
        allowed: Blocks of it that a budget in node-hours lets the pool submit in all; None without one.
        spent: Whether the budget cannot pay a further one.
        short: Blocks that the budget did not allow when they were last wanted.
        refused: Why the scheduler takes no blocks of it; empty while it does.
        starts: When the scheduler last expected one to begin, Unix seconds; None where it did not say.
        heard: When it said so, or was last asked.
        unanswered: How often in a row it did not say.
        closed_until: Until when none is submitted, since one waited too long, Unix seconds.
    """

    pool: PoolSpec
    provider: BatchBlocks
    trials: int
    key: str = ""
    yield_before: float | None = None
    allowed: int | None = None
    spent: bool = False
    short: int = 0
    refused: str = ""
    starts: float | None = None
    heard: float = -1e18
    unanswered: int = 0
    closed_until: float = -1e18

    def __post_init__(self) -> None:
        self.key = self.key or self.pool.name

    @property
    def margin(self) -> float:
        """Seconds before the end of a block at which trials yield."""
        return yield_margin(self.pool.walltime, self.yield_before)

    @property
    def usable(self) -> float:
        """Seconds that a block has for trials."""
        return Offer(0, self.trials, self.pool.walltime, self.margin).usable

    @property
    def words(self) -> str:
        """Its size in words, as in ``8 nodes for 2h``."""
        return shapes_in_words(self.pool)

    @property
    def open(self) -> bool:
        """Whether the scheduler takes blocks of it and the budget pays them."""
        return not self.refused and not self.spent

    def offer(self, blocks: Sequence[Block], shape: int, now: float) -> Offer:
        """What it offers. ``blocks``: all of the pool; ``shape``: its number; ``now``: Unix seconds."""
        fresh = self.starts is not None and now - self.heard < ESTIMATE_HOLDS
        estimate = max(0.0, self.starts - now) if fresh and self.starts is not None else None
        wait = wait_of(blocks, shape, now, estimate)
        pool = self.pool
        is_open, able = self.open and now >= self.closed_until, self.able(blocks, shape)
        return Offer(pool.nodes_per_block, self.trials, pool.walltime, self.margin, wait, is_open, able)

    def able(self, blocks: Sequence[Block], shape: int) -> bool:
        """Whether trials can run in its blocks, see :class:`.shapes.Offer`; arguments as for :meth:`offer`."""
        return self.open or (not self.refused and any(block.living and block.shape == shape for block in blocks))

    def hear(self, starts: float | None, now: float) -> None:
        """Take over what the scheduler says of when a block would begin."""
        self.starts, self.heard = starts, now
        self.unanswered = 0 if starts is not None else self.unanswered + 1

    def to_ask(self, now: float) -> bool:
        """Whether the scheduler may be asked now."""
        return self.open and self.unanswered < MOST_UNANSWERED and now - self.heard >= ESTIMATE_PERIOD


class BlockShapes:
    """The shapes of one pool's blocks.

    Args:
        shapes: At least one. Their order numbers them.
    """

    def __init__(self, shapes: Sequence[BlockShape]):
        self._shapes = tuple(shapes)
        self._late: frozenset[str] = frozenset()  # numbers of queued blocks that start too late
        self._withdrawn = -1e18  # when a block was last withdrawn for others

    def __getitem__(self, shape: int) -> BlockShape:
        return self._shapes[shape]

    def __len__(self) -> int:
        return len(self._shapes)

    def __iter__(self) -> Iterator[BlockShape]:
        return iter(self._shapes)

    def trials(self, block: Block) -> int:
        """Trials that a block runs at a time; 0 while it waits and will start too late, and once trials leave it."""
        return 0 if block.number in self._late or block.left_for else self._shapes[block.shape].trials

    @property
    def most_trials(self) -> int:
        """Trials that a block runs at a time, of the shape that runs most."""
        return max(shape.trials for shape in self._shapes)

    def usable(self, blocks: Sequence[Block]) -> float:
        """Seconds that a block has for trials, of the shape that has most of those that can run any.

        Args:
            blocks: All blocks of the pool.
        """
        able = [each for shape, each in enumerate(self._shapes) if each.able(blocks, shape)]
        return max(each.usable for each in able or self._shapes)

    def further(
        self,
        blocks: Sequence[Block],
        counts: BlockCounts,
        demand: int | None,
        proven: bool,
        expected: float | None,
        now: float,
        ask: Callable[[BlockShape], float | None] | None = None,
    ) -> list[int]:
        """The shapes of the blocks to submit.

        Args:
            blocks: All blocks of the pool, oldest first.
            counts: ``blocks:`` of the site file.
            demand: Workers that could be kept busy; None before the campaign has reported it.
            proven: Whether a worker of this pool has ever connected.
            expected: Seconds that the next trial is expected to run; None when that is unknown.
            now: Unix seconds.
            ask: Asks the scheduler when a block of this shape would begin; called at most once a minute for each shape,
                only where there is a choice.
        """
        fleet = Fleet.of([self.trials(block) for block in blocks if block.living], counts, demand, proven)
        for shape in self._shapes:  # what only the budget forbids is still wanted
            shape.short = int(shape.spent and fleet.lacks)
        if not fleet.lacks:
            return []
        for shape in self._shapes if ask is not None and len(self._shapes) > 1 else ():
            if ask is not None and shape.to_ask(now):
                shape.hear(ask(shape), now)
        late = {block.shape for block in blocks if block.number in self._late}
        offers = [
            replace(offer, open=False) if shape in late else offer
            for shape, offer in enumerate(self.offers(blocks, now))
        ]
        return further_blocks(fleet, offers, expected)

    def offers(self, blocks: Sequence[Block], now: float) -> list[Offer]:
        """What each shape offers. ``blocks``: all of the pool; ``now``: Unix seconds."""
        return [each.offer(blocks, shape, now) for shape, each in enumerate(self._shapes)]

    def to_withdraw(
        self, blocks: Sequence[Block], counts: BlockCounts, demand: int, expected: float | None, now: float
    ) -> Block | None:
        """The block to end because it waits in the place of another one that would start much sooner; None for none.

        One that the scheduler will never start is ended at once, and no more are submitted of its shape.

        As long as there is a place for another block, one that will start too late goes on waiting beside it.

        Args:
            blocks: All blocks of the pool, oldest first.
            counts: ``blocks:`` of the site file.
            demand: Workers that could be kept busy.
            expected: Seconds that the next trial is expected to run; None when that is unknown.
            now: Unix seconds.
        """
        if len(self._shapes) == 1:
            return None
        living = [block for block in blocks if block.living]
        waiting = [block for block in living if block.phase == Phase.QUEUED and not block.was_connected]
        for block in waiting:
            if NEVER in block.reason and self.refuse(block.shape, block.reason):
                return block
            if block.starts is not None:
                self._shapes[block.shape].hear(block.starts, now)
        offers, slots = self.offers(blocks, now), max(1, counts.max - len(living) + 1)
        left = {
            block.number: offers[block.shape].wait.expected if block.starts is None else max(0.0, block.starts - now)
            for block in waiting
        }
        self._late = frozenset(
            block.number
            for block in waiting
            if is_late(block.shape, now - block.submitted, left[block.number], offers, expected, slots)
        )
        lacks = sum(map(self.trials, living)) < demand
        if not self._late or not lacks or len(living) < counts.max or now - self._withdrawn < WITHDRAWAL_PERIOD:
            return None
        self._withdrawn = now
        found = max((block for block in waiting if block.number in self._late), key=lambda block: left[block.number])
        self._shapes[found.shape].closed_until = now + CLOSED_FOR * offers[found.shape].wait.seconds
        return found

    def needless(
        self, blocks: Sequence[Block], counts: BlockCounts, demand: int, final: bool = False, kept: Collection[str] = ()
    ) -> list[Block]:
        """The blocks to end because there is no work for them, see :func:`.scaling.surplus`.

        One that will start too late keeps its place in the queue until the work is done by blocks that run. ``kept``:
        the numbers of blocks that trials of another one wait for.
        """
        running = sum(self.trials(block) for block in blocks if block.living and block.was_connected)
        found = [block for block in blocks if running >= demand or block.number not in self._late]
        found = surplus(found, self.trials, counts.min, demand, counts.idle, final)
        return [block for block in found if block.number not in kept]

    # -- the budget and the scheduler ---------------------------------------------------------------------------------

    def paid(self, blocks: Sequence[Block], further: Sequence[int]) -> list[int]:
        """Those of further blocks that a budget in node-hours allows; the others are noted as short.

        Args:
            blocks: All blocks that were submitted.
            further: The shapes of those that are wanted.
        """
        found: list[int] = []
        submitted, wanted = Counter(block.shape for block in blocks), Counter(further)
        for number in further:
            allowed = allowed_now(wanted[number], submitted[number], self._shapes[number].allowed)
            if found.count(number) < allowed:
                found.append(number)
            self._shapes[number].short = max(self._shapes[number].short, wanted[number] - allowed)
        return found

    def allow(self, blocks: Mapping[str, int] | None, spent: Collection[str]) -> None:
        """Take over what a budget in node-hours allows, see :class:`~pilotune.pipeline.campaign.events.Scale`."""
        for shape in self._shapes:
            shape.allowed = None if blocks is None else blocks.get(shape.key)
            shape.spent = shape.key in spent

    @property
    def unpaid(self) -> bool:
        """Whether blocks are wanted, and the budget cannot pay any."""
        return all(shape.spent for shape in self._shapes) and any(shape.short for shape in self._shapes)

    def charges(self, pool: str, blocks: Sequence[Block], over: bool) -> dict[str, PoolCharge]:
        """For how long blocks have held their nodes. ``over``: the pool submits no more."""
        return shape_charges(pool, blocks, [0 if over else shape.short for shape in self._shapes])

    def refuse(self, shape: int, why: str) -> bool:
        """The scheduler takes no blocks of a shape. Returns whether there are others."""
        if all(each.refused for each in self._shapes if each is not self._shapes[shape]):
            return False
        self._shapes[shape].refused = why
        return True

    @property
    def refusals(self) -> str:
        """Which shapes the scheduler does not take, in words; empty where it takes all."""
        found = [f"blocks of {each.words} are not submitted: {each.refused}" for each in self._shapes if each.refused]
        return "; ".join(found)
