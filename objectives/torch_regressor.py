"""A multilayer perceptron in PyTorch that predicts a number and how sure it is: a mean and a standard deviation.

Its value is the negative log likelihood of held-out rows, to be minimized. In a study file::

    objective: mlp_regressor          # pilotune.objectives.torch_regressor:train
    direction: minimize
    space:
      data: houses.csv                # or diabetes
      target: price                   # the column with the number; default: the last one
      lr: {float: [5.0e-4, 3.0e-2], log: true}
      layers: {int: [1, 3]}
      units: {int: [16, 128], log: true}
      loss: {choice: [nll, beta_nll, warm_up]}
      beta: {float: [0.0, 1.0], when: {loss: beta_nll}}
      epochs: {int: [40, 300], log: true}
    trial: {keep: {artifacts: 50}}

The parameters are those in :data:`DATA`, :data:`~.torch_regression.RECIPE` and ``every``; one with another name fails
the trial. It reports after each ``every`` epochs, and an attempt that is interrupted continues from its last report. A
training that diverges fails the trial. Uses a GPU where the trial has one. Needs PyTorch.

Each trial keeps two artifacts: ``model.pt``, the weights with the scales of the table, for :func:`predict`; and
``held.npz``, the predictions of the rows that ``selection`` sets apart, by which members of an ensemble are chosen.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..pipeline.trial import Trial
from .regression_parts import DATA, Array, RegressionParts, load_regression_parts
from .settings import COUNT, Allowed, Kind, settings
from .torch_regression import OFFERED, RECIPE, NormalNetwork, Training, predict_rows
from .torch_training import torch

DEFAULTS: dict[str, Any] = {**DATA, **RECIPE, "every": 10}  # the epochs from one report to the next
ALLOWED: Allowed = {**OFFERED, "units": COUNT, "dropout": Kind(float, least=0, below=1)}


def train(trial: Trial) -> dict[str, float]:
    """Train the network.

    Returns:
        ``value``, the mean negative log likelihood of the held-out rows, and ``rmse``, the error of their means.

    Raises:
        ObjectiveError: A parameter that is not known, a value that is not offered, or data that are missing.
    """
    given = settings(trial.params, DEFAULTS, ALLOWED)
    return train_parts(trial, given, load_regression_parts(given))


def train_parts(
    trial: Trial, given: Mapping[str, Any], parts: RegressionParts, check: tuple[Array, Array] | None = None
) -> dict[str, float]:
    """Train the network on rows that were loaded elsewhere.

    Args:
        trial: The trial.
        given: Values for all parameters in :data:`~.torch_regression.RECIPE`, and for ``every``.
        parts: The rows.
        check: Features and targets of further rows, whose predictions are kept as ``check.npz``: nothing is chosen by
            them, so that an ensemble can be compared on them.
    """
    torch.set_num_threads(trial.resources.cores)
    torch.manual_seed(trial.rng_seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = NormalNetwork(parts.x.shape[1], given).to(device)
    training = Training(network, given, parts.x, parts.y, parts.x_held, parts.y_held)
    file = trial.checkpoint_dir / "last.pt"
    if file.exists():
        training.restore(torch.load(file, map_location=device))
    for epoch in training.run():
        if epoch % given["every"] == 0 or epoch == given["epochs"]:
            _save(file, training)
            trial.report(training.score, step=epoch)
    if math.isfinite(training.score):
        keep(
            trial,
            network,
            {"held.npz": (parts.x_selection, parts.y_selection), **({"check.npz": check} if check else {})},
        )
    mean, _ = predict_rows(network, parts.x_held)
    return {"value": training.score, "rmse": float(np.sqrt(np.mean((parts.y_held - mean) ** 2)))}


def keep(trial: Trial, network: NormalNetwork, rows: Mapping[str, tuple[Array, Array]]) -> None:
    """Keep the model of a trial, and its predictions of rows by the name of their file."""
    torch.save(network.state_dict(), trial.artifact("model.pt"))
    for name, (x, y) in rows.items():
        mean, std = predict_rows(network, x)
        np.savez(trial.artifact(name), y=y, mean=mean, std=std)


def predict(files: Mapping[str, Path], params: Mapping[str, Any], x: Array) -> tuple[Array, Array]:
    """Predict with the network of a trial.

    Args:
        files: The trial's artifacts by name.
        params: The trial's parameters.
        x: Features, as numbers in the order of the table's columns (rows, columns).

    Returns:
        The mean and the standard deviation of each row.
    """
    state = torch.load(files["model.pt"], map_location="cpu", weights_only=True)
    network = NormalNetwork(len(state["x_mean"]), {**RECIPE, **params})
    network.load_state_dict(state)
    return predict_rows(network, x)


def _save(file: Path, training: Training) -> None:
    """Save a checkpoint, atomically."""
    part = file.with_suffix(".part")
    torch.save(training.state(), part)
    os.replace(part, file)
