"""Makes the distribution of one parameter from its range or choices in a study file's ``space``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ...fields import boolean, shown
from ...yamlfile import YamlFile, join, nearest
from ..trial.distributions import RangeProblem, check_range, stepped, stored_choice
from .space_hints import right_form

KINDS = ("float", "int", "choice")
"""Kinds of parameters."""

OPTIONS = {"float": ("log", "step", "when"), "int": ("log", "step", "when"), "choice": ("when",)}
"""Keys that each kind may have beside its own."""


def distribution(data: Mapping[str, Any], key: str, source: YamlFile) -> BaseDistribution:
    """The distribution that an entry of ``space`` describes.

    Args:
        data: The entry, as ``{float: [0, 1]}``.
        key: Where it is in the study file.
        source: The study file.

    Raises:
        UserError: The entry describes none.
    """
    kinds = [kind for kind in KINDS if kind in data]
    if not kinds:
        first = next((name for name in data if name not in ("log", "step", "when")), None)
        form = right_form(data)
        if form:
            raise source.error(f"write it as {form}", key)
        hint = nearest(first, KINDS) if first else ""
        message = "needs one of float: [low, high], int: [low, high] or choice: [...]"
        raise source.error(f"unknown key{hint}; a parameter {message}" if first else message,
                           join(key, first) if first else key)  # fmt: skip
    kind = kinds[0]
    if len(kinds) > 1:
        raise source.error(f"has both {kind} and {kinds[1]}; give one of them", join(key, kinds[1]))
    for name in data:
        if name != kind and name not in OPTIONS[kind]:
            if name in ("log", "step"):
                raise source.error(f"a choice has no {name}", join(key, name))
            raise source.error(f"unknown key{nearest(name, [kind, *OPTIONS[kind]])}", join(key, name))
    if kind == "choice":
        return _categorical(data["choice"], join(key, "choice"), source)
    return _numeric(kind, data, key, source)


def _categorical(choices: Any, key: str, source: YamlFile) -> CategoricalDistribution:
    if not isinstance(choices, list):
        raise source.error(f"must be a list of values, as in [sgd, adamw], but is {shown(choices)}", key)
    if not choices:
        raise source.error("is empty; list the values to choose from, as in [sgd, adamw]", key)
    kept: list[Any] = []
    for index, choice in enumerate(choices):
        where = join(key, index)
        if not _finite(choice):
            raise source.error(f"a choice must be finite, but is {shown(choice)}", where)
        stored = stored_choice(choice)
        twin_index = next((i for i, text in enumerate(kept) if text == stored or choices[i] == choice), None)
        if twin_index is not None:
            twin = choices[twin_index]
            also = "" if repr(twin) == repr(choice) else f" ({shown(twin)} and {shown(choice)} are equal)"
            raise source.error(f"{shown(choice)} is listed twice{also}", where)
        kept.append(stored)
    return CategoricalDistribution(kept)


def _finite(value: Any) -> bool:
    """Whether no number in ``value``, which may be a list or a mapping, is infinite or NaN."""
    if isinstance(value, list | dict):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def objects(choices: Any) -> dict[str, Any]:
    """The choices that are lists or mappings, by the text that is stored for them."""
    found = [choice for choice in choices if isinstance(choice, list | dict)] if isinstance(choices, list) else []
    return {stored_choice(choice): choice for choice in found}


def _numeric(kind: str, data: Mapping[str, Any], key: str, source: YamlFile) -> BaseDistribution:
    bounds = data[kind]
    whole = kind == "int"
    if not isinstance(bounds, list) or len(bounds) != 2:
        form = right_form({**data, "type": kind, "range": bounds, **(bounds if isinstance(bounds, dict) else {})})
        hint = f"; write {form}" if form else ""
        raise source.error(f"must be [low, high], but is {shown(bounds)}{hint}", join(key, kind))
    low, high = (_number(value, whole, join(join(key, kind), i), source) for i, value in enumerate(bounds))
    if low > high:
        raise source.error(f"low {low} is above high {high}; write [{high}, {low}]", join(key, kind))
    try:
        log = boolean(data.get("log", False))
    except ValueError as error:
        raise source.error(str(error), join(key, "log")) from None
    step = data.get("step")
    if step is not None:
        step = _number(step, whole, join(key, "step"), source)
    try:
        check_range(low, high, step, log=log, whole=whole)
    except RangeProblem as problem:
        raise source.error(str(problem), join(key, kind if problem.part == "range" else problem.part)) from None
    if step is not None and low < high:
        low, high = _reached(low, high, step, join(key, "step"), source)
    if whole:
        return IntDistribution(int(low), int(high), log=log, step=1 if step is None else int(step))
    return FloatDistribution(low, high, log=log, step=step)


def _reached(low: Any, high: Any, step: Any, key: str, source: YamlFile) -> tuple[Any, Any]:
    """The ends of a range, where steps from ``low`` reach ``high`` but for rounding."""
    if step > high - low:
        message = f"a step of {step} is larger than the range from {low} to {high}; give a smaller one"
        raise source.error(f"{message}, or a choice of the values that you mean", key)
    first, last = (low, low + (high - low) // step * step) if type(low) is int else stepped(low, high, step)
    if abs(last - high) > math.ulp(max(abs(low), abs(high))):
        raise source.error(
            f"steps of {step} from {low} do not reach {high}; the last one is {last}, so write [{low}, {last}]", key
        )
    return first, last


def _number(value: Any, whole: bool, key: str, source: YamlFile) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _fits_float(value):
        raise source.error(f"must be a {'whole ' if whole else ''}number, but is {shown(value)}", key)
    if whole:
        if value != int(value):
            raise source.error(f"must be a whole number, but is {value}", key)
        return int(value)
    return float(value)


def _fits_float(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int of more than 308 digits
        return False
