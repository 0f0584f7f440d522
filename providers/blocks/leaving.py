"""Decides whether the last trials of a campaign leave a large block for a smaller one. Pure functions.

The trials yield, and go on from their checkpoints. That saves the nodes of the large block from then on. It costs those
of the small one, while it starts and until the trials end, and what they have to do again. All costs here are seconds
times nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...pipeline.campaign.events import LastTrial
from .scaling import START_UP
from .shapes import Offer

HANDOVER = 30.0
"""Seconds from a trial's next report to its first work in the other block, and until its block is empty: it saves a
checkpoint, and starts again."""

MARGIN = 1.5
"""What is saved must be so many times what it costs: the ends of trials are estimates."""

SLACK = 1.25
"""A trial must fit into the other block even if it runs for so many times as long as expected."""


@dataclass(frozen=True)
class Place:
    """A block that runs.

    Attributes:
        number: Its number.
        nodes: Its nodes.
        trials: The trials that run in it, as far as they are known.
        complete: Whether these are all that run there.
        free: Further trials that it can run at once; 0 where it accepts none.
        seconds: Seconds until its trials must yield because it ends.
    """

    number: str
    nodes: int
    trials: tuple[LastTrial, ...] = ()
    complete: bool = True
    free: int = 0
    seconds: float = float("inf")

    @property
    def may_be_left(self) -> bool:
        """Whether all its trials can go on elsewhere."""
        return self.complete and self.nodes > 1 and bool(self.trials) and all(t.lost is not None for t in self.trials)

    @property
    def lost(self) -> float:
        """Seconds that the trials have to do again if they leave, at most."""
        return max((trial.lost or 0.0 for trial in self.trials), default=0.0)

    @property
    def pause(self) -> float:
        """Seconds until the trials have left the block once they are asked to, at most."""
        return HANDOVER + max((trial.pause for trial in self.trials), default=0.0)

    def left(self, now: float) -> float:
        """Seconds until its last trial is expected to end, at ``now`` (Unix seconds)."""
        return max((trial.ends - now for trial in self.trials if trial.ends is not None), default=0.0)


@dataclass(frozen=True)
class Departure:
    """The trials of one block leave it.

    Attributes:
        source: The number of the block that they leave.
        target: The number of the block that they go to; empty where they go to new ones.
        shape: The shape of the new ones, as a number of the offers.
        blocks: How many these are.
        saves: What it saves less what it costs, in seconds times nodes.
    """

    source: str
    target: str
    shape: int
    blocks: int
    saves: float


def best_departure(blocks: Sequence[Place], offers: Sequence[Offer], further: int, now: float) -> Departure | None:
    """The departure that saves most; None where none saves enough.

    Args:
        blocks: The pool's blocks that run.
        offers: The shapes of the blocks that it may submit.
        further: How many further ones it may submit.
        now: Unix seconds.

    >>> trial = LastTrial("7.1.c", 7, "0", ends=3600.0, lost=60.0)
    >>> best_departure([Place("0", 128, (trial,))], [Offer(1, 1), Offer(128, 128)], further=1, now=0.0)
    Departure(source='0', target='', shape=0, blocks=1, saves=449430.0)
    """
    sources = [block for block in blocks if block.may_be_left]
    found = [each for source in sources for each in _to_others(source, blocks, offers, now)]
    found += [each for source in sources for each in _to_new(source, offers, further, now)]
    return max(found, key=lambda each: each.saves, default=None)


def _to_others(source: Place, blocks: Sequence[Place], offers: Sequence[Offer], now: float) -> Iterator[Departure]:
    """To blocks that run: to smaller ones, or to one of the same size where a pool has no smaller blocks."""
    largest = source.nodes - any(offer.nodes < source.nodes for offer in offers)
    for block in blocks:
        if block is not source and block.nodes <= largest:
            saves = saves_there(source, [block], now)
            if saves is not None:
                yield Departure(source.number, block.number, 0, 0, saves)


def saves_there(source: Place, targets: Sequence[Place], now: float) -> float | None:
    """What it saves if the trials of one block go on in others that run; None where it is not enough.

    Args:
        source: The block that they leave.
        targets: The blocks that they go to.
        now: Unix seconds.
    """
    if sum(target.free for target in targets) < len(source.trials):
        return None
    left = source.left(now)
    until = HANDOVER + left + source.lost
    if SLACK * until > min(target.seconds for target in targets):
        return None
    saved = source.nodes * (min(left, source.seconds) - source.pause)
    return _enough(saved, sum(target.nodes * max(0.0, until - target.left(now)) for target in targets))


def _to_new(source: Place, offers: Sequence[Offer], further: int, now: float) -> Iterator[Departure]:
    for shape, offer in enumerate(offers):
        blocks = -(-len(source.trials) // max(1, offer.trials))
        if offer.open and blocks <= further:
            saves = saves_in_new(source, offer, blocks, offer.wait.expected, now)
            if saves is not None:
                yield Departure(source.number, "", shape, blocks, saves)


def saves_in_new(source: Place, offer: Offer, blocks: int, wait: float, now: float) -> float | None:
    """What it saves if the trials of a block go on in new and smaller ones; None where it is not enough.

    They run on until the new ones have started, so a wait costs nothing; but it leaves less to save.

    Args:
        source: The block that they leave.
        offer: The shape of the new ones.
        blocks: How many these are.
        wait: Seconds that they probably wait.
        now: Unix seconds.
    """
    if blocks * offer.nodes >= source.nodes:
        return None
    begins = wait + START_UP
    until = HANDOVER + source.left(now) - begins + source.lost  # counted from then on
    if SLACK * until > offer.usable:
        return None
    saved = source.nodes * (min(source.left(now), source.seconds) - begins - source.pause)
    return _enough(saved, blocks * offer.nodes * (START_UP + until))


def _enough(saved: float, cost: float) -> float | None:
    return saved - cost if saved > 0.0 and saved >= MARGIN * cost else None
