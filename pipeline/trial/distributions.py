"""Writes Optuna's distributions in Optuna's JSON, without importing Optuna on a worker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any


def float_distribution(low: float, high: float, step: float | None, log: bool) -> str:
    """``FloatDistribution(low, high, log, step)`` as ``optuna.distributions.distribution_to_json`` writes it.

    As in Optuna, ``high`` is lowered to a whole number of steps above ``low``.
    Raises ValueError for a range that Optuna refuses.

    >>> float_distribution(0.0, 1.0, 0.3, log=False)
    '{"name": "FloatDistribution", "attributes": {"step": 0.3, "low": 0.0, "high": 0.9, "log": false}}'
    """
    low, high = float(low), float(high)
    if log and step is not None:
        raise ValueError("a float cannot have both `step` and `log`")
    _check_range(low, high, lowest=0.0 if log else None, step=step, open_end=True)
    if step is not None:
        # Decimal, since in binary floating point 0.3 is not a multiple of 0.1.
        first, width = Decimal(str(low)), Decimal(str(step))
        if (Decimal(str(high)) - first) % width != 0:
            high = float((Decimal(str(high)) - first) // width * width + first)
        step = float(step)
    return _to_json("FloatDistribution", {"step": step, "low": low, "high": high, "log": bool(log)})


def int_distribution(low: int, high: int, step: int, log: bool) -> str:
    """``IntDistribution(low, high, log, step)`` in Optuna's JSON. Raises ValueError for a range that Optuna refuses."""
    low, high, step = int(low), int(high), int(step)
    if log and step != 1:
        raise ValueError("an int with `log` cannot have a `step` other than 1")
    _check_range(low, high, lowest=1 if log else None, step=step, open_end=False)
    high = (high - low) // step * step + low
    return _to_json("IntDistribution", {"log": bool(log), "step": step, "low": low, "high": high})


def categorical_distribution(choices: Sequence[Any]) -> str:
    """``CategoricalDistribution(choices)`` in Optuna's JSON. Raises ValueError for no choices, or for objects."""
    if not choices:
        raise ValueError("there must be at least one choice")
    try:
        return _to_json("CategoricalDistribution", {"choices": list(choices)})
    except TypeError:
        raise ValueError(
            f"choices must be None, bool, int, float or str to be kept in a database, got {list(choices)!r}; "
            "name them by strings and look the objects up"
        ) from None


def choice_for(value: Any, choices: Sequence[Any]) -> Any:
    """The one of ``choices`` whose JSON is that of ``value``; ``value`` itself where none is."""
    wanted = json.dumps(value)
    return next((choice for choice in choices if _dumps(choice) == wanted), value)


def _dumps(value: Any) -> str | None:
    try:
        return json.dumps(value)
    except TypeError:
        return None


def _to_json(name: str, attributes: dict[str, Any]) -> str:
    return json.dumps({"name": name, "attributes": attributes})


def _check_range(low: float, high: float, *, lowest: float | None, step: float | None, open_end: bool) -> None:
    if not low <= high:
        raise ValueError(f"`low` must be at most `high`, got {low} and {high}")
    if lowest is not None and (low <= lowest if open_end else low < lowest):
        raise ValueError(f"`low` must be {'above' if open_end else 'at least'} {lowest:g} with `log`, got {low}")
    if step is not None and step <= 0:
        raise ValueError(f"`step` must be above 0, got {step}")
