"""Formats results: tables of plain text, numbers, durations and times."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from ...grammar import count


def number(value: Any) -> str:
    """A value for a table: four significant digits for floats, a dash for None.

    >>> number(0.123456), number(250000.0), number(None), number("adam")
    ('0.1235', '250000', '-', 'adam')
    """
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:g}" if is_whole(value) else f"{value:.4g}"
    return str(value)


def is_whole(value: float) -> bool:
    """Whether a float is a whole number of at most six digits, which is shown in full."""
    return math.isfinite(value) and value == int(value) and abs(value) < 1e6


def named_values(names: Sequence[str], values: Sequence[float]) -> str:
    """The values of a trial with their names, as far as they have some.

    >>> named_values(["accuracy", "size"], [0.97312, 250000.0]), named_values([], [0.5])
    ('accuracy 0.9731, size 250000', '0.5')
    """
    if len(names) != len(values):
        return ", ".join(map(number, values))
    return ", ".join(f"{name} {number(value)}" for name, value in zip(names, values, strict=True))


def plus_minus(interval: Sequence[float] | None) -> str:
    """Half the width of an interval, for after its middle; empty where there is none.

    >>> plus_minus((0.5, 0.75)), plus_minus(None)
    (' ± 0.12', '')
    """
    return "" if interval is None else f" ± {(interval[1] - interval[0]) / 2:.2g}"


def exact(value: Any) -> str:
    """A value with all its digits, so that it can be used again."""
    return "-" if value is None else str(value)


def parameter(value: Any, show: Callable[[Any], str] = exact) -> str:
    """A parameter's value. A choice of nothing is ``null``, as in the study file: a dash would say that it has none.

    >>> parameter(0.1), parameter(None), parameter(1 / 3, number)
    ('0.1', 'null', '0.3333')
    """
    return "null" if value is None else show(value)


def on_front(amount: int) -> str:
    """How many trials a Pareto front has.

    >>> on_front(6)
    '6 trials on the Pareto front'
    """
    return f"{count(amount, 'trial')} on the Pareto front"


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units; a dash if not known.

    >>> duration(7.25), duration(42.0), duration(245), duration(12_000), duration(187_200)
    ('7.2s', '42s', '4m 05s', '3h 20m', '2d 04h')
    """
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 59.5:
        return f"{seconds:.1f}s" if seconds < 9.95 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours < 48 else f"{hours // 24}d {hours % 24:02d}h"


def table(
    head: Sequence[str], lines: Sequence[Sequence[str]], right: Sequence[str] = (), width: int | None = None
) -> str:
    """Aligned columns of plain text.

    Args:
        head: The columns' names.
        lines: The rows, one text for each column.
        right: Names of the columns to align on the right.
        width: Longest line; longer ones are cut. None: no limit.
    """
    cells = [[one_line(cell) for cell in line] for line in [head, *lines]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    text = []
    for line in cells:
        parts = [
            cell.rjust(size) if name in right else cell.ljust(size)
            for cell, size, name in zip(line, widths, head, strict=True)
        ]
        text.append(cut("  ".join(parts).rstrip(), width))
    return "\n".join(text)


def one_line(text: str) -> str:
    """``text`` with its line breaks replaced by spaces."""
    return " ".join(text.split()) if "\n" in text else text


def cut(text: str, width: int | None) -> str:
    """``text`` shortened to at most ``width`` characters, with an ellipsis at the end."""
    return text if width is None or len(text) <= width else text[: max(0, width - 1)] + "…"


WIDEST_NAME = 32
"""Columns of the longest name beside which all values are aligned; the value of a longer one follows it."""


def pairs(lines: Sequence[tuple[str, str]], indent: str = "") -> str:
    """Names and values, one pair a line, with the values aligned, except those of very long names."""
    size = max((len(name) for name, _ in lines if len(name) <= WIDEST_NAME), default=0)
    return "\n".join(f"{indent}{name.ljust(size)}  {value}" for name, value in lines)


def timestamp(moment: float) -> str:
    """Unix seconds as local date and time, ``2026-11-21 14:30:05``."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def ago(moment: float) -> str:
    """How long ago a moment (Unix seconds) was, ``42s ago``."""
    return f"{duration(max(0.0, time.time() - moment))} ago"
