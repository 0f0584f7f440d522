"""Puts placement between the campaign and the pools of its site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..campaign.cost_learner import CostLearner
from ..campaign.past_costs import OthersCosts, PastCosts, PoolNames
from ..campaign.placed_pool import PlacedPool
from ..campaign.pool import Pool
from ..placement import Costs, Placement
from ..placement.planner import RECENT
from ..record import RecordStorage
from ..studyfile import StudyFile
from ..studyfile.pool_rule import allowed_earlier
from .settings import needs_of

if TYPE_CHECKING:
    from optuna import Study

    from ...providers.blocks.resources import TrialResources
    from ...providers.site import PoolSpec


def placed(
    pool: Pool, specs: Sequence[PoolSpec], file: StudyFile, storage: RecordStorage, study: Study, campaign: str
) -> tuple[Pool, Callable[[], object]]:
    """The site's pools with placement; with one pool there is nothing to place, and the pool is returned as it is.

    Args:
        pool: Runs the attempts.
        specs: The pools that the study uses.
        file: The study.
        storage: The record, whose trials say what earlier ones have cost.
        study: The study, loaded from it.
        campaign: The campaign.

    Returns:
        The pool, and what is to be called when other drivers have changed the study.
    """
    if len(specs) < 2:
        return pool, lambda: None
    names = [spec.name for spec in specs]
    costs = Costs(names)
    called = PoolNames(lambda: storage.get_study_system_attrs(study._study_id), campaign, names)
    past = PastCosts(costs, file.space.constants if file.space else {}, called)
    others, placement = OthersCosts(past, study, campaign), Placement(file.policy, costs)
    for params, _ in others.refresh()[-RECENT:]:
        placement.recall(params, allowed_earlier(file.pools, params))
    memory = memory_by_pool(specs, needs_of(file))
    learner = CostLearner(costs, given=file.trial.expected is not None)
    return PlacedPool(pool, placement, learner, memory), others.refresh


def memory_by_pool(specs: Sequence[PoolSpec], needs: TrialResources) -> dict[str, float]:
    """Bytes that a trial can have on a node of each pool, where that is known.

    Trials of one size have equal parts of a node. A trial on several nodes has them to itself. Where trials differ in
    size, each has as much as it asks for, and one that asks for no memory may have all of it.

    >>> from pilotune.providers.blocks.resources import TrialResources
    >>> from pilotune.providers.site import PoolSpec
    >>> pool = PoolSpec("gpu", workers_per_node=8, gpus_per_node=4, memory_per_node=64_000_000_000)
    >>> memory_by_pool([pool, PoolSpec("cpu")], TrialResources(gpus=1))
    {'gpu': 16000000000.0}
    """
    from ...providers.blocks.resources import trials_per_node

    found = {}
    for spec in specs:
        alone = needs.packed or needs.nodes > 1
        if spec.memory_per_node is not None:
            found[spec.name] = spec.memory_per_node / (1 if alone else max(1, trials_per_node(spec, needs)))
    return found
