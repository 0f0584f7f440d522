"""Node-hours: what a campaign's blocks have cost, what they can still cost, and what a budget lets them cost.

A scheduler charges a job from its start to its end, for all its nodes, whatever its processes do. So a block can cost
its nodes times its walltime until it has ended, and that much is *reserved* for it. Every campaign keeps the most that
it can be charged in the database (``attributes.HOURS``), before the pool may submit anything of it: the sum over all
campaigns, dead ones too, never exceeds the budget. :func:`~pilotune.pipeline.driver.hours.reserve` adds to it with the
study locked, so two drivers never reserve the same hours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..hours import HOUR, Account, Unit, amount
from ..record.hours import Ledger, Spent
from ..record.pool_sites import names_of
from .events import PoolCharge, pool_of_key


def _equal_share(pool: str, params: Mapping[str, Any]) -> float:
    return 1.0


@dataclass(frozen=True)
class PoolCost:
    """What a block of a pool costs.

    Attributes:
        nodes: Its nodes.
        gpus: GPUs of each of them.
        walltime: Seconds that it may run; None where nothing ends it.
    """

    nodes: int = 1
    gpus: int = 0
    walltime: float | None = None

    def per_second(self, unit: Unit) -> float:
        """Hours of a unit that a block costs in a second."""
        return self.nodes * (self.gpus if unit == "gpu_hours" else 1) / HOUR

    def block(self, unit: Unit) -> float:
        """Hours of a unit that a block can cost; ``math.inf`` where nothing ends it."""
        rate = self.per_second(unit)
        return rate * (math.inf if self.walltime is None else self.walltime) if rate else 0.0


@dataclass(frozen=True)
class HoursPlan:
    """The pools of a site, and the budgets of the study.

    Attributes:
        pools: What a block costs, by the names of the pools that the campaign uses; of a pool with several shapes there
            is one for each, by :func:`~pilotune.pipeline.campaign.events.shape_key`.
        accounts: The budgets; empty without any. Then hours are only counted.
        share: How many nodes an attempt takes, from the name of its pool and the trial's parameters: a part of one
            where several trials share a node.
        sites: The site of each pool.
    """

    pools: Mapping[str, PoolCost] = field(default_factory=dict)
    accounts: tuple[Account, ...] = ()
    share: Callable[[str, Mapping[str, Any]], float] = _equal_share
    sites: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of the pools."""
        return list(dict.fromkeys(map(pool_of_key, self.pools)))

    def shapes_of(self, pool: str) -> list[str]:
        """The keys of a pool's shapes."""
        return [key for key in self.pools if pool_of_key(key) == pool]

    def accounts_of(self, key: str) -> list[Account]:
        """The budgets that a block is charged to; none for GPU-hours of a pool without GPUs."""
        cost, names = self.pools[key], self.names_of(pool_of_key(key))
        return [each for each in self.accounts if each.covers(*names) and cost.per_second(each.unit)]

    def names_of(self, pool: str) -> tuple[str, str]:
        """What a pool is called without its site and with it."""
        return names_of(pool, self.sites.get(pool, ""))

    @property
    def metered(self) -> frozenset[str]:
        """The pools, or their shapes, whose blocks a budget limits."""
        return frozenset(key for key in self.pools if self.accounts_of(key))

    @property
    def metered_pools(self) -> frozenset[str]:
        """The pools whose blocks a budget limits."""
        return frozenset(map(pool_of_key, self.metered))


