"""What learning from earlier studies is worth, and what a misleading study costs: DeepAR on eleven data sets.

``python benchmarks/transfer.py [--small] [--keep] [--seeds 10] [--workers 4] [--samplers gp,tpe] [--cache FILE]``

Each task is left out once: it is the new study, and the other ten are the earlier ones. The tasks are tables of some
220 trainings each (the data folder is named by ``PILOTUNE_DATA``), and a configuration has the result of the nearest
row. Trials run on simulated workers. Regret is 0 at the best row of a table, and 1 at its median row. Each sampler runs
without earlier studies; with them; in the narrowed space; and with earlier studies that mislead: their values negated,
so that the worst trials seem to be the best, or shuffled between the trials. Seeds are paired: a difference is that to
the same seed without earlier studies, and its 95 % interval is bootstrapped over tasks and seeds.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import multiprocessing
import sys
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import common
import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from quality.problems.base import Params, Problem, single, space_of
from quality.problems.folder import data_folder
from quality.simulate import Workers
from quality.stats import interval

from pilotune.errors import UserError
from pilotune.pipeline.one_thread import one_thread
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.space import Space
from pilotune.pipeline.suggest import make_sampler
from pilotune.pipeline.suggest.transfer.earlier import EarlierStudy
from pilotune.pipeline.suggest.transfer.first_points import first_points
from pilotune.pipeline.suggest.transfer.narrowing import narrowed, with_distributions

VARIANTS = ("without", "with", "narrowed", "negated", "shuffled")
SAMPLERS = ("gp", "tpe", "cmaes", "forest")
AT = (5, 10, 25, 50, 100)
"""Numbers of trials after which regret is measured."""
FIRST_SEED = 2000
"""The first seed that no constant was chosen by."""

Run = tuple[str, str, str, int, int, int]  # sampler, variant, task, seed, workers, trials


@dataclass(frozen=True)
class Table:
    """The trainings of one task: the hyperparameters of each row, and its loss."""

    names: tuple[str, ...]
    rows: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class Study:
    """What of a study file decides on its sampler."""

    sampler: Named
    space: Space
    directions: tuple[str, ...] = ("minimize",)
    folder: Path = Path()

    def error(self, message: str, key: str = "") -> UserError:
        return UserError(message, key=key)


@cache
def tables() -> dict[str, Table]:
    """The table of each task."""
    with gzip.open(data_folder() / "transfer_hpo/deepar.csv.gz", "rt") as file:
        found = list(csv.DictReader(file))
    names = tuple(name for name in found[0] if name.startswith("hp_"))
    by_task: dict[str, list[dict[str, str]]] = {}
    for row in found:
        by_task.setdefault(row["task"], []).append(row)
    return {
        task: Table(
            names,
            np.array([[float(row[name]) for name in names] for row in rows]),
            np.array([float(row["metric_CRPS"]) for row in rows]),
        )
        for task, rows in sorted(by_task.items())
    }


@cache
def space() -> Space:
    """The hyperparameters, between the least and the largest value of all tasks; most are logarithms already."""
    every = list(tables().values())
    rows = np.concatenate([table.rows for table in every])
    ends = zip(every[0].names, rows.min(axis=0).tolist(), rows.max(axis=0).tolist(), strict=True)
    return space_of({name: FloatDistribution(low, high) for name, low, high in ends})


def problem(task: str, searched: Space) -> Problem:
    """A task as a problem: each configuration has the loss of the nearest row, in units of the ranges."""
    table = tables()[task]
    low, width = (
        np.array([getattr(each, "low", 0.0) for each in space().distributions.values()]),
        np.array([each.high - each.low for each in space().distributions.values()]),  # type: ignore[attr-defined]
    )
    places = (table.rows - low) / width

    def loss(params: Params) -> float:
        here = (np.array([params[name] for name in table.names]) - low) / width
        return float(table.losses[((places - here) ** 2).sum(axis=1).argmin()])

    best = float(table.losses.min())
    return Problem(task, searched, single(loss), best, unit=float(np.median(table.losses)) - best)


@cache
def learned(task: str, variant: str, seed: int) -> tuple[tuple[EarlierStudy, ...], Space, tuple[Params, ...]]:
    """The earlier studies, the space that is searched, and the points that are tried first.

    Args:
        seed: Of the shuffled values; 0 for the other variants, so that they are made once.
    """
    if variant == "without":
        return (), space(), ()
    studies = earlier_studies(task, variant, seed)
    searched = with_distributions(space(), narrowed(space(), studies)) if variant == "narrowed" else space()
    return studies, searched, tuple(first_points(studies, searched.distributions, searched))


def earlier_studies(task: str, variant: str, seed: int) -> tuple[EarlierStudy, ...]:
    """The other tasks as earlier studies."""
    found = []
    for name, table in tables().items():
        if name != task:
            losses = {
                "negated": lambda each=table: -each.losses,
                "shuffled": lambda each=table: np.random.default_rng(seed).permutation(each.losses),
            }.get(variant, lambda each=table: each.losses)()
            params = [dict(zip(table.names, row, strict=True)) for row in table.rows.tolist()]
            found.append(EarlierStudy.of(name, params, losses.tolist()))
    return tuple(found)


def regrets(run: Run) -> tuple[Run, list[float], float]:
    """The regret of one run after each number of trials, and the CPU milliseconds of a suggestion."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler, variant, task, seed, workers, trials = run
    with one_thread():
        studies, searched, points = learned(task, variant, seed if variant == "shuffled" else 0)
        here = problem(task, searched)
        made = make_sampler(Study(Named(sampler, {}), searched), seed=seed, earlier=studies)
        simulated = Workers(here, made, workers, trials, seed)
        for point in points:
            simulated.study.enqueue_trial(point)
        trace = simulated.run()
    return run, [here.regret(trace.at("trials", n)) for n in AT if n <= trials], 1000 * trace.cpu / trials


