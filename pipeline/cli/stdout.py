"""What commands print on stdout: strict JSON, and tables as wide as the terminal."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any

import click

from ..analysis import strict


def echo_json(data: Any) -> None:
    """Print ``data`` as strict JSON: NaN, infinities and values that JSON does not have become text."""
    click.echo(json.dumps(strict(data), indent=2))


def terminal_width() -> int | None:
    """Columns of the terminal; None if stdout is none, so that nothing is cut in files and pipes."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
