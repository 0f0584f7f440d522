"""Creates new trials, and checks values before they are staged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from .study_cache import detached
from .tables import STEP_LIMIT, check_key, plain


def new_trial() -> FrozenTrial:
    """A running trial without parameters, whose id and number are not known yet."""
    return FrozenTrial(
        number=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )


def from_template(template: FrozenTrial) -> FrozenTrial:
    """A copy of a trial as the database will hold it. Raises ValueError or TypeError for what it cannot hold."""
    trial = detached(template)
    trial.user_attrs = checked_attributes(trial.user_attrs)
    trial.system_attrs = checked_attributes(trial.system_attrs)
    trial.intermediate_values = {int(step): float(value) for step, value in trial.intermediate_values.items()}
    trial.values = None if template.values is None else checked_values(template.values)
    return trial


def checked_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as every reader of the database will see them. Raises ValueError for a key, TypeError for a value."""
    return {check_key(key): plain(value) for key, value in attrs.items()}


def checked_values(values: Sequence[float]) -> list[float]:
    """A trial's objective values as floats. Raises ValueError for NaN, which Optuna refuses as well."""
    numbers = [float(value) for value in values]
    if any(math.isnan(number) for number in numbers):
        raise ValueError("a trial's value cannot be NaN")
    return numbers


def check_steps(steps: Iterable[int]) -> None:
    """Raises ValueError for a step that the database's column cannot hold."""
    for step in steps:
        if not -STEP_LIMIT <= step < STEP_LIMIT:
            raise ValueError(
                f"a step must be an integer that fits 32 bits, because the database stores it so; got {step}"
            )


def same_distribution(one: BaseDistribution, other: BaseDistribution) -> bool:
    """Whether two distributions are interchangeable; equal choices may still differ in type, as 1 and True."""
    if one is other:
        return True
    if isinstance(one, CategoricalDistribution) and isinstance(other, CategoricalDistribution):
        types = [[type(choice) for choice in each.choices] for each in (one, other)]
        return types[0] == types[1] and one == other
    return type(one) is type(other) and one == other
