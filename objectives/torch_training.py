"""Trains a PyTorch network for classification: reports after each epoch, and continues from the last one saved."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..pipeline.trial import Trial
from .parts import Parts, load_parts
from .settings import missing

try:
    import torch
    import torch._dynamo  # takes a second; the first optimizer imports it anyway, and here it is done once a worker
    from torch import nn
except ModuleNotFoundError as error:
    raise missing("torch", error) from None

__all__ = ["CHOICES", "TRAINING", "accuracy", "activation", "build_optimizer", "nn", "torch", "train_network"]

TRAINING: dict[str, Any] = {
    "epochs": 27,
    "batch_size": 32,
    "lr": 1e-3,
    "optimizer": "adamw",  # or sgd
    "momentum": 0.9,  # of sgd
    "weight_decay": 1e-4,
    "dropout": 0.0,
    "activation": "relu",  # or tanh, gelu, silu
}
"""The parameters that every network has, with defaults."""

ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh", "gelu": "GELU", "silu": "SiLU"}
CHOICES: dict[str, tuple[str, ...]] = {"optimizer": ("adamw", "sgd"), "activation": tuple(ACTIVATIONS)}
SCORED_AT_ONCE = 1000

Build = Callable[[dict[str, Any], tuple[int, ...], int], nn.Module]
"""Builds a network from the settings, the shape of one row and the number of classes."""


def train_network(trial: Trial, settings: dict[str, Any], build: Build) -> float:
    """Train a network, and report its accuracy on the rows that are held out after each epoch.

    Args:
        trial: The trial; its parameters are in ``settings``.
        settings: Values for all parameters in :data:`~.settings.DATA` and :data:`TRAINING`, and those of ``build``.
        build: Builds the network.

    Returns:
        The accuracy after the last epoch, 0..1.
    """
    torch.set_num_threads(trial.resources.cores)
    torch.manual_seed(trial.rng_seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts = load_parts(settings)
    mean, spread = (torch.from_numpy(each).to(device) for each in _scale(parts.x))
    x, y, x_held, y_held = (torch.from_numpy(each).to(device) for each in _arrays(parts))

    def scaled(rows: torch.Tensor) -> torch.Tensor:
        return (rows.float() - mean) / spread

    network = build(settings, tuple(parts.x.shape[1:]), parts.classes).to(device)
    optimizer = build_optimizer(settings, network)
    file = trial.checkpoint_dir / "last.pt"
    done, score = _load(file, network, optimizer, device)
    for epoch in range(done + 1, settings["epochs"] + 1):
        network.train()
        for rows in torch.randperm(len(y)).to(device).split(settings["batch_size"]):
            if len(rows) == 1 and len(y) > 1:
                continue  # batch normalization needs two rows
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(scaled(x[rows])), y[rows]).backward()
            optimizer.step()
        score = accuracy(network, scaled, x_held, y_held)
        _save(file, network, optimizer, epoch, score)
        trial.report(score, step=epoch)
    return score


def accuracy(
    network: nn.Module, scaled: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, y: torch.Tensor
) -> float:
    """The fraction of the rows that the network classifies correctly."""
    network.eval()
    parts = zip(x.split(SCORED_AT_ONCE), y.split(SCORED_AT_ONCE), strict=True)
    with torch.no_grad():
        return sum(int((network(scaled(rows)).argmax(1) == classes).sum()) for rows, classes in parts) / len(y)


def activation(settings: dict[str, Any]) -> nn.Module:
    """A layer with the activation that the settings name."""
    made: nn.Module = getattr(nn, ACTIVATIONS[settings["activation"]])()
    return made


def build_optimizer(settings: dict[str, Any], network: nn.Module) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW."""
    lr, decay = settings["lr"], settings["weight_decay"]
    if settings["optimizer"] == "sgd":
        return torch.optim.SGD(network.parameters(), lr=lr, momentum=settings["momentum"], weight_decay=decay)
    return torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=decay)


def _arrays(parts: Parts) -> tuple[np.ndarray[Any, Any], ...]:
    return tuple(np.require(each, requirements=["C", "W"]) for each in (parts.x, parts.y, parts.x_held, parts.y_held))


def _scale(x: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Mean and standard deviation of each column, or of each channel; 1 for the deviation of what is constant."""
    axes = (0, 2, 3) if x.ndim == 4 else 0
    mean, spread = (getattr(x, of)(axes, dtype=np.float64, keepdims=True)[0] for of in ("mean", "std"))
    return mean.astype(np.float32), (spread + (spread == 0)).astype(np.float32)


def _load(file: Path, network: nn.Module, optimizer: torch.optim.Optimizer, device: str) -> tuple[int, float]:
    """Restore a saved state. Returns the last completed epoch and its score; (0, 0.0) without one.

    The optimizer keeps its own rates: another trial may have saved the state, in population-based training.
    """
    if not file.exists():
        return 0, 0.0
    saved = torch.load(file, map_location=device)
    network.load_state_dict(saved["network"])
    own = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(saved["optimizer"])
    for group, rates in zip(optimizer.param_groups, own, strict=True):
        group.update(rates)
    torch.set_rng_state(saved["rng"].cpu())
    return saved["epoch"], saved["score"]


def _save(file: Path, network: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, score: float) -> None:
    """Save the state for :func:`_load`, atomically."""
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
    part = file.with_suffix(".part")
    torch.save({**state, "epoch": epoch, "score": score}, part)
    os.replace(part, file)
