"""Narrows a space to the box around the best trials of earlier studies.

After Perrone et al., *Learning search spaces for Bayesian optimization: Another view of hyperparameter transfer
learning*, NeurIPS 2019, whose box holds the best configuration of each earlier study. Here it holds some of each, so
that one study is enough, and a margin. A box is never larger than the space.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from ...distributions import own
from ...space import Space
from ..axes import Axis, axes_of
from .earlier import EarlierStudy

TRIALS, SHARE = 20, 0.1
"""The box is around so many trials, the best of each study alike, but no more than this share of a study's."""
MARGIN = 0.05
"""How far the box reaches beyond them, in units of the range, on the scale that it is searched on."""
DIGITS = 4
"""Digits of the ends of a box without steps, since people read them."""
NEVER_GOOD, LEAST_TRIED = 0.5, 10
"""A choice is left out if no trial with it is in this share of the best ones of any study, and so many had it."""


def narrowed(
    space: Space, studies: Sequence[EarlierStudy], points: Sequence[Mapping[str, Any]] = ()
) -> dict[str, BaseDistribution]:
    """The smaller distributions, by parameter; those that stay as they are are left out.

    Args:
        space: The new study's.
        studies: The earlier ones.
        points: Configurations that must remain possible.
    """
    each = math.ceil(TRIALS / max(1, len(studies)))
    best = [
        params for study in studies for params in study.params[: min(each, max(1, round(SHARE * len(study.params))))]
    ]
    found: dict[str, BaseDistribution] = {}
    for parameter in space.parameters:
        name, distribution = parameter.name, parameter.distribution
        if distribution.single():
            continue
        if isinstance(distribution, CategoricalDistribution):
            kept = [point[name] for point in points if name in point]
            smaller: BaseDistribution = _without_bad_choices(name, distribution, studies, kept)
        else:
            values = [float(params[name]) for params in (*best, *points) if name in params]
            smaller = _box(axes_of({name: distribution})[0], values)
        if smaller != distribution:
            found[name] = smaller
    return found


def _box(axis: Axis, values: Sequence[float]) -> BaseDistribution:
    """The range around some values; all of the range where there are none."""
    distribution: Any = axis.distribution
    if not values:
        return axis.distribution
    inside = np.clip(np.array(values), axis.range_low, axis.range_high)
    places = axis.transform(inside)
    ends = np.array([places.min() - MARGIN * axis.width, places.max() + MARGIN * axis.width])
    low, high = axis.inverse(np.clip(ends, axis.low, axis.high)).tolist()
    if not axis.step:
        low, high = float(f"{low:.{DIGITS}g}"), float(f"{high:.{DIGITS}g}")
    # The ends in the file keep their exact values where the box reaches them.
    low = distribution.low if low <= axis.range_low else low
    high = distribution.high if high >= axis.range_high else high
    if isinstance(distribution, IntDistribution):
        return IntDistribution(round(low), round(high), log=distribution.log, step=distribution.step)
    return FloatDistribution(low, high, log=distribution.log, step=distribution.step)


def _without_bad_choices(
    name: str, distribution: CategoricalDistribution, studies: Sequence[EarlierStudy], kept: Sequence[Any]
) -> CategoricalDistribution:
    """The choices but those that were tried and never good."""
    good, tried = set(), dict.fromkeys(map(repr, distribution.choices), 0)
    for study in studies:
        number = math.ceil(NEVER_GOOD * len(study.params))
        for i, params in enumerate(study.params):
            if name in params:
                key = repr(params[name])
                tried[key] = tried.get(key, 0) + 1
                good |= {key} if i < number else set()
    keys = {repr(own(distribution, value)) for value in kept} | good
    choices = [choice for choice in distribution.choices if repr(choice) in keys or tried[repr(choice)] < LEAST_TRIED]
    return CategoricalDistribution(choices) if choices else distribution


def with_distributions(space: Space, smaller: Mapping[str, BaseDistribution]) -> Space:
    """The space with other distributions for some parameters."""
    parameters = tuple(
        dataclasses.replace(parameter, distribution=smaller.get(parameter.name, parameter.distribution))
        for parameter in space.parameters
    )
    return dataclasses.replace(space, parameters=parameters)


def to_json(smaller: Mapping[str, BaseDistribution]) -> dict[str, str]:
    """Distributions for the database."""
    return {name: distribution_to_json(distribution) for name, distribution in smaller.items()}


def from_json(data: Mapping[str, str]) -> dict[str, BaseDistribution]:
    """What :func:`to_json` made."""
    return {name: json_to_distribution(text) for name, text in data.items()}
