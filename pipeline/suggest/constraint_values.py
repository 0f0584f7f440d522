"""Writes what a ``constraints_func`` says of a trial to its attributes, where samplers look for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


def store_constraints(
    study: Study, trial: FrozenTrial, state: TrialState, function: Callable[[FrozenTrial], Sequence[float]]
) -> None:
    """Call ``function`` with a trial that is complete or pruned, and write what it returns; None where it fails.

    Raises:
        ValueError: It returned NaN. Also raises what the function raises.
    """
    if state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return
    constraints = None
    try:
        found = function(trial)
        if np.isnan(found).any():
            raise ValueError("constraint values cannot be NaN")
        if not isinstance(found, tuple | list):
            warnings.warn(f"constraints are a sequence of numbers, not {type(found).__name__}", stacklevel=2)
        constraints = tuple(found)
    finally:
        study._storage.set_trial_system_attr(trial._trial_id, "constraints", constraints)
