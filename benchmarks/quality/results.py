"""Computes the regrets of many runs, stores them in files, and makes tables of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import optuna

from benchmarks import common

from . import problems, simulate
from .samplers import SAMPLERS

Found = dict[tuple[str, str], list[list[float]]]
"""By problem and sampler, for each seed: the regret after each quarter of the trials."""


class Results:
    """Regrets by sampler, problem, workers, trials and seed; with `folder`, stored there and read from there."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder
        self.made: dict[str, problems.Problem] = {}

    def collect(
        self, names: Iterable[str], samplers: Iterable[str], workers: int, trials: int, seeds: Iterable[int]
    ) -> Found:
        """The regrets; runs what is not stored."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return {
            (name, sampler): self.rows(name, sampler, workers, trials, seeds) for name in names for sampler in samplers
        }

    def rows(self, name: str, sampler: str, workers: int, trials: int, seeds: Iterable[int]) -> list[list[float]]:
        file = self.folder / f"{sampler}.{name}.{workers}.{trials}.json" if self.folder else None
        known: dict[str, list[float]] = json.loads(file.read_text()) if file and file.exists() else {}
        for seed in seeds:
            if str(seed) in known:
                continue
            if sys.stderr.isatty():
                print(f"\r\033[K{workers} workers, {name}, {sampler}, seed {seed}", end="", file=sys.stderr, flush=True)
            if name not in self.made:
                self.made[name] = problems.make(name)
            problem = self.made[name]
            known[str(seed)] = simulate.regrets(problem, SAMPLERS[sampler](problem, seed), workers, trials, seed)
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(known))
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        return [known[str(seed)] for seed in seeds]


def places(regrets: np.ndarray) -> np.ndarray:
    """Ranks along the first axis, 1 for the least regret; ties share the mean of their ranks."""
    less = (regrets[None] < regrets[:, None]).sum(axis=1)
    same = (regrets[None] == regrets[:, None]).sum(axis=1)
    return less + (same + 1) / 2


def ranks(found: Found, names: list[str], samplers: list[str]) -> np.ndarray:
    """The mean rank of each sampler over problems and seeds, after each quarter of the trials: (samplers, 4)."""
    cubes = [np.stack([np.array(found[name, sampler]) for sampler in samplers]) for name in names]
    return np.mean([places(cube).mean(axis=1) for cube in cubes], axis=0)


def text(found: Found, names: list[str], samplers: list[str], workers: int, trials: int, seeds: int) -> str:
    """The table for one number of workers: median regrets by problem, and mean ranks."""
    rows: list[list] = []
    for name in names:
        for when, quarter in (("half-way", 1), ("at the end", 3)):
            regrets = (float(np.median([row[quarter] for row in found[name, sampler]])) for sampler in samplers)
            rows.append([f"{name}, {when}", *regrets])
    means = ranks(found, names, samplers)
    rows.append(["mean rank at the end", *map(float, means[:, -1])])
    rows.append(["mean rank over four quarters", *map(float, means.mean(axis=1))])
    title = f"{workers} worker{'s' * (workers > 1)}, {trials:,} trials: median regret over {seeds} seeds"
    return common.table(title, ["problem", *samplers], rows)
