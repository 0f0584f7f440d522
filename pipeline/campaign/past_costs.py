"""What the trials of earlier campaigns cost, so that a campaign that goes on knows it from its first trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from ..attributes import EXIT, PEAK_MEMORY, POOL, RUNS, SECONDS_RUNNING, details_of
from ..placement import Costs
from .cost_learner import note_cost


def learn_past(
    costs: Costs, trials: Iterable[FrozenTrial], constants: Mapping[str, object]
) -> list[tuple[dict[str, Any], str]]:
    """Tell what finished trials have cost.

    A trial counts where all its attempts ran in one pool and none of its time is unknown.

    Args:
        costs: Is told.
        trials: The study's, in the order of their numbers.
        constants: The space's constants, which are among the parameters of each trial.

    Returns:
        The parameters and the pool of each trial that says how long it ran, in the order in which they ended.
    """
    whole_steps, noted = None, []
    for trial in sorted(trials, key=lambda each: (each.datetime_complete is None, each.datetime_complete)):
        earlier = trial.system_attrs.get(RUNS) or []
        pools = {details_of(trial).get(POOL) or "", *(run[5] for run in earlier)}
        seconds = trial.user_attrs.get(SECONDS_RUNNING)
        if not trial.state.is_finished() or len(pools) != 1 or "" in pools or not seconds:
            continue
        pool, params = pools.pop(), {**constants, **trial.params}
        memory = trial.user_attrs.get(PEAK_MEMORY)
        memory = memory if type(memory) is int else None
        if trial.user_attrs.get(EXIT) == "memory":
            costs.failed_by_memory(params, pool, memory)
        if trial.state == TrialState.FAIL or any(run[3] == "lost" for run in earlier):
            continue
        whole = trial.state == TrialState.COMPLETE
        steps = None if trial.last_step is None else trial.last_step + 1
        whole_steps = steps if whole else whole_steps
        note_cost(costs, params, pool, float(seconds), whole, steps, whole_steps, memory)
        noted.append((params, pool))
    return noted
