"""Shared by the benchmarks: tables, the machine's description, and ``RESULTS.md``, where results are stored.

Every benchmark prints aligned Markdown tables. With ``--keep`` it also replaces its own section of
``benchmarks/RESULTS.md``, together with the date, the machine, the versions and the command.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import shlex
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
PACKAGES = ("pilotune", "optuna", "parsl", "numpy", "SQLAlchemy", "deephyper", "ray")
PACKAGES += ("cmaes", "smac", "hebo", "botorch", "nevergrad", "syne-tune")
HEADING = """# Results of the benchmarks

Each section is replaced by the command it names, run with `--keep`. README.md says what each benchmark measures.
"""


def text_of(cell: object) -> str:
    """A cell as text: numbers with three significant digits, None as a dash."""
    if cell is None:
        return "-"
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return str(cell)
    if isinstance(cell, int) or abs(cell) >= 100:
        return f"{cell:,.0f}"
    if cell == 0:
        return "0"
    digits = 2 if abs(cell) >= 1 else 3
    return f"{cell:.{digits - (abs(cell) >= 10)}f}" if abs(cell) >= 0.01 else f"{cell:.2g}"


def table(title: str, head: list[str], rows: list[list]) -> str:
    """A title and an aligned Markdown table; numbers are aligned right, everything else left.

    Cells: text, int, float (three significant digits), or None (a dash).
    """
    cells = [[text_of(cell) for cell in row] for row in rows]
    widths = [max(3, len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(head)]
    right = [any(isinstance(row[i], int | float) for row in rows) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = (f"{cell:>{w}}" if r else f"{cell:<{w}}" for cell, w, r in zip(row, widths, right, strict=True))
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|"
    return "\n".join([f"**{title}**", "", line(head), rule, *(line(row) for row in cells)]) + "\n"


def processor() -> str:
    """The processor's name as Linux gives it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (ValueError, OSError):
        return "unknown memory"


def versions() -> str:
    """The versions of Python and of the packages that are compared, as far as they are installed."""
    found = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def machine() -> str:
    """One line: processor, cores, memory, system, load, and the versions of what is compared."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    here = f"{processor()}, {cores} cores, {memory()}, {platform.system()} {platform.release()}, load {load:.1f}"
    return f"{here}; {versions()}"


def keep(section: str, text: str, command: str) -> None:
    """Replace `section` of benchmarks/RESULTS.md by `text`, headed by the date, the machine and `command`."""
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    body = f"## {section}\n\n`{command}`, {today}\n{machine()}\n\n{text.strip()}\n"
    sections = {}
    if RESULTS.exists():
        for part in re.split(r"^(?=## )", RESULTS.read_text(), flags=re.MULTILINE)[1:]:
            sections[part.splitlines()[0].removeprefix("## ")] = part.strip() + "\n"
    sections[section] = body
    written = RESULTS.with_name(RESULTS.name + ".new")
    written.write_text("\n".join([HEADING, *(sections[name] for name in sorted(sections))]))
    written.replace(RESULTS)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A command line with the options of all benchmarks: `--small` and `--keep`."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--small", action="store_true", help="smaller sizes, about half a minute")
    made.add_argument("--keep", action="store_true", help="replace this benchmark's section of RESULTS.md")
    return made


def command() -> str:
    """The command as typed, with a path from the repository's root."""
    program = Path(sys.argv[0]).resolve()
    program = program.parent if program.name == "__main__.py" else program
    return shlex.join(["python", str(program.relative_to(HERE.parent)), *sys.argv[1:]])


def finish(section: str, text: str, kept: bool) -> None:
    """Print `text`; with `kept`, also store it in RESULTS.md."""
    print(text)
    if kept:
        keep(section, text, command())


def ratio(theirs: float | None, ours: float | None) -> str:
    """`theirs` over `ours` as text; a dash where one was not measured."""
    return "-" if not theirs or not ours else f"{theirs / ours:,.1f}x"


def missing(package: str) -> str | None:
    """A sentence saying that a peer's package is not installed; None where it is."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return f"{package} is not installed, so its rows are left out (pip install 'pilotune[bench]')."
    return None
