"""AgEBO's experiment on Covertype (arXiv:2010.16358): networks with their learning rate and batch size.

``python benchmarks/published/covertype.py [--seeds 3] [--trials 40] [--spaces NAME ...] [--methods NAME ...]``

Each method trains networks for as many epochs in all, one after the other, and sees their accuracy on the validation
rows. The best one is trained anew, and is asked for the test rows once. Models by hand are trained as this one is. As
published the test rows ended the training: those figures are not comparable.

``published``: the published space of 1.10e23 networks, 40 a search, on 5,000 rows for 4 epochs; the best one gets
20,000 rows and 10 epochs. ``wide``: five cells of 128 or 256 units, where half of the cells are empty, on all 55,776
rows; Hyperband ends most networks early, so that a search takes the epochs of 10 whole trainings of 27. These are
settings for two cores: no batch below 128, and one process instead of several ranks.

PILOTUNE_DATA names the folder of ``covertype``. Results are kept in a file as they come; the next call goes on.
``--table`` prints the tables and runs nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # before NumPy is imported: one process on one core
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
import optuna
import torch
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from torch import nn

from benchmarks import common
from benchmarks.published import kept
from benchmarks.published.search import Method, Point, gain, interval, searched, wins
from benchmarks.published.sst import load_module
from pilotune.architecture import build, from_indices
from pilotune.pipeline.studyfile import load_study_file

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/covertype-nas"
covertype: Any = load_module(EXAMPLE / "train.py", "covertype_train")
"""The objective of the example, whose data and training are used here."""


@dataclass(frozen=True)
class Space:
    """What is searched, and how the best network is trained after the search.

    Attributes:
        overrides: What is changed in the study file of the example, whose space is the published one.
        rows: Training rows of the last training, and of models by hand; None for all.
        epochs: Its epochs.
        part: A search takes the epochs of this part of its trials, whose worst are ended early; None: no trial is.
    """

    overrides: tuple[str, ...]
    rows: int | None
    epochs: int
    part: float | None = None


CHEAP = ("space.schedule=one-cycle", "space.batch={choice: [128, 256, 512]}")
WHOLE = 27
"""Epochs of a whole trial in the wide space."""

SPACES = {
    "published": Space((*CHEAP, "space.rows=5000", "space.epochs=4"), 20_000, 10),
    "wide": Space(
        (
            *CHEAP,
            "space.rows=55776",
            f"space.epochs={WHOLE}",
            "space.lr={float: [3.0e-4, 1.0e-2], log: true}",
            "space.net.graph.cells=5",
            "space.net.graph.split=true",
            "space.net.graph.choice=[identity, 'dense({128, 256}, {relu, silu, tanh})']",
            f"pruner={{name: hyperband, min_resource: 1, max_resource: {WHOLE}}}",
        ),
        None,
        WHOLE,
        part=0.25,
    ),
}
METHODS = {
    "random": ("sampler=random",),
    "AgE": ("sampler=ageing", "space.lr=0.01", "space.batch=256"),
    "mixed AgE": ("sampler=ageing",),
    "AgEBO, kappa 0.001": ("sampler={name: agebo, evolve: net, model: forest, kappa: 0.001}",),
    "AgEBO, kappa 1.96": ("sampler={name: agebo, evolve: net, model: forest, kappa: 1.96}",),
    "AgEBO, gp that sees": ("sampler={name: agebo, evolve: net, see: true}",),
    "tpe": ("sampler=tpe",),
    "default": ("sampler=auto",),
}
"""By method, what it changes in the study file. AgE has the published constants; the others search them."""

PUBLISHED_BEST = [9, 1, 30, 1, 1, 28, 1, 1, 0, 24, 0, 0, 1, 23, 0, 1, 0, 27, 1, 1, 1, 18, 0, 1, 1, 2, 0, 1, 1, 14, 1, 1]
PUBLISHED_BEST += [0, 20, 1, 0, 1]
"""The best network of AgEBO on Covertype, as its authors stored it."""


@dataclass(frozen=True)
class Result:
    """A search, or a model made by hand, with one seed.

    Attributes:
        scores: The accuracy on the validation rows of each trial of the search, in order.
        valid: The accuracy on the validation rows of the network that was chosen, trained on more rows.
        test: Its accuracy on the test rows.
        weights: How many it has; None for trees.
        seconds: CPU time.
    """

    space: str
    method: str
    seed: int
    scores: list[float]
    valid: float
    test: float
    weights: int | None
    seconds: float


def curve(params: dict[str, Any], seed: int, every: bool) -> Iterator[Point]:
    """Trains a network of the search; with ``every`` each epoch is a point."""
    torch.manual_seed(seed)
    net, last = build(params, "net"), params["epochs"]
    for epoch in covertype.epochs_of(net, params["lr"], params["batch"], last, params["schedule"], params["rows"]):
        if every or epoch == last:
            yield Point(epoch, covertype.accuracy(net, covertype.splits()["valid"]), 0.0)


def search(space: str, method: str, seed: int, trials: int) -> Result:
    began, of = time.process_time(), SPACES[space]
    overrides = (*of.overrides, *METHODS[method], f"budget.trials={trials}")
    whole = trials if of.part is None else max(1, round(of.part * trials))
    tried = searched(EXAMPLE / "study.yaml", Method(method, overrides, of.part is not None), curve, seed, whole, WHOLE)
    chosen = max((each for each in tried if each.complete), key=lambda each: each.score)
    net = again(of, chosen.params, seed)
    return _result(space, method, seed, [round(each.score, 5) for each in tried], net, began)


def again(space: Space, params: dict[str, Any], seed: int) -> nn.Module:
    """A network, trained from nothing as the result of a search is."""
    torch.manual_seed(1000 + seed)
    found: nn.Module = covertype.fitted({**params, "epochs": space.epochs}, space.rows)
    return found


def _result(space: str, method: str, seed: int, scores: list[float], net: nn.Module, began: float) -> Result:
    valid, test = (round(covertype.accuracy(net, covertype.splits()[name]), 5) for name in ("valid", "test"))
    weights = sum(each.numel() for each in net.parameters())
    return Result(space, method, seed, scores, valid, test, weights, round(time.process_time() - began, 1))


# -- models made by hand ----------------------------------------------------------------------------------------------


def published_network(space: Space, seed: int) -> nn.Module:
    """The best network of AgEBO as published, with its learning rate and batch."""
    published = load_study_file(EXAMPLE / "study.yaml", []).space
    assert published is not None
    graph = published.graphs["net"]
    fixed = {**published.constants, "lr": 0.001392, "batch": 256, "schedule": "constant"}
    return again(space, published.for_objective({**fixed, **from_indices(graph, PUBLISHED_BEST)}), seed)


def perceptron(units: int, lr: float, space: Space, seed: int) -> nn.Module:
    """Three layers of so many units."""
    torch.manual_seed(1000 + seed)
    widths = (54, units, units, units)
    hidden = [part for each in pairwise(widths) for part in (nn.Linear(*each), nn.ReLU())]
    net = nn.Sequential(*hidden, nn.Linear(units, 7))
    for _ in covertype.epochs_of(net, lr, 256, space.epochs, "one-cycle", space.rows):
        pass
    return net


NETWORKS: dict[str, Callable[[Space, int], nn.Module]] = {
    "AgEBO's published network": published_network,
    "three layers of 256 units": partial(perceptron, 256, 3e-3),
    "three layers of 512 units": partial(perceptron, 512, 2e-3),
}
TREES: dict[str, Callable[[int], Any]] = {
    "extremely randomized trees": lambda seed: ExtraTreesClassifier(100, random_state=seed),
    "gradient boosting": lambda seed: HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=300,
        max_leaf_nodes=63,
        l2_regularization=1.0,
        min_samples_leaf=40,
        random_state=seed,
    ),
}
BY_HAND = (*TREES, *NETWORKS)


def by_hand(space: str, name: str, seed: int) -> Result:
    """A model made by hand, trained as the best network of a space is in the end."""
    began = time.process_time()
    if name in NETWORKS:
        return _result(space, name, seed, [], NETWORKS[name](SPACES[space], seed), began)
    splits = {key: tuple(part.numpy() for part in rows) for key, rows in covertype.splits().items()}
    model = TREES[name](seed).fit(*(part[: SPACES[space].rows] for part in splits["train"]))
    valid, test = (round(float(model.score(*splits[key])), 5) for key in ("valid", "test"))
    return Result(space, name, seed, [], valid, test, None, round(time.process_time() - began, 1))


# -- tables -----------------------------------------------------------------------------------------------------------


def table_of(results: list[dict[str, Any]], space: str, trials: int) -> str:
    """A row for each model by hand and each method; seeds are compared on test rows."""
    random = {each["seed"]: each["test"] for each in results if (each["space"], each["method"]) == (space, "random")}
    rows: list[list[object]] = []
    for name in (*BY_HAND, *METHODS):
        found = [each for each in results if (each["space"], each["method"]) == (space, name)]
        if not found:
            continue
        test = {each["seed"]: each["test"] for each in found}
        half, best = ([interval([100 * max(each["scores"][:n]) for each in found])] if found[0]["scores"] else [None]
                      for n in (trials // 2, trials))  # fmt: skip
        compared = name not in ("random", *BY_HAND) and bool(random)
        hundred = ({seed: 100 * value for seed, value in each.items()} for each in (test, random))
        against = [gain(*hundred), wins(test, random)] if compared else [None, None]
        weights = [each["weights"] for each in found if each["weights"] is not None]
        rows.append(
            [name, len(found), *half, *best, interval([100 * each["valid"] for each in found]),
             interval([100 * each for each in test.values()]), *against,
             round(float(np.median(weights))) if weights else None,
             float(np.mean([each["seconds"] for each in found]))]
        )  # fmt: skip
    part = SPACES[space].part
    size = f"{trials} networks" if part is None else f"the epochs of {round(part * trials)} whole trainings"
    head = ["model or method", "seeds", f"best of {trials // 2}", "best of all", "chosen, validation", "test"]
    head += ["test above random", "wins / ties / losses", "weights", "CPU s"]
    rows_in_all = SPACES[space].rows or "all"
    title = f"Covertype, {space} space, {size} a search, {rows_in_all} rows at the end: % accuracy, means and "
    title += "95 % intervals"
    return common.table(title, head, rows)


def main() -> None:
    parser = kept.search_parser(__doc__, 3, METHODS)
    parser.add_argument("--spaces", nargs="+", choices=SPACES, default=["published"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    results, trials, seeds = kept.to_search(options, "covertype")
    for seed in seeds:
        for space, name in product(options.spaces, options.methods):
            of = {"space": space, "method": name, "seed": seed}
            results.add_missing(of, partial(search, space, name, seed, trials))
        for space, name in product(options.spaces, BY_HAND):
            results.add_missing({"space": space, "method": name, "seed": seed}, partial(by_hand, space, name, seed))
    tables = "\n".join(table_of(results.rows, space, trials) for space in options.spaces)
    tables += "\nA row of one seed has no interval, and says nothing about which method is better.\n"
    common.finish("Published experiments: Covertype", tables, options.keep)


if __name__ == "__main__":
    main()
