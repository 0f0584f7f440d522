"""Reads the values of a trial from what its objective returned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from ....errors import printable
from ....grammar import count
from ...trial.values import as_name, is_number, jsonable, number_of, shown


class ValueProblem(Exception):
    """The objective returned something that is not a trial's value. The message is one sentence."""

    def __init__(self, message: str):
        super().__init__(printable(message))


@dataclass(frozen=True)
class Result:
    """Values of a complete trial, one for each direction, and user attributes."""

    values: list[float]
    user_attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """The words for where a value comes from.

    Attributes:
        returned: Who gave it, and how.
        value: Its value.
        mapping: The dictionary with it.
        nothing: What None is called there.
    """

    returned: str = "the objective returned"
    value: str = "the objective's value"
    mapping: str = "the returned dict"
    nothing: str = "None"


OBJECTIVE = Source()
COMMAND = Source("the command reported", "the command's value", "the last report", "null")


def read_result(returned: Any, n_values: int, metrics: Sequence[str] = (), source: Source = OBJECTIVE) -> Result:
    """The values in ``returned``: a number, a sequence of ``n_values`` numbers, or a dict.

    A dict holds all names of ``metrics``, or ``value`` or ``values``, not both; its other keys become user attributes,
    ``value`` beside all metrics too. NumPy and PyTorch scalars count as numbers, and their one-dimensional arrays as
    sequences. What has no order (a set) or can be read only once (a generator) is no sequence.

    Args:
        returned: What the objective returned.
        n_values: How many directions the study has.
        metrics: Names of the values; empty where they have none.
        source: Who returned it, for messages.

    Raises:
        ValueProblem: None, NaN, infinite, not a number, or not ``n_values`` values.

    >>> read_result({"value": 0.9, "parameters": 1234}, 1)
    Result(values=[0.9], user_attrs={'parameters': 1234})
    """
    attributes: dict[str, Any] = {}
    key = ""
    plain = type(returned) in (float, int)  # the usual case, which needs no look at abstract classes
    if not plain and isinstance(returned, Mapping):
        key, returned, attributes = _from_mapping(dict(returned), metrics, source)
    if returned is None:
        if key:
            raise ValueProblem(f"'{key}' in {source.mapping} is {source.nothing}")
        raise ValueProblem(f"{source.returned} None; does it return a value on every path?")
    numbers = None if plain else _sequence(returned)
    if numbers is None:
        numbers = [returned]
        if n_values != 1:
            raise ValueProblem(_not_several(returned, key, n_values, source))
    if len(numbers) != n_values:
        directions = "one direction" if n_values == 1 else f"{n_values} directions"
        raise ValueProblem(f"{source.returned} {count(len(numbers), 'value')} where the study has {directions}")
    names = list(metrics) if len(metrics) == n_values else [""] * n_values
    whats = [f"the value of {name!r}" if name else source.value for name in names]
    return Result([_number(value, what) for value, what in zip(numbers, whats, strict=True)], attributes)


def _from_mapping(returned: dict[Any, Any], metrics: Sequence[str], source: Source) -> tuple[str, Any, dict[str, Any]]:
    """The key that holds the value, or empty for metrics; the value or values; and the rest as user attributes.

    The metrics win where all are there: an entry ``value`` beside them, or one of them, is what its name says.
    """
    if metrics and all(name in returned for name in metrics):
        alone = metrics[0] if len(metrics) == 1 and metrics[0] in _PLAIN else ""
        value = [returned.pop(name) for name in metrics]
        return alone, value[0] if alone else value, _attributes(returned)
    given = [key for key in _PLAIN if key in returned]
    if len(given) > 1:
        raise ValueProblem(f"{source.returned} a dict with both 'value' and 'values'; give one of them")
    if given:
        value = returned.pop(given[0])
        return given[0], value, _attributes(returned)
    names = f"the metrics {', '.join(map(repr, metrics))}" if metrics else "the metrics by name"
    if not returned:
        raise ValueProblem(f"{source.returned} an empty dict; it needs 'value', 'values' or {names}")
    keys = ", ".join(sorted(map(shown, returned)))
    raise ValueProblem(f"{source.returned} a dict with {keys}; it needs 'value', 'values' or {names}")


_PLAIN = ("value", "values")
"""Keys that hold the value or values, whatever the metrics are called."""


def _attributes(rest: Mapping[Any, Any]) -> dict[str, Any]:
    return {_name(name): jsonable(item) for name, item in rest.items()}


def _name(key: Any) -> str:
    try:
        return as_name(key)
    except TypeError:
        return shown(key)


def _sequence(returned: Any) -> list[Any] | None:
    """The items of a sequence or a one-dimensional array; None for what is one value, or has no order."""
    try:
        if isinstance(returned, str | bytes | bytearray | memoryview | Mapping):
            return None
        if not (hasattr(returned, "__len__") and hasattr(returned, "__getitem__")):  # as sets and generators
            return None
        return list(returned)
    except Exception:  # an array without dimensions; a user's own class may raise anything
        return None


def _not_several(returned: Any, key: str, n_values: int, source: Source) -> str:
    """Why ``returned`` does not hold several values."""
    if is_number(returned):
        return f"{source.returned} one value, {_short(returned)}, where the study has {n_values} directions"
    what = f"'{key}' in {source.mapping} is" if key else source.returned
    why = "a set has no order" if isinstance(returned, Set) else "it is not a list or tuple"
    return f"{what} {_short(returned)}, but {why}; give a list with {n_values} values, in the order of the directions"


def _number(value: Any, what: str) -> float:
    if value is None:
        raise ValueProblem(f"{what} is None, not a number")
    try:
        number = number_of(value)
    except OverflowError:
        raise ValueProblem(f"{what} is too large: {_short(value)}") from None
    if number is None:
        raise ValueProblem(f"{what} is {_short(value)} ({type(value).__name__}), not a number")
    if not math.isfinite(number):
        raise ValueProblem(f"{what} is {number}, not a finite number")
    return number


def _short(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
