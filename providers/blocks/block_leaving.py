"""Lets the last trials of a campaign leave a large block for a smaller one of the same pool, and the large one end."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...grammar import count, listed
from ...pipeline.campaign.events import LastTrial, Leave
from ..schedulers.jobs import Phase
from ..site import BlockCounts
from .block import Block
from .block_shape import BlockShapes
from .leaving import Departure, Place, best_departure, saves_in_new, saves_there
from .shapes import Offer

log = logging.getLogger(__name__)

FORGOTTEN = 120.0
"""Seconds without last trials after which a block that waits for some is no longer kept: one of them was lost, or has
just ended its attempt, and the next one begins within seconds where there is a worker."""


@dataclass(frozen=True)
class _Underway:
    """A departure that was decided.

    Attributes:
        source: The number of the block that is left.
        targets: The numbers of the blocks that its trials go to.
        told: They were asked to go.
    """

    source: str
    targets: tuple[str, ...]
    told: bool = False


class BlockLeaving:
    """The last trials of one pool, and the blocks that they leave; one block at a time.

    :meth:`step` is called whenever the blocks have changed, before blocks without work are ended. The blocks that the
    trials go to are submitted first, and they are asked to leave once these run. From then on their block gets no trial
    and counts as none, so that it ends when it is empty. A trial that does not yield ends where it runs.

    Args:
        pool: The pool's name.
        shapes: The shapes of its blocks.

    Attributes:
        last: All trials that run in the pool, once the campaign has nothing more to begin; empty before.
        leaves: What the trials were asked so far.
        packed: Trials have different sizes. Then only a whole node is sure to have room for one.
        note: What is under way, as a sentence; mostly empty.
    """

    def __init__(self, pool: str, shapes: BlockShapes):
        self.pool, self.shapes = pool, shapes
        self.last: tuple[LastTrial, ...] = ()
        self.leaves: tuple[Leave, ...] = ()
        self.packed = False
        self.note = ""
        self._underway: _Underway | None = None
        self._wanted: Departure | None = None  # for which blocks are to be submitted
        self._closed: set[int] = set()  # shapes that a budget in node-hours did not pay, or the scheduler did not take
        self._ends: float | None = None  # when the last of them is expected to end; None where that is not known
        self._seen = -math.inf  # when there were any

    @property
    def kept(self) -> tuple[str, ...]:
        """The numbers of the blocks that trials of another one wait for."""
        return self._underway.targets if self._underway and not self._underway.told else ()

    def expected(self, now: float, usual: float | None) -> float | None:
        """Seconds that the next trial is expected to run: of the last ones, what is left of them.

        Args:
            now: Unix seconds.
            usual: What a whole trial is expected to run.
        """
        return usual if self._ends is None else max(1.0, self._ends - now)

    def step(self, blocks: Sequence[Block], counts: BlockCounts, now: float) -> list[int]:
        """Decide, and ask trials to leave.

        Args:
            blocks: All blocks of the pool, oldest first.
            counts: ``blocks:`` of the site file.
            now: Unix seconds.

        Returns:
            The shapes of blocks that are to be submitted now, all or none. :meth:`submitted` says which were.
        """
        self._look(now)
        self.note = ""
        if self._underway is not None:
            self._go_on(self._underway, blocks, now)
        if self._underway is not None or not self.last:
            return []
        self._note_unpaid()
        further = counts.max - sum(block.holds_nodes for block in blocks)
        found = best_departure(self._places(blocks, now), self._offers(blocks, now), further, now)
        self._wanted = found if found and not found.target else None
        if found and found.target:
            self._tell(_Underway(found.source, (found.target,)), blocks)
        return [found.shape] * found.blocks if found else []

    def submitted(self, targets: Sequence[Block], blocks: Sequence[Block]) -> None:
        """These of the blocks that :meth:`step` wanted were submitted. Without all of them nothing moves."""
        assert self._wanted is not None
        wanted, self._wanted = self._wanted, None
        if len(targets) == wanted.blocks:
            self._underway = _Underway(wanted.source, tuple(target.number for target in targets))
            source = self._of(blocks, wanted.source)
            self.note = self._plan(source, targets)
            log.info("%s; block %s ends then", self.note, self._words([source]))
        elif targets:
            self._closed.add(wanted.shape)

    def _look(self, now: float) -> None:
        if self.last:
            ends = [trial.ends for trial in self.last if trial.ends is not None]
            self._seen, self._ends = now, max(ends) if len(ends) == len(self.last) else None
        elif now - self._seen > FORGOTTEN:
            self._ends = None

    # -- what is under way --------------------------------------------------------------------------------------------

    def _go_on(self, underway: _Underway, blocks: Sequence[Block], now: float) -> None:
        source, targets = self._of(blocks, underway.source), [self._of(blocks, number) for number in underway.targets]
        if not source.living or (not underway.told and not all(target.living for target in targets)):
            self._underway = None
        elif underway.told:
            self.note = f"pool {self.pool}: {self.leaves[-1].words}"
        elif self._have_room(targets, len(self._in(source)), now):
            self._decide_again(underway, blocks, now)
        elif not self._still_worth(source, targets, now):
            self._underway = None
        else:
            self.note = self._plan(source, targets)

    def _have_room(self, targets: Sequence[Block], trials: int, now: float) -> bool:
        """Whether all these blocks run, and enough of their nodes have connected."""
        room = sum(self._place(target, now).free for target in targets)
        return all(target.phase == Phase.RUNNING for target in targets) and room >= max(1, trials)

    def _decide_again(self, underway: _Underway, blocks: Sequence[Block], now: float) -> None:
        """The blocks that trials are to go to run: they leave if that still saves enough."""
        if not self.last:
            if now - self._seen > FORGOTTEN:
                self._underway = None
            return
        places = {place.number: place for place in self._places(blocks, now)}
        source, targets = places.get(underway.source), [places[number] for number in underway.targets]
        if source and source.may_be_left and saves_there(source, targets, now) is not None:
            self._tell(underway, blocks)
        else:
            self._underway = None

    def _still_worth(self, source: Block, targets: Sequence[Block], now: float) -> bool:
        """Whether a departure saves enough if the new blocks start now."""
        if not self.last:
            return now - self._seen <= FORGOTTEN
        place = self._place(source, now)
        shape = targets[0].shape
        offer = self._sized(self.shapes[shape].offer([], shape, now))
        return place.may_be_left and saves_in_new(place, offer, len(targets), 0.0, now) is not None

    def _tell(self, underway: _Underway, blocks: Sequence[Block]) -> None:
        source, targets = self._of(blocks, underway.source), [self._of(blocks, number) for number in underway.targets]
        words = f"{self._trials(source, verb=True)} block {self._words([source])} for {self._blocks(targets)}"
        log.info("pool %s: %s", self.pool, words)
        self.leaves += (Leave(tuple(each.token for each in self._in(source)), words),)
        source.left_for = underway.targets
        self.note, self._underway = f"pool {self.pool}: {words}", replace(underway, told=True)

    # -- what there is ------------------------------------------------------------------------------------------------

    def _places(self, blocks: Sequence[Block], now: float) -> list[Place]:
        return [self._place(block, now) for block in blocks if block.living and block.phase == Phase.RUNNING]

    def _place(self, block: Block, now: float) -> Place:
        trials, nodes = self._in(block), self._nodes(block)
        free = max(0, block.workers - block.tasks) if not block.left_for else 0
        if self.packed:
            free = nodes if free and not block.tasks else 0
        seconds = math.inf if block.ends is None else block.ends - self.shapes[block.shape].margin - now
        return Place(block.number, nodes, trials, len(trials) == block.tasks, free, seconds)

    def _in(self, block: Block) -> tuple[LastTrial, ...]:
        return tuple(trial for trial in self.last if trial.block == block.number)

    def _nodes(self, block: Block) -> int:
        return self.shapes[block.shape].pool.nodes_per_block

    def _offers(self, blocks: Sequence[Block], now: float) -> list[Offer]:
        offers = [self._sized(offer) for offer in self.shapes.offers(blocks, now)]
        return [replace(offer, open=offer.open and shape not in self._closed) for shape, offer in enumerate(offers)]

    def _sized(self, offer: Offer) -> Offer:
        return replace(offer, trials=offer.nodes) if self.packed else offer

    def _note_unpaid(self) -> None:
        """A shape that was wanted, and that a budget in node-hours does not pay, is not wanted again."""
        if self._wanted is not None and self.shapes[self._wanted.shape].spent:
            self._closed.add(self._wanted.shape)

    def _of(self, blocks: Sequence[Block], number: str) -> Block:
        return next(block for block in blocks if block.number == number)

    # -- in words -----------------------------------------------------------------------------------------------------

    def _plan(self, source: Block, targets: Sequence[Block]) -> str:
        once = "once it runs" if len(targets) == 1 else "once they run"
        return f"pool {self.pool}: {self._trials(source)} will go on in {self._blocks(targets)} {once}"

    def _blocks(self, blocks: Sequence[Block]) -> str:
        return f"{'block' if len(blocks) == 1 else 'the blocks'} {self._words(blocks)}"

    def _words(self, blocks: Sequence[Block]) -> str:
        each = " each" if len(blocks) > 1 else ""
        return f"{listed([block.number for block in blocks])} ({count(self._nodes(blocks[0]), 'node')}{each})"

    def _trials(self, block: Block, verb: bool = False) -> str:
        numbers = [str(trial.number) for trial in self._in(block)]
        leave = (" leaves" if len(numbers) == 1 else " leave") if verb else ""
        return f"{'trial' if len(numbers) == 1 else 'trials'} {listed(numbers)}{leave}"
