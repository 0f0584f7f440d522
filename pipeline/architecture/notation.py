"""Reads operations as a study file writes them, such as ``dense({16..96..16}, {linear, silu})``."""

from __future__ import annotations

import itertools
import keyword
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST = 10_000
"""Most operations that one text may stand for."""

SHADOWED = ("nn", "F", "Net", "Attention")
"""Names of modules that the user's cannot have: a program of :mod:`.source` gives them to something else."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_RANGE = re.compile(r"(-?\d+)\s*\.\.\s*(-?\d+)(?:\s*\.\.\s*(\d+))?")

Value = int | float | str
"""An argument of an operation: a number or a word."""


@dataclass(frozen=True)
class Call:
    """One operation as it is written: its name and arguments.

    Attributes:
        name: Of the operation; ``module:Name`` for one of the user's own.
        values: The arguments that were given, in order.

    >>> str(Call("dense", (16, "relu")))
    'dense(16, relu)'
    """

    name: str
    values: tuple[Value, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.values))})" if self.values else self.name


def expand(text: str) -> list[Call]:
    """The operations that a text stands for: each combination of the values in braces, the last changing fastest.

    Args:
        text: A name, with arguments in brackets: numbers, words, sets ``{relu, tanh}`` and ranges ``{16..96..16}``.

    Raises:
        ValueError: It is not written so. The message completes a sentence that begins with the text.

    >>> [str(call) for call in expand("dense({16..32..16}, {relu, tanh})")]
    ['dense(16, relu)', 'dense(16, tanh)', 'dense(32, relu)', 'dense(32, tanh)']
    """
    name, bracket, rest = text.strip().partition("(")
    name = name.strip()
    module, colon, attribute = name.rpartition(":")
    if not all(_WORD.fullmatch(part) for part in ([module, attribute] if colon else [name])):
        raise ValueError("is no operation; write a name and its arguments, as in dense(64, relu)")
    if module.endswith(".py"):
        raise ValueError(f"names a file; write its module, as in {module.removesuffix('.py')}:{attribute}")
    taken = [part for part in re.split(r"[.:]", name) if keyword.iskeyword(part)]
    if colon and (taken or module.partition(".")[0] in SHADOWED):
        word = taken[0] if taken else module.partition(".")[0]
        raise ValueError(f"has the name {word}, which means something else in a program; rename it")
    if not bracket:
        return [Call(name)]
    if not rest.endswith(")"):
        raise ValueError("has text after its arguments, or no closing bracket")
    arguments = [list(_values(part)) for part in _parts(rest[:-1])]
    if (number := _product(arguments)) > MOST:
        raise ValueError(f"stands for {number:,} operations; at most {MOST:,} are allowed")
    return [Call(name, values) for values in itertools.product(*arguments)]


def read(text: str) -> Call:
    """One operation. Raises ValueError where the text is none, or stands for several.

    >>> read("conv(32, 3)")
    Call(name='conv', values=(32, 3))
    """
    calls = expand(text)
    if len(calls) != 1:
        raise ValueError(f"stands for {len(calls)} operations where one is needed")
    return calls[0]


def _product(arguments: list[list[Value]]) -> int:
    number = 1
    for values in arguments:
        number *= len(values)
    return number


def _parts(text: str) -> Iterator[str]:
    """The text between commas that are not in braces."""
    if not text.strip():
        return
    depth, start = 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if depth not in (0, 1):
            raise ValueError("has braces that do not match")
        if letter == "," and not depth:
            yield text[start:at]
            start = at + 1
    if depth:
        raise ValueError("has a brace that is not closed")
    yield text[start:]


def _values(text: str) -> Iterator[Value]:
    """The values that an argument may have."""
    text = text.strip()
    if not text.startswith("{"):
        yield _value(text)
        return
    if not text.endswith("}"):
        raise ValueError(f"has text after the braces of {text!r}")
    for part in text[1:-1].split(","):
        part = part.strip()
        found = _RANGE.fullmatch(part)
        if found is None:
            yield _value(part)
            continue
        low, high, step = int(found[1]), int(found[2]), int(found[3] or 1)
        if high < low or not step or (high - low) % step:
            raise ValueError(f"has the range {part}, whose steps do not lead from {low} to {high}")
        if (high - low) // step >= MOST:
            raise ValueError(f"has the range {part}, which has more than {MOST:,} values")
        yield from range(low, high + 1, step)


def _value(text: str) -> Value:
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    if _WORD.fullmatch(text):
        return text
    raise ValueError(
        f"has the argument {text!r}; give a number, a word, a set as {{a, b}} or a range as {{16..96..16}}"
    )
