"""Simulated blocks of several shapes, whose waits differ."""

from __future__ import annotations

import random

from pilotune.providers.blocks.block import Block
from pilotune.providers.simulated.blocks import BlockPlan, PlannedShape, SimulatedBlocks
from pilotune.providers.simulated.clock import VirtualTime
from pilotune.providers.site.spec import BlockCounts

SMALL, LARGE = PlannedShape(2, 1, 600.0, 5.0), PlannedShape(16, 8, 3600.0, 1e7)
"""A shape whose blocks begin at once, and one whose blocks never do."""


def blocks_after(seconds: float, most: int, demand: int) -> SimulatedBlocks:
    time = VirtualTime()
    plan = BlockPlan(2, BlockCounts(1, 0, most, 1e9), 600.0, shapes=(SMALL, LARGE))
    ignore = lambda block: None  # noqa: E731
    blocks = SimulatedBlocks(plan, time.at, lambda: time.now, ignore, ignore, ignore, ignore, random.Random(0))
    blocks.demand, blocks.expected = demand, 100.0
    time.advance(seconds)
    return blocks


def begun(blocks: SimulatedBlocks, shape: int) -> list[Block]:
    return [block for block in blocks.blocks if block.shape == shape and block.held.began is not None]


def test_a_block_that_does_not_begin_is_withdrawn_for_small_ones() -> None:
    blocks = blocks_after(4 * 3600.0, most=1, demand=1000)
    assert blocks.most == 1
    assert 1 <= blocks.withdrawn <= 4, "it is tried less and less often"
    assert len(begun(blocks, 0)) > 15
    assert not begun(blocks, 1)


def test_small_blocks_run_beside_one_that_does_not_begin() -> None:
    blocks = blocks_after(4 * 3600.0, most=3, demand=1000)
    assert blocks.most == 3
    assert len(begun(blocks, 0)) > 60
    assert len([block for block in blocks.blocks if block.shape == 1]) <= 4
