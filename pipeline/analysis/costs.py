"""What a study cost in hours of nodes and GPUs, and what pruning saved."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from ...grammar import count
from ..attributes import EXIT, NODE_HOURS
from ..hours import amount, used_text
from ..record.hours import Ledger, PoolHours, hours_by_pool, ledgers_in
from .reading import StudyData

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class StudyCost:
    """What a study cost until now, over all its campaigns.

    Attributes:
        pools: By pool, what its blocks used in hours, and how much of it trials did.
        trials: Node-hours that ended trials took, added up.
        pruned: Number of pruned trials that are compared.
        saved: Node-hours that pruning saved, an estimate; None where nothing was pruned, or nothing to compare with.
    """

    pools: Mapping[str, PoolHours]
    trials: float
    pruned: int = 0
    saved: float | None = None

    @property
    def node_hours(self) -> float:
        """Node-hours of all blocks."""
        return sum(each.node_hours for each in self.pools.values())

    @property
    def gpu_hours(self) -> float:
        """GPU-hours of all blocks."""
        return sum(each.gpu_hours for each in self.pools.values())

    @property
    def busy(self) -> float:
        """The part of the node-hours that trials took, from 0 to 1."""
        nodes = self.node_hours
        return min(1.0, sum(each.busy_node_hours for each in self.pools.values()) / nodes) if nodes else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The cost for JSON."""
        pools = {
            name: {"node_hours": each.node_hours, "gpu_hours": each.gpu_hours, "busy_node_hours": each.busy_node_hours}
            for name, each in self.pools.items()
        }
        return {"node_hours": self.node_hours, "gpu_hours": self.gpu_hours, "busy": self.busy, "pools": pools,
                "trials_node_hours": self.trials, "saved_node_hours": self.saved}  # fmt: skip


def study_ledgers(data: StudyData, now: float | None = None) -> list[Ledger]:
    """What each campaign of the study has used; a live one until ``now`` (Unix seconds, by default the present)."""
    now = time.time() if now is None else now
    found = ledgers_in(data.system_attrs).items()
    return [ledger.until(now) if campaign in data.live else ledger for campaign, ledger in found]


def study_cost(data: StudyData, now: float | None = None) -> StudyCost | None:
    """What the study cost until ``now``, as in :func:`study_ledgers`.

    None where its campaigns did not count hours (plain Optuna and earlier versions).
    """
    pools = hours_by_pool(study_ledgers(data, now))
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
    if used := used_text(cost.pools.values()):
        found.append(f"the study used {used}")
    if cost.saved is not None:
        gain = amount(cost.saved, "node_hours")
        found.append(
            f"pruning {count(cost.pruned, 'trial')} saved about {gain} (estimated, as if each had run on at its pace)"
        )
    return found
