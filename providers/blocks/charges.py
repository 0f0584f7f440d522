"""What the blocks of a pool have cost, and how many more of them a budget in node-hours allows. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from ...pipeline.campaign.events import PoolCharge, shape_key
from .block import Block


def shape_charges(name: str, blocks: Sequence[Block], wanted: Sequence[int]) -> dict[str, PoolCharge]:
    """What the blocks of a pool have cost, by :func:`~pilotune.pipeline.campaign.events.shape_key`.

    Args:
        name: The pool.
        blocks: All that were ever submitted.
        wanted: By shape, blocks that would be submitted now if the budget allowed them.
    """
    if len(wanted) == 1:
        return {name: charge_of(blocks, wanted[0])}
    own = [[block for block in blocks if block.shape == shape] for shape in range(len(wanted))]
    return {shape_key(name, shape): charge_of(own[shape], wanted[shape]) for shape in range(len(wanted))}


def charge_of(blocks: Sequence[Block], wanted: int = 0) -> PoolCharge:
    """What the blocks of a pool have cost.

    Args:
        blocks: All that were ever submitted.
        wanted: Blocks that would be submitted now if the budget allowed them.
    """
    living = tuple((each.held.before, each.held.since) for each in blocks if each.end is None and not each.given_back)
    over = sum(each.held.before for each in blocks if each.end is not None or each.given_back)
    return PoolCharge(len(blocks), over, living, wanted)


def allowed_now(want: int, submitted: int, allowed: int | None) -> int:
    """How many of ``want`` further blocks a budget allows.

    Args:
        want: Blocks that are needed.
        submitted: Blocks that were submitted in all.
        allowed: How many may be submitted in all; None: any number.

    >>> allowed_now(3, 2, 4), allowed_now(3, 2, None)
    (2, 3)
    """
    return want if allowed is None else min(want, max(0, allowed - submitted))
