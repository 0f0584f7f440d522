"""Keeps the node-hours of all campaigns of a study in its database: what was charged, and what still can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..attributes import HOURS
from ..hours import HOUR, Account, Unit

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
        busy: Node-seconds that trials took.
    """

    nodes: float = 0.0
    most: float = 0.0
    gpus: int = 0
    busy: float = 0.0

    def settled(self, nodes: float | None) -> Spent:
        """The same once no block is left. ``nodes``: node-seconds that were charged in all; None: as known before."""
        used = self.nodes if nodes is None else min(max(nodes, self.nodes), max(self.most, self.nodes))
        return Spent(used, used, self.gpus, min(self.busy, used))

    def plus(self, other: Spent) -> Spent:
        """This and what another campaign has used of a pool of the same name."""
        nodes, most, busy = self.nodes + other.nodes, self.most + other.most, self.busy + other.busy
        return Spent(nodes, most, max(self.gpus, other.gpus), busy)

    def hours(self, unit: Unit, *, most: bool = False) -> float:
        """Hours of a unit that were charged; ``most``: that can be charged in all."""
        return (self.most if most else self.nodes) * (self.gpus if unit == "gpu_hours" else 1) / HOUR


@dataclass(frozen=True)
class Ledger:
    """One campaign's part of the study's hours, as it is kept in the database.

    Attributes:
        pools: By pool.
        over: Whether all its jobs are known to be over: nothing more will be charged.

    >>> Ledger.from_json(Ledger({"cpu": Spent(60.0, 3600.0)}).to_json()).total(Account("node_hours", 9), most=True)
    1.0
    """

    pools: Mapping[str, Spent] = field(default_factory=dict)
    over: bool = False

    def total(self, account: Account, *, most: bool = False) -> float:
        """Hours of the account that were charged to it; ``most``: that can be charged in all."""
        covered = (spent for pool, spent in self.pools.items() if account.covers(pool))
        return sum(each.hours(account.unit, most=most) for each in covered)

    def to_json(self) -> dict[str, Any]:
        """The attribute's value."""
        rows = {
            pool: [round(each.nodes, 3), round(each.most, 3), each.gpus, round(each.busy, 3)]
            for pool, each in self.pools.items()
        }
        return {"pools": rows, "over": self.over}

    @classmethod
    def from_json(cls, value: Any) -> Ledger:
        """A ledger from its attribute's value; what cannot be read counts as nothing."""
        try:
            rows = {
                str(pool): Spent(float(nodes), float(most), int(gpus), float(busy))
                for pool, (nodes, most, gpus, busy) in value["pools"].items()
            }
            return cls(rows, bool(value["over"]))
        except (TypeError, ValueError, KeyError, AttributeError):
            return cls(over=True)


def ledgers(storage: RecordStorage, study: optuna.Study, without: str = "") -> dict[str, Ledger]:
    """The ledgers of all campaigns by their ids, as of the storage's last ``sync``; not that of ``without``."""
    found = ledgers_in(storage.get_study_system_attrs(study._study_id))
    found.pop(without, None)
    return found


def ledgers_in(attrs: Mapping[str, Any]) -> dict[str, Ledger]:
    """The ledgers of all campaigns by their ids, from the study's system attributes."""
    return {key.removeprefix(HOURS): Ledger.from_json(attrs[key]) for key in attrs if key.startswith(HOURS)}


def keep_hours(storage: RecordStorage, study: optuna.Study, campaign: str, ledger: Ledger) -> None:
    """Stage a campaign's ledger, where it has changed."""
    key, value = HOURS + campaign, ledger.to_json()
    if storage.get_study_system_attrs(study._study_id).get(key) != value:
        storage.set_study_system_attr(study._study_id, key, value)


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
    return Ledger({name: spent.settled(used.get(name)) for name, spent in ledger.pools.items()}, over=True)
