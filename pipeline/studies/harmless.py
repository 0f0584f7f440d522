"""Text that comes from trials, hosts and schedulers, made harmless for a terminal."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..driver.status import Status

COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""Escape sequences that move a terminal's cursor or change its colours."""


def harmless(text: str) -> str:
    r"""Text of a trial as lines for a terminal: without colours, and with other control characters escaped.

    Of a line that was written over again and again, as progress bars do, the last version is kept.

    >>> print(harmless("\x1b[31mred\x1b[0m\n10%\r20%\r\nbell\a"))
    red
    20%
    bell\x07
    """
    lines = (COLOURS.sub("", line).rstrip("\r").rsplit("\r", 1)[-1].expandtabs() for line in text.split("\n"))
    return "\n".join(
        line
        if line.isprintable()
        else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        for line in lines
    )


def harmless_line(text: str) -> str:
    r"""A name of a file, or other text that is to stay on one line, with control characters escaped.

    >>> print(harmless_line("held\n.npz"), harmless_line("model.pt"))
    held\x0a.npz model.pt
    """
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def harmless_status(status: Status) -> Status:
    """A status whose texts hold no control characters: names, hosts and reasons come from trials and schedulers."""
    return dataclasses.replace(
        status, **{field.name: _harmless(getattr(status, field.name)) for field in dataclasses.fields(status)}
    )


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isprintable() else harmless(value)
    if isinstance(value, list):
        return [_harmless(item) for item in value]
    if isinstance(value, dict):
        return {_harmless(key): _harmless(item) for key, item in value.items()}
    return value
