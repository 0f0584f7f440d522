"""Which runs there are, where their results are kept, and running what is missing within a time budget.

A run is one sampler on one problem with a number of workers, of trials, and a seed. A cache has one file for each
sampler, problem and size, with one line for each seed, written when the run is over. So a benchmark that is stopped
goes on where it was, and several of them may fill one folder.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .simulate import OutOfTime, Step, Trace

Execute = Callable[["Run", float], Trace]
"""Runs a run until a deadline; raises OutOfTime then."""


@dataclass(frozen=True)
class Run:
    """One run: what it is, which is also where its result is found again."""

    problem: str
    sampler: str
    workers: int
    trials: int
    seed: int

    @property
    def group(self) -> Run:
        """The run with seed 0: the same for all seeds."""
        return Run(self.problem, self.sampler, self.workers, self.trials, 0)


class Cache:
    """The traces of runs, in files of `folder`; in memory only where it is None."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder
        self.known: dict[Run, dict[int, Trace]] = {}

    def file(self, run: Run) -> Path | None:
        """The file with the traces of `run` and of its other seeds."""
        if self.folder is None:
            return None
        sampler = re.sub(r"[^\w.+=-]", "_", run.sampler)
        return self.folder / f"{run.workers}-workers" / sampler / f"{run.problem}.{run.trials}.jsonl"

    def traces(self, run: Run) -> dict[int, Trace]:
        """What is known of the group of `run`, by seed."""
        group = run.group
        if group not in self.known:
            file = self.file(run)
            text = file.read_text() if file and file.exists() else ""
            self.known[group] = dict(_read(line) for line in text.splitlines() if line.endswith("}"))
        return self.known[group]

    def add(self, run: Run, trace: Trace) -> None:
        """Keep the trace of `run`."""
        self.traces(run)[run.seed] = trace
        file = self.file(run)
        if file is None:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as out:
            # One write: a line of another process cannot come between, and one that was cut off ends here.
            out.write(f"{'' if _whole(file) else chr(10)}{_line(run.seed, trace)}\n".encode())

    def forget(self, runs: Iterable[Run]) -> None:
        """Remove all that is known of the groups of `runs`."""
        for run in runs:
            self.known[run.group] = {}
            if file := self.file(run):
                file.unlink(missing_ok=True)


def _whole(file: Path) -> bool:
    """Whether `file` is empty or ends with a line's end."""
    with file.open("rb") as text:
        if not text.seek(0, os.SEEK_END):
            return True
        text.seek(-1, os.SEEK_END)
        return text.read() == b"\n"


def _line(seed: int, trace: Trace) -> str:
    steps = [[step.trials, step.seconds, step.cpu, step.value] for step in trace.steps]
    return json.dumps({"seed": seed, **asdict(trace), "steps": steps})


def _read(line: str) -> tuple[int, Trace]:
    row = json.loads(line)
    steps = tuple(Step(*step) for step in row.pop("steps"))
    return row.pop("seed"), Trace(steps, **row)


def interleaved(groups: Iterable[Run], seeds: Sequence[int], fewer: Container[str], few: int) -> Iterator[Run]:
    """The runs of `groups` with all `seeds`, one seed after the other: what is there after a stop is balanced.

    Args:
        groups: One run each of a sampler on a problem; their seeds are not used.
        seeds: The seeds.
        fewer: The samplers that get the first `few` seeds only, as they are slow.
    """
    groups = list(groups)
    for place, seed in enumerate(seeds):
        for group in groups:
            if place < few or group.sampler not in fewer:
                yield replace(group, seed=seed)


class Budget:
    """The wall-clock seconds that may be used; runs that took longer than what is left are not begun."""

    def __init__(self, seconds: float = math.inf, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.deadline = clock() + seconds
        self.took: dict[Run, float] = {}

    def fits(self, run: Run) -> bool:
        """Whether `run` would end in time, judged by the last run with another seed."""
        return self.clock() + self.took.get(run.group, 0.0) < self.deadline


@dataclass
class Missing:
    """What could not be had: by the budget, and by failures of a sampler (a sentence each)."""

    late: int = 0
    failures: tuple[str, ...] = ()


def fill(cache: Cache, runs: Iterable[Run], execute: Execute, budget: Budget) -> Missing:
    """Run all `runs` that `cache` lacks, as far as `budget` goes.

    A sampler that fails on a problem is not tried there again in this call.
    """
    missing, broken = Missing(), set()
    for run in runs:
        if run.seed in cache.traces(run) or run.group in broken:
            continue
        if not budget.fits(run):
            missing.late += 1
            continue
        _progress(f"{run.workers} workers, {run.problem}, {run.sampler}, seed {run.seed}")
        began = budget.clock()
        try:
            cache.add(run, execute(run, budget.deadline))
        except OutOfTime:
            missing.late += 1
        except Exception as error:
            broken.add(run.group)
            where = f"{run.problem} with {run.workers} workers and seed {run.seed}"
            reason = " ".join(str(error).split())[:200]
            sentence = f"{run.sampler} failed on {where}: {type(error).__name__}: {reason}"
            missing.failures += (sentence,)
        budget.took[run.group] = budget.clock() - began
    _progress("")
    return missing


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