class NodeHours:
    """What the blocks of one campaign cost, and how many more of them the budget allows.

    Args:
        plan: The pools and the budgets.

    Attributes:
        charges: By pool or shape, for how long blocks have held their nodes, as the pool said last.
        allowed: Likewise, how many blocks may be submitted in all; what is not used yet is reserved like a block.
        spent: Pools and shapes whose next block the budget cannot pay, when last asked.
        over: All its jobs are over, and nothing of what is allowed will be used.
        others: The ledgers of the study's other campaigns, when last seen.
        stale: The pool said something new since :meth:`reserve` was last called.
        hopeless: Why no further block can be paid whatever becomes of the blocks of others, as a sentence; empty while
            one can, or none is wanted.

    Example::

        hours = NodeHours(HoursPlan({"cpu": PoolCost(walltime=3600.0)}, (Account("node_hours", 1.5),)))
        hours.charges = {"cpu": PoolCharge(wanted=2)}
        hours.reserve(others={}, alive=(), now=0.0)  # True: one of the two blocks can be paid
        hours.allowed  # {"cpu": 1}
    """

    def __init__(self, plan: HoursPlan):
        self.plan = plan
        self.charges: Mapping[str, PoolCharge] = {}
        self.allowed = dict.fromkeys(sorted(plan.metered), 0)
        self.spent: frozenset[str] = frozenset()
        self.others: Mapping[str, Ledger] = {}
        self.stale = self.over = False
        self.hopeless = ""
        self._busy: dict[str, float] = {}
        self._pool_of_host: dict[str, str] = {}

    # -- what was used ------------------------------------------------------------------------------------------------

    def take(self, charges: Mapping[str, PoolCharge]) -> None:
        """Take over what the pool says of its blocks."""
        self.charges, self.stale = charges, True

    def gpus_of(self, pool: str) -> int:
        """GPUs of a node of the pool."""
        shapes = self.plan.shapes_of(pool)
        return self.plan.pools[shapes[0]].gpus if shapes else 0

    def share(self, pool: str, params: Mapping[str, Any]) -> float:
        """How many nodes an attempt takes in a pool; 0 where the pool is not known."""
        return self.plan.share(pool, params) if self.plan.shapes_of(pool) else 0.0

    def pool_of(self, host: str, pool: str = "") -> str:
        """The pool of a host. An attempt's outcome names its ``pool``; where there is none, the host tells.

        Empty where nothing is known of the host and there are several pools.
        """
        if pool and host:
            self._pool_of_host[host] = pool
        names = self.plan.names
        return pool or self._pool_of_host.get(host, names[0] if len(names) == 1 else "")

    def note_busy(self, pool: str, node_seconds: float) -> None:
        """Attempts have taken so many node-seconds of a pool."""
        self._busy[pool] = self._busy.get(pool, 0.0) + node_seconds

    def ledger(self, now: float) -> Ledger:
        """This campaign's part."""
        pools = {pool: self._spent_in(pool, now) for pool in self.plan.names}
        at = now if any(each.held for each in pools.values()) else 0.0
        return Ledger(pools, self.over, at, self.plan.sites)

    def _spent_in(self, pool: str, now: float) -> Spent:
        used = [self._spent_by(key, now) for key in self.plan.shapes_of(pool)]
        nodes, most, held = (sum(each[part] for each in used) for part in range(3))
        return Spent(nodes, most, self.gpus_of(pool), self._busy.get(pool, 0.0), held)

    def _spent_by(self, key: str, now: float) -> tuple[float, float, float]:
        """Node-seconds that blocks of a shape have used, the most that they can, and the nodes that they hold now."""
        cost, charge = self.plan.pools[key], self.charges.get(key, PoolCharge())
        nodes = cost.nodes * charge.seconds(now)
        held = cost.nodes * sum(since is not None for _, since in charge.living)
        if self.over or cost.walltime is None:
            return nodes, nodes, held
        unused = max(0, self.allowed.get(key, 0) - charge.submitted)
        return nodes, cost.nodes * (charge.most(now, cost.walltime) + unused * cost.walltime), held

    # -- what may still be used ---------------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether the pool would submit blocks that it is not allowed to."""
        return any(charge.wanted and pool in self.allowed for pool, charge in self.charges.items())

    def reserve(self, others: Mapping[str, Ledger], alive: Sequence[str], now: float) -> bool:
        """Allow the blocks that are wanted, as many as the budget pays.

        Args:
            others: The ledgers of the study's other campaigns, which must not change before the result is kept.
            alive: Those of them whose drivers live: what they have reserved may become free.
            now: Unix seconds.

        Returns:
            Whether any was allowed. Then :meth:`ledger` is to be kept before the pool learns of it.
        """
        self.others, self.stale = others, False
        before, spent = dict(self.allowed), set[str]()
        for key, charge in self.charges.items():
            if key not in self.allowed or not charge.wanted:
                continue
            for _ in range(charge.submitted + charge.wanted - self.allowed[key]):
                if self._lacking(key, now):
                    spent.add(key)
                    break
                self.allowed[key] += 1
        wanted = {pool_of_key(key) for key, each in self.charges.items() if each.wanted and key in self.allowed}
        spent |= {pool for pool in wanted if spent.issuperset(self.plan.shapes_of(pool))}
        self.spent = frozenset(spent)
        hopeless = [sentence for pool in wanted if (sentence := self._hopeless_pool(pool, alive, now))]
        self.hopeless = hopeless[0] if hopeless and len(hopeless) == len(wanted) else ""
        return self.allowed != before

    def _lacking(self, key: str, now: float) -> list[Account]:
        """The accounts that a further block of a shape could exceed."""
        own, block = self.ledger(now), self.plan.pools[key]
        found = []
        for account in self.plan.accounts_of(key):
            reserved = own.total(account, most=True)
            reserved += sum(each.total(account, most=True) for each in self.others.values())
            if reserved + block.block(account.unit) > account.hours * (1 + 1e-9):
                found.append(account)
        return found

    def _hopeless_pool(self, pool: str, alive: Sequence[str], now: float) -> str:
        """Why no block of a pool can be paid any more, of whatever shape; empty while one can."""
        found = ""
        for key in self.plan.shapes_of(pool):
            unused = self.allowed.get(key, 0) > self.charges.get(key, PoolCharge()).submitted
            found = "" if unused else self._hopeless(self._lacking(key, now), key, alive, now)
            if not found:
                return ""
        return found

    def _hopeless(self, accounts: Sequence[Account], key: str, alive: Sequence[str], now: float) -> str:
        """The sentence on the first account that cannot pay a block even if all that is reserved were given back."""
        for account in accounts:
            dead = [each for name, each in self.others.items() if name not in alive]
            kept = sum(each.total(account, most=True) for each in dead)
            used = sum(each.total(account) for name, each in self.others.items() if name in alive)
            used += self.ledger(now).total(account)
            block = self.plan.pools[key].block(account.unit)
            if used + kept + block > account.hours * (1 + 1e-9):
                open_ = kept - sum(each.total(account) for each in dead)
                return self._sentence(account, used + kept - open_, open_, block, pool_of_key(key))
        return ""

    def _sentence(self, account: Account, used: float, reserved: float, block: float, pool: str) -> str:
        unit = account.unit
        still = f" and {amount(reserved, unit)} reserved for jobs of dead drivers" if reserved > 1e-6 else ""
        return (
            f"{account.words} pays for no further block: {amount(used, unit)} used{still}, "
            f"and a block of pool {pool} can cost {amount(block, unit)}"
        )

    def next_block(self, account: Account) -> float:
        """What a further block costs of the account: the cheapest of those that it could not pay, else the cheapest."""
        pools = [pool for pool in self.plan.pools if account in self.plan.accounts_of(pool)]
        costs = [self.plan.pools[pool].block(account.unit) for pool in pools if pool in self.spent or not self.spent]
        return min((cost for cost in costs if cost < math.inf), default=0.0)

    @property
    def blocks_left(self) -> bool:
        """Whether any block lives, or may be submitted."""
        charges = self.charges.items()
        unused = any(self.allowed[pool] > charge.submitted for pool, charge in charges if pool in self.allowed)
        return unused or any(charge.living for _, charge in charges)

    def validate(self, now: float) -> str:
        """What is wrong with the ledgers, as a sentence; empty if the budget holds."""
        for account in self.plan.accounts:
            own = self.ledger(now).total(account)
            total = own + sum(each.total(account) for each in self.others.values())
            if total > account.hours * (1 + 1e-6) and own > 0.0 and not self._overrun(now):
                return f"{account.words} is overdrawn: {amount(total, account.unit)} used"
        return ""

    def _overrun(self, now: float) -> bool:
        """Whether a block goes on beyond its walltime, which a scheduler may allow."""
        for key, charge in self.charges.items():
            walltime = self.plan.pools[key].walltime
            if walltime is not None and charge.most(now, walltime) > charge.over + len(charge.living) * walltime:
                return True
        return False
