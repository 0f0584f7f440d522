"""AgEBO beside its rivals on a table of real trainings that has an architecture and hyperparameters.

``python benchmarks/published/agebo.py [--seeds 20] [--methods NAME ...] [--table] [--keep]``

AgEBO's own networks (Égelé et al., arXiv:2010.16358) take node-hours. FCNet's table of protein structures has 62,208
networks of two layers, each trained four times: units, activation and dropout of both layers are the architecture here,
as a graph that is split; the learning rate, its schedule and the batch are the hyperparameters. A trial is told one of
the trainings, by chance; what counts is the mean error of the one that looks best. 16 simulated workers, 200 trials.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
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
from pilotune.pipeline.architecture.graph import Graph, Node
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.studyfile.graphs import variable_distributions

PROBLEM, WORKERS, TRIALS = "fcnet-protein-noisy", 16, 200
FIRST_SEED = 5000
CHECKPOINTS = (50, 100, 200)
METHODS = {
    "random": "random",
    "ageing, all": "ageing",
    "AgEBO, published": "agebo+model=forest+kappa=0.001+population=100+sample=10",
    "AgEBO, our sizes": "agebo+model=forest+kappa=0.001",
    "AgEBO, qucb": "agebo+model=forest",
    "AgEBO, gp": "agebo",
    "AgEBO, gp that sees": "agebo+see=true",
    "tpe, all": "tpe",
    "gp, all": "gp",
}
"""By name, the sampler as ``benchmarks/quality`` takes it. ``all``: it suggests architecture and hyperparameters."""

LAYERS = ("1", "2")
UNITS, ACTIVATIONS, RATES = (16, 32, 64, 128, 256, 512), ("relu", "tanh"), (0.0, 0.3, 0.6)


def network() -> Graph:
    """Two dense layers with dropout."""
    dense = tuple(f"dense({units}, {activation})" for units in UNITS for activation in ACTIVATIONS)
    dropout = tuple(f"dropout({rate})" for rate in RATES)
    nodes, before = [], "x"
    for layer in LAYERS:
        nodes += [
            Node(f"cell{layer}", (before,), dense, split=True),
            Node(f"dropout{layer}", (f"cell{layer}",), dropout),
        ]
        before = f"dropout{layer}"
    return Graph({"x": (9,)}, (*nodes, Node("output", (before,), ("dense(1)",))))


def problem() -> problems.Problem:
    """The table with the graph's space."""
    table, graph = problems.make(PROBLEM), network()
    architecture = {f"{what}_{layer}" for what in ("n_units", "activation_fn", "dropout") for layer in LAYERS}
    rest = tuple(each for each in table.space.parameters if each.name not in architecture)
    variables = tuple(Parameter(name, kind) for name, kind in variable_distributions(graph, "net").items())

    def of_table(params: Mapping[str, object]) -> dict[str, object]:
        found = {each.name: params[each.name] for each in rest}
        for layer in LAYERS:
            found[f"n_units_{layer}"] = UNITS.index(int(str(params[f"net.cell{layer}.units"])))
            found[f"activation_fn_{layer}"] = params[f"net.cell{layer}.activation"]
            rates = [f"dropout({rate})" for rate in RATES]
            found[f"dropout_{layer}"] = rates.index(str(params[f"net.dropout{layer}"]))
        return found

    noise = table.noise
    assert noise is not None
    return replace(
        table,
        space=Space((*variables, *rest), graphs={"net": graph}),
        evaluate=lambda params: table.evaluate(of_table(params)),
        noise=lambda params, value, rng: noise(of_table(params), value, rng),
    )


Errors = dict[str, dict[int, dict[str, float]]]
"""By method and seed: the regret after some trials, and the sampler's CPU milliseconds a trial."""


def table_of(found: Errors) -> str:
    """Median regrets with quartiles."""
    rows: list[list[object]] = []
    for method in METHODS:
        runs = list(found.get(method, {}).values())
        if runs:
            cells = [np.percentile([run[str(each)] for run in runs], (25, 50, 75)) for each in CHECKPOINTS]
            shown = [f"{middle:.3f} ({low:.3f} to {high:.3f})" for low, middle, high in cells]
            rows.append([method, len(runs), *shown, float(np.mean([run["milliseconds"] for run in runs]))])
    title = f"{PROBLEM} as network and hyperparameters, {WORKERS} workers: median regret with quartiles"
    return common.table(title, ["method", "seeds", *map(str, CHECKPOINTS), "CPU ms a trial"], rows)


def main() -> None:
    parser = kept.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    if missing := problems.missing(PROBLEM):
        print(missing)
        return
    lines, found, on = kept.JsonLines(options.cache / "agebo.jsonl"), Errors(), problem()
    for row in lines.rows:
        found.setdefault(row["method"], {})[row["seed"]] = row["regret"]
    for seed in range(FIRST_SEED, FIRST_SEED + (1 if options.small else options.seeds)):
        for method in [] if options.table else options.methods:
            if seed in found.setdefault(method, {}):
                continue
            sampler = peers.peer(METHODS[method]).make(peers.Setting(on, seed, WORKERS, TRIALS))
            trace = Workers(on, sampler, WORKERS, TRIALS, seed).run()
            regret = {str(each): on.regret(trace.at("trials", each)) for each in CHECKPOINTS}
            regret["milliseconds"] = 1e3 * trace.cpu / TRIALS
            lines.add({"method": method, "seed": seed, "regret": regret})
            found[method][seed] = regret
    note = "Regret 0 is the optimum, 1 the median best of 100 random configurations."
    common.finish("Published experiments: AgEBO", f"{table_of(found)}\n{note}\n", options.keep)


if __name__ == "__main__":
    main()
