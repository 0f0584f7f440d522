"""Keeps the runs of an experiment in a file of JSON lines as they end, so that one that is stopped goes on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
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


def search_parser(doc: str | None, seeds: int, methods: Iterable[str]) -> argparse.ArgumentParser:
    """The same of an experiment that compares searches: also which methods, with how many seeds and trials."""
    made = parser(doc)
    made.add_argument("--seeds", type=int, default=seeds)
    made.add_argument("--trials", type=int, default=40)
    made.add_argument("--methods", nargs="*", choices=list(methods), default=list(methods))
    return made


def to_search(options: argparse.Namespace, name: str) -> tuple[JsonLines, int, range]:
    """The rows of such an experiment, the trials of a search, and the seeds to run: with ``--table`` none."""
    trials, seeds = (4, 1) if options.small else (options.trials, options.seeds)
    return JsonLines(options.cache / f"{name}-{trials}.jsonl"), trials, range(0 if options.table else seeds)


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

    def add_missing(self, of: Mapping[str, Any], make: Callable[[], Any]) -> None:
        """Add what ``make`` returns, a dataclass, and print it; nothing where there is a row with the values ``of``."""
        if not any(all(row[name] == value for name, value in of.items()) for row in self.rows):
            self.add(asdict(make()))
            print(f"  {self.rows[-1]}", flush=True)

    def add(self, row: dict[str, Any]) -> None:
        """Write a row to the end of the file."""
        self.rows.append(row)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as out:
            out.write("\n" * self._cut_off + json.dumps(row) + "\n")
        self._cut_off = False
