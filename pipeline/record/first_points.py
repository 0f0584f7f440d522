"""Enqueues the points that a study file wants to be tried first, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from ..space import Space, point_key

FIXED = "fixed_params"
"""Optuna's trial system attribute for the parameters of an enqueued trial."""


def enqueue(study: optuna.Study, points: Sequence[Mapping[str, Any]], space: Space | None = None) -> list[str]:
    """Enqueue ``points``, without those that the study has already, as an enqueued trial or as any other.

    Points are the same only if they have the same parameters with exactly equal values. Optuna's own ``skip_if_exists``
    takes numbers for equal that differ by a hundred-thousandth.

    Args:
        study: The study.
        points: Values by parameter; some parameters may be missing.
        space: The search space; None where the objective defines it.

    Returns:
        What was skipped and why, in sentences for the user.

    Example:
        >>> study = optuna.create_study()
        >>> enqueue(study, [{"seed": 123456}, {"seed": 123457}, {"seed": 123456}])
        ['start_from.enqueue[2] is the same point as start_from.enqueue[0], so it is tried once']
        >>> [trial.system_attrs["fixed_params"] for trial in study.trials]
        [{'seed': 123456}, {'seed': 123457}]
        >>> enqueue(study, [{"seed": 123457}, {"seed": 7}])
        ['1 of the 2 points of start_from.enqueue is in the study already and is not tried again']
    """
    if not points:
        return []
    names = {frozenset(point) for point in points}
    known: dict[Any, int | None] = {}  # key of a point -> its index among ``points``; None: the study has it
    for trial in study.get_trials(deepcopy=False):
        params = trial.system_attrs.get(FIXED, trial.params)
        if frozenset(params) in names:
            known[point_key(params, space)] = None
    skipped, present = [], 0
    for index, point in enumerate(points):
        key = point_key(point, space)
        if key not in known:
            known[key] = index
            study.enqueue_trial(dict(point))
        elif known[key] is None:
            present += 1
        else:
            same = f"start_from.enqueue[{index}] is the same point as start_from.enqueue[{known[key]}]"
            skipped.append(f"{same}, so it is tried once")
    if present:
        verb = "is in the study already and is" if present == 1 else "are in the study already and are"
        which = f"{present} of the {len(points)} points"
        if present == len(points):
            which = f"the {present} points" if present > 1 else "the point"
        skipped.append(f"{which} of start_from.enqueue {verb} not tried again")
    return skipped
