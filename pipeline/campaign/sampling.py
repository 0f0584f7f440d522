"""Draws a trial's parameters where its space is known, as ``optuna.Trial`` does, but stores all of them at once."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any, Protocol, runtime_checkable

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)

# Hyperband shows samplers the trials of one bracket only; Optuna's own Trial uses this function for that.
from optuna.pruners import _filter_study

from ..distributions import own
from ..record.storage import FIXED, RecordStorage
from ..space import Space


@runtime_checkable
class FiniteSampler(Protocol):
    """What a campaign needs of a sampler that tries each point of a finite space once."""

    def left(self, study: optuna.Study) -> int:
        """Number of points that no trial has taken; an upper bound where counting them would take long."""

    def exhausted(self, study: optuna.Study) -> bool:
        """Whether every point has been taken. May raise what sampling raises."""

    def finished(self, study: optuna.Study) -> str:
        """A sentence for a study that is exhausted."""

    def repeated(self, study: optuna.Study, new: Collection[int]) -> list[int]:
        """Those of the trials ``new`` (ids) whose point another trial has taken, too."""


@runtime_checkable
class PreparedSampler(Protocol):
    """What a campaign needs of a sampler that has much to do before its first suggestion."""

    def prepare(self, study: optuna.Study) -> bool:
        """Do a part of it, some milliseconds. Returns whether nothing is left to do. May raise what sampling raises."""


@runtime_checkable
class GenerationalSampler(Protocol):
    """What a campaign needs of a sampler that may want results before it suggests more. It suggests all the same."""

    @property
    def at_once(self) -> int | None:
        """The most trials that it has running at once; None for any number: then it never waits."""

    def waits(self, study: optuna.Study) -> bool:
        """Whether the next suggestion should wait until a running trial has ended."""


class ParamSampler:
    """Draws the parameters of one trial, one after the other, parents before children.

    A parameter's value is the first of these that exists, as in ``optuna.Trial``:

    1. the value that was set before;
    2. the value that the user enqueued;
    3. the only value of the distribution;
    4. the sampler's relative sample, drawn for all parameters at once;
    5. the sampler's independent sample, drawn for this parameter alone.

    Args:
        study: With its sampler and pruner.
        storage: Where the parameters are staged.
        trial_id: Of a trial that ``study.ask`` has just created, so that the sampler knows of it.
    """

    def __init__(self, study: optuna.Study, storage: RecordStorage, trial_id: int):
        self._storage, self._trial_id, self._sampler = storage, trial_id, study.sampler
        self._trial = storage.get_trial(trial_id)
        self._study = _filter_study(study, self._trial)
        self._fixed: dict[str, Any] = self._trial.system_attrs.get(FIXED, {})
        self._relative: dict[str, Any] | None = None
        self._distributions: dict[str, BaseDistribution] = {}
        self._new: dict[str, tuple[float, BaseDistribution]] = {}

    @property
    def enqueued(self) -> bool:
        """Whether the user enqueued this configuration."""
        return FIXED in self._trial.system_attrs

    def draw(self, space: Space) -> dict[str, Any]:
        """Return all active parameters and the constants, by name. Raises what the sampler raises."""
        params = space.walk(self._value)
        self._storage.set_trial_params(self._trial_id, self._new)
        return params

    def _value(self, name: str, distribution: BaseDistribution) -> Any:
        trial = self._trial
        if name in trial.distributions:
            check_distribution_compatibility(trial.distributions[name], distribution)
            return own(distribution, trial.params[name])
        internal = self._choose(name, distribution)
        value = distribution.to_external_repr(internal)  # an enqueued 1 becomes the choice that it equals, as True
        self._new[name] = internal, distribution
        trial.distributions[name], trial.params[name] = distribution, value
        return value

    def _choose(self, name: str, distribution: BaseDistribution) -> float:
        """A value in its internal representation. Raises ValueError for what is no value, such as NaN."""
        if name in self._fixed:
            value = self._fixed[name]
            internal = distribution.to_internal_repr(value)
            if not distribution._contains(internal):
                message = f"Fixed parameter {name} with value {value} is out of range for distribution {distribution}."
                warnings.warn(message, stacklevel=2)
            return internal
        if distribution.single():
            return distribution.to_internal_repr(_only(distribution))
        relative = self._relative_sample()
        if name in relative:
            if name not in self._distributions:
                raise ValueError(f"the sampler returned {name!r}, which is not in the search space that it inferred")
            check_distribution_compatibility(self._distributions[name], distribution)
            internal = distribution.to_internal_repr(relative[name])
            if distribution._contains(internal):
                return internal
        value = self._sampler.sample_independent(self._study, self._trial, name, distribution)
        return checked_sample(name, value, distribution)

    def _relative_sample(self) -> dict[str, Any]:
        if self._relative is None:
            self._distributions = self._sampler.infer_relative_search_space(self._study, self._trial)
            self._relative = self._sampler.sample_relative(self._study, self._trial, self._distributions)
        return self._relative


def checked_sample(name: str, value: Any, distribution: BaseDistribution) -> float:
    """A sampler's value in its internal representation. Raises ValueError for one that is not in the distribution."""
    try:
        internal = distribution.to_internal_repr(value)
        if distribution._contains(internal):
            return internal
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"it returned {value!r} for {name!r}, which is not in {distribution}")


def _only(distribution: BaseDistribution) -> Any:
    """The value of a distribution that has just one."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low
