"""Searches on NAS-Bench-201's CIFAR-10 table with 16 asynchronous simulated workers.

``python benchmarks/published/nas_bench_201.py [--seeds 40] [--methods NAME ...] [--table] [--keep]``

The space is the published one as a graph: a cell of six nodes with five operations each, 15,625 networks. A trial is
told the validation accuracy of one of the trainings with up to three seeds, by chance; what counts is the mean accuracy
of the network that looks best. Durations are drawn log-normally. Beside random search, ageing evolution as published
(population 100, sample 10) and with our defaults stand TPE, reinforcement learning, the forest, and the sampler that a
study with a graph gets if it names none. AgEBO is not among them: the space has no hyperparameters, so it would be
ageing evolution.

Results are kept in a file as they come; the next call goes on. ``--table`` prints the tables and runs nothing. The
seeds chose no constant of a sampler; the table is one of those by which constants of `gp` were chosen.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # before NumPy is imported: one process on one core
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
import optuna

from benchmarks import common
from benchmarks.published import kept
from benchmarks.quality import peers, problems
from benchmarks.quality.simulate import Workers
from pilotune.pipeline.architecture.graph import Graph, Merge, Node
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.studyfile.graphs import variable_distributions
from pilotune.pipeline.suggest.auto import Situation, choose_sampler

WORKERS = 16
FIRST_SEED = 5000
CHECKPOINTS = (50, 100, 200, 500, 1000)
METHODS = {
    "random": ("random", 1000),
    "ageing 100/10": ("ageing+population=100+sample=10", 1000),
    "ageing, our sizes": ("ageing", 1000),
    "reinforce": ("reinforce", 1000),
    "tpe": ("tpe", 500),
    "forest": ("forest", 200),
    "gp": ("gp", 200),
}
"""By name, the sampler as ``benchmarks/quality`` takes it, and its evaluations: models cost more CPU time."""

SIZED = "ageing, our sizes"
"""Its sizes depend on the budget, so each checkpoint is a search of its own."""

ANCHORS = {
    "random": (90.88, 91.06, 91.13, 91.31, 91.36),
    "ageing 100/10": (90.88, 91.06, 91.39, 91.61, 91.61),
    "tpe": (91.08, 91.50, 91.54, None, None),
}
"""An earlier measurement of the same searches by another program: 40 seeds, of TPE 10."""

NOTE = """\
The best network of the table has 91.61 %. With `ageing, our sizes` each column is a search with that budget. AgEBO
would be ageing evolution here: the space has no hyperparameters. The noisy table is one of the problems by which
constants of `gp` were chosen (benchmarks/README.md); the seeds are not."""

OPERATIONS = {
    "none": "layers:Zero",
    "skip_connect": "identity",
    "nor_conv_1x1": "conv(16, 1, relu)",
    "nor_conv_3x3": "conv(16, 3, relu)",
    "avg_pool_3x3": "layers:AvgPool",
}
"""By name in the table, the operation in the graph."""

EDGES = {
    "edge1": ("x",),
    "edge2": ("x",),
    "edge3": ("edge1",),
    "edge4": ("x",),
    "edge5": ("edge1",),
    "edge6": ("edge2", "edge3"),
}
"""The nodes in the table's order, and what each stands behind."""


def cell() -> Graph:
    """The cell as a graph: three inner tensors, each the sum of the edges that lead to it."""
    choices, total = tuple(OPERATIONS.values()), Merge("add")
    nodes = [Node(name, sources, choices, merge=total) for name, sources in EDGES.items()]
    return Graph({"x": (16, 32, 32)}, (*nodes, Node("output", ("edge4", "edge5", "edge6"), merge=total)))


def problem() -> problems.Problem:
    """The table with the graph's space."""
    table, graph = problems.make("nas201-noisy"), cell()
    space = Space(
        tuple(Parameter(name, kind) for name, kind in variable_distributions(graph, "net").items()),
        graphs={"net": graph},
    )
    names = {operation: name for name, operation in OPERATIONS.items()}

    def of_table(params: Mapping[str, object]) -> dict[str, object]:
        return {f"Op{i}": names[str(params[f"net.{edge}"])] for i, edge in enumerate(EDGES)}

    noise = table.noise
    assert noise is not None
    return replace(
        table,
        space=space,
        evaluate=lambda params: table.evaluate(of_table(params)),
        noise=lambda params, value, rng: noise(of_table(params), value, rng),
    )


