"""The sampler ``bohb``: TPE as BOHB combines it with Hyperband."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from .model import Split, Subspace
from .parallel import ParallelModel
from .sampler import TPESampler

BEST_SHARE = 0.15
"""The share of the trials that count as good."""
CANDIDATES = 64
"""Candidates for each suggestion."""


def best_count(finished: int) -> int:
    """How many of the finished trials count as good, where none has reported anything."""
    return max(1, math.ceil(BEST_SHARE * finished))


class BOHBModel(ParallelModel):
    """A model of the trials at the highest step that enough of them have reached."""

    def _split(self, subspace: Subspace) -> Split:
        return partial(self.history.split_below_at_highest_step, len(subspace.axes) + 1, BEST_SHARE)


class BOHBSampler(TPESampler):
    """The model-based search of BOHB, for the pruner ``hyperband``, which allots the steps.

    A third of the configurations are random. The others are suggested by TPE with all parameters together, where the
    good trials are the best 15 % at the highest step that at least D + 2 trials have reported, with D parameters, from
    all brackets. Until then all are random. As everywhere in Pilotune trials run asynchronously, and a trial's
    configuration is drawn when a worker is free, so nothing waits for a bracket's other trials. Two things differ from
    the paper: all other trials, at whatever step, make the density of the bad ones, and bandwidths are TPE's.

    Paper: Falkner et al., BOHB: Robust and Efficient Hyperparameter Optimization at Scale, ICML 2018.

    Args:
        seed: Of the random numbers. Default None: different numbers each time.
        random_share: The share of configurations that are random. Default 1/3.

    Raises:
        ValueError: ``random_share`` is not from 0 to 1.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.suggest.tpe import BOHBSampler
        >>> study = optuna.create_study(sampler=BOHBSampler(seed=0))
        >>> study.optimize(lambda trial: (trial.suggest_float("x", -10, 10) - 2) ** 2, n_trials=20)
        >>> abs(study.best_params["x"] - 2) < 1
        True
    """

    MODEL = BOHBModel

    def __init__(self, *, seed: int | None = None, random_share: float = 1 / 3) -> None:
        if not 0 <= random_share <= 1:
            raise ValueError(f"random_share must be from 0 to 1, but is {random_share}")
        super().__init__(
            seed=seed,
            n_ei_candidates=CANDIDATES,
            multivariate=True,
            group=True,
            parallel="none",
            gamma=best_count,
        )
        self._random_share = random_share
        self._at_random: set[int] = set()  # numbers of running trials

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values for all of ``search_space``; empty where the configuration is to be random."""
        with self._lock:
            self._n_startup_trials = len(search_space) + 2
            if self._rng().random_sample() < self._random_share:
                self._at_random.add(trial.number)
                return {}
        return super().sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value for one parameter that is not suggested together with others."""
        if trial.number in self._at_random:
            return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)
        return super().sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Optuna calls this after each trial."""
        self._at_random.discard(trial.number)
        super().after_trial(study, trial, state, values)
