"""What a study cost in hours of nodes and GPUs, and what pruning saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from ...grammar import count
from ..attributes import EXIT, NODE_HOURS
from ..hours import amount
from ..record.hours import Spent, ledgers_in
from .reading import StudyData

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class StudyCost:
    """What a study cost until now, over all its campaigns.

    Attributes:
        pools: By pool, what the blocks used; ``most`` of each is the most that they can use in all.
        trials: Node-hours that ended trials took, added up.
        pruned: Number of pruned trials that are compared.
        saved: Node-hours that pruning saved, an estimate; None where nothing was pruned, or nothing to compare with.
    """

    pools: Mapping[str, Spent]
    trials: float
    pruned: int = 0
    saved: float | None = None

    @property
    def node_hours(self) -> float:
        """Node-hours of all blocks."""
        return sum(each.hours("node_hours") for each in self.pools.values())

    @property
    def gpu_hours(self) -> float:
        """GPU-hours of all blocks."""
        return sum(each.hours("gpu_hours") for each in self.pools.values())

    @property
    def busy(self) -> float:
        """The part of the node-hours that trials took, from 0 to 1."""
        nodes = self.node_hours
        return min(1.0, sum(each.busy for each in self.pools.values()) / 3600.0 / nodes) if nodes else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The cost for JSON."""
        pools = {
            name: {"node_hours": each.hours("node_hours"), "gpu_hours": each.hours("gpu_hours"),
                   "busy_node_hours": each.busy / 3600.0}
            for name, each in self.pools.items()
        }  # fmt: skip
        return {"node_hours": self.node_hours, "gpu_hours": self.gpu_hours, "busy": self.busy, "pools": pools,
                "trials_node_hours": self.trials, "saved_node_hours": self.saved}  # fmt: skip


def study_cost(data: StudyData) -> StudyCost | None:
    """What the study cost; None where its campaigns did not count hours (plain Optuna and earlier versions)."""
    pools: dict[str, Spent] = {}
    for ledger in ledgers_in(data.system_attrs).values():
        for name, spent in ledger.pools.items():
            pools[name] = pools.get(name, Spent()).plus(spent)
    costs = [cost for trial in data.trials if (cost := _cost(trial)) is not None]
    if not pools and not costs:
        return None
    pruned, saved = pruning_saved(data.trials)
    return StudyCost(pools, sum(costs), pruned, saved)


def pruning_saved(trials: Sequence[FrozenTrial]) -> tuple[int, float | None]:
    """How many trials were pruned, and about how many node-hours that saved.

    A pruned trial would have gone on to as many reports as complete trials have in the median, each as long as its own
    were. Where it or they made no reports, it would have cost what complete trials cost in the median.
    """
    complete = [trial for trial in trials if trial.state.name == "COMPLETE" and _cost(trial) is not None]
    stopped = [trial for trial in trials if trial.state.name == "PRUNED" and trial.user_attrs.get(EXIT) != "replaced"]
    stopped = [trial for trial in stopped if _cost(trial) is not None]
    if not complete or not stopped:
        return len(stopped), None
    reports = median(len(trial.intermediate_values) for trial in complete)
    whole = median(_cost(trial) or 0.0 for trial in complete)
    saved = 0.0
    for trial in stopped:
        own, made = _cost(trial) or 0.0, len(trial.intermediate_values)
        saved += max(0.0, own / made * (reports - made) if made and reports else whole - own)
    return len(stopped), saved


def _cost(trial: FrozenTrial) -> float | None:
    found = trial.user_attrs.get(NODE_HOURS)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def cost_sentences(cost: StudyCost) -> list[str]:
    """What the study cost, and what pruning saved, in sentences."""
    found = []
    if cost.node_hours:
        each = ", ".join(f"{name} {spent.hours('node_hours'):.3g}" for name, spent in cost.pools.items())
        pools = f" ({each})" if len(cost.pools) > 1 else ""
        gpus = f" and {amount(cost.gpu_hours, 'gpu_hours')}" if cost.gpu_hours else ""
        busy = round(100 * cost.busy)
        found.append(f"the study used {amount(cost.node_hours, 'node_hours')}{pools}{gpus}, "
                     f"{busy} % of them busy and {100 - busy} % idle")  # fmt: skip
    if cost.saved is not None:
        gain = amount(cost.saved, "node_hours")
        found.append(
            f"pruning {count(cost.pruned, 'trial')} saved about {gain} (estimated, as if each had run on at its pace)"
        )
    return found
