"""Decides how many blocks a pool should have, which of them to end, and which get no more trials. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..schedulers.jobs import Phase
from ..site import BlockCounts
from .block import Block

START_UP = 30.0
"""Seconds from a block's start to the start of its first trial."""

LAST_IDLE = 5.0
"""Seconds without a trial before a block is ended that will not be needed again: a trial may be on its way to it."""


def usable_seconds(walltime: float | None, margin: float) -> float:
    """Seconds that a block has for trials: without what passes before the first one begins and after trials yield.

    Args:
        walltime: Of the block, in seconds; None without an end.
        margin: Seconds before its end at which trials yield.

    >>> usable_seconds(3600.0, 60.0)
    3510.0
    """
    return math.inf if walltime is None else walltime - margin - START_UP


def limits(counts: BlockCounts, demand: int | None, proven: bool) -> tuple[int, int]:
    """How many blocks the pool has at least, and at most.

    Args:
        counts: ``blocks:`` of the site file.
        demand: Workers that could be kept busy; None before the campaign has reported it.
        proven: Whether a worker of this pool has ever connected. Until then only the first blocks are submitted, so
            that a wrong set-up fails once and not many times.

    >>> counts = BlockCounts(init=2, min=0, max=4)
    >>> limits(counts, None, False), limits(counts, 100, False), limits(counts, 100, True)
    ((2, 2), (0, 2), (0, 4))
    """
    first = max(counts.init, counts.min)
    if demand is None:
        return first, first
    return counts.min, counts.max if proven else min(counts.max, max(first, 1))


def surplus(
    blocks: Sequence[Block],
    trials: Callable[[Block], int],
    least: int,
    demand: int,
    idle: float,
    final: bool = False,
) -> list[Block]:
    """The blocks to end because the others suffice: queued ones first, then those idle longest.

    Of the queued ones the largest go first, and of those the newest.

    Args:
        blocks: All blocks of the pool, oldest first.
        trials: How many trials a block runs at a time.
        least: How many blocks there are at least.
        demand: Workers that could be kept busy.
        idle: Seconds without a trial before a running block may be ended.
        final: Whether no more blocks will be wanted later. A running block is then ended after ``LAST_IDLE`` seconds.
    """
    if final:
        idle = min(idle, LAST_IDLE)
    living = [block for block in blocks if block.living]
    covered, left = sum(map(trials, living)), len(living) - least
    queued = [block for block in reversed(living) if block.phase == Phase.QUEUED and not block.was_connected]
    resting = [block for block in living if block.was_connected and block.tasks == 0 and block.idle >= idle]
    found = []
    queued.sort(key=lambda block: -trials(block))
    for block in [*queued, *sorted(resting, key=lambda block: -block.idle)]:
        if left > 0 and covered - trials(block) >= demand:
            found.append(block)
            covered, left = covered - trials(block), left - 1
    return found


def accepts_no_more(block: Block, now: float, usable: float, yield_margin: float, expected: float | None) -> bool:
    """Whether the block is so near its end that no further trial should start in it.

    A trial that fits into a new block does not start where it no longer fits. A trial that fits into no block continues
    from checkpoint to checkpoint, so it starts as long as twice the yield margin is left.

    Args:
        block: The block.
        now: Unix seconds.
        usable: Seconds that a new block has for trials, of the shape that has most: its walltime without what passes
            before the first trial begins and after trials yield.
        yield_margin: Seconds before the end of this block at which a trial is asked to yield.
        expected: Seconds that the next trial is expected to run; None when that is unknown.
    """
    if block.ends is None:
        return False
    left = block.ends - now
    fits_new = expected is not None and expected <= usable
    return left < max(2 * yield_margin, expected + yield_margin if fits_new and expected is not None else 0.0)
