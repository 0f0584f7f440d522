"""Brings the trials of an earlier study into a new study's space, by parameter name, and says what does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from ....grammar import count
from ...distributions import describe
from ...space import Space
from ..surrogate.encoding import Encoding
from .earlier import EarlierStudy
from .knowledge import LEAST_TRIALS


@dataclass(frozen=True)
class Fitted:
    """What a new study learns from an earlier one.

    Attributes:
        study: The trials that can be used; None: too few.
        trials: How many.
        misfits: What does not fit and what happens with it, in sentences.
    """

    study: EarlierStudy | None
    trials: int
    misfits: tuple[str, ...]


def fit_study(
    name: str, trials: Iterable[FrozenTrial], distributions: Mapping[str, BaseDistribution], *, maximize: bool
) -> Fitted:
    """Bring the complete trials of an earlier study into the space of a new one.

    Args:
        name: Of the earlier study.
        trials: Its trials, in whatever state.
        distributions: The new study's parameters that have more than one value.
        maximize: Whether larger values are better.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    earlier: dict[str, BaseDistribution] = {}
    for trial in complete:
        earlier |= trial.distributions
    misfits = list(_misfits(name, earlier, distributions)) if complete else []
    shared = [param for param in distributions if param in earlier and _same_kind(earlier[param], distributions[param])]
    params = [{param: trial.params[param] for param in shared if param in trial.params} for trial in complete]
    places = Encoding(distributions).places_of(params, [False] * len(params)) if shared else [None] * len(params)
    usable = [i for i, each in enumerate(places) if each is not None]
    if len(usable) < LEAST_TRIALS:
        have = f"{name!r} has {count(len(usable), 'complete trial')} that this space can use"
        return Fitted(None, len(usable), (*misfits, f"{have}, and it takes {LEAST_TRIALS}, so it is passed over"))
    if len(usable) < len(complete):
        out = f"{len(complete) - len(usable)} of the {count(len(complete), 'complete trial')} of {name!r}"
        misfits.append(f"{out} have values that this space does not have, and are passed over")
    sign = -1.0 if maximize else 1.0
    losses = [sign * complete[i].values[0] for i in usable]
    return Fitted(EarlierStudy.of(name, [params[i] for i in usable], losses), len(usable), tuple(misfits))


def _misfits(
    name: str, earlier: Mapping[str, BaseDistribution], distributions: Mapping[str, BaseDistribution]
) -> Iterable[str]:
    for param, distribution in distributions.items():
        before = earlier.get(param)
        if before is None:
            yield f"{name!r} has no parameter {param!r}, so it says nothing about it"
        elif not _same_kind(before, distribution):
            kinds = f"{param!r} is {describe(before)} in {name!r} and {describe(distribution)} here"
            yield f"{kinds}, so it says nothing about it"
        elif isinstance(distribution, CategoricalDistribution):
            lost = [choice for choice in before.choices if choice not in distribution.choices]  # type: ignore[attr-defined]
            new = [choice for choice in distribution.choices if choice not in before.choices]  # type: ignore[attr-defined]
            if lost or new:
                kinds = f"{param!r} is {describe(before)} in {name!r} and {describe(distribution)} here"
                yield f"{kinds}; only trials with common choices are used"
        elif _range(before) != _range(distribution):
            kinds = f"{param!r} is {describe(before)} in {name!r} and {describe(distribution)} here"
            yield f"{kinds}; values up to a range's width beyond the new range are used"
    extra = [param for param in earlier if param not in distributions]
    for param in extra:
        if not earlier[param].single():
            yield f"the parameter {param!r} of {name!r} is none of this study's, so it is passed over"


def _same_kind(before: BaseDistribution, now: BaseDistribution) -> bool:
    return isinstance(before, CategoricalDistribution) == isinstance(now, CategoricalDistribution)


def _range(distribution: Any) -> tuple[float, float]:
    return float(distribution.low), float(distribution.high)


def free_parameters(space: Space | None, studies: Sequence[Sequence[FrozenTrial]] = ()) -> dict[str, BaseDistribution]:
    """The parameters that have more than one value: of the space, or where there is none, of the earlier trials."""
    if space is not None:
        found = space.distributions
    else:
        found = {name: each for trials in studies for trial in trials for name, each in trial.distributions.items()}
    return {name: each for name, each in found.items() if not each.single()}
