"""A multilayer perceptron in PyTorch: reports the accuracy on held-out rows after each epoch. To be maximized.

In a study file::

    objective: mlp_classifier         # pilotune.objectives.torch_classifier:train
    direction: maximize
    space:
      data: flowers.csv               # or a folder of images, digits, breast_cancer, iris, wine
      target: species                 # the column with the class; default: the last one
      lr: {float: [1.0e-4, 1.0e-1], log: true}
      layers: {int: [1, 4]}
      units: {int: [16, 256], step: 16}
      optimizer: {choice: [sgd, adamw]}
      momentum: {float: [0.0, 0.99], when: {optimizer: sgd}}
      epochs: 27
    pruner: {name: hyperband, min_resource: 1, max_resource: 27, reduction_factor: 3}

The parameters are those in :data:`~.settings.DATA`, :data:`~.torch_training.TRAINING` and :data:`DEFAULTS`; one with
another name fails the trial. An attempt that is interrupted continues from its last epoch. Uses a GPU where the trial
has one. Needs PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

from ..pipeline.trial import Trial
from .settings import COUNT, settings
from .torch_training import CHOICES, TRAINING, activation, nn, train_network

DEFAULTS: dict[str, Any] = {
    **TRAINING,
    "layers": 2,  # hidden ones
    "units": 64,  # in each
}


def train(trial: Trial) -> float:
    """Train the network. Returns the accuracy on the held-out rows after the last epoch, 0..1.

    Raises:
        ObjectiveError: A parameter that is not known, a value that is not offered, or data that are missing.
    """
    return train_network(trial, settings(trial.params, DEFAULTS, {**CHOICES, "units": COUNT}), build_network)


def build_network(params: dict[str, Any], shape: tuple[int, ...], classes: int) -> nn.Module:
    """``layers`` hidden layers of ``units`` units, each with activation and dropout, then a linear layer."""
    parts: list[nn.Module] = [nn.Flatten()]
    width = math.prod(shape)
    for _ in range(params["layers"]):
        parts += [nn.Linear(width, params["units"]), activation(params), nn.Dropout(params["dropout"])]
        width = params["units"]
    return nn.Sequential(*parts, nn.Linear(width, classes))
