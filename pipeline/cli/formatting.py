"""What goes to stdout: tables of plain text, JSON, and numbers and times as people read them."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click

from ..analysis import strict


def echo_json(data: Any) -> None:
    """``data`` as JSON that every reader accepts: NaN and infinities as text, what is not JSON as its text."""
    click.echo(json.dumps(strict(data), indent=2))


def number(value: Any) -> str:
    """A value for a table: four significant digits for floats, a dash for what is not known."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if value != int_or_none(value) else f"{value:g}"
    return str(value)


def int_or_none(value: float) -> int | None:
    return int(value) if math.isfinite(value) and value == int(value) and abs(value) < 1e6 else None


def exact(value: Any) -> str:
    """A value in full, as it can be used again."""
    return "-" if value is None else str(value)


def duration(seconds: float | None) -> str:
    """``12.3s``, ``4m 05s``, ``3h 20m``, ``2d 04h``."""
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
    """Columns of plain text. ``right``: heads of columns set flush right. ``width``: lines are cut there."""
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
    return " ".join(text.split()) if "\n" in text else text


def cut(text: str, width: int | None) -> str:
    """``text`` in at most ``width`` characters."""
    return text if width is None or len(text) <= width else text[: max(0, width - 1)] + "…"


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None when it is not one, where nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def pairs(lines: Sequence[tuple[str, str]], indent: str = "") -> str:
    """Names and values, aligned."""
    size = max((len(name) for name, _ in lines), default=0)
    return "\n".join(f"{indent}{name.ljust(size)}  {value}" for name, value in lines)


def count(amount: int, word: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{amount:,} {word}{'' if amount == 1 else 's'}"
