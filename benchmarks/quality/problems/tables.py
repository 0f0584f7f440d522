"""Exhaustive tables of real training runs, and of GPU kernels where most configurations fail.

A number on an irregular grid of k values is searched as an integer 0..k-1, in order.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Callable

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from .base import FAILED, Listed, Noise, Outcome, Params, Problem, space_of
from .folder import data_folder


def table(bench: str, dataset: str, *, repeats: bool = False) -> Problem:
    """Every configuration's final value: FCNet (``hpolib``), HPOBench's MLP, NAS-Bench-201.

    The value is the mean of the repeats of a training. With `repeats`, a trial is told one repeat by chance: the real
    noise of training.
    """
    folder = data_folder() / "tab_tables"
    about = json.loads((folder / f"{bench}.json").read_text())
    with np.load(folder / f"{bench}_{dataset}.npz") as data:
        runs = data["values"].astype(float)
    runs = runs if about["direction"] == "minimize" else -runs
    values = np.nanmean(runs, axis=-1)
    order = about["order"]
    kinds: dict[str, BaseDistribution] = {}
    places: dict[str, dict] = {}
    for name in order:
        choices = about["space"][name]
        category = about["types"][name] == "cat"
        kinds[name] = CategoricalDistribution(choices) if category else IntDistribution(0, len(choices) - 1)
        places[name] = {choice: i for i, choice in enumerate(choices)} if category else {}

    def at(params: Params) -> tuple[int, ...]:
        return tuple(places[name].get(params[name], params[name]) for name in order)

    def evaluate(params: Params) -> Outcome:
        value = float(values[at(params)])
        return Outcome((value,)) if math.isfinite(value) else FAILED

    def one_repeat(params: Params, value: float, rng: np.random.Generator) -> float:
        known = runs[at(params)]
        return float(rng.choice(known[np.isfinite(known)]))

    noise: Noise | None = one_repeat if repeats else None
    return Problem(f"{bench} {dataset}", space_of(kinds), evaluate, float(np.nanmin(values)), noise=noise)


def kernel(gpu: str) -> Problem:
    """Run time (ms) of a convolution kernel. Configurations that are illegal, or do not compile or run, fail."""
    names = ["block_size_x", "block_size_y", "tile_size_x", "tile_size_y", "read_only", "use_padding", "use_shmem"]
    with gzip.open(data_folder() / f"kernel_tuning/convolution_{gpu}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    grid = {name: sorted({int(row[name]) for row in rows}) for name in names}
    known = {}
    for row in rows:
        seconds = (float(row["compile_time_ms"]) + float(row["benchmark_time_ms"])) / 1000
        values = (float(row["time_ms"]),) if row["status"] == "ok" else None
        known[tuple(int(row[name]) for name in names)] = Outcome(values, seconds)
    illegal = Outcome(None, min(outcome.seconds or 0.0 for outcome in known.values()))

    def evaluate(params: Params) -> Outcome:
        return known.get(tuple(grid[name][params[name]] for name in names), illegal)

    least = min(outcome.values[0] for outcome in known.values() if outcome.values)
    space = space_of({name: IntDistribution(0, len(values) - 1) for name, values in grid.items()})
    return Problem(f"convolution {gpu}", space, evaluate, least)


def _table(bench: str, dataset: str, *, repeats: bool = False) -> Callable[[], Problem]:
    return lambda: table(bench, dataset, repeats=repeats)


PROBLEMS = {
    "nas201": Listed(_table("nasbench201", "cifar10"), False, "data"),
    "fcnet-protein": Listed(_table("hpolib", "protein_structure"), False, "data"),
    "hpobench-australian": Listed(_table("hpobench", "australian"), False, "data"),
    "nas201-noisy": Listed(_table("nasbench201", "cifar10", repeats=True), False, "data"),
    "kernel-a100": Listed(lambda: kernel("A100"), False, "data"),
    "fcnet-naval": Listed(_table("hpolib", "naval_propulsion"), True, "data"),
    "hpobench-blood": Listed(_table("hpobench", "blood_transfusion"), True, "data"),
    "hpobench-car": Listed(_table("hpobench", "car"), True, "data"),
    "hpobench-credit": Listed(_table("hpobench", "credit_g"), True, "data"),
    "fcnet-protein-noisy": Listed(_table("hpolib", "protein_structure", repeats=True), True, "data"),
    "kernel-a4000": Listed(lambda: kernel("A4000"), True, "data"),
    "kernel-w7800": Listed(lambda: kernel("W7800"), True, "data"),
}
