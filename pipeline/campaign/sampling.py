"""A trial's parameters where its space is known: drawn as ``optuna.Trial`` draws them, and kept all in one step."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)

# Hyperband lets samplers see the trials of one bracket only; Optuna's own Trial asks for that by this name.
from optuna.pruners import _filter_study

from ..record import RecordStorage
from ..space import Space

FIXED = "fixed_params"
"""Trial system attribute of Optuna's: what the user enqueued."""


class ParamSampler:
    """The parameters of one trial, one after the other, parents before children.

    For each of them, as in ``optuna.Trial``: what was set before; else what the user enqueued; else the only value
    there is; else what the sampler draws for all parameters at once; else what it draws for this one alone.

    Args:
        study: With the sampler and the pruner.
        trial_id: Of a trial that was just asked for; ``study.ask`` has told the sampler of it.
    """

    def __init__(self, study: optuna.Study, storage: RecordStorage, trial_id: int):
        self._storage, self._trial_id, self._sampler = storage, trial_id, study.sampler
        self._trial = storage.get_trial(trial_id)
        self._study = _filter_study(study, self._trial)
        self._fixed: dict[str, Any] = self._trial.system_attrs.get(FIXED, {})
        self._together: dict[str, Any] | None = None
        self._distributions: dict[str, BaseDistribution] = {}
        self._new: dict[str, tuple[float, BaseDistribution]] = {}

    @property
    def enqueued(self) -> bool:
        """Whether it is a configuration of the user's."""
        return FIXED in self._trial.system_attrs

    def draw(self, space: Space) -> dict[str, Any]:
        """All active parameters and the constants, by name. Raises what the sampler raises."""
        params = space.walk(self._value)
        self._storage.set_trial_params(self._trial_id, self._new)
        return params

    def _value(self, name: str, distribution: BaseDistribution) -> Any:
        trial = self._trial
        if name in trial.distributions:
            check_distribution_compatibility(trial.distributions[name], distribution)
            return _typed(trial.params[name], distribution)
        value, internal = self._choose(name, distribution)
        self._new[name] = internal, distribution
        trial.distributions[name], trial.params[name] = distribution, value
        return _typed(value, distribution)

    def _choose(self, name: str, distribution: BaseDistribution) -> tuple[Any, float]:
        """A value, as it is and as the storage keeps it. Raises ValueError for one that is none, as NaN."""
        if name in self._fixed:
            value = self._fixed[name]
            internal = distribution.to_internal_repr(value)
            if not distribution._contains(internal):
                message = f"Fixed parameter {name} with value {value} is out of range for distribution {distribution}."
                warnings.warn(message, stacklevel=2)
            return value, internal
        if distribution.single():
            value = _only(distribution)
            return value, distribution.to_internal_repr(value)
        together = self._drawn_together()
        if name in together:
            if name not in self._distributions:
                raise ValueError(f"the sampler drew {name!r}, which is not in the space that it said it would draw")
            check_distribution_compatibility(self._distributions[name], distribution)
            internal = distribution.to_internal_repr(together[name])
            if distribution._contains(internal):
                return together[name], internal
        value = self._sampler.sample_independent(self._study, self._trial, name, distribution)
        return value, distribution.to_internal_repr(value)

    def _drawn_together(self) -> dict[str, Any]:
        if self._together is None:
            self._distributions = self._sampler.infer_relative_search_space(self._study, self._trial)
            self._together = self._sampler.sample_relative(self._study, self._trial, self._distributions)
        return self._together


def _only(distribution: BaseDistribution) -> Any:
    """The value of a distribution that has one."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low


def _typed(value: Any, distribution: BaseDistribution) -> Any:
    return int(value) if isinstance(distribution, IntDistribution) else value
