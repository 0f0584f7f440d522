"""A convolutional network in PyTorch for images: reports the accuracy on held-out images after each epoch.

In a study file::

    objective: cnn_classifier         # pilotune.objectives.cnn_classifier:train
    direction: maximize
    space:
      data: mnist                     # a folder with IDX files, CIFAR-10's, or images in train/CLASS/; or digits
      lr: {float: [1.0e-4, 1.0e-1], log: true}
      blocks: {int: [1, 3]}
      channels: {int: [8, 32], step: 8}
      dropout: {float: [0.0, 0.6]}
      batch_size: 128
      epochs: 9
    pruner: {name: hyperband, min_resource: 1, max_resource: 9, reduction_factor: 3}

The parameters are those in :data:`~.settings.DATA`, :data:`~.torch_training.TRAINING` and :data:`DEFAULTS`; one with
another name fails the trial. :mod:`.images` says which files are read. An attempt that is interrupted continues from
its last epoch. Uses a GPU where the trial has one. Needs PyTorch.
"""

from __future__ import annotations

from typing import Any

from ..pipeline.trial import Trial
from ..pipeline.trial.exceptions import ObjectiveError
from .settings import settings
from .torch_training import CHOICES, TRAINING, activation, nn, train_network

DEFAULTS: dict[str, Any] = {
    **TRAINING,
    "blocks": 2,  # a convolution, batch normalization, activation and max-pooling each
    "channels": 16,  # of the first block; each further block has twice as many
    "kernel": 3,  # or 1, 5, 7
    "batch_norm": True,
    "units": 0,  # of a hidden layer after the blocks; 0: there is none
}


def train(trial: Trial) -> float:
    """Train the network. Returns the accuracy on the held-out images after the last epoch, 0..1.

    Raises:
        ObjectiveError: A parameter that is not known, a value that is not offered, or data that are missing or no
            images.
    """
    return train_network(trial, settings(trial.params, DEFAULTS, {**CHOICES, "kernel": (1, 3, 5, 7)}), build_network)


def build_network(params: dict[str, Any], shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network for images of ``shape`` (channels, height, width). Pools only while there are two pixels to pool."""
    if len(shape) != 3:
        raise ObjectiveError(
            f"cnn_classifier needs images, and {params['data']} is a table; use mlp_classifier, or name digits or a "
            "folder of images"
        )
    width, height, side = shape
    parts: list[nn.Module] = []
    for block in range(params["blocks"]):
        channels = params["channels"] * 2**block
        norm = params["batch_norm"]
        parts.append(nn.Conv2d(width, channels, params["kernel"], padding=params["kernel"] // 2, bias=not norm))
        parts += [nn.BatchNorm2d(channels)] if norm else []
        parts.append(activation(params))
        width = channels
        if min(height, side) >= 2:
            parts.append(nn.MaxPool2d(2))
            height, side = height // 2, side // 2
    parts += [nn.Flatten(), nn.Dropout(params["dropout"])]
    width *= height * side
    if params["units"]:
        parts += [nn.Linear(width, params["units"]), activation(params)]
        width = params["units"]
    return nn.Sequential(*parts, nn.Linear(width, classes))
