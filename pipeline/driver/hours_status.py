"""What a campaign's status says of node-hours: what the whole study used, by pool and of each budget."""

from __future__ import annotations

from dataclasses import dataclass

from ..campaign.campaign import Campaign

MOST_COUNTED = 500
"""Most running trials whose time is added up for a status; with more, they count as their trials end."""


@dataclass(frozen=True)
class PoolHours:
    """What the study's blocks of a pool have used.

    Attributes:
        pool: The pool.
        node_hours, gpu_hours: What was charged.
        busy: Node-hours that trials took.
    """

    pool: str
    node_hours: float
    gpu_hours: float
    busy: float


@dataclass(frozen=True)
class BudgetHours:
    """How much of a budget in hours is left.

    Attributes:
        unit: ``node_hours`` or ``gpu_hours``.
        pool: The pool; empty: all.
        hours: The budget.
        used: What was charged to it.
        reserved: What blocks can still cost, beyond that.
        left: The rest.
    """

    unit: str
    pool: str
    hours: float
    used: float
    reserved: float
    left: float


def pool_hours(campaign: Campaign) -> list[PoolHours]:
    """What the study used of each pool; empty where the campaign's pools are not known.

    Of other campaigns it is what they had used a few seconds ago.
    """
    hours, now = campaign.hours, campaign.now
    busy = _running(campaign)
    nodes, gpus = dict.fromkeys(hours.plan.names, 0.0), dict.fromkeys(hours.plan.names, 0.0)
    for ledger in (hours.ledger(now), *hours.others.values()):
        for pool, spent in ledger.pools.items():
            nodes[pool] = nodes.get(pool, 0.0) + spent.hours("node_hours")
            gpus[pool] = gpus.get(pool, 0.0) + spent.hours("gpu_hours")
            busy[pool] = busy.get(pool, 0.0) + spent.busy / 3600.0
    return [PoolHours(pool, nodes[pool], gpus[pool], min(busy.get(pool, 0.0), nodes[pool])) for pool in nodes]


def budget_hours(campaign: Campaign) -> list[BudgetHours]:
    """The budgets in hours, and what is left of them."""
    hours, found = campaign.hours, []
    ledgers = [hours.ledger(campaign.now), *hours.others.values()]
    for account in hours.plan.accounts:
        used = sum(each.total(account) for each in ledgers)
        most = sum(each.total(account, most=True) for each in ledgers)
        left = max(0.0, account.hours - most)
        found.append(BudgetHours(account.unit, account.pool, account.hours, used, max(0.0, most - used), left))
    return found


def _running(campaign: Campaign) -> dict[str, float]:
    """Node-hours by pool that running attempts have taken so far."""
    found: dict[str, float] = {}
    if not campaign.hours.plan.pools or campaign.running > MOST_COUNTED:
        return found
    for flight in campaign.flights.running.values():
        pool = campaign.hours.pool_of(flight.host)
        if pool and flight.started is not None:
            taken = max(0.0, campaign.now - flight.started) * campaign.hours.share(pool, flight.params)
            found[pool] = found.get(pool, 0.0) + taken / 3600.0
    return found
