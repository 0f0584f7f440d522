"""A PyTorch network on a table: reports the accuracy on held-out rows after each epoch. To be maximized.

In a study file::

    objective: pilotune.objectives.torch_classifier:train
    direction: maximize
    space:
      data: flowers.csv               # or breast_cancer, digits, iris, wine (those need scikit-learn)
      target: species                 # the column with the class; default: the last one
      lr: {float: [1.0e-4, 1.0e-1], log: true}
      layers: {int: [1, 4]}
      units: {int: [16, 256], step: 16}
      optimizer: {choice: [sgd, adamw]}
      momentum: {float: [0.0, 0.99], when: {optimizer: sgd}}
      epochs: 27
    pruner: {name: hyperband, min_resource: 1, max_resource: 27, reduction_factor: 3}

:data:`DEFAULTS` lists the parameters with their defaults; a parameter with another name fails the trial. An attempt
that is interrupted continues from its last epoch. Uses a GPU where the trial has one. Needs PyTorch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # takes a second; the first optimizer imports it anyway, and here it is done once a worker
from torch import nn

from ..pipeline.trial import Trial
from .tables import load_table, split_rows

DEFAULTS: dict[str, Any] = {
    "data": "digits",
    "target": None,
    "held_out": 0.2,  # the fraction of the rows that is scored, not trained on
    "split_seed": 0,  # the same for every trial, so that trials compare
    "epochs": 27,
    "batch_size": 32,
    "lr": 1e-3,
    "optimizer": "adamw",  # or sgd
    "momentum": 0.9,  # of sgd
    "weight_decay": 1e-4,
    "layers": 2,  # hidden ones
    "units": 64,  # in each
    "dropout": 0.0,
    "activation": "relu",  # or tanh, gelu, silu
}
ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh", "gelu": "GELU", "silu": "SiLU"}


def train(trial: Trial) -> float:
    """Train the network. Returns the accuracy on the held-out rows after the last epoch, 0..1.

    Raises:
        ValueError: A parameter that is not in :data:`DEFAULTS`, or a value that is not offered.
    """
    params = settings(trial.params)
    torch.set_num_threads(trial.resources.cores)
    torch.manual_seed(trial.rng_seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, y, x_held, y_held = (part.to(device) for part in tensors(params))
    classes = int(max(y.max(), y_held.max())) + 1
    network = build_network(params, x.shape[1], classes).to(device)
    optimizer = build_optimizer(params, network)
    file = trial.checkpoint_dir / "last.pt"
    done, score = _load(file, network, optimizer, device)
    for epoch in range(done + 1, params["epochs"] + 1):
        network.train()
        for rows in torch.randperm(len(y)).to(device).split(params["batch_size"]):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            score = float((network(x_held).argmax(1) == y_held).float().mean())
        _save(file, network, optimizer, epoch, score)
        trial.report(score, step=epoch)
    return score


def settings(params: dict[str, Any]) -> dict[str, Any]:
    """``params`` over :data:`DEFAULTS`. Raises ValueError as :func:`train` does."""
    unknown = [name for name in params if name not in DEFAULTS]
    if unknown:
        raise ValueError(f"there is no parameter {', '.join(unknown)}; the parameters are {', '.join(DEFAULTS)}")
    found = DEFAULTS | {name: value for name, value in params.items() if value is not None}
    for name, offered in {"optimizer": ["adamw", "sgd"], "activation": list(ACTIVATIONS)}.items():
        if found[name] not in offered:
            raise ValueError(f"there is no {name} {found[name]!r}; offered are {', '.join(offered)}")
    return found


def tensors(params: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """Features and classes of the training rows, then of the held-out ones; features scaled by the training rows."""
    x, y = load_table(params["data"], params["target"])
    train_rows, held_rows = split_rows(y, params["held_out"], params["split_seed"])
    mean, spread = x[train_rows].mean(0), x[train_rows].std(0)
    x = (x - mean) / (spread + (spread == 0))  # a constant column becomes 0
    return tuple(torch.from_numpy(part[rows]) for rows in (train_rows, held_rows) for part in (x, y))


def build_network(params: dict[str, Any], features: int, classes: int) -> nn.Module:
    """``layers`` hidden layers of ``units`` units, each with activation and dropout, then a linear layer."""
    parts: list[nn.Module] = []
    width = features
    for _ in range(params["layers"]):
        parts += [nn.Linear(width, params["units"]), getattr(nn, ACTIVATIONS[params["activation"]])()]
        parts += [nn.Dropout(params["dropout"])]
        width = params["units"]
    return nn.Sequential(*parts, nn.Linear(width, classes))


def build_optimizer(params: dict[str, Any], network: nn.Module) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW."""
    lr, decay = params["lr"], params["weight_decay"]
    if params["optimizer"] == "sgd":
        return torch.optim.SGD(network.parameters(), lr=lr, momentum=params["momentum"], weight_decay=decay)
    return torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=decay)


def _load(file: Path, network: nn.Module, optimizer: torch.optim.Optimizer, device: str) -> tuple[int, float]:
    """Restore a saved state. Returns the last completed epoch and its score; (0, 0.0) without one."""
    if not file.exists():
        return 0, 0.0
    saved = torch.load(file, map_location=device)
    network.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(saved["rng"].cpu())
    return saved["epoch"], saved["score"]


def _save(file: Path, network: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, score: float) -> None:
    """Save the state for :func:`_load`, atomically."""
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
    part = file.with_suffix(".part")
    torch.save({**state, "epoch": epoch, "score": score}, part)
    os.replace(part, file)
