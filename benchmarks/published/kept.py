"""Keeps the runs of an experiment in a file of JSON lines as they end, so that one that is stopped goes on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import common

CACHE = Path(__file__).resolve().parents[2] / "build/published"


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A command line with the options of all published experiments: where results are kept, and ``--table``."""
    made = common.parser(doc)
    made.add_argument("--cache", type=Path, default=CACHE, help="where results are kept")
    made.add_argument("--table", action="store_true", help="print the tables of what is there, and run nothing")
    return made


class JsonLines:
    """The rows in a file, each a JSON object on a line of its own.

    A last line that was cut off, by a process that was stopped, is passed over.

    Args:
        file: Created with the first row, as is its folder.

    Attributes:
        rows: Those that are there, in order.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        text = file.read_text() if file.exists() else ""
        self._cut_off = not text.endswith("\n") and bool(text)
        lines = text.splitlines()[: -1 if self._cut_off else None]
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("}")]

    def add(self, row: dict[str, Any]) -> None:
        """Write a row to the end of the file."""
        self.rows.append(row)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as out:
            out.write("\n" * self._cut_off + json.dumps(row) + "\n")
        self._cut_off = False
