"""What a campaign can cost before it runs, and what it has used, in hours of nodes and GPUs."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ...fields import format_duration
from ...grammar import listed
from ..hours import HOUR, WORDS, Unit, amount, number, used_text

if TYPE_CHECKING:
    from ...providers.site import PoolSpec, Site
    from ..driver.status import Status
    from ..record.hours import Ledger
    from ..studyfile import StudyFile


def most_cost(
    study_file: StudyFile, site: Site, pools: list[PoolSpec], found: Collection[Ledger] = ()
) -> dict[Unit, float]:
    """The most hours that the study's blocks can cost at a site from now to its end, by unit.

    Args:
        study_file: The study.
        site: The site.
        pools: Its pools that the study uses.
        found: The ledgers of the study's campaigns, which have left a part of its budgets.

    Returns:
        ``math.inf`` where nothing limits them: blocks are replaced for as long as there is work. Without GPUs there are
        no GPU-hours.
    """
    most: dict[Unit, float] = {}
    for unit in ("node_hours", "gpu_hours"):
        each = {pool.name: _most_of(pool, unit, study_file, site, found) for pool in pools}
        if not any(_rate(pool, unit) for pool in pools):
            continue
        totals = [sum(each.values())]
        budgets = [account for account in study_file.budget.accounts if account.unit == unit and not account.pool]
        totals += [account.left(found) for account in budgets]
        most[unit] = min(totals)
    return most


def _rate(pool: PoolSpec, unit: Unit) -> float:
    """What all blocks of a pool cost in a second."""
    return pool.blocks.max * pool.nodes_per_block * (pool.gpus_per_node if unit == "gpu_hours" else 1) / HOUR


def _most_of(pool: PoolSpec, unit: Unit, study_file: StudyFile, site: Site, found: Collection[Ledger]) -> float:
    from ..driver.hours import covers

    rate = _rate(pool, unit)
    if not rate:
        return 0.0
    limits = [math.inf if study_file.budget.time is None else rate * study_file.budget.time]
    gpus = pool.gpus_per_node if unit == "gpu_hours" else 1
    for account in study_file.budget.accounts:
        if account.pool and covers(account, pool, site) and (account.unit == "node_hours" or pool.gpus_per_node):
            own = pool.gpus_per_node if account.unit == "gpu_hours" else 1
            limits.append(account.left(found) / own * gpus)
    return min(limits)


def cost_line(study_file: StudyFile, site: Site, pools: list[PoolSpec], found: Collection[Ledger] = ()) -> str:
    """What the study can cost, for ``pilotune check``. ``found``: as for :func:`most_cost`."""
    most = most_cost(study_file, site, pools, found)
    limited = [amount(hours, unit) for unit, hours in most.items() if hours < math.inf]
    free = [f"{WORDS[unit]}s" for unit, hours in most.items() if hours == math.inf]
    parts = []
    if limited:
        before = _charged_before(study_file, found)
        parts.append(f"{' and '.join(limited)} {'more ' if before else ''}at most{_why(study_file)}")
        parts += [f"other campaigns have used or reserved {before}"] if before else []
    if free and not limited:
        parts.append(
            "no limit: blocks are replaced while there is work; "
            "`budget: {node_hours: N}` or `budget: {time: 4h}` sets one"
        )
    return "; ".join(parts)


def _why(study_file: StudyFile) -> str:
    if study_file.budget.accounts or study_file.budget.time is None:
        return ", over all campaigns"
    return f" in a campaign of {format_duration(study_file.budget.time)}"


def _charged_before(study_file: StudyFile, found: Collection[Ledger]) -> str:
    """What campaigns have used or reserved of the budgets; empty where that is nothing."""
    charged = {each: each.hours - each.left(found) for each in study_file.budget.accounts}
    parts = [
        amount(hours, account.unit) + (f" in pool {account.pool}" if account.pool else "")
        for account, hours in charged.items()
        if hours > 0.0
    ]
    return listed(parts)


def cost_json(
    study_file: StudyFile, site: Site, pools: list[PoolSpec], found: Collection[Ledger] = ()
) -> dict[str, Any]:
    """The same for ``--json``; None where nothing limits it."""
    most = most_cost(study_file, site, pools, found)
    return {unit: None if hours == math.inf else hours for unit, hours in most.items()}


def usage_text(status: Status) -> str:
    """What the study's blocks have used, by pool, and how much of it trials did; empty where nothing is known."""
    from ..record.hours import PoolHours

    return used_text([PoolHours(**each) for each in status.hours])


def budget_texts(status: Status) -> list[str]:
    """How much of each budget in hours is used, reserved and left.

    As in ``312 of 500 node-hours used, 60 reserved, 128 left``.
    """
    found = []
    for each in status.hour_budgets:
        whole = amount(each["hours"], "gpu_hours" if each["unit"] == "gpu_hours" else "node_hours")
        where = f" in pool {each['pool']}" if each["pool"] else ""
        reserved = f", {number(each['reserved'])} reserved" if each["reserved"] > 0.0 else ""
        found.append(f"{number(each['used'])} of {whole}{where} used{reserved}, {number(each['left'])} left")
    return found
