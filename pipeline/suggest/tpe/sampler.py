"""The sampler: Optuna's TPE, its suggestions the same, with work that grows with what changed."""

from __future__ import annotations

import json
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from .choosing import Choose, largest_ratio
from .history import RELATIVE
from .mixture import Settings, default_gamma, default_gamma_of_several, default_weights
from .parallel import CROWD, CrowdModel

ATTRIBUTE = 2045
"""Characters of a system attribute that Optuna's relational storage holds."""
STUDIES = 8
PARALLEL = ("auto", "crowd", "none")


class TPESampler(BaseSampler):
    """The tree-structured Parzen estimator: a drop-in for ``optuna.samplers.TPESampler``.

    With the same seed and history it suggests the same values (to rounding). It keeps the study as arrays and brings
    them up to date with what changed, so that a suggestion does not cost more where there are many trials.

    Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; Falkner et al., BOHB, ICML 2018 (several
    parameters at once); Ozaki et al., JAIR 2022 (several directions).

    Args:
        n_startup_trials: Random suggestions until so many trials are finished.
        n_ei_candidates: Candidates drawn for each suggestion.
        seed: Of the random numbers; None: different ones each time.
        multivariate: Model parameters together. None: for one direction, or with ``group``.
        group: Model together what occurs together: for conditional spaces. Needs ``multivariate`` not to be False.
        constant_liar: Trials that run count as bad ones, so that others keep away from them.
        constraints_func, gamma, weights, prior_weight, consider_magic_clip, consider_endpoints: As Optuna's, which are
            deprecated there. ``consider_prior`` and ``warn_independent_sampling`` change nothing.
        choose: How one of the candidates is chosen; see ``choosing``.
        parallel: ``"auto"``: with 64 or more other trials running, suggestions differ from Optuna's, as ``crowd`` says,
            since that finds better values there; ``"crowd"``: whatever runs; ``"none"``: never. For one direction, and
            parameters that are modelled together.

    Safe to use from several threads. A pickled copy has the random state, and reads the study anew.

    Raises:
        ValueError: ``group`` without ``multivariate``, a negative ``prior_weight``, or another ``parallel``.
    """

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
        choose: Choose = largest_ratio,
        parallel: str = "auto",
    ) -> None:
        if group and multivariate is False:
            raise ValueError("group needs multivariate: it models parameters together")
        if prior_weight is not None and prior_weight < 0:
            raise ValueError(f"prior_weight must not be negative, but is {prior_weight}")
        if parallel not in PARALLEL:
            raise ValueError(f"parallel must be one of {', '.join(PARALLEL)}, but is {parallel!r}")
        self._settings = Settings(
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
        self._models: OrderedDict[tuple[int, int], CrowdModel] = OrderedDict()
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_models"], state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._models, self._lock = OrderedDict(), threading.RLock()

    def reseed_rng(self) -> None:
        self._rng().seed()
        self._random_sampler.reseed_rng()

    def _rng(self) -> np.random.RandomState:
        if self._random is None:  # as late as this, so that copies of a sampler differ
            self._random = np.random.RandomState()
        return self._random

    def _together(self, study: Study) -> bool:
        if self._multivariate is not None:
            return self._multivariate
        return self._group or len(study.directions) == 1

    def _model(self, study: Study) -> CrowdModel:
        key = (id(study._storage), study._study_id)
        model = self._models.get(key)
        if model is None:
            several = len(study.directions) > 1
            gamma = self._gamma or (default_gamma_of_several if several else default_gamma)
            model = CrowdModel(
                study.directions,
                self._settings,
                gamma,
                running=self._constant_liar,
                relative=self._together(study),
            )
            self._models[key] = model
            if len(self._models) > STUDIES:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return model

    def groups(self, study: Study) -> list[list[str]]:
        """The names of the parameters that are modelled together, with ``group``."""
        with self._lock:
            model = self._model(study)
            model.look(study)
            return [sorted(space) for space in model.history.groups.spaces() if space]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if not self._together(study):
            return {}
        with self._lock:
            model = self._model(study)
            model.look(study, trial)
            if not self._group:
                return model.history.common.space()
            return {name: found for space in model.history.groups.spaces() for name, found in space.items()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        with self._lock:
            model = self._model(study)
            model.look_again(study, trial)
            params: dict[str, Any] = {}
            if model.history.finished >= self._n_startup_trials:
                crowd = self._crowd(model, study, trial)
                for space in self._parts(model, search_space):
                    params.update(self._suggest(model, trial, space, crowd))
        if params and self._constant_liar:
            self._publish(study, trial, params)
        return params

    def _parts(self, model: CrowdModel, space: dict[str, BaseDistribution]) -> list[dict[str, BaseDistribution]]:
        if not self._group:
            return [space] if space else []
        parts = [
            {name: found for name, found in part.items() if name in space} for part in model.history.groups.spaces()
        ]
        return [part for part in parts if part]

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        with self._lock:
            model = self._model(study)
            model.look(study)
            if model.history.finished >= self._n_startup_trials:
                return self._suggest(model, trial, {param_name: param_distribution})[param_name]
            return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)

    def _crowd(self, model: CrowdModel, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial is to be one of a crowd."""
        if self._parallel == "none" or len(study.directions) > 1:
            return False
        return self._parallel == "crowd" or model.history.running(but=trial.number) >= CROWD

    def _suggest(
        self, model: CrowdModel, trial: FrozenTrial, space: Mapping[str, BaseDistribution], crowd: bool = False
    ) -> dict[str, Any]:
        suggest = model.suggest_in_crowd if crowd else model.suggest
        return suggest(space, trial.number, self._rng(), self._n_ei_candidates, self._choose)

    def _publish(self, study: Study, trial: FrozenTrial, params: dict[str, Any]) -> None:
        """Let other processes, and Optuna's own sampler, know what this trial will be before it has asked for all."""
        text = json.dumps(params)
        for start in range(0, len(text), ATTRIBUTE):
            key = f"{RELATIVE}:{start // ATTRIBUTE}"
            study._storage.set_trial_system_attr(trial._trial_id, key, text[start : start + ATTRIBUTE])

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._random_sampler.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        if self._constraints_func is not None and state in (TrialState.COMPLETE, TrialState.PRUNED):
            constraints = None
            try:
                found = self._constraints_func(trial)
                if np.isnan(found).any():
                    raise ValueError("constraint values cannot be NaN")
                if not isinstance(found, tuple | list):
                    warnings.warn(f"constraints are a sequence of numbers, not {type(found).__name__}", stacklevel=2)
                constraints = tuple(found)
            finally:
                study._storage.set_trial_system_attr(trial._trial_id, "constraints", constraints)
        self._random_sampler.after_trial(study, trial, state, values)
