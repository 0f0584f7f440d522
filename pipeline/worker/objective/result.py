"""Reads the values of a trial from what its objective returned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....errors import printable
from ....grammar import count
from ...trial.values import jsonable, shown


class ValueProblem(Exception):
    """The objective returned something that is not a trial's value. The message is one sentence."""

    def __init__(self, message: str):
        super().__init__(printable(message))


@dataclass(frozen=True)
class Result:
    """Values of a complete trial, one for each direction, and user attributes."""

    values: list[float]
    user_attrs: dict[str, Any] = field(default_factory=dict)


def read_result(returned: Any, n_values: int, metrics: Sequence[str] = ()) -> Result:
    """The values in ``returned``: a number, a sequence of ``n_values`` numbers, or a dict.

    A dict holds ``value``, ``values`` or all names of ``metrics``; its other keys become user attributes. NumPy and
    PyTorch scalars count as numbers, and their one-dimensional arrays as sequences.

    Args:
        returned: What the objective returned.
        n_values: How many directions the study has.
        metrics: Names of the values; empty where they have none.

    Raises:
        ValueProblem: None, NaN, infinite, not a number, or not ``n_values`` values.

    >>> read_result({"value": 0.9, "parameters": 1234}, 1)
    Result(values=[0.9], user_attrs={'parameters': 1234})
    """
    attributes: dict[str, Any] = {}
    if isinstance(returned, Mapping):
        returned, attributes = _from_mapping(dict(returned), metrics)
    if returned is None:
        raise ValueProblem("the objective returned None; does it return a value on every path?")
    numbers = _sequence(returned)
    if numbers is None:
        numbers = [returned]
        if n_values != 1 and _is_number(returned):
            raise ValueProblem(
                f"the objective returned one value, {_short(returned)}, where the study has {n_values} directions"
            )
    if len(numbers) != n_values:
        directions = "one direction" if n_values == 1 else f"{n_values} directions"
        raise ValueProblem(f"the objective returned {count(len(numbers), 'value')} where the study has {directions}")
    names = list(metrics) if len(metrics) == n_values else [""] * n_values
    return Result([_number(value, name) for value, name in zip(numbers, names, strict=True)], attributes)


def _from_mapping(returned: dict[Any, Any], metrics: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    for key in ("value", "values"):
        if key in returned:
            value = returned.pop(key)
            break
    else:
        if not metrics or any(name not in returned for name in metrics):
            wanted = "'value', 'values'" + (f" or the metrics {', '.join(map(repr, metrics))}" if metrics else "")
            keys = sorted(map(shown, returned))
            raise ValueProblem(f"the objective returned a dict with {', '.join(keys)}, but without {wanted}")
        value = [returned.pop(name) for name in metrics]
    return value, {_name(key): jsonable(item) for key, item in returned.items()}


def _name(key: Any) -> str:
    try:
        return str(key)
    except Exception:  # a user's __str__ may raise anything
        return shown(key)


def _sequence(returned: Any) -> list[Any] | None:
    """The items of a sequence or a one-dimensional array; None for what is one value."""
    try:
        if isinstance(returned, str | bytes) or not hasattr(returned, "__len__"):
            return None
        return list(returned)
    except Exception:  # an array without dimensions; a user's own class may raise anything
        return None


def _is_number(value: Any) -> bool:
    try:
        _number(value, "")
    except ValueProblem:
        return False
    return True


def _number(value: Any, name: str) -> float:
    what = f"the value of {name!r}" if name else "the objective's value"
    if value is None:
        raise ValueProblem(f"{what} is None, not a number")
    number: float | None = None
    if not isinstance(value, str | bytes | bool) and type(value).__name__ not in ("bool_", "bool"):
        try:
            number = float(value)
        except Exception:  # a user's __float__ may raise anything
            number = None
    if number is None:
        raise ValueProblem(f"{what} is {_short(value)} ({type(value).__name__}), not a number")
    if not math.isfinite(number):
        raise ValueProblem(f"{what} is {number}, not a finite number")
    return number


def _short(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
