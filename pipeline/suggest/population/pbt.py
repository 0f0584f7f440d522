"""The sampler ``pbt``: random members, and copies whose parameters are those of their parent, changed a little."""

from __future__ import annotations

import random
import threading
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from ...attributes import PARENT
from ...space import Space
from ..genes import Gene
from .members import Members

FACTORS = 0.8, 1.2
"""A number is multiplied by one of these, as in the paper."""

STEP = 0.1
"""Share of the range that is added or subtracted where a range holds 0, which no factor would ever leave."""

TRIES = 100
"""Changes that are tried until one meets the constraints; after that a copy has the parameters of its parent."""


class PBTSampler(BaseSampler):
    """Population-based training of Jaderberg et al., 2017 (arXiv:1711.09846): members, and changed copies of the best.

    The first ``population`` trials are drawn at random. The campaign pauses each after every ``interval`` steps, and
    copies one of the best, with its checkpoint, in the place of each of the worst. The parameters of a copy are those
    of its parent, each multiplied by 0.8 or 1.2, or drawn anew.

    Used without a campaign of Pilotune, no trial is ever copied, and all are drawn at random. Safe to use from several
    threads. Several drivers may train one population; what begins beyond its size is refused where it is stored.

    Args:
        interval: Steps (of ``trial.report``) that a member trains until it may be replaced.
        population: Number of members.
        quantile: Share of the members that are the worst and are replaced, and that are the best and are copied.
        perturb: The parameters that a copy changes. Default None: all. Leave out those that the checkpoint depends on,
            as the size of a layer.
        resample: Probability of a changed parameter to be drawn anew. A choice is drawn anew always.
        max_resource: Steps of a whole training, after which no member pauses. Default None: the objective ends.
        seed: Of the random numbers. Default None: different numbers each time.
        space: The search space with its conditions; None: what the parents have.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.suggest.population import PBTSampler
        >>> study = optuna.create_study(sampler=PBTSampler(interval=1, seed=0))
        >>> study.ask({"lr": optuna.distributions.FloatDistribution(0, 1)}).params
        {'lr': 0.8444218515250481}
    """

    def __init__(
        self,
        *,
        interval: int,
        population: int = 16,
        quantile: float = 0.25,
        perturb: list[str] | None = None,
        resample: float = 0.25,
        max_resource: int | None = None,
        seed: int | None = None,
        space: Space | None = None,
    ) -> None:
        _check(interval, population, quantile, resample, max_resource)
        self.interval, self.population, self.quantile, self.resample = interval, population, quantile, resample
        self.perturb = None if perturb is None else frozenset(perturb)
        self._space, self._rng = space, random.Random(seed)
        self._members, self._lock = Members(), threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_lock", "_members")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._members, self._lock = Members(), threading.RLock()

    def reseed_rng(self) -> None:
        """Continue with other random numbers, as Optuna asks of copies of a sampler."""
        self._rng.seed()

    # -- what a campaign asks ------------------------------------------------------------------------------------------

    def left(self, study: Study) -> int:
        """How many members are missing."""
        with self._lock:
            self._members.refresh(study)
            return max(0, self.population - self._members.live)

    def exhausted(self, study: Study) -> bool:
        """Whether the population is full: new trials begin only in the place of members."""
        return self.left(study) == 0

    def finished(self, study: Study) -> str:
        """A sentence for a study whose members have all ended."""
        with self._lock:
            self._members.refresh(study)
            return self._members.said()

    def repeated(self, study: Study, new: Collection[int]) -> list[int]:
        """Those of the trials ``new`` (ids) that are one too many, since other drivers filled the population."""
        with self._lock:
            self._members.refresh(study)
            return self._members.surplus(self.population, new)

    # -- Optuna's interface of a sampler -------------------------------------------------------------------------------

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that a copy gets together: those of the space, or of its parent."""
        if self._space is not None:
            found = self._space.distributions
        else:
            parent = self._parent(study, trial)
            found = {} if parent is None else parent.distributions
        return {name: distribution for name, distribution in found.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parent's parameters, changed; nothing for a trial without a parent, which is drawn at random."""
        parent = self._parent(study, trial)
        if parent is None:
            return {}
        known = {name: each for name, each in search_space.items() if name in parent.params}
        changed = {name: each for name, each in known.items() if self.perturb is None or name in self.perturb}
        kept = {name: parent.params[name] for name in known}
        with self._lock:
            for values in self._changes(study, trial, parent, changed):
                found = {**kept, **values}
                if self._feasible({**parent.params, **found}):
                    return found
        return kept  # which meets the constraints, as the parent does

    def _feasible(self, params: Mapping[str, Any]) -> bool:
        """Whether the parameters meet the constraints. One that the parent lacks is drawn later, and checked then."""
        if self._space is None or not self._space.constraints:
            return True
        try:
            return self._space.feasible(self._space.walk(lambda name, _: params[name]))
        except KeyError:
            return True

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value at random."""
        self._raise_error_if_multi_objective(study)
        with self._lock:
            return Gene(param_name, param_distribution).draw(self._rng)

    def _parent(self, study: Study, trial: FrozenTrial) -> FrozenTrial | None:
        number = trial.system_attrs.get(PARENT)
        if number is None:
            return None
        storage = study._storage
        return storage.get_trial(storage.get_trial_id_from_study_id_trial_number(study._study_id, number))

    def _changes(
        self, study: Study, trial: FrozenTrial, parent: FrozenTrial, space: dict[str, BaseDistribution]
    ) -> Iterator[dict[str, Any]]:
        """New values for the parameters in ``space``, all of which the parent has; the next where these are refused."""
        for _ in range(TRIES):
            yield {name: self._changed(name, space[name], parent.params[name]) for name in space}

    def _changed(self, name: str, distribution: BaseDistribution, value: Any) -> Any:
        """A value near ``value``, or one at random."""
        gene = Gene(name, distribution)
        if isinstance(distribution, CategoricalDistribution) or self._rng.random() < self.resample:
            return gene.draw(self._rng)
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        down = self._rng.random() < 0.5
        if distribution.low > 0:
            found = value * FACTORS[0 if down else 1]
        else:
            found = value + (distribution.high - distribution.low) * (-STEP if down else STEP)
        return _fitted(distribution, found, value, down)


def _fitted(distribution: FloatDistribution | IntDistribution, found: float, before: float, down: bool) -> float:
    """The value of the range next to ``found``; where values have steps, at least one step away from ``before``."""
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is not None:
        steps = round((found - low) / step)
        was = round((before - low) / step)
        steps = min(steps, was - 1) if down else max(steps, was + 1)
        found = low + steps * step
        high = low + round((high - low) / step) * step
    found = min(max(found, low), high)
    return int(found) if isinstance(distribution, IntDistribution) else float(found)


def _check(interval: int, population: int, quantile: float, resample: float, max_resource: int | None) -> None:
    if interval < 1:
        raise ValueError(f"interval must be at least 1, but is {interval}")
    if population < 2:
        raise ValueError(f"population must be at least 2, since members are copies of each other, but is {population}")
    if not 0 < quantile <= 0.5:
        raise ValueError(f"quantile must be above 0 and at most 0.5, but is {quantile:g}")
    if not 0 <= resample <= 1:
        raise ValueError(f"resample must be from 0 to 1, but is {resample:g}")
    if max_resource is not None and max_resource <= interval:
        raise ValueError(
            f"max_resource must be more than interval, which is {interval}, since no member pauses at the end of its "
            f"training, but is {max_resource}"
        )
