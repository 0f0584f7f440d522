"""Decides how many blocks a pool should have, which of them to end, and which get no more trials. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..schedulers.jobs import Phase
from ..site import BlockCounts
from .block import Block

START_UP = 30.0
"""Seconds from a block's start to the start of its first trial."""


LAST_IDLE = 5.0
"""Seconds without a trial before a block is ended that will not be needed again: a trial may be on its way to it."""


def wanted(counts: BlockCounts, trials_per_block: int, demand: int | None, proven: bool) -> int:
    """How many blocks the pool should have.

    Args:
        counts: ``blocks:`` of the site file.
        trials_per_block: Trials that a block runs at a time.
        demand: Workers that could be kept busy; None before the campaign has reported it.
        proven: Whether a worker of this pool has ever connected. Until then only the first blocks are submitted, so
            that a wrong set-up fails once and not many times.

    >>> wanted(BlockCounts(init=1, min=0, max=4), trials_per_block=8, demand=20, proven=True)
    3
    """
    first = max(counts.init, counts.min)
    if demand is None:
        return first
    ceiling = counts.max if proven else min(counts.max, max(first, 1))
    return max(counts.min, min(math.ceil(demand / trials_per_block), ceiling))


def surplus(blocks: Sequence[Block], want: int, idle: float, final: bool = False) -> list[Block]:
    """The blocks to end when more are living than wanted: queued ones first, newest first, then those idle longest.

    Args:
        blocks: All blocks of the pool, oldest first.
        want: How many it should have.
        idle: Seconds without a trial before a running block may be ended.
        final: Whether no more blocks will be wanted later. A running block is then ended after ``LAST_IDLE`` seconds.
    """
    if final:
        idle = min(idle, LAST_IDLE)
    living = [block for block in blocks if block.living]
    excess = len(living) - want
    if excess <= 0:
        return []
    queued = [block for block in reversed(living) if block.phase == Phase.QUEUED and not block.was_connected]
    resting = [block for block in living if block.was_connected and block.tasks == 0 and block.idle >= idle]
    return [*queued, *sorted(resting, key=lambda block: -block.idle)][:excess]


def accepts_no_more(block: Block, now: float, walltime: float, yield_margin: float, expected: float | None) -> bool:
    """Whether the block is so near its end that no further trial should start in it.

    A trial that fits into a new block does not start where it no longer fits. A trial that fits into no block continues
    from checkpoint to checkpoint, so it starts as long as twice the yield margin is left.

    Args:
        block: The block.
        now: Unix seconds.
        walltime: Of a new block, seconds.
        yield_margin: Seconds before the end of a block at which a trial is asked to yield.
        expected: Seconds that the next trial is expected to run; None when that is unknown.
    """
    if block.ends is None:
        return False
    left = block.ends - now
    fits_new = expected is not None and expected + yield_margin + START_UP <= walltime
    return left < max(2 * yield_margin, expected + yield_margin if fits_new and expected is not None else 0.0)
