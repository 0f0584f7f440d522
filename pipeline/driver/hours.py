"""Node-hours in the driver: what the blocks of its site cost, and the reservation of new ones in the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import RecordAway, UserError
from ..attributes import LEASE
from ..campaign.node_hours import HoursPlan, NodeHours, PoolCost
from ..hours import Account, Unit
from ..record import Lease, study_leases
from ..record.hours import Ledger, keep_hours, ledgers, ledgers_in, settled
from ..record.pool_sites import names_of
from ..studyfile import SizeProblem
from .settings import needs_of, resources_of
from .settlement import settled_use

if TYPE_CHECKING:
    import optuna

    from ...providers.site import PoolSpec, Site
    from ..record import RecordStorage
    from ..studyfile import StudyFile

LEAST_WALLTIME = 60
"""Shortest walltime of a local block, seconds; a budget that leaves less pays for none."""


def hours_plan(study_file: StudyFile, site: Site) -> HoursPlan:
    """What the blocks of the site's pools cost, the budgets, and what a trial takes of a node."""
    from ...providers.blocks.resources import keyed_shapes, pool_uses

    needs = needs_of(study_file)
    used = [use.pool for use in pool_uses(site, needs) if not use.why_not]
    pools = {
        key: PoolCost(each.nodes_per_block, each.gpus_per_node, walltime_of(each, site))
        for pool in used
        for key, each in keyed_shapes(pool, needs).items()
    }
    sites = {pool.name: site.home(pool.name).name for pool in used}
    return HoursPlan(pools, study_file.budget.accounts, share_of(study_file, used), sites)


def walltime_of(pool: PoolSpec, site: Site) -> float | None:
    """The walltime of the pool's blocks in seconds, rounded up as the site's scheduler does; None without one."""
    from ...providers.schedulers.registry import provider_class

    grain = provider_class(site.home(pool.name).scheduler).grain
    return None if pool.walltime is None else float(-int(-pool.walltime // grain) * grain)


def share_of(study_file: StudyFile, pools: Sequence[PoolSpec]) -> Callable[[str, Mapping[str, Any]], float]:
    """How many nodes a trial takes: those that it has to itself, or its part of one."""
    from ...providers.blocks.resources import node_share, trials_per_node

    needs, by_name = needs_of(study_file), {pool.name: pool for pool in pools}
    if not needs.sizes:
        equal = {pool.name: 1.0 / max(1, trials_per_node(pool, needs)) for pool in pools}
        return lambda pool, params: float(needs.nodes) if needs.nodes > 1 else equal[pool]

    def share(pool: str, params: Mapping[str, Any]) -> float:
        try:
            return node_share(by_name[pool], resources_of(study_file.options_for(params)))
        except SizeProblem:  # such a trial never begins
            return 0.0

    return share


def stored_ledgers(study_file: StudyFile, storage_url: str) -> dict[str, Ledger]:
    """The ledgers of the study's campaigns before the study is opened; empty where there is none yet.

    What dead drivers on local sites had reserved counts as given back, since their blocks end by themselves.
    """
    from ..analysis import read_study

    try:
        data = read_study(storage_url, study_file.name, parts=())
    except (UserError, RecordAway):  # there is none; what is wrong with the database is said when it is opened
        return {}
    attrs = data.system_attrs
    leases = [Lease.parse(key.removeprefix(LEASE), attrs[key]) for key in attrs if key.startswith(LEASE)]
    dead = [lease for lease in leases if lease.campaign not in data.live]
    return settled(ledgers_in(attrs), settled_use(attrs, dead, None, 0.0))


def with_walltimes(study_file: StudyFile, site: Site, found: Mapping[str, Ledger]) -> Site:
    """The site where each block ends by itself before it could exceed a budget in hours.

    Only blocks of a local site have no walltime. With a budget each gets an equal part of what is left as its walltime:
    of the blocks of all pools that the study uses and the budget covers.

    Args:
        study_file: The study.
        site: The site.
        found: The ledgers of the study's campaigns.
    """
    from ...providers.blocks.resources import pool_uses

    used = [use.pool for use in pool_uses(site, needs_of(study_file)) if not use.why_not]
    limits = {pool.name: _longest(pool, used, study_file, site, found) for pool in site.pools if pool.walltime is None}
    return site.with_pools(lambda pool: replace(pool, walltime=limits[pool.name]) if limits.get(pool.name) else pool)


def paid_site(study_file: StudyFile, site: Site, storage_url: str) -> Site:
    """The site as a campaign with the study's budgets in hours uses it, see :func:`with_walltimes`."""
    if not study_file.budget.accounts or all(pool.walltime is not None for pool in site.pools):
        return site
    return with_walltimes(study_file, site, stored_ledgers(study_file, storage_url))


def _longest(
    pool: PoolSpec, used: Sequence[PoolSpec], study_file: StudyFile, site: Site, found: Mapping[str, Ledger]
) -> float | None:
    """For how long each block of a pool may run, in seconds; None where no budget covers it."""
    limits = []
    for account in study_file.budget.accounts:
        rate = sum(_rate(each, account.unit) for each in used if covers(account, each, site))
        if covers(account, pool, site) and _rate(pool, account.unit) and rate:
            limits.append(max(LEAST_WALLTIME, int(account.left(found.values()) / rate)))
    return float(min(limits)) if limits else None


def covers(account: Account, pool: PoolSpec, site: Site) -> bool:
    """Whether the blocks of a pool of the site are charged to a budget, which may name the pool with its site."""
    return account.covers(*names_of(pool.name, site.home(pool.name).name))


def _rate(pool: PoolSpec, unit: Unit) -> float:
    """What all blocks of a pool cost in a second."""
    return PoolCost(pool.nodes_per_block, pool.gpus_per_node).per_second(unit) * max(1, pool.blocks.max)


def reserve(
    storage: RecordStorage, study: optuna.Study, campaign: str, hours: NodeHours, now: float, limit: int | None = None
) -> None:
    """Allow the blocks that are wanted, as many as the budget pays, and keep what they can cost.

    One transaction, in which no other driver reserves anything. What else is staged for the study is committed with it.

    Args:
        storage: The campaign's storage, after ``claim``.
        study: Loaded from ``storage``.
        campaign: The campaign's id.
        hours: Its hours; unchanged where the database does not answer.
        now: Unix seconds, on the clock of the pool.
        limit: As for ``RecordStorage.commit``.

    Raises:
        RecordAway: The database did not answer, so nothing is allowed.
        LeaseLost: Another driver declared this campaign dead.
    """
    before = dict(hours.allowed)
    try:
        with storage.locked(study._study_id, limit):
            clock = storage.database.clock()
            alive = [lease.campaign for lease in study_leases(storage, study) if lease.alive(clock)]
            if hours.reserve(ledgers(storage, study, campaign), alive, now):
                keep_hours(storage, study, campaign, hours.ledger(now))
    except BaseException:
        hours.allowed = before
        raise
