"""Decides of which shape the next blocks of a pool are: those that finish the work soonest. Pure functions.

A shape is the nodes and the walltime of a block. A small block often starts at once, in a gap before a large job of
somebody else; a large one runs more trials, and for longer, but may wait for hours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..schedulers.jobs import End
from ..site import BlockCounts
from .block import Block
from .scaling import START_UP, limits, usable_seconds

RECENT = 5
"""Blocks of a shape from whose waits the next one is expected: queues change within hours."""

MEMORY = 12 * 3600.0
"""Seconds after which a wait is forgotten, so that a shape that waited long is tried again."""

KNOWN_FROM = 60.0
"""Seconds that a block which has not begun must have waited to say anything about its shape."""

AS_GOOD = 1.1
"""A shape that takes so many times as long as the best one counts as equally good; then the cheaper one is taken."""


PATIENCE = 600.0
"""Seconds that a block waits at least before a block of another shape is submitted in its place."""

MUCH_SOONER = 2.0
"""Another shape must do the work of a waiting block so many times sooner: else blocks would be submitted and withdrawn
in turns, and each time go to the end of the queue."""

WITHDRAWAL_PERIOD = 600.0
"""Least seconds between two blocks that are withdrawn for others."""


@dataclass(frozen=True)
class Wait:
    """What is known of how long blocks of a shape wait.

    Attributes:
        seconds: What they waited in all, those that still wait until now.
        begun: How many of them have begun.
        blocks: How many there are.
        waiting: How many of them still wait.
        estimate: Seconds that the scheduler expects the next one to wait; None where it does not say.

    >>> Wait(seconds=1200.0, begun=2, blocks=3).expected, Wait(seconds=1200.0, begun=2, estimate=0.0).expected
    (400.0, 400.0)
    """

    seconds: float = 0.0
    begun: int = 0
    blocks: int = 0
    waiting: int = 0
    estimate: float | None = None

    @property
    def known(self) -> bool:
        """Whether anything is known."""
        return self.begun > 0 or self.seconds >= KNOWN_FROM or self.estimate is not None

    @property
    def answered(self) -> bool:
        """Whether any block has begun, or the scheduler says when the next one would."""
        return self.begun > 0 or self.estimate is not None

    @property
    def expected(self) -> float:
        """Seconds that the next block is expected to wait.

        One that has waited for an hour and has not begun is taken to wait for another hour. With waits that fade
        exponentially this is their mean, drawn towards 0 as if one more block had begun at once, so that a shape of
        which little is known is tried again. The scheduler's estimate takes that place where there is one.
        """
        return (self.seconds + (self.estimate or 0.0)) / (self.begun + 1)


def wait_of(blocks: Sequence[Block], shape: int, now: float, estimate: float | None = None) -> Wait:
    """What the latest blocks of a shape tell of its wait.

    Args:
        blocks: All blocks of the pool, oldest first.
        shape: The number of the shape.
        now: Unix seconds.
        estimate: What the scheduler says.
    """
    found = Wait(estimate=estimate)
    for block in reversed(blocks):
        if found.blocks == RECENT or block.submitted < now - MEMORY:
            break
        if block.shape != shape or block.end == End.REFUSED:
            continue
        begun = block.held.began
        until = begun if begun is not None else now if block.end is None else block.since
        waited = max(0.0, until - block.submitted)
        found = replace(
            found,
            seconds=found.seconds + waited,
            begun=found.begun + (begun is not None),
            blocks=found.blocks + 1,
            waiting=found.waiting + (begun is None and block.end is None),
        )
    return found


@dataclass(frozen=True)
class Offer:
    """A shape of which blocks may be submitted.

    Attributes:
        nodes: Nodes of a block.
        trials: Trials that it runs at a time.
        walltime: Seconds that it runs; None without an end.
        margin: Seconds before its end at which trials yield.
        wait: What is known of its wait.
        open: Whether blocks of it may be submitted now.
        able: Whether trials can run in its blocks: the scheduler takes them, and the budget pays a further one or there
            is one. Others are not waited for.
    """

    nodes: int
    trials: int
    walltime: float | None = None
    margin: float = 0.0
    wait: Wait = Wait()
    open: bool = True
    able: bool = True

    @property
    def usable(self) -> float:
        """Seconds that a block has for trials."""
        return max(1.0, usable_seconds(self.walltime, self.margin))

    def seconds_for(self, trials: float, expected: float, wait: float) -> float:
        """Seconds until blocks of this shape, one after the other, have run so many trials.

        Args:
            trials: Trials that are to be run.
            expected: Seconds that one runs. A trial that is longer than a block goes on in the next one.
            wait: Seconds that each block waits.
        """
        if self.walltime is None:
            return wait + START_UP + math.ceil(trials / self.trials) * expected
        rounds = math.floor(self.usable / expected) if expected <= self.usable else self.usable / expected
        blocks = max(1, math.ceil(trials / (self.trials * rounds)))
        last = trials - (blocks - 1) * self.trials * rounds
        running = last / self.trials if rounds < 1 else math.ceil(last / self.trials)
        return blocks * wait + (blocks - 1) * self.walltime + START_UP + running * expected


@dataclass(frozen=True)
class Fleet:
    """The blocks that a pool has, and may have.

    Attributes:
        living: Blocks that run trials or will run them.
        covered: Trials that they run at a time, those that will start in time.
        least: Blocks that the pool has at least.
        most: Blocks that it may have.
        demand: Workers that could be kept busy; None: all that there are.
    """

    living: int
    covered: int
    least: int
    most: int
    demand: int | None

    @property
    def lacking(self) -> int | None:
        """Workers that could be kept busy beside those that there are; None: any number."""
        return None if self.demand is None else max(0, self.demand - self.covered)

    @property
    def lacks(self) -> bool:
        """Whether a further block is wanted."""
        return self.living < self.most and (self.living < self.least or self.lacking != 0)

    @classmethod
    def of(cls, trials: Sequence[int], counts: BlockCounts, demand: int | None, proven: bool) -> Fleet:
        """The fleet of a pool.

        Args:
            trials: How many trials each of its blocks runs at a time, those that live.
            counts: ``blocks:`` of the site file.
            demand: Workers that could be kept busy; None before the campaign has reported it.
            proven: Whether a worker of this pool has ever connected.
        """
        return cls(len(trials), sum(trials), *limits(counts, demand, proven), demand)

    def with_block(self, trials: int) -> Fleet:
        """With one more block, which runs so many trials at a time."""
        return replace(self, living=self.living + 1, covered=self.covered + trials)


def further_blocks(fleet: Fleet, offers: Sequence[Offer], expected: float | None) -> list[int]:
    """The shapes of the blocks to submit, as numbers of ``offers``.

    Args:
        fleet: The blocks that there are.
        offers: The pool's shapes; at least one.
        expected: Seconds that the next trial is expected to run; None when that is unknown.

    >>> small, large = Offer(1, trials=4, walltime=1800.0), Offer(8, trials=32, walltime=7200.0)
    >>> further_blocks(Fleet(0, 0, 0, 3, demand=40), [small, large], 600.0)
    [0, 1, 0]
    """
    found: list[int] = []
    while fleet.lacks:
        shape = next_shape(offers, fleet, expected, found)
        found.append(shape)
        fleet = fleet.with_block(offers[shape].trials)
    return found


def next_shape(offers: Sequence[Offer], fleet: Fleet, expected: float | None, planned: Sequence[int] = ()) -> int:
    """The shape of the next block: with it the work that waits is done soonest.

    While nothing is known of any shape, the smallest one is tried first. Of a larger one, a single block waits until
    the first has begun or the scheduler says when it would.

    Args:
        offers: The pool's shapes; at least one.
        fleet: The blocks that there are, and those that are planned.
        expected: Seconds that the next trial is expected to run; None when that is unknown.
        planned: The shapes of the blocks that are planned.
    """
    if len(offers) == 1:
        return 0
    fitting = fits(offers, expected)
    shapes = [shape for shape in fitting if offers[shape].open] or fitting
    shapes.sort(key=lambda shape: offers[shape].nodes * (offers[shape].walltime or 0.0))
    shapes = [shapes[0], *(shape for shape in shapes[1:] if _may_be_tried(offers[shape].wait, shape in planned))]
    tried = [shape for shape in shapes if offers[shape].wait.known or offers[shape].wait.blocks or shape in planned]
    if not tried:
        return shapes[0]
    each = expected if expected is not None else min(offers[shape].usable for shape in shapes)
    slots = max(1, fleet.most - fleet.living)
    trials = max(1.0, (UNLIMITED if fleet.lacking is None else fleet.lacking) / slots)
    seconds, waited = {}, 0.0
    for shape in shapes:
        waited = wait = max(waited, offers[shape].wait.expected) if shape not in tried else offers[shape].wait.expected
        seconds[shape] = offers[shape].seconds_for(trials, each, wait)
    best = min(seconds.values())
    good = [shape for shape in shapes if seconds[shape] <= AS_GOOD * best]
    return min(good, key=lambda shape: _cost(offers[shape], trials, each))


def _may_be_tried(wait: Wait, planned: bool) -> bool:
    return wait.answered or not (wait.waiting or planned)


UNLIMITED = 1_000_000.0
"""Trials that are to come where their number is not limited."""


def fits(offers: Sequence[Offer], expected: float | None) -> list[int]:
    """The shapes in which the next trial fits; all of them where it fits in none, and goes on from checkpoints.

    >>> small, large = Offer(1, 4, 1800.0), Offer(8, 32, 7200.0)
    >>> fits([small, large], 3600.0), fits([small, replace(large, able=False)], 3600.0)
    ([1], [0])
    """
    able = [shape for shape, offer in enumerate(offers) if offer.able] or list(range(len(offers)))
    return [shape for shape in able if expected is None or expected <= offers[shape].usable] or able


def _cost(offer: Offer, trials: float, expected: float) -> float:
    """Node-seconds that so many trials cost in blocks of this shape."""
    return offer.nodes * math.ceil(trials / offer.trials) * expected


def is_late(
    shape: int, waited: float, remaining: float, offers: Sequence[Offer], expected: float | None, slots: int
) -> bool:
    """Whether a block that waits starts too late to be of use: another shape would do its work much sooner.

    Args:
        shape: Its shape.
        waited: Seconds that it has waited.
        remaining: Seconds that it is expected to wait from now on.
        offers: The pool's shapes.
        expected: Seconds that the next trial is expected to run; None when that is unknown.
        slots: Blocks of another shape that there could be in its place.

    >>> small = Offer(1, trials=4, walltime=1800.0, wait=Wait(seconds=60.0, begun=2))
    >>> large = Offer(8, trials=32, walltime=7200.0)
    >>> [is_late(1, waited, 7200.0, [small, large], 600.0, slots=4) for waited in (60.0, 900.0)]
    [False, True]
    """
    fitting = fits(offers, expected)
    if shape not in fitting:
        return True
    if waited < PATIENCE:
        return False
    each = expected if expected is not None else min(offer.usable for offer in offers)
    own = offers[shape].seconds_for(offers[shape].trials, each, remaining)
    share = max(1.0, offers[shape].trials / slots)
    return any(
        MUCH_SOONER * offers[other].seconds_for(share, each, offers[other].wait.expected) < own
        for other in fitting
        if other != shape and offers[other].open and offers[other].wait.answered
    )