@dataclass(frozen=True)
class Search:
    """One method with one budget."""

    method: str
    trials: int


def searches(method: str) -> list[Search]:
    """The searches that a method needs for all checkpoints."""
    most = METHODS[method][1]
    return [Search(method, each) for each in (CHECKPOINTS if method == SIZED else (most,)) if each <= most]


class Results:
    """Accuracies at the checkpoints, in a file with one line for each search and seed."""

    def __init__(self, file: Path) -> None:
        self._lines = kept.JsonLines(file)
        self.known: dict[Search, dict[int, dict[str, float]]] = {}
        for row in self._lines.rows:
            self.known.setdefault(Search(row["method"], row["trials"]), {})[row["seed"]] = row["accuracy"]

    def run(self, search: Search, seed: int, on: problems.Problem) -> None:
        """Run a search with a seed, if it is missing."""
        if seed in self.known.setdefault(search, {}):
            return
        sampler = peers.peer(METHODS[search.method][0]).make(peers.Setting(on, seed, WORKERS, search.trials))
        trace = Workers(on, sampler, WORKERS, search.trials, seed).run()
        accuracy = {str(each): -trace.at("trials", each) for each in CHECKPOINTS if each <= search.trials}
        accuracy["milliseconds"] = 1e3 * trace.cpu / search.trials
        self._lines.add({"method": search.method, "trials": search.trials, "seed": seed, "accuracy": accuracy})
        self.known[search][seed] = accuracy

    def at(self, method: str, checkpoint: int) -> list[float]:
        """The accuracies after so many evaluations, of all seeds."""
        for search in searches(method):
            if search.trials == checkpoint or (method != SIZED and search.trials >= checkpoint):
                return [found[str(checkpoint)] for found in self.known.get(search, {}).values()]
        return []

    def milliseconds(self, method: str) -> float | None:
        """CPU time of the sampler for each trial."""
        found = [each["milliseconds"] for search in searches(method) for each in self.known.get(search, {}).values()]
        return float(np.mean(found)) if found else None


def interval(values: Sequence[float]) -> str:
    """The median with its 95 % interval, by the order of the values."""
    ordered = np.sort(values)
    half = 1.96 * np.sqrt(len(ordered)) / 2
    low, high = int(np.floor(len(ordered) / 2 - half)), int(np.ceil(len(ordered) / 2 + half))
    ends = ordered[max(0, low)], ordered[min(len(ordered) - 1, high)]
    return f"{np.median(ordered):.2f} ({ends[0]:.2f} to {ends[1]:.2f})"


def table(results: Results) -> str:
    """Median accuracies, and those of an earlier measurement."""
    chosen = choose_sampler(Situation(len(EDGES), ("minimize",), 200)).name
    rows: list[list[object]] = []
    for method in METHODS:
        found = [results.at(method, each) for each in CHECKPOINTS]
        if not any(found):
            continue
        name = f"{method} (the default)" if method == chosen else method
        seeds = max(map(len, found))
        rows.append([name, seeds, *(interval(each) if each else None for each in found), results.milliseconds(method)])
    rows += [
        [f"{name}, earlier", 10 if name == "tpe" else 40, *(each and f"{each:.2f}" for each in values), None]
        for name, values in ANCHORS.items()
    ]
    title = f"{WORKERS} workers: median accuracy of the network that looks best, in percent, with its 95 % interval"
    text = common.table(title, ["method", "seeds", *(f"{each:,}" for each in CHECKPOINTS), "CPU ms a trial"], rows)
    return f"{text}\n{NOTE}\n"


def main() -> None:
    parser = kept.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    options: argparse.Namespace = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    missing = problems.missing("nas201-noisy")
    if missing:
        print(missing)
        return
    results, on = Results(options.cache / "nas_bench_201.jsonl"), problem()
    methods = [] if options.table else options.methods
    for seed in range(FIRST_SEED, FIRST_SEED + (2 if options.small else options.seeds)):
        for method in methods:
            for search in searches(method):
                results.run(search, seed, on)
    common.finish("Published experiments: NAS-Bench-201", table(results), options.keep)


if __name__ == "__main__":
    main()
