"""Describes the operation of a node by several parameters: which operation, and each of its arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .notation import Value
from .operations import KINDS, Operation

KIND = ""
"""The part of a node that says which operation it has."""


@dataclass(frozen=True)
class Part:
    """A parameter of a node that is split.

    Attributes:
        name: The end of its name: ``units`` in ``net.cell1.units``; empty for the operation itself.
        values: Its values in order.
    """

    name: str
    values: tuple[Value, ...]

    @property
    def step(self) -> int | None:
        """The distance of its values, where they are three or more whole numbers at equal distances."""
        steps = {_distance(one, other) for one, other in zip(self.values, self.values[1:], strict=False)}
        return steps.pop() if len(self.values) > 2 and len(steps) == 1 else None


def _distance(one: Value, other: Value) -> int | None:
    return other - one if type(one) is int and type(other) is int and other > one else None


class Split:
    """The operations of a node as parts.

    Args:
        operations: All that the node may have.

    Attributes:
        parts: The operation, and each argument that has several values. An argument that several operations have is
            named after both.
        joint: By operation, the values of the parts that it needs.

    Raises:
        ValueError: An operation lacks some combination of its arguments. The message is a sentence.

    Example:
        >>> from pilotune.pipeline.architecture.operations import operation
        >>> split = Split([operation(text) for text in ("identity", "dense(16)", "dense(32)", "dense(48)")])
        >>> [(part.name, part.values, part.step) for part in split.parts]
        [('', ('identity', 'dense'), None), ('units', (16, 32, 48), 16)]
        >>> split.joint[3], split.position({"": "dense", "units": 48})
        ({'': 'dense', 'units': 48}, 3)
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        by_name: dict[str, list[Operation]] = {}
        for each in operations:
            by_name.setdefault(each.call.name, []).append(each)
        varied = {name: _varied(name, same) for name, same in by_name.items()}
        words = [word for arguments in varied.values() for word in arguments]
        names = {
            (name, word): word if words.count(word) == 1 else f"{name.rpartition(':')[2]}_{word}"
            for name, arguments in varied.items()
            for word in arguments
        }
        self.parts = (
            *((Part(KIND, tuple(by_name)),) if len(by_name) > 1 else ()),
            *(Part(names[name, word], values) for name, each in varied.items() for word, (_, values) in each.items()),
        )
        self.joint = tuple(
            {
                **({KIND: each.call.name} if len(by_name) > 1 else {}),
                **{
                    names[each.call.name, word]: each.values[index]
                    for word, (index, _) in varied[each.call.name].items()
                },
            }
            for each in operations
        )

    @cached_property
    def _positions(self) -> dict[frozenset[tuple[str, Value]], int]:
        return {frozenset(values.items()): index for index, values in enumerate(self.joint)}

    @cached_property
    def _needed(self) -> dict[Value | None, tuple[str, ...]]:
        """By operation, the parts that it needs."""
        return {values.get(KIND): tuple(values) for values in self.joint}

    def position(self, values: dict[str, Any]) -> int:
        """Which of the operations the parts describe; those of other operations do not count.

        Raises:
            KeyError: A part is missing, or none of the operations has such values.
        """
        names = self._needed[values.get(KIND)]
        return self._positions[frozenset((name, values[name]) for name in names)]


def _varied(name: str, same: Sequence[Operation]) -> dict[str, tuple[int, tuple[Value, ...]]]:
    """By word, an argument of an operation that has several values: which one it is, and the values in order."""
    if len({len(each.values) for each in same}) > 1:
        raise ValueError(f"split needs {name} with the same number of arguments each time")
    columns = [tuple(dict.fromkeys(column)) for column in zip(*(each.values for each in same), strict=True)]
    if math.prod(map(len, columns)) != len(same):
        raise ValueError(
            f"split needs every combination of the arguments of {name}, as in dense({{16, 32}}, {{relu, tanh}})"
        )
    words = _words(name, len(columns))
    return {words[index]: (index, _ordered(values)) for index, values in enumerate(columns) if len(values) > 1}


def _words(name: str, number: int) -> list[str]:
    """A word for each argument: ``units``, ``kernel``; ``argument1`` where they have no names."""
    known = [] if ":" in name or KINDS[name].rest else [each.name.split()[-1] for each in KINDS[name].arguments]
    return known if len(known) == number else [f"argument{index + 1}" for index in range(number)]


def _ordered(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Numbers in ascending order; others as they stand."""
    numbers = [value for value in values if not isinstance(value, str)]
    return tuple(sorted(numbers)) if len(numbers) == len(values) else values