def measured(runs: list[Run], kept: Path | None) -> dict[Run, tuple[list[float], float]]:
    """All runs, two at a time; those in the file ``kept`` are not done again."""
    found: dict[Run, tuple[list[float], float]] = {}
    if kept is not None and kept.exists():
        for line in kept.read_text().splitlines():
            run, values, cost = json.loads(line)
            found[tuple(run)] = values, cost
    left = [run for run in runs if run not in found]
    with multiprocessing.Pool(2) as pool:
        for done, (run, values, cost) in enumerate(pool.imap_unordered(regrets, left), start=1):
            found[run] = values, cost
            if kept is not None:
                with kept.open("a") as file:
                    file.write(json.dumps([run, values, cost]) + "\n")
            if done % 50 == 0:
                print(f"  {done} of {len(left)} runs", file=sys.stderr)
    return {run: found[run] for run in runs}


def interleaved(samplers: list[str], seeds: range, tasks: list[str], workers: int, trials: int) -> list[Run]:
    """All runs, a seed of all samplers at a time."""
    return [
        (sampler, variant, task, seed, workers, trials)
        for seed in seeds
        for sampler in samplers
        for task in tasks
        for variant in VARIANTS
    ]


def table_of(found: dict[Run, tuple[list[float], float]], samplers: list[str], trials: int) -> list[list]:
    """A row for each sampler and variant: mean regrets, and differences with their intervals."""
    rows: list[list] = []
    columns = [i for i, n in enumerate(AT) if n <= trials]
    for sampler in samplers:
        pairs = [run for run in found if run[0] == sampler and run[1] == "without"]
        base = np.array([found[run][0] for run in pairs])
        for variant in VARIANTS:
            runs = [(sampler, variant, *run[2:]) for run in pairs]
            values = np.array([found[run][0] for run in runs])
            cells: list = []
            for i in columns:
                cells.append(float(values[:, i].mean()))
                cells.append("-" if variant == "without" else difference(values[:, i] - base[:, i]))
            rows.append([sampler, variant, *cells, float(np.mean([found[run][1] for run in runs]))])
    return rows


def difference(values: np.ndarray) -> str:
    """The mean of paired differences and its 95 % interval."""
    low, high = interval(values, lambda drawn: drawn.mean(axis=1))
    return f"{values.mean():+.3f} ({low:+.3f} to {high:+.3f})"


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--cache", type=Path, help="a file of finished runs, which are not done again")
    parser.add_argument("--tuning", action="store_true", help="the seeds by which constants may be chosen")
    options: argparse.Namespace = parser.parse_args()
    if options.small:
        options.seeds, options.trials, options.samplers = 1, 25, "tpe"
    if not (data_folder() / "transfer_hpo").exists():
        print(f"{data_folder()} has no transfer_hpo; PILOTUNE_DATA names the data folder")
        return
    first = 0 if options.tuning else FIRST_SEED
    samplers = options.samplers.split(",")
    tasks = list(tables())[: 3 if options.small else None]
    runs = interleaved(samplers, range(first, first + options.seeds), tasks, options.workers, options.trials)
    found = measured(runs, options.cache)
    head = ["sampler", "earlier studies"]
    for n in AT:
        head += [f"after {n}", "difference"] if n <= options.trials else []
    title = f"{options.workers} workers, {options.seeds} seeds of {len({run[2] for run in runs})} tasks: mean regret"
    rows = table_of(found, samplers, options.trials)
    section = f"Learning from earlier studies: {', '.join(samplers)}"
    common.finish(section, common.table(title, [*head, "ms"], rows), options.keep)


if __name__ == "__main__":
    main()
