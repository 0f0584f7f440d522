"""Whether the budgets in hours of a study fit the site: what a run refuses, and what may not be meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...fields import format_duration
from ...grammar import count, named
from ..hours import amount, number, rounded_up

if TYPE_CHECKING:
    from ...errors import UserError
    from ...providers.site import Site
    from ..campaign.node_hours import HoursPlan
    from ..hours import Account
    from ..record.hours import Ledger
    from ..studyfile import StudyFile


def check_budgets(study_file: StudyFile, site: Site) -> None:
    """Check the budgets in hours against the site.

    Raises:
        UserError: At the line of the study file, where a budget is of a pool that neither the site has nor another one
            that can be named, or counts GPUs where there are none; where none of the study's pools could ever get a
            block; and where nothing would end the study, since one of its pools has no budget.
    """
    for account in study_file.budget.accounts:
        _check_pool(account, study_file, site)
    plan = _plan(study_file, site, {})
    unpaid = _unpaid(plan, {})
    if plan.pools and len(unpaid) == len(plan.names):
        raise _too_little(unpaid, plan, study_file, site, {})
    _check_end(plan, study_file)


def budget_notes(study_file: StudyFile, site: Site, found: Mapping[str, Ledger]) -> list[str]:
    """Notes on budgets that pay for no block of a pool, or that limit nothing; a sentence each, with its line.

    Args:
        study_file: The study.
        site: The site.
        found: The ledgers of the study's campaigns: only what they have left of a budget pays for blocks.
    """
    if not study_file.budget.accounts:
        return []
    from .hours import covers

    plan = _plan(study_file, site, found)
    unpaid = _unpaid(plan, found)
    notes = [str(_too_little({pool: of_shapes}, plan, study_file, site, found)) for pool, of_shapes in unpaid.items()]
    for account in plan.accounts:
        at_site = not account.pool or any(covers(account, pool, site) for pool in site.pools)
        if at_site and not any(account in plan.accounts_of(key) for key in plan.pools):
            why = "the study uses no pool with GPUs"
            if account.pool and not any(account.covers(*plan.names_of(pool)) for pool in plan.names):
                why = f"the study does not use pool {account.pool}"
            notes.append(str(study_file.error(f"limits nothing, since {why}", account.key)))
    return notes


def _plan(study_file: StudyFile, site: Site, found: Mapping[str, Ledger]) -> HoursPlan:
    from .hours import hours_plan, with_walltimes

    return hours_plan(study_file, with_walltimes(study_file, site, found))


def _check_pool(account: Account, study_file: StudyFile, site: Site) -> None:
    from .hours import covers

    pools = [pool for pool in site.pools if covers(account, pool, site)]
    if account.pool and not pools:
        _check_elsewhere(account, study_file, site)
        return
    gpus = any(pool.gpus_per_node for pool in pools)
    if account.unit == "gpu_hours" and not gpus:
        lacks = f"pool {account.pool} has no GPUs" if account.pool else site.lacks("GPUs")
        message = f"{lacks}, so GPU-hours are never used; use node_hours, or set gpus_per_node"
        raise study_file.error(message, account.key)


def _check_elsewhere(account: Account, study_file: StudyFile, site: Site) -> None:
    """Raise UserError unless a budget is of a pool of another site: such a study has drivers at several sites."""
    from ...providers.site import known_pools
    from ...yamlfile import nearest

    names, others = [pool.name for pool in site.pools], known_pools()
    if account.pool in others:
        return
    instead = nearest(account.pool, [*names, *others])
    if not instead.endswith("?"):  # the pools of all sites are too many to list
        instead = f"; it has {', '.join(names)}"
    known = {other.rpartition(".")[0] for other in others}
    if "." in account.pool and not any(account.pool.startswith(f"{name}.") for name in known):
        instead += "" if instead.endswith("?") else "."
        instead += " For a pool of another site, that site must be in `pilotune site list`"
    raise study_file.error(f"{site.lacks('pool')} '{account.pool}'{instead}", account.key)


def _unpaid(plan: HoursPlan, found: Mapping[str, Ledger]) -> dict[str, dict[str, Account]]:
    """The pools of which not even one block can be paid: of each of their shapes the budget that is too small."""
    lacking = {
        key: account
        for key, cost in plan.pools.items()
        for account in plan.accounts_of(key)
        if cost.block(account.unit) > account.left(found.values()) + account.hours * 1e-9
    }
    shapes = {pool: plan.shapes_of(pool) for pool in plan.names}
    return {pool: {key: lacking[key] for key in keys} for pool, keys in shapes.items() if lacking.keys() >= set(keys)}


def _too_little(
    unpaid: Mapping[str, Mapping[str, Account]],
    plan: HoursPlan,
    study_file: StudyFile,
    site: Site,
    found: Mapping[str, Ledger],
) -> UserError:
    """The error at the budget that lacks least for a block of one of these pools."""
    accounts = {(pool, key): account for pool, keys in unpaid.items() for key, account in keys.items()}
    enough = {
        (pool, key): account.hours - account.left(found.values()) + plan.pools[key].block(account.unit)
        for (pool, key), account in accounts.items()
    }
    pool, key = min(accounts, key=lambda each: enough[each] / accounts[each].hours)
    account, cost = accounts[pool, key], plan.pools[key]
    block, left = cost.block(account.unit), account.left(found.values())
    size = f"{count(cost.nodes, 'node')} for {format_duration(cost.walltime or 0.0)}"
    which, one = ("", f"one of pool {pool}") if len(unpaid) > 1 else (f" of pool {pool}", "one")
    message = f"pays for no block{which}: {one} ({size}) can cost "
    of_budget = f"the budget is {number(account.hours)}"
    if left < account.hours:
        of_budget = f"earlier campaigns have left {number(left)} of the budget of {number(account.hours)}"
    message += f"{amount(block, account.unit)}, and {of_budget}; give at least {rounded_up(enough[pool, key]):.10g}"
    shortest = site.pool(pool).walltime is None  # such a block gets as short a walltime as the budget asks for
    return study_file.error(message if shortest else f"{message}, or make the pool's blocks smaller", account.key)


def _check_end(plan: HoursPlan, study_file: StudyFile) -> None:
    """Raise UserError if only budgets in hours end the study, and a pool has none."""
    free = [pool for pool in plan.names if pool not in plan.metered_pools]
    if free and not (study_file.ends_by_itself or study_file.budget.ends):
        message = f"does not limit {named('pool', free)}, so the study would never end; set trials, time or target, or "
        raise study_file.error(f"{message}node_hours for {'it' if len(free) == 1 else 'them'} too", "budget")
