"""What trials cost in each pool of a study, and how placement would share the pools, from the database."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import UserError
from ..attributes import SETUP
from ..campaign.past_costs import PastCosts, PoolNames
from ..placement import Costs, PlanTable, PoolRoom
from ..placement.planner import RECENT, Planner
from ..placement.table import plan_table
from ..studyfile.kept_placement import KeptPlacement, kept_placement
from ..studyfile.pool_rule import allowed_earlier
from .plots.timing import Block, blocks_of
from .reading import StudyData


@dataclass(frozen=True)
class CostPlan:
    """What is learned of a study's costs.

    Attributes:
        policy: The policy that the study file of the last campaign names; None where the file is not in the record.
        rule: What that file says in ``trial.pools``; None where all pools may run all trials, or it is not known.
        workers: The most workers that each pool of the last campaign had at once.
        table: Kinds of trials, what they cost by pool, and the shares that ``learned`` gives them.
    """

    policy: str | None
    rule: str | None
    workers: Mapping[str, int]
    table: PlanTable

    def as_dict(self) -> dict[str, Any]:
        """The plan for JSON."""
        head = {"policy": self.policy, "trial_pools": self.rule, "workers": dict(self.workers)}
        return {**head, **dataclasses.asdict(self.table)}


def cost_plan(data: StudyData) -> CostPlan:
    """What trials cost, by kind and pool, and how the pools of the last campaign should be shared."""
    blocks = blocks_of(data)
    last = blocks[-1].campaign if blocks else ""
    workers, setup = workers_by_pool(blocks), _setup(data, last)
    kept, memory = _placement_of(setup), setup.get("memory")
    limits = {name: float(size) for name, size in memory.items()} if isinstance(memory, Mapping) else {}
    costs = Costs(list(workers))
    names = PoolNames(lambda: data.system_attrs, last, workers)
    ended = PastCosts(costs, data.constants, names).tell(data.trials)
    costs.refit()
    planner = Planner(costs)
    for trial in [each for each in data.trials if each.params][-RECENT:]:  # one that waits may have none yet
        params = {**data.constants, **trial.params}
        allowed = allowed_earlier(kept.pools if kept is not None else None, params)
        planner.recall((params, None if allowed is None else frozenset(allowed)))
    rooms = {name: PoolRoom(count, limits.get(name)) for name, count in workers.items() if count > 0}
    rule = kept.pools.text if kept is not None and kept.pools is not None else None
    return CostPlan(None if kept is None else kept.policy, rule, workers, plan_table(planner, rooms, ended))


def _setup(data: StudyData, campaign: str) -> Mapping[str, Any]:
    """With what a campaign ran; empty where that is not known."""
    found = data.system_attrs.get(SETUP + campaign)
    return found if isinstance(found, Mapping) else {}


def _placement_of(setup: Mapping[str, Any]) -> KeptPlacement | None:
    """What the study file says of placement; None where it is not kept as a whole."""
    try:
        return kept_placement(setup["study"]) if isinstance(setup.get("study"), str) else None
    except UserError:
        return None


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
