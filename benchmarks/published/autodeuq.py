"""AutoDEUQ's experiment (arXiv:2110.13511): ensembles from the networks of a search, on nine tables of UCI.

``python benchmarks/published/autodeuq.py [--splits 0 5] [--trials 30] [--tables NAME ...] [--members 8] [--table]``

A search trains regression networks with a Normal head, each with its own size and training recipe. The training rows of
a published split (nine tenths) are parted into rows to train on, rows that score a trial, and rows by which members
of an ensemble are chosen. The test rows are predicted once. From the networks of the search come the single best one,
random, top-K and greedy ensembles. Rivals get as much CPU time for training as the search: five seeds of the best
network of a shorter search; the members of a greedy ensemble of a shorter search, trained again; and a deep ensemble of
five networks by hand, which train longer. These are trained on the rows for choosing members, too. The deep ensemble as
published trains on all nine tenths in less time.

``gap``: a curve that is known on [-30, -20] and [20, 30] alone; what is not known between must show as such.

PILOTUNE_DATA names the folder of ``uci``. Results and predictions are kept in files as they come; the next call goes
on. ``--table`` prints the tables and runs nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # before NumPy is imported: one process on one core
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
import optuna
import torch

from benchmarks import common
from benchmarks.published import kept
from benchmarks.published.autodeuq_tables import report
from benchmarks.published.search import Method, Point, searched
from benchmarks.published.sst import load_module
from pilotune import ensemble
from pilotune.objectives.regression_parts import RegressionParts, split_numbers
from pilotune.objectives.torch_regression import RECIPE, NormalNetwork, Training, predict_rows

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/uci-uq"
uci: Any = load_module(EXAMPLE / "train.py", "uci_train")
"""The objective of the example, whose tables and splits are used here."""

GAP = "gap"
TABLES = ("yacht", "boston", "energy", "concrete", "wine", "power", "kin8nm", "naval", "protein")
SPACES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("power", "kin8nm", "naval"),
        ("space.batch_size={choice: [128, 256]}", "space.epochs={int: [20, 100], log: true}"),
    ),
    "protein": ("space.batch_size={choice: [256, 512]}", "space.epochs={int: [10, 40], log: true}"),
}
"""What is changed in the study file of the example for large tables, so that a trial takes some seconds."""

OUT, MOST_OUT = 0.15, 2000
"""The fraction of the training rows that score a trial, and that by which members are chosen; the most rows of each."""

DIVERGED = 100.0
"""What the method is told of a training that diverged."""

SEEDS = 5
HAND = {**RECIPE, "batch_size": 64}
"""The deep ensemble by hand; its epochs follow from the time."""

BATCH = {"power": 128, "kin8nm": 128, "naval": 128, "protein": 256}
"""Its batch where it is another one, by table."""

MEMBERS = 8
"""Members of the greedy ensemble that is trained again."""

PUBLISHED = {**RECIPE, "layers": 1, "units": 50, "activation": "relu", "loss": "nll", "epochs": 40, "batch_size": 100}
PUBLISHED |= {"lr": 0.01, "schedule": "constant", "weight_decay": 0.0, "best_weights": False}
"""The deep ensemble of arXiv:1612.01474, which chose its learning rate on a grid."""


@dataclass(frozen=True)
class Problem:
    """A table in one of its splits.

    Attributes:
        parts: Rows to train on, to score a trial, and to choose members by.
        x_test: Features of the rows that no method sees.
        y_test: Their targets.
    """

    parts: RegressionParts
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class Member:
    """A trained network.

    Attributes:
        score: The negative log likelihood of the rows that score a trial.
        seconds: CPU time of the training.
        selection: Means and standard deviations of the rows by which members are chosen.
        test: Those of the test rows.
    """

    score: float
    seconds: float
    selection: np.ndarray
    test: np.ndarray


def problem(table: str, split: int) -> Problem:
    if table == GAP:
        return gap_problem(split)
    x, y = uci.table(table)
    test = uci.split(len(y), split)[1]
    out = min(OUT, MOST_OUT / (len(y) - len(test)))
    return Problem(uci.parts(table, split, out, out), x[test], y[test])


def curve_of_gap(x: np.ndarray) -> np.ndarray:
    return 10 * np.cos(x / 5) + 2 * np.cos(x / 2)


NOISE = (0.5, 1.0)
"""The true noise on both sides of the gap."""


def gap_problem(seed: int) -> Problem:
    """400 rows on both sides of a gap, and a grid from -30 to 30 as test rows, whose targets have no noise."""
    random = np.random.default_rng(seed)
    left, right = random.uniform(-30, -20, 200), random.uniform(20, 30, 200)
    x = np.concatenate([left, right])
    y = curve_of_gap(x) + random.normal(size=400) * np.where(x < 0, *NOISE)
    grid = np.linspace(-30, 30, 601)
    return Problem(split_numbers(x[:, None], y, OUT, OUT, seed), grid[:, None], curve_of_gap(grid))


def trained(given: Problem, recipe: dict[str, Any], seed: int) -> Member:
    """A network, trained from nothing."""
    began = time.process_time()
    torch.manual_seed(seed)
    parts = given.parts
    network = NormalNetwork(parts.x.shape[1], recipe)
    training = Training(network, recipe, parts.x, parts.y, parts.x_held, parts.y_held)
    for _ in training.run():
        pass
    seconds = time.process_time() - began
    selection, test = (np.stack(predict_rows(network, x)) for x in (parts.x_selection, given.x_test))
    return Member(training.score, seconds, selection, test)


def search(
    given: Problem, overrides: Sequence[str], seed: int, trials: int
) -> tuple[list[Member], list[dict[str, Any]]]:
    """The networks of a search by the default sampler, and their parameters."""
    members: list[Member] = []

    def curve(params: dict[str, Any], _seed: int, _steps: bool) -> Iterator[Point]:
        members.append(trained(given, {**RECIPE, **params}, 1000 * seed + len(members)))
        score = members[-1].score
        yield Point(1, min(score, DIVERGED) if np.isfinite(score) else DIVERGED, 0.0)

    method = Method("default", (*overrides, f"budget.trials={trials}"))
    tried = searched(EXAMPLE / "study.yaml", method, curve, seed, trials, 1)
    return members, [each.params for each in tried]


def best_of(members: Sequence[Member]) -> int:
    return int(np.nanargmin([each.score for each in members]))


def shorter_search(members: Sequence[Member], more: Callable[[Sequence[Member]], np.ndarray]) -> np.ndarray:
    """How often each network of a shorter search is trained again.

    Args:
        members: The networks of the search.
        more: Says how often each of the first networks is to be trained again.

    Returns:
        What ``more`` says of the first trials, so many that these trainings take the rest of the search's time at most.
    """
    seconds = np.array([each.seconds for each in members])
    for first in range(len(members), 0, -1):
        times = more(members[:first])
        if seconds[:first].sum() + times @ seconds[:first] <= seconds.sum():
            break
    return times


def seeds_of_best(members: Sequence[Member]) -> np.ndarray:
    """Five trainings of the best network."""
    return SEEDS * np.eye(len(members), dtype=int)[best_of(members)]


def chosen_greedily(given: Problem, members: Sequence[Member]) -> np.ndarray:
    """The weights of a greedy ensemble."""
    usable = [number for number, each in enumerate(members) if np.isfinite(each.score)]
    mean, std = np.stack([members[number].selection for number in usable]).swapaxes(0, 1)
    weights = np.zeros(len(members))
    loss = ensemble.Nll(mean, std, given.parts.y_selection)
    weights[usable] = ensemble.greedy(loss, min(MEMBERS, len(usable)))
    return weights


def all_rows(given: Problem) -> Problem:
    """The problem for those that choose no members: they train on the rows for it, too."""
    parts = given.parts
    x, y = np.concatenate([parts.x, parts.x_selection]), np.concatenate([parts.y, parts.y_selection])
    return replace(given, parts=replace(parts, x=x, y=y))


def by_hand(given: Problem, batch: int, total: float, seed: int) -> list[Member]:
    """A deep ensemble by hand that trains as long as the search."""
    recipe = {**HAND, "batch_size": batch}
    few = trained(given, {**recipe, "epochs": 5}, seed)
    epochs = max(5, round(total / SEEDS / (few.seconds / 5)))
    return [trained(given, {**recipe, "epochs": epochs}, seed + number) for number in range(SEEDS)]


def as_published(given: Problem, seed: int) -> list[Member]:
    """The published deep ensemble, on all rows but those of the test."""
    parts = given.parts
    x, y = np.concatenate([parts.x, parts.x_held]), np.concatenate([parts.y, parts.y_held])
    everything = replace(given, parts=replace(parts, x=x, y=y))
    return [trained(everything, PUBLISHED, seed + number) for number in range(SEEDS)]


def run(table: str, split: int, trials: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Everything of one table and split: a row of results, and the predictions."""
    given = problem(table, split)
    began = time.process_time()
    members, params = search(given, SPACES.get(table, ()), split, trials)
    search_seconds = time.process_time() - began
    total = sum(each.seconds for each in members)
    wide = all_rows(given)
    best = int(shorter_search(members, seeds_of_best).argmax())
    weights: list[float] = []

    def once_each(first: Sequence[Member]) -> np.ndarray:
        weights[:] = chosen_greedily(given, first)
        return np.sign(weights)

    greedy = np.flatnonzero(shorter_search(members, once_each))
    groups = {
        "search": members,
        "seeds": [trained(wide, {**RECIPE, **params[best]}, 10_000 + number) for number in range(SEEDS)],
        "greedy": [trained(wide, {**RECIPE, **params[number]}, 15_000 + number) for number in greedy],
        "hand": by_hand(wide, BATCH.get(table, HAND["batch_size"]), total, 20_000),
        "published": as_published(wide, 30_000),
    }
    row = {
        "table": table,
        "split": split,
        "params": params,
        "scores": [round(each.score, 5) for each in members],
        "best": best,
        "greedy": greedy.tolist(),
        "greedy_weights": [weights[number] for number in greedy],
        "seconds": {name: [round(each.seconds, 3) for each in group] for name, group in groups.items()},
        "search_seconds": round(search_seconds, 1),
        "all_seconds": round(time.process_time() - began, 1),
    }
    arrays = {"y_selection": given.parts.y_selection, "y_test": given.y_test}
    for name, group in groups.items():
        arrays[f"{name}_selection"] = np.stack([each.selection for each in group]).astype(np.float32)
        arrays[f"{name}_test"] = np.stack([each.test for each in group]).astype(np.float32)
    return row, arrays


