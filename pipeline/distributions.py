"""The values of one parameter, from its Optuna distribution: which it contains, how many, draws, and words for them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def own(distribution: BaseDistribution, value: Any) -> Any:
    """``value`` as ``distribution`` has it. Raises ValueError where it is none of its choices, or no number.

    >>> own(CategoricalDistribution([1, 2]), True), own(FloatDistribution(0, 1), 1)
    (1, 1.0)
    """
    return distribution.to_external_repr(distribution.to_internal_repr(value))


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether the distribution can take ``value``, by type, bounds and step."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if isinstance(distribution, IntDistribution) and value != int(value):
        return False
    return bool(distribution._contains(value))


def cardinality(distribution: BaseDistribution) -> float:
    """The number of values of one parameter; ``math.inf`` for a continuous one."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    assert isinstance(distribution, FloatDistribution)
    if distribution.low == distribution.high:
        return 1
    if distribution.step is None:
        return math.inf
    return round((distribution.high - distribution.low) / distribution.step) + 1


def suggest(trial: BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    """The value that ``trial`` suggests for the parameter ``name``."""
    if isinstance(distribution, FloatDistribution):
        low, high, step, log = distribution.low, distribution.high, distribution.step, distribution.log
        return trial.suggest_float(name, low, high, step=step, log=log)
    if isinstance(distribution, IntDistribution):
        d = distribution
        return trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
    assert isinstance(distribution, CategoricalDistribution)
    return trial.suggest_categorical(name, distribution.choices)


def draw(distribution: BaseDistribution, rng: random.Random) -> Any:
    """A value drawn uniformly; log-uniformly where ``log``."""
    if isinstance(distribution, CategoricalDistribution):
        return rng.choice(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    if distribution.log:
        value = math.exp(rng.uniform(math.log(low), math.log(high)))
        value = min(max(value, low), high)
        return round(value) if isinstance(distribution, IntDistribution) else value
    if distribution.step is None:
        return rng.uniform(low, high)
    return low + rng.randrange(int(cardinality(distribution))) * distribution.step


def as_data(distribution: BaseDistribution) -> dict[str, Any]:
    """A distribution as plain data, for the database."""
    if isinstance(distribution, CategoricalDistribution):
        return {"kind": "choice", "choices": list(distribution.choices)}
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = "float" if isinstance(distribution, FloatDistribution) else "int"
    return {
        "kind": kind,
        "low": distribution.low,
        "high": distribution.high,
        "log": distribution.log,
        "step": distribution.step,
    }


def describe(distribution: BaseDistribution) -> str:
    """A distribution in words.

    Example:
        >>> describe(FloatDistribution(1e-5, 0.1, log=True)), describe(CategoricalDistribution(["sgd", "adamw"]))
        ('float [1e-05, 0.1] log', 'choice [sgd, adamw]')
    """
    return in_words(as_data(distribution))


def in_words(data: Mapping[str, Any]) -> str:
    """As :func:`describe`, of a distribution as :func:`as_data` gives it."""
    if data["kind"] == "choice":
        text = f"choice [{', '.join(word(choice) for choice in data['choices'])}]"
    else:
        text = f"{data['kind']} [{data['low']!r}, {data['high']!r}]"
        text += " log" if data["log"] else ""
        text += (
            f" step {data['step']!r}"
            if data["step"] not in (None, 1) or (data["kind"] == "float" and data["step"])
            else ""
        )
    return text


def word(value: Any) -> str:
    """A choice as in YAML: text in quotes where it could be taken for something else."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        if value[:1] + value[-1:] in ("[]", "{}"):  # a list or a mapping
            return value
        return value if value.replace("_", "a").replace("-", "a").isalnum() and not value[0].isdigit() else repr(value)
    return repr(value)
