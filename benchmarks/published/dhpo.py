"""DHPO's experiment (Distributed Hyper-Parameters Optimization): 64 evaluations of a tiny network, one epoch of MNIST.

``python benchmarks/published/dhpo.py [--data mnist|cifar10] [--seeds 10] [--methods NAME ...] [--table] [--keep]``

DHPO compares grid, random and evolutionary search of the learning rate, dropout and momentum, each linear in 0 to 1,
and selects by the accuracy on the test set. Published: 94.67 by evolution (a population of 4, 16 generations), 94.03 at
random, 93.97 by the grid, means of ten runs. This repeats it with the published network and order of images, and
beside it with a clean protocol: the method sees a validation split, and the test set is asked once, for its choice.
CIFAR-10 was published with EfficientNet-B0 (79.51, 78.08, 77.32), which is too large here: a small network of two
convolutions on 5,000 images stands in for it, so that only the order of the methods compares.

Results are kept in a file as they come; the next call goes on. ``--table`` prints the tables and runs nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # before PyTorch is imported: one process on one core
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import optuna

from benchmarks import common
from benchmarks.published import kept
from benchmarks.published.dhpo_curves import PROTOCOLS, Cifar, Mnist
from benchmarks.published.search import Method, Results, Run, Tried, add_missing, best, gain, interval, searched, wins
from benchmarks.quality.problems.folder import data_folder

HERE = Path(__file__).resolve().parent
TRIALS = 64
GRID = "[0.2, 0.4, 0.6, 0.8]"  # four values within the range at equal distances, as published
METHODS = {
    method.name: method
    for method in (
        Method("grid", (f"sampler={{name: grid, search_space: {{lr: {GRID}, dropout: {GRID}, momentum: {GRID}}}}}",)),
        Method("random", ("sampler=random",)),
        Method("their evolution", ("sampler={name: 'dhpo_evolution.py:PublishedEvolution'}",)),
        Method("dhpo", ("sampler={name: dhpo, population: 4, mutate: 0.2, barrier: true}",)),
        Method("dhpo, step: 0.1", ("sampler={name: dhpo, population: 4, mutate: 0.2, barrier: true, step: 0.1}",)),
        Method("tpe", ("sampler=tpe",)),
        Method("auto", ()),
        Method("hyperband", ("pruner={name: hyperband, min_resource: 1, max_resource: 9, reduction_factor: 3}",), True),
    )
}
PUBLISHED = {
    "mnist": {"grid": 93.97, "random": 94.03, "their evolution": 94.67},
    "cifar10": {"grid": 77.32, "random": 78.08, "their evolution": 79.51},
}
NOTES = {
    "mnist": (
        "Published are means of ten runs without intervals, all from the first weights of seed 0, which are others\n"
        "in another version of PyTorch. Here each run has first weights of its own, the same for all methods. They\n"
        "decide on more than the method does, so methods compare by the differences on equal seeds."
    ),
    "cifar10": (
        "Published with EfficientNet-B0 on all images. Here it is a network of 11,642 weights, two epochs of 5,000\n"
        "images: the figures do not compare, the order of the methods may."
    ),
}


def rows_of(results: Results, protocol: str, data: str, full: int, trials: int) -> list[list[object]]:
    """A row for each method, and for the one that uses fewer steps a second one at equal steps."""
    rows: list[list[object]] = []
    random = {seed: best(run, trials) for seed, run in results.of(protocol, "random").items()}
    for name, method in METHODS.items():
        runs = results.of(protocol, name)
        if not runs:
            continue
        rows.append(_row(name, {seed: best(run, trials) for seed, run in runs.items()}, random, runs, trials, full))
        figure = PUBLISHED[data].get(name) if protocol == "published" else None
        rows[-1].append(figure and f"{figure:.2f}")
        if method.steps:
            equal = {seed: best(run, cost=trials * full) for seed, run in runs.items()}
            rows.append(_row(f"{name}, equal epochs", equal, random, runs, None, full))
            rows[-1].append(None)
    return rows


def _row(
    name: str, chosen: dict[int, Tried], random: dict[int, Tried], runs: dict[int, Run], trials: int | None, full: int
) -> list[object]:
    lists = [run.trials[:trials] for run in runs.values()]
    epochs = sum(each.cost for found in lists for each in found) / full / len(lists)
    scores, tests = ({seed: getattr(each, what) for seed, each in chosen.items()} for what in ("score", "test"))
    others = {seed: each.test for seed, each in random.items()}
    against = [None, None] if name == "random" or not others else [gain(tests, others), wins(tests, others)]
    count = sum(map(len, lists)) / len(lists)
    shown = [interval(list(each.values())) for each in (scores, tests)]
    return [name, len(chosen), f"{count:.0f}", f"{epochs:.0f}", *shown, *against]


def tables(results: Results, data: str, full: int, trials: int) -> str:
    """One table for each protocol."""
    head = ["method", "seeds", "trials", "epochs' worth", "best score seen", "its test accuracy", "test above random",
            "wins / ties / losses", "published"]  # fmt: skip
    titles = {
        "published": f"{data}, selected on the test set, as published: means in % and 95 % intervals",
        "clean": f"{data}, selected on a validation split: means in % and 95 % intervals",
    }
    return "\n".join(
        common.table(titles[protocol], head, rows)
        for protocol in PROTOCOLS
        if (rows := rows_of(results, protocol, data, full, trials))
    )


def main() -> None:
    parser = kept.parser(__doc__)
    parser.add_argument("--data", choices=list(PUBLISHED), default="mnist")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials = 6 if options.small else TRIALS
    name = f"dhpo-{options.data}{'-small' if options.small else ''}.jsonl"
    results = Results(options.cache / name)
    experiment = Mnist if options.data == "mnist" else Cifar
    if not options.table:
        run(options, results, experiment, trials)
    text = f"{tables(results, options.data, experiment.full, trials)}\n{NOTES[options.data]}\n"
    common.finish(f"Published experiments: DHPO, {options.data}", text, options.keep)


def run(options: argparse.Namespace, results: Results, experiment: type[Mnist] | type[Cifar], trials: int) -> None:
    """Run what is missing, seed after seed."""
    import torch

    torch.set_num_threads(1)
    curves = {protocol: experiment(str(data_folder() / options.data), protocol) for protocol in PROTOCOLS}
    for seed in range(1 if options.small else options.seeds):
        for protocol, curve in curves.items():
            chosen = [
                METHODS[name]
                for name in options.methods
                if name != "hyperband" or options.data == "mnist"  # it needs more than two steps
            ]
            add_missing(results, protocol, chosen, seed,
                        lambda method, curve=curve, seed=seed:
                        searched(HERE / "dhpo.yaml", method, curve, seed, trials, experiment.full))  # fmt: skip


if __name__ == "__main__":
    main()
