"""Puts placement between the campaign and the pools of its site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..campaign.cost_learner import CostLearner
from ..campaign.past_costs import learn_past
from ..campaign.placed_pool import PlacedPool, memory_by_worker
from ..campaign.pool import Pool
from ..placement import Costs, Placement
from ..record import RecordStorage
from ..studyfile import StudyFile

if TYPE_CHECKING:
    from ...providers.site import PoolSpec


def placed(pool: Pool, specs: Sequence[PoolSpec], file: StudyFile, storage: RecordStorage, study_id: int) -> Pool:
    """The site's pools with placement; with one pool there is nothing to place, and the pool is returned as it is.

    Args:
        pool: Runs the attempts.
        specs: The pools that the study uses.
        file: The study.
        storage: The record, whose trials say what earlier ones have cost.
        study_id: The study's id in it.
    """
    if len(specs) < 2:
        return pool
    costs = Costs([spec.name for spec in specs])
    learn_past(costs, storage.get_all_trials(study_id, deepcopy=False), file.space.constants if file.space else {})
    memory = memory_by_worker((spec.name, spec.memory_per_node, spec.workers_per_node) for spec in specs)
    learner = CostLearner(costs, given=file.trial.expected is not None)
    return PlacedPool(pool, Placement(file.policy, costs), learner, memory)
