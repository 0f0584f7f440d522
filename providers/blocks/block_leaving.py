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
from .leaving import Place, best_departure, saves_in_new, saves_there
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
        target: The number of the block that its trials go to.
        told: They were asked to go.
    """

    source: str
    target: str
    told: bool = False


class BlockLeaving:
    """The last trials of one pool, and the blocks that they leave; one block at a time.

    :meth:`step` is called whenever the blocks have changed, before blocks without work are ended. A block that the
    trials go to is submitted first, and they are asked to leave once it runs. From then on their block gets no trial
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
        self._wanted: tuple[str, int] | None = None  # the block whose trials need another one, and of which shape
        self._unpaid: set[int] = set()  # shapes that a budget in node-hours did not pay
        self._ends: float | None = None  # when the last of them is expected to end; None where that is not known
        self._seen = -math.inf  # when there were any

    @property
    def kept(self) -> str:
        """The number of the block that trials of another one wait for; empty for none."""
        return self._underway.target if self._underway and not self._underway.told else ""

    def expected(self, now: float, usual: float | None) -> float | None:
        """Seconds that the next trial is expected to run: of the last ones, what is left of them.

        Args:
            now: Unix seconds.
            usual: What a whole trial is expected to run.
        """
        return usual if self._ends is None else max(1.0, self._ends - now)

    def step(self, blocks: Sequence[Block], counts: BlockCounts, now: float) -> int | None:
        """Decide, and ask trials to leave.

        Args:
            blocks: All blocks of the pool, oldest first.
            counts: ``blocks:`` of the site file.
            now: Unix seconds.

        Returns:
            The shape of a block that is to be submitted now; None for none. :meth:`submitted` says that it was.
        """
        self._look(now)
        self.note = ""
        if self._underway is not None:
            self._go_on(self._underway, blocks, now)
        if self._underway is not None or not self.last:
            return None
        self._note_unpaid()
        places = self._places(blocks, now)
        submit = sum(block.holds_nodes for block in blocks) < counts.max
        departure = best_departure(places, self._offers(blocks, now), submit, now)
        if departure is None:
            self._wanted = None
        elif departure.target:
            self._wanted = None
            self._tell(_Underway(departure.source, departure.target), blocks)
        else:
            self._wanted = departure.source, departure.shape
            return departure.shape
        return None

    def submitted(self, target: Block, blocks: Sequence[Block]) -> None:
        """The block that :meth:`step` wanted was submitted."""
        assert self._wanted is not None
        self._underway, self._wanted = _Underway(self._wanted[0], target.number), None
        source = self._of(blocks, self._underway.source)
        self.note = self._plan(source, target)
        log.info("%s; block %s ends then", self.note, self._words(source))

    def _look(self, now: float) -> None:
        if self.last:
            ends = [trial.ends for trial in self.last if trial.ends is not None]
            self._seen, self._ends = now, max(ends) if len(ends) == len(self.last) else None
        elif now - self._seen > FORGOTTEN:
            self._ends = None

    # -- what is under way --------------------------------------------------------------------------------------------

    def _go_on(self, underway: _Underway, blocks: Sequence[Block], now: float) -> None:
        source, target = self._of(blocks, underway.source), self._of(blocks, underway.target)
        if not source.living or (not underway.told and not target.living):
            self._underway = None
        elif underway.told:
            self.note = f"pool {self.pool}: {self.leaves[-1].words}"
        elif target.phase == Phase.RUNNING and self._place(target, now).free >= max(1, len(self._in(source))):
            self._decide_again(underway, blocks, now)
        elif not self._still_worth(source, target, now):
            self._underway = None
        else:
            self.note = self._plan(source, target)

    def _decide_again(self, underway: _Underway, blocks: Sequence[Block], now: float) -> None:
        """The block that trials are to go to runs: they leave if that still saves enough."""
        if not self.last:
            if now - self._seen > FORGOTTEN:
                self._underway = None
            return
        places = {place.number: place for place in self._places(blocks, now)}
        source, target = places.get(underway.source), places.get(underway.target)
        if source and target and source.may_be_left and saves_there(source, target, now) is not None:
            self._tell(underway, blocks)
        else:
            self._underway = None

    def _still_worth(self, source: Block, target: Block, now: float) -> bool:
        """Whether a departure saves enough if the new block starts now."""
        if not self.last:
            return now - self._seen <= FORGOTTEN
        place = self._place(source, now)
        offer = self.shapes[target.shape].offer([], target.shape, now)
        return place.may_be_left and saves_in_new(place, self._sized(offer), 0.0, now) is not None

    def _tell(self, underway: _Underway, blocks: Sequence[Block]) -> None:
        source, target = self._of(blocks, underway.source), self._of(blocks, underway.target)
        words = f"{self._trials(source, verb=True)} block {self._words(source)} for block {self._words(target)}"
        log.info("pool %s: %s", self.pool, words)
        self.leaves += (Leave(tuple(each.token for each in self._in(source)), words),)
        source.left_for = target.number
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
        return [replace(offer, open=offer.open and shape not in self._unpaid) for shape, offer in enumerate(offers)]

    def _sized(self, offer: Offer) -> Offer:
        return replace(offer, trials=offer.nodes) if self.packed else offer

    def _note_unpaid(self) -> None:
        """A shape that was wanted, and that a budget in node-hours does not pay, is not wanted again."""
        if self._wanted is not None and self.shapes[self._wanted[1]].spent:
            self._unpaid.add(self._wanted[1])

    def _of(self, blocks: Sequence[Block], number: str) -> Block:
        return next(block for block in blocks if block.number == number)

    # -- in words -----------------------------------------------------------------------------------------------------

    def _plan(self, source: Block, target: Block) -> str:
        return f"pool {self.pool}: {self._trials(source)} will go on in block {self._words(target)} once it runs"

    def _words(self, block: Block) -> str:
        return f"{block.number} ({count(self._nodes(block), 'node')})"

    def _trials(self, block: Block, verb: bool = False) -> str:
        numbers = [str(trial.number) for trial in self._in(block)]
        leave = (" leaves" if len(numbers) == 1 else " leave") if verb else ""
        return f"{'trial' if len(numbers) == 1 else 'trials'} {listed(numbers)}{leave}"
