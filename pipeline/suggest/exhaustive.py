"""Samplers that try every configuration once.

Optuna's own call ``study.stop()`` when all configurations are tried, which works within ``study.optimize`` only. A
campaign asks and tells instead, and its budget ends it: it never starts more trials than there are configurations.
"""

from __future__ import annotations

from collections.abc import Sequence

import optuna.samplers
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class GridSampler(optuna.samplers.GridSampler):
    """Grid search: tries each point of a grid once, in random order. Does not stop the study.

    Each trial takes a point that no other trial has taken, and notes it in its system attributes.

    Args:
        search_space: From each parameter to the list of its values. The grid is their product, at most 1,000,000
            points here, since all are kept in memory.
        seed: Of the order. Default None, the same as 0.

    Raises:
        ValueError: A value is not a number, a string, a boolean or None.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.suggest.exhaustive import GridSampler
        >>> study = optuna.create_study(sampler=GridSampler({"n": [1, 2, 3]}, seed=0))
        >>> for _ in range(3):
        ...     trial = study.ask()
        ...     _ = study.tell(trial, trial.suggest_int("n", 1, 3))
        >>> sorted(trial.params["n"] for trial in study.trials)
        [1, 2, 3]
    """

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Do nothing, where Optuna's would stop the study."""


class BruteForceSampler(optuna.samplers.BruteForceSampler):
    """Exhaustive search: tries each configuration of a finite space once, conditional ones included.

    It builds the tree of configurations from what the trials have asked for, and takes a branch at random that is not
    exhausted. Unlike a grid it needs no list of the space beforehand. Does not stop the study.

    Args:
        seed: Of the order. Default None: another order each time.
        avoid_premature_stop: Count a configuration as tried only when its trial has ended, at the price of more
            duplicates. Default False: running trials count, too.

    Raises:
        ValueError: When asked for a parameter that is continuous: a float without a step.
    """

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Do nothing, where Optuna's would stop the study."""