def save(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write predictions to a file that is complete or not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part.npz")
    np.savez(part, **arrays)
    os.replace(part, file)


def main() -> None:
    parser = kept.parser(__doc__)
    parser.add_argument("--splits", type=int, nargs=2, default=(0, 5), metavar=("FIRST", "END"))
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--tables", nargs="+", choices=(*TABLES, GAP), default=[GAP, *TABLES])
    parser.add_argument("--members", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials, splits, names = options.trials, range(*options.splits), options.tables
    if options.small:
        trials, splits, names = 4, range(1), ["yacht"]
    results = kept.JsonLines(options.cache / f"autodeuq-{trials}.jsonl")
    folder = options.cache / f"autodeuq-{trials}"
    known = {(each["table"], each["split"]) for each in results.rows}
    for split in () if options.table else splits:
        for table in names:
            if (table, split) not in known:
                row, arrays = run(table, split, trials)
                save(folder / f"{table}-{split}.npz", arrays)
                results.add(row)
                print(f"  {table}, split {split}: {row['all_seconds']} CPU s", flush=True)
    wanted = [each for each in results.rows if each["table"] in names]
    wanted.sort(key=lambda each: (names.index(each["table"]), each["split"]))
    read = [(row, dict(np.load(folder / f"{row['table']}-{row['split']}.npz"))) for row in wanted]
    common.finish("Published experiments: AutoDEUQ", report(read, options.members, GAP, NOISE), options.keep)


if __name__ == "__main__":
    main()
