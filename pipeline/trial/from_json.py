"""Builds dataclasses from JSON and checks every field's type.

The JSON was written by another process, which may run another version, may have been killed in the middle, or may not
be Pilotune at all. What passes these functions has the types that its annotations say; anything else is a ValueError.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")


def read_json(text: str | bytes) -> Any:
    """The value in ``text``. Raises ValueError for anything that is not JSON, nested too deeply or not UTF-8."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def build(cls: type[T], data: Any) -> T:
    """A dataclass from JSON's keys and values; unknown keys are ignored, since another version may have more.

    Args:
        cls: A dataclass; its fields may be JSON's types, Literal, unions, Path, and dataclasses or containers of these.
        data: What :func:`read_json` returned.

    Raises:
        ValueError: A key is missing, or a value is not of its field's type.

    >>> @dataclasses.dataclass
    ... class Point:
    ...     x: float
    ...     name: str = ""
    >>> build(Point, {"x": 1, "colour": "red"})
    Point(x=1, name='')
    >>> build(Point, {"x": "1"})
    Traceback (most recent call last):
        ...
    ValueError: 'x' has the wrong type: str
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{cls.__name__} needs keys and values, got {type(data).__name__}")
    values = {}
    for name, (hint, required) in _fields(cls).items():  # type: ignore[arg-type]
        if name in data:
            values[name] = _fitted(data[name], hint, name)
        elif required:
            raise ValueError(f"{name!r} is missing")
    return cls(**values)


def prepare(*classes: type[Any]) -> None:
    """Read the annotations of dataclasses, and of those in their fields, so that :func:`build` finds them read.

    To be called in a process before others are forked from it: reading them takes longer than all else that it does.
    """
    for cls in classes:
        for hint, _ in _fields(cls).values():  # type: ignore[arg-type]
            for part in (hint, *typing.get_args(hint)):
                if isinstance(part, type) and dataclasses.is_dataclass(part):
                    prepare(part)


@functools.cache
def _fields(cls: type[Any]) -> dict[str, tuple[Any, bool]]:
    """Each field's type, and whether it is required."""
    hints = typing.get_type_hints(cls)
    missing = dataclasses.MISSING
    return {
        field.name: (hints[field.name], field.default is missing and field.default_factory is missing)
        for field in dataclasses.fields(cls)
        if field.init
    }


def _fitted(value: Any, hint: Any, name: str) -> Any:
    """``value`` as the type ``hint``: JSON has lists for tuples and text for paths. Raises ValueError."""
    if type(value) is hint or hint is Any:
        return value
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return _first_fit(value, parts, name)
    if kind is Literal:
        if type(value) is str and value in parts:
            return value
    elif kind in (list, tuple):
        if isinstance(value, list | tuple):
            return kind(_fitted(item, parts[0], name) for item in value)
    elif kind is dict or (isinstance(kind, type) and issubclass(kind, Mapping)):
        if isinstance(value, Mapping) and all(type(key) is str for key in value):
            return {key: _fitted(item, parts[1], name) for key, item in value.items()}
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value)
    elif hint is float:
        if type(value) in (int, float) and _is_float(value):
            return value
    elif hint is Path:
        if type(value) is str and "\0" not in value:
            return Path(value)
    elif hint in (str, int, bool, type(None)):
        if type(value) is hint:
            return value
    else:
        raise TypeError(f"{name}: JSON has no form for {hint}")
    raise ValueError(f"{name!r} has the wrong type: {type(value).__name__}")


def _first_fit(value: Any, hints: tuple[Any, ...], name: str) -> Any:
    for hint in hints:
        try:
            return _fitted(value, hint, name)
        except ValueError:
            continue
    raise ValueError(f"{name!r} has the wrong type: {type(value).__name__}")


def _is_float(value: float) -> bool:
    try:
        float(value)
    except OverflowError:
        return False
    return True
