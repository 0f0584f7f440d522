"""The TPE sampler: suggests the same values as Optuna's, at a cost that does not grow with the study."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..constraint_values import store_constraints
from ..published import publish
from ..uniform import RandomSampler
from .mixture import KernelSettings, default_gamma, default_gamma_multi_objective, default_weights
from .model import ChooseCandidate, largest_ratio
from .parallel import MANY_RUNNING, ParallelModel

MAX_STUDIES = 8
"""Studies whose models one sampler keeps; the least recently used is dropped."""
PARALLEL = ("auto", "crowd", "none")


class TPESampler(BaseSampler):
    """Tree-structured Parzen estimator (TPE): Bayesian optimization with two kernel density estimates.

    TPE splits the finished trials by their values into the best few (about a tenth, at most 25) and the rest, fits a
    density to each, l(x) and g(x), draws candidates from l(x) and suggests the one with the largest l(x) / g(x), which
    is the one with the largest expected improvement. Each density is a mixture with one kernel a trial: truncated
    normal for numbers, smoothed frequencies for choices. It handles mixed and conditional spaces, several directions,
    pruned trials, constraints, and many running trials.

    A drop-in for ``optuna.samplers.TPESampler``: on the same history and with the same seed it suggests the same
    values, to rounding, as long as ``parallel`` does not say otherwise. It keeps the study's trials as arrays and
    updates them with what changed, so that a suggestion among 100,000 trials takes milliseconds, not seconds.

    Papers: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; Watanabe, Tree-Structured Parzen
    Estimator, arXiv:2304.11127, 2023 (what each argument does); Falkner et al., BOHB, ICML 2018 (``multivariate``);
    Ozaki et al., Multiobjective Tree-Structured Parzen Estimator, JAIR 2022 (several directions).

    Safe to use from several threads. A pickled copy has the random state, and reads the study anew.

    Args:
        n_startup_trials: Suggest at random until this many trials are finished. Default 10.
        n_ei_candidates: Candidates drawn from l(x) for each suggestion. Default 24.
        seed: Of the random numbers. Default None: different numbers each time.
        multivariate: Model all parameters together, so that l(x) and g(x) know how they depend on each other; False:
            each by itself. Default None: together for a study of one direction, or with ``group``.
        group: For conditional spaces: model together the parameters that occur together, one model a group. Without it
            only those are modelled together that all trials have. Not with ``multivariate=False``. Default False.
        constant_liar: Count running trials in g(x), as if they had turned out bad, so that others keep away from them.
            Default True (False in Optuna), since here trials run in parallel.
        parallel: What to do when many trials are running, for a study of one direction and parameters modelled
            together. ``"auto"`` (the default): as ``"crowd"`` when at least 64 other trials are running, else as
            ``"none"``. ``"none"``: suggest what Optuna would, however many are running. ``"crowd"``: make suggestions
            more diverse, which found better values with 128 workers: half of the suggestions, at random, model each
            parameter by itself; configurations that were tried are not suggested again while another candidate is
            left; and until 25 trials are complete, the best trials are the best at the highest step that 25 have
            reported, running ones included.
        choose: Chooses a candidate: takes the arrays log l(x) and log g(x) and returns an index. Default: the largest
            difference.
        constraints_func: From a finished trial to a sequence of numbers, each above 0 where a constraint is violated.
            Deprecated in Optuna, which has ``trial.set_constraint``.
        gamma: From the number of finished trials to how many are the best. Default: ``min(ceil(n / 10), 25)``, without
            the limit for several directions. Deprecated in Optuna, as are all that follow.
        weights: From a number of trials to their weights, oldest first. Default: 1 for the last 25, falling linearly
            towards the oldest.
        prior_weight: Weight of the prior, a kernel as wide as the range. Default 1.0.
        consider_magic_clip: Bound the kernels' bandwidths from below, at the range over ``min(100, 2 + n)``. Default
            True.
        consider_endpoints: Let the ends of the range count as neighbours of the outermost kernels. Default False.
        consider_prior, warn_independent_sampling: Accepted for compatibility; without effect.

    Raises:
        ValueError: ``group`` with ``multivariate=False``, a negative ``prior_weight``, or an unknown ``parallel``.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.suggest.tpe import TPESampler
        >>> study = optuna.create_study(sampler=TPESampler(seed=0))
        >>> study.optimize(lambda trial: (trial.suggest_float("x", -10, 10) - 2) ** 2, n_trials=20)
        >>> abs(study.best_params["x"] - 2) < 0.5
        True
    """

    MODEL: Callable[..., ParallelModel] = ParallelModel
    """What is made for each study."""

    def __init__(
        self,
        *,
        consider_prior: bool | None = None,
        prior_weight: float | None = None,
        consider_magic_clip: bool | None = None,
        consider_endpoints: bool | None = None,
        n_startup_trials: int = 10,
        n_ei_candidates: int = 24,
        gamma: Callable[[int], int] | None = None,
        weights: Callable[[int], np.ndarray] | None = None,
        seed: int | None = None,
        multivariate: bool | None = None,
        group: bool = False,
        warn_independent_sampling: bool | None = None,
        constant_liar: bool = True,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
        choose: ChooseCandidate = largest_ratio,
        parallel: str = "auto",
    ) -> None:
        if group and multivariate is False:
            raise ValueError("group needs multivariate: it models parameters together")
        if prior_weight is not None and prior_weight < 0:
            raise ValueError(f"prior_weight must not be negative, but is {prior_weight}")
        if parallel not in PARALLEL:
            raise ValueError(f"parallel must be one of {', '.join(PARALLEL)}, but is {parallel!r}")
        self._settings = KernelSettings(
            1.0 if prior_weight is None else prior_weight,
            consider_magic_clip is not False,
            bool(consider_endpoints),
            weights or default_weights,
        )
        self._n_startup_trials, self._n_ei_candidates, self._gamma = n_startup_trials, n_ei_candidates, gamma
        self._multivariate, self._group, self._constant_liar = multivariate, group, constant_liar
        self._constraints_func, self._choose, self._parallel = constraints_func, choose, parallel
        self._random = None if seed is None else np.random.RandomState(seed)
        self._random_sampler = RandomSampler(seed=seed)
        self._models: OrderedDict[tuple[int, int], ParallelModel] = OrderedDict()
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_models"], state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._models, self._lock = OrderedDict(), threading.RLock()

    def reseed_rng(self) -> None:
        """Continue with other random numbers, as Optuna asks of copies of a sampler."""
        self._rng().seed()
        self._random_sampler.reseed_rng()

    def _rng(self) -> np.random.RandomState:
        if self._random is None:  # not made in __init__, so that copies of a sampler differ
            self._random = np.random.RandomState()
        return self._random

    def _is_multivariate(self, study: Study) -> bool:
        if self._multivariate is not None:
            return self._multivariate
        return self._group or len(study.directions) == 1

    def _model(self, study: Study) -> ParallelModel:
        key = (id(study._storage), study._study_id)
        model = self._models.get(key)
        if model is None:
            multi_objective = len(study.directions) > 1
            gamma = self._gamma or (default_gamma_multi_objective if multi_objective else default_gamma)
            model = self.MODEL(
                study.directions,
                self._settings,
                gamma,
                running=self._constant_liar,
                relative=self._is_multivariate(study),
            )
            self._models[key] = model
            if len(self._models) > MAX_STUDIES:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return model

    def groups(self, study: Study) -> list[list[str]]:
        """The parameters that ``group`` models together: a sorted list of names for each group."""
        with self._lock:
            model = self._model(study)
            model.refresh(study)
            return [sorted(space) for space in model.history.groups.spaces() if space]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are suggested together (Optuna's interface of a sampler)."""
        if not self._is_multivariate(study):
            return {}
        with self._lock:
            model = self._model(study)
            model.refresh(study, trial)
            if not self._group:
                return model.history.intersection.space()
            return {name: found for space in model.history.groups.spaces() for name, found in space.items()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values for all of ``search_space``; empty during the first ``n_startup_trials``."""
        with self._lock:
            model = self._model(study)
            model.refresh_once(study, trial)
            params: dict[str, Any] = {}
            if model.history.finished >= self._n_startup_trials:
                parallel = self._is_parallel(model, study, trial)
                for space in self._subspaces(model, search_space):
                    params.update(self._suggest(model, trial, space, parallel))
        if params and self._constant_liar:
            publish(study, trial, params)
        return params

    def _subspaces(self, model: ParallelModel, space: dict[str, BaseDistribution]) -> list[dict[str, BaseDistribution]]:
        if not self._group:
            return [space] if space else []
        subspaces = [
            {name: found for name, found in group.items() if name in space} for group in model.history.groups.spaces()
        ]
        return [subspace for subspace in subspaces if subspace]

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value for one parameter that is not suggested together with others."""
        with self._lock:
            model = self._model(study)
            model.refresh(study)
            if model.history.finished >= self._n_startup_trials:
                return self._suggest(model, trial, {param_name: param_distribution})[param_name]
            return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)

    def _is_parallel(self, model: ParallelModel, study: Study, trial: FrozenTrial) -> bool:
        """Whether to suggest as ``parallel="crowd"`` does."""
        if self._parallel == "none" or len(study.directions) > 1:
            return False
        return self._parallel == "crowd" or model.history.running(but=trial.number) >= MANY_RUNNING

    def _suggest(
        self,
        model: ParallelModel,
        trial: FrozenTrial,
        space: Mapping[str, BaseDistribution],
        parallel: bool = False,
    ) -> dict[str, Any]:
        suggest = model.suggest_parallel if parallel else model.suggest
        return suggest(space, trial.number, self._rng(), self._n_ei_candidates, self._choose)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Optuna calls this before each trial."""
        self._random_sampler.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Write the values of ``constraints_func``, where there is one, to the trial's attributes."""
        if self._constraints_func is not None:
            store_constraints(study, trial, state, self._constraints_func)
        self._random_sampler.after_trial(study, trial, state, values)
