"""Keeps the node-hours of all campaigns of a study in its database: what was charged, and what still can be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..attributes import HOURS
from ..hours import HOUR, Account, Unit
from .pool_sites import names_of, sites_of

if TYPE_CHECKING:
    import optuna

    from .storage import RecordStorage


@dataclass(frozen=True)
class Spent:
    """What one campaign has used of one pool, and what it can still use.

    Attributes:
        nodes: Node-seconds that were charged.
        most: The most node-seconds that can be charged in all.
        gpus: GPUs of a node.
        busy: Node-seconds that attempts took which have ended.
        held: Nodes that blocks hold at this moment.
        taken, taking: Node-seconds that running attempts have taken so far, and the nodes that they take.
    """

    nodes: float = 0.0
    most: float = 0.0
    gpus: int = 0
    busy: float = 0.0
    held: float = 0.0
    taken: float = 0.0
    taking: float = 0.0

    def settled(self, nodes: float | None) -> Spent:
        """The same once no block is left. ``nodes``: node-seconds that were charged in all; None: as known before."""
        used = self.nodes if nodes is None else min(max(nodes, self.nodes), max(self.most, self.nodes))
        return Spent(used, used, self.gpus, min(self.busy, used))

    def after(self, seconds: float) -> Spent:
        """The same so many seconds later, if everything has gone on; with the running attempts among the busy ones."""
        nodes, busy = self.nodes + self.held * seconds, self.busy + self.taken + self.taking * seconds
        return replace(self, nodes=nodes, most=max(self.most, nodes), busy=busy, taken=0.0)

    def hours(self, unit: Unit, *, most: bool = False) -> float:
        """Hours of a unit that were charged; ``most``: that can be charged in all."""
        return (self.most if most else self.nodes) * (self.gpus if unit == "gpu_hours" else 1) / HOUR


@dataclass(frozen=True)
class Ledger:
    """One campaign's part of the study's hours, as it is kept in the database.

    Attributes:
        pools: By pool.
        over: Whether all its jobs are known to be over: nothing more will be charged.
        at: When that was, Unix seconds; 0 where no block holds nodes.
        sites: The site of each pool, as far as they are known; not kept with the rest.

    >>> Ledger.from_json(Ledger({"cpu": Spent(60.0, 3600.0)}).to_json()).total(Account("node_hours", 9), most=True)
    1.0
    """

    pools: Mapping[str, Spent] = field(default_factory=dict)
    over: bool = False
    at: float = 0.0
    sites: Mapping[str, str] = field(default_factory=dict)

    def names_of(self, pool: str) -> tuple[str, str]:
        """What a pool is called without its site and with it."""
        return names_of(pool, self.sites.get(pool, ""))

    def until(self, now: float) -> Ledger:
        """The ledger of a campaign that lives, now: it is kept a few times a minute, and its blocks go on."""
        passed = max(0.0, now - self.at) if self.at else 0.0
        return replace(self, pools={pool: each.after(passed) for pool, each in self.pools.items()}, at=now)

    def total(self, account: Account, *, most: bool = False) -> float:
        """Hours of the account that were charged to it; ``most``: that can be charged in all.

        A pool's name counts the pools of that name at all sites, and that of a site with it only the site's own.

        >>> ledger = Ledger({"cpu": Spent(3600.0)}, sites={"cpu": "a"})
        >>> [ledger.total(Account("node_hours", 9.0, pool)) for pool in ("cpu", "a.cpu", "b.cpu")]
        [1.0, 1.0, 0]
        """
        covered = (spent for pool, spent in self.pools.items() if account.covers(pool, *self.names_of(pool)))
        return sum(each.hours(account.unit, most=most) for each in covered)

    def to_json(self) -> dict[str, Any]:
        """The attribute's value."""
        rows = {
            pool: [round(each.nodes, 3), round(each.most, 3), each.gpus, round(each.busy, 3),
                   *(round(number, 3) for number in (each.held, each.taken, each.taking))]
            for pool, each in self.pools.items()
        }  # fmt: skip
        return {"pools": rows, "over": self.over, "at": round(self.at, 3)}

    @classmethod
    def from_json(cls, value: Any) -> Ledger:
        """A ledger from its attribute's value; what cannot be read counts as nothing."""
        try:
            rows = {
                str(pool): Spent(float(nodes), float(most), int(gpus), *map(float, more))
                for pool, (nodes, most, gpus, *more) in value["pools"].items()
            }
            return cls(rows, bool(value["over"]), float(value["at"]))
        except (TypeError, ValueError, KeyError, AttributeError):
            return cls(over=True)


@dataclass(frozen=True)
class PoolHours:
    """What the blocks of a pool have used, of all campaigns of a study.

    Attributes:
        pool: The pool.
        node_hours, gpu_hours: What was charged.
        busy_node_hours: Node-hours that trials took.
    """

    pool: str
    node_hours: float = 0.0
    gpu_hours: float = 0.0
    busy_node_hours: float = 0.0


