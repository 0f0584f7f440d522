"""Recorded training runs at scattered configurations: a configuration gets the result of the nearest recorded one."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution

from .base import FAILED, Listed, Outcome, Params, Problem, space_of
from .folder import data_folder

TASKSET = {"learning_rate": (1e-8, 10.0), "beta1": (1e-4, 1.0), "beta2": (1e-3, 1.0), "epsilon": (1e-10, 1e3)} | {
    "l1": (1e-8, 10.0), "l2": (1e-8, 10.0), "linear_decay": (1e-7, 1e-4), "exponential_decay": (1e-6, 1e-3)
}  # fmt: skip


def taskset(task: str) -> Problem:
    """Validation loss over 51 steps of training with Adam; a trial fails where its loss becomes NaN.

    beta1 and beta2 are searched as 1 - beta, logarithmically like all others. Nearest is by squared distance in units
    of the ranges, with a weight of 4 for the learning rate.
    """
    with np.load(data_folder() / f"taskset/imdb_{task}.npz") as data:
        hp, curves = data["hp"].astype(float), data["valid"].astype(float)
    for i, name in enumerate(TASKSET):
        if name.startswith("beta"):
            hp[:, i] = 1 - hp[:, i]
    lows = np.log([low if not name.startswith("beta") else 1e-4 for name, (low, _) in TASKSET.items()])
    highs = np.log([high for _, high in TASKSET.values()])
    weights = np.where(np.arange(len(TASKSET)) == 0, 4.0, 1.0)
    points = np.clip((np.log(np.maximum(hp, 1e-12)) - lows) / (highs - lows), 0, 1) * weights
    space = space_of(
        {
            name: FloatDistribution(float(np.exp(low)), float(np.exp(high)), log=True)
            for name, low, high in zip(TASKSET, lows, highs, strict=True)
        }
    )
    steps = curves.shape[1]
    rungs = [step for step in (3**k for k in range(10)) if step < steps] + [steps]

    def evaluate(params: Params) -> Outcome:
        at = (np.log([params[name] for name in TASKSET]) - lows) / (highs - lows) * weights
        curve = curves[int(np.argmin(((points - at) ** 2).sum(axis=1)))]
        reports = []
        for step in rungs:
            if not np.isfinite(curve[:step]).all():
                return Outcome(None, curve=tuple(reports))
            reports.append((step, float(curve[step - 1])))
        return Outcome((float(curve[-1]),), curve=tuple(reports))

    finals = curves[np.isfinite(curves).all(axis=1), -1]
    return Problem(f"taskset {task}", space, evaluate, float(finals.min()), steps=steps)


DEEPAR = {
    "hp_num_cells": (3.4, 4.79),
    "hp_dropout_rate_log": (-4.61, -0.69),
    "hp_learning_rate_log": (-9.21, -2.30),
    "hp_num_batches_per_epoch_log": (2.30, 9.22),
    "hp_context_length_ratio_log": (-2.9, 1.38),
}
"""Ranges of the columns, all logarithms. The number of layers, 2 to 4, is searched beside them."""


def deepar(task: str) -> Problem:
    """CRPS of a DeepAR forecast, and its real training time, from some 230 recorded runs of a task."""
    with gzip.open(data_folder() / "transfer_hpo/deepar.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == task]
    lows, highs = np.array(list(DEEPAR.values())).T
    layers = np.array([round(float(np.exp(float(row["hp_num_layers"])))) for row in rows])
    points = (np.array([[float(row[name]) for name in DEEPAR] for row in rows]) - lows) / (highs - lows)
    scores = np.array([float(row["metric_CRPS"]) for row in rows])
    seconds = np.array([max(float(row["metric_time"]), 1.0) for row in rows])
    kinds = {name: FloatDistribution(low, high) for name, (low, high) in DEEPAR.items()}
    space = space_of({"num_layers": IntDistribution(int(layers.min()), int(layers.max())), **kinds})

    def evaluate(params: Params) -> Outcome:
        at = (np.array([params[name] for name in DEEPAR]) - lows) / (highs - lows)
        gap = ((points - at) ** 2).sum(axis=1) + ((layers - params["num_layers"]) / 2) ** 2
        nearest = int(np.argmin(gap))
        score = float(scores[nearest])
        return Outcome((score,), float(seconds[nearest])) if np.isfinite(score) else FAILED

    return Problem(f"deepar {task}", space, evaluate, float(np.nanmin(scores)))


def _taskset(task: str) -> Callable[[], Problem]:
    return lambda: taskset(task)


def _deepar(task: str) -> Callable[[], Problem]:
    return lambda: deepar(task)


PROBLEMS = {
    "taskset-gru": Listed(_taskset("patch32_GRU128_bs128"), False, "data"),
    "taskset-lstm": Listed(_taskset("patch32_LSTM128_bs128"), False, "data"),
    "deepar-electricity": Listed(_deepar("electricity"), False, "data"),
    "taskset-irnn": Listed(_taskset("patch32_IRNN64_relu_last_bs128"), True, "data"),
    "taskset-vrnn": Listed(_taskset("patch32_VRNN64_tanh_avg_bs128"), True, "data"),
    "taskset-lstm128": Listed(_taskset("patch128_LSTM128_bs64"), True, "data"),
    "taskset-embed": Listed(_taskset("patch128_LSTM128_embed128_bs64"), True, "data"),
    "deepar-hourly": Listed(_deepar("m4-Hourly"), True, "data"),
    "deepar-traffic": Listed(_deepar("traffic"), True, "data"),
}
