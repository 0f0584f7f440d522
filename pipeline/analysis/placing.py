"""What trials cost in each pool of a study, and how placement would share the pools, from the database."""

from __future__ import annotations

from ..campaign.past_costs import learn_past
from ..placement import Costs, Placement, PlanTable, PoolRoom
from ..placement.planner import RECENT
from .plots.timing import Block, blocks_of
from .reading import StudyData


def cost_plan(data: StudyData) -> PlanTable:
    """The table of learned costs: kinds of trials, pools, predicted seconds and shares.

    Pools have as many workers as were connected at once in the last campaign.
    """
    workers = workers_by_pool(blocks_of(data))
    costs = Costs(list(workers))
    learn_past(costs, data.trials, data.constants)
    placement = Placement("learned", costs)
    placement.pools({name: PoolRoom(count) for name, count in workers.items()})
    for trial in data.trials[-RECENT:]:
        placement.put(trial.number, {**data.constants, **trial.params}, float(trial.number))
    return placement.table()


def workers_by_pool(blocks: list[Block]) -> dict[str, int]:
    """The most workers that each pool of the last campaign had at once.

    >>> def block(number, pool, joined, ended):
    ...     return Block("c", pool, number, "job", 0.0, joined, ended, 4, 1, "", joined)
    >>> workers_by_pool([block("0", "cpu", 1.0, 5.0), block("1", "cpu", 2.0, None), block("2", "cpu", 6.0, None)])
    {'cpu': 8}
    """
    last = blocks[-1].campaign if blocks else ""
    found: dict[str, int] = {}
    for pool in dict.fromkeys(block.pool for block in blocks if block.campaign == last):
        changes: list[tuple[float, int]] = []
        for block in blocks:
            if (block.campaign, block.pool) == (last, pool) and block.started is not None:
                changes.append((block.started, block.workers))
                changes += [(block.ended, -block.workers)] if block.ended is not None else []
        most = now = 0
        for _, change in sorted(changes):
            now += change
            most = max(most, now)
        found[pool] = most
    return found
