"""What a campaign's status says of node-hours: what the whole study used, by pool and of each budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..campaign.campaign import Campaign
from ..hours import Account
from ..record.hours import Ledger, PoolHours, hours_by_pool

MOST_COUNTED = 500
"""Most running trials whose time is added up for a status; with more, they count as their trials end."""


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
        block: What the next block costs, at least.
    """

    unit: str
    pool: str
    hours: float
    used: float
    reserved: float
    left: float
    block: float


def current_ledger(campaign: Campaign) -> Ledger:
    """The campaign's part of the study's hours at its last step, with what running attempts have taken so far."""
    ledger = campaign.hours.ledger(campaign.now)
    pools = dict(ledger.pools)
    for pool, (taken, taking) in _running(campaign).items():
        pools[pool] = replace(pools[pool], taken=taken, taking=taking)
    return replace(ledger, pools=pools)


def pool_hours(campaign: Campaign) -> list[PoolHours]:
    """What the study used of each pool; empty where the campaign's pools are not known.

    Of other campaigns it is what they had used a few seconds ago.
    """
    own = current_ledger(campaign).until(campaign.now)
    return list(hours_by_pool([own, *campaign.hours.others.values()]).values())


def budget_hours(campaign: Campaign) -> list[BudgetHours]:
    """The budgets in hours, and what is left of them."""
    hours = campaign.hours
    found = [hours.ledger(campaign.now), *hours.others.values()]
    return [budget_of(account, found, hours.next_block(account)) for account in hours.plan.accounts]


def budget_of(account: Account, found: Sequence[Ledger], block: float) -> BudgetHours:
    """What is left of a budget, by the ledgers of all campaigns. ``block``: what the next block costs."""
    used, most = (sum(each.total(account, most=most) for each in found) for most in (False, True))
    reserved, left = max(0.0, most - used), max(0.0, account.hours - most)
    return BudgetHours(account.unit, account.pool, account.hours, used, reserved, left, block)


def _running(campaign: Campaign) -> dict[str, tuple[float, float]]:
    """By pool, the node-seconds that running attempts have taken so far, and the nodes that they take."""
    found: dict[str, tuple[float, float]] = {}
    if not campaign.hours.plan.pools or campaign.running > MOST_COUNTED:
        return found
    for flight in campaign.flights.running.values():
        pool = campaign.hours.pool_of(flight.host)
        if pool in campaign.hours.plan.names and flight.started is not None:
            taken, taking = found.get(pool, (0.0, 0.0))
            nodes = campaign.hours.share(pool, flight.params)
            found[pool] = (taken + max(0.0, campaign.now - flight.started) * nodes, taking + nodes)
    return found