def hours_by_pool(found: Iterable[Ledger]) -> dict[str, PoolHours]:
    """What was used of each pool, over all these ledgers. Everything that shows hours gets them here.

    A pool is called as its campaigns call it; by its site and name where they differ in that, or where another site has
    a pool of that name.

    >>> hours_by_pool([Ledger({"gpu": Spent(1800.0, 1800.0, 4, 900.0)})] * 2)["gpu"]
    PoolHours(pool='gpu', node_hours=1.0, gpu_hours=4.0, busy_node_hours=0.5)
    """
    sums: dict[str, PoolHours] = {}
    used = [(pool, ledger.names_of(pool)[1], spent) for ledger in found for pool, spent in ledger.pools.items()]
    names, pools = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for name, full, _ in used:
        names[full].add(name)
        pools[name].add(full)
    for name, full, spent in used:
        pool = name if len(names[full]) == len(pools[name]) == 1 else full
        known, busy = sums.get(pool, PoolHours(pool)), min(spent.busy, spent.nodes) / HOUR
        sums[pool] = PoolHours(
            pool,
            known.node_hours + spent.hours("node_hours"),
            known.gpu_hours + spent.hours("gpu_hours"),
            known.busy_node_hours + busy,
        )
    return sums


def ledgers(storage: RecordStorage, study: optuna.Study, without: str = "") -> dict[str, Ledger]:
    """The ledgers of all campaigns by their ids, as of the storage's last ``sync``; not that of ``without``."""
    found = ledgers_in(storage.get_study_system_attrs(study._study_id))
    found.pop(without, None)
    return found


def ledgers_in(attrs: Mapping[str, Any]) -> dict[str, Ledger]:
    """The ledgers of all campaigns by their ids, from the study's system attributes."""
    found = {}
    for key in (each for each in attrs if each.startswith(HOURS)):
        ledger, (site, by_pool) = Ledger.from_json(attrs[key]), sites_of(attrs, key.removeprefix(HOURS))
        sites = {pool: by_pool.get(pool, site) for pool in ledger.pools}
        known = {pool: name for pool, name in sites.items() if name}
        found[key.removeprefix(HOURS)] = replace(ledger, sites=known)
    return found


def keep_hours(storage: RecordStorage, study: optuna.Study, campaign: str, ledger: Ledger) -> None:
    """Stage a campaign's ledger, where it has changed."""
    key, value = HOURS + campaign, ledger.to_json()
    if storage.get_study_system_attrs(study._study_id).get(key) != value:
        storage.set_study_system_attr(study._study_id, key, value)


def give_back(
    storage: RecordStorage,
    study: optuna.Study,
    used: Callable[[Collection[str]], Mapping[str, Mapping[str, float]]],
    limit: int | None = None,
) -> None:
    """Write that dead campaigns give back the hours that they had reserved and not used.

    The study is locked for it: by what this process has read before, a campaign may seem dead that has gone on, or has
    ended and said what its blocks have cost.

    Args:
        storage: The campaign's storage.
        study: Loaded from ``storage``.
        used: As for :func:`settled`, of the campaigns that it is given, by what ``storage`` knows when it is called.
        limit: As for ``RecordStorage.commit``.

    Raises:
        RecordAway: The database did not answer.
        LeaseLost: Another driver declared this campaign dead.
    """
    if _to_close(storage, study, used):
        with storage.locked(study._study_id, limit):
            for campaign, ledger in _to_close(storage, study, used).items():
                keep_hours(storage, study, campaign, ledger)


def _to_close(
    storage: RecordStorage, study: optuna.Study, used: Callable[[Collection[str]], Mapping[str, Mapping[str, float]]]
) -> dict[str, Ledger]:
    """What becomes of open ledgers whose campaigns have no jobs left."""
    found = {campaign: ledger for campaign, ledger in ledgers(storage, study).items() if not ledger.over}
    return {campaign: ledger for campaign, ledger in settled(found, used(found)).items() if ledger.over}


def settled(found: Mapping[str, Ledger], used: Mapping[str, Mapping[str, float]]) -> dict[str, Ledger]:
    """The ledgers after dead campaigns gave back what they had reserved and not used, since all their jobs are over.

    Args:
        found: The ledgers by campaign.
        used: By campaign and pool, the node-seconds that the blocks of dead ones were charged.

    >>> settled({"c1": Ledger({"cpu": Spent(60.0, 3600.0)})}, {"c1": {"cpu": 90.0}})["c1"].pools["cpu"].most
    90.0
    """
    return {campaign: _settled(ledger, used.get(campaign)) for campaign, ledger in found.items()}


def _settled(ledger: Ledger, used: Mapping[str, float] | None) -> Ledger:
    if used is None or ledger.over:
        return ledger
    pools = {name: spent.settled(used.get(name)) for name, spent in ledger.pools.items()}
    return replace(ledger, pools=pools, over=True, at=0.0)
