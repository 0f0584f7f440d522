"""Injects faults into studies on this machine, and prints what was lost or doubled and how long each recovery took."""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ...support.postgres import Server
from ...support.slurm import Lab
from . import cases_disks, cases_slurm  # noqa: F401 - they register their cases
from .cases import CASES, POSTGRES, SLURM, SQLITE, Case, run
from .experiment import Result

HEADER = (
    *("fault", "where", "injected", "trials", "attempts", "lost values", "lost reports", "doubled", "wrong"),
    *("epochs again", "slowest recovery"),
)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.faults", description=__doc__)
    parser.add_argument("name", nargs="*", help="faults whose names contain one of these words; default: all")
    parser.add_argument("--times", type=int, help="how often each fault is injected; default: as shown by --list")
    parser.add_argument("--where", choices=(SQLITE, POSTGRES, SLURM), help="inject faults only there")
    parser.add_argument(
        "--keep", action="store_true", help="keep the folders of all studies, not only of those with findings"
    )
    parser.add_argument("--program", help="another pilotune than this one's, such as an earlier version's, to compare")
    parser.add_argument("--list", action="store_true", help="list the faults and exit")
    chosen = parser.parse_args(words)
    cases = [each for name, each in CASES.items() if not chosen.name or any(word in name for word in chosen.name)]
    if chosen.list:
        for each in cases:
            print(f"{each.fault}: {each.times} times; {', '.join(each.where)}")
        return 0
    todo = [(each, where) for each in cases for where in each.where if chosen.where in (None, where)]
    options = {"program": (chosen.program,)} if chosen.program else {}
    with ExitStack() as machines:
        rows = [
            _row(each, where, chosen.times or each.times, machines, chosen.keep, options)
            for each, where in sorted(todo, key=_place)
        ]
    print("\n".join(f"| {' | '.join(line)} |" for line in (HEADER, ("---",) * len(HEADER), *rows)))
    return any(row[5:9] != ("0", "0", "0", "0") for row in rows)


def _place(todo: tuple[Case, str]) -> int:
    """Sort by machine, so that each one is started once."""
    return (SQLITE, POSTGRES, SLURM).index(todo[1])


@functools.cache
def _machine(where: str, machines: ExitStack) -> dict[str, Any]:
    """Start a machine, once; the arguments of ``run`` that name it."""
    if where == POSTGRES:
        server = Server()
        machines.callback(server.stop)
        return {"server": server}
    if where == SLURM:
        lab = Lab()
        machines.callback(lab.stop)
        return {"lab": lab}
    return {}


def _row(
    case: Case, where: str, times: int, machines: ExitStack, keep: bool, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Run a case; its folder is kept if anything is wrong."""
    began, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix="pilotune-faults-"))
    try:
        result = run(case.fault, folder / "home", times, **_machine(where, machines), **options)
    except AssertionError as error:
        print(f"{case.fault}, {where}, in {folder}: {error}", file=sys.stderr, flush=True)
        return (case.fault, where, *"???????", "did not end", "?")
    lasting = f" for {case.lasts:.0f} s" if case.lasts else ""
    row = row_of(case.fault + lasting, where, result)
    print(f"{time.monotonic() - began:.0f} s: {' | '.join(row)}", file=sys.stderr, flush=True)
    for sentence in result.findings.all:
        print(f"    {sentence}", file=sys.stderr, flush=True)
    if result.findings.all or keep:
        recoveries = ", ".join(f"{seconds:.1f}" for seconds in result.recoveries)
        print(f"    see {folder}; seconds to the next trial: {recoveries}", file=sys.stderr, flush=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return row


def row_of(fault: str, where: str, result: Result) -> tuple[str, ...]:
    """One row of the table. Faults of several kinds are counted by kind."""
    found, kinds = result.findings, Counter(name for name, _ in result.injected)
    injected = ", ".join(f"{count} {name}" for name, count in kinds.items()) if len(kinds) > 1 else len(result.injected)
    counts = (injected, len(result.trials), len(result.record.starts))
    wrong = (len(found.lost), len(found.unheard), len(found.doubled), len(found.wrong), result.record.again)
    return (fault, where, *map(str, (*counts, *wrong)), f"{result.recovery:.1f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
