"""Train a small convolutional network on scikit-learn's handwritten digits (1,797 images of 8 x 8 pixels).

:func:`train` is the objective of ``study.yaml``. It uses the training and the validation images; ``evaluate.py`` uses
the test images.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # creating the first optimizer imports it, which takes a second; here it is done once per worker
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import pilotune

SPLIT_SEED = 0
HELD_OUT = 360  # images in the validation split, and as many in the test split


def images(part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images (n, 1, 8, 8; scaled to 0..1) and digits (n,) of ``part``: "train", "validation" or "test"."""
    digits = load_digits()
    rest, test = train_test_split(
        range(len(digits.target)), test_size=HELD_OUT, stratify=digits.target, random_state=SPLIT_SEED
    )
    train, validation = train_test_split(
        rest, test_size=HELD_OUT, stratify=digits.target[rest], random_state=SPLIT_SEED
    )
    rows = {"train": train, "validation": validation, "test": test}[part]
    return torch.tensor(digits.images[rows], dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target[rows])


def build_network(params: dict[str, Any]) -> nn.Sequential:
    """Build ``depth`` convolutions of ``width`` channels, with pooling after the first, and a linear layer."""
    layers: list[nn.Module] = []
    channels = 1
    for layer in range(params["depth"]):
        layers += [nn.Conv2d(channels, params["width"], 3, padding=1, bias=False), nn.BatchNorm2d(params["width"])]
        layers += [nn.ReLU()] + ([nn.MaxPool2d(2)] if layer == 0 else [])
        channels = params["width"]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(params["dropout"]), nn.Linear(channels * 16, 10))


def build_optimizer(network: nn.Module, params: dict[str, Any]) -> torch.optim.Optimizer:
    """Build the optimizer that ``params`` names: SGD with momentum, or AdamW."""
    common = {"lr": params["lr"], "weight_decay": params["weight_decay"]}
    if params["optimizer"] == "sgd":
        return torch.optim.SGD(network.parameters(), momentum=params["momentum"], **common)
    return torch.optim.AdamW(network.parameters(), **common)


def train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: torch.Tensor,
    y: torch.Tensor,
    params: dict[str, Any],
    epoch: int,
) -> None:
    """Pass once over all images, in random order. The learning rate follows half a cosine over the epochs."""
    for group in optimizer.param_groups:
        group["lr"] = params["lr"] * (1 + math.cos(math.pi * (epoch - 1) / params["epochs"])) / 2
    network.train()
    for rows in torch.randperm(len(y)).split(params["batch_size"]):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
        optimizer.step()


@torch.no_grad()
def accuracy(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the share of images that the network classifies correctly, 0..1."""
    network.eval()
    return (network(x).argmax(1) == y).float().mean().item()


def train(trial: pilotune.Trial) -> float:
    """The objective. Returns the accuracy on the validation images after the last epoch."""
    params = trial.params
    torch.set_num_threads(trial.resources.cores)
    torch.manual_seed(trial.rng_seed)
    x, y = images("train")
    held_out = images("validation")
    network = build_network(params)
    optimizer = build_optimizer(network, params)

    # If an earlier attempt was interrupted (a lost node, the end of a batch job), continue from its last saved epoch.
    checkpoint = Path(trial.checkpoint_dir) / "last.pt"
    score, done = 0.0, 0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["rng"])
        score, done = saved["score"], saved["epoch"]

    for epoch in range(done + 1, params["epochs"] + 1):
        train_epoch(network, optimizer, x, y, params, epoch)
        score = accuracy(network, *held_out)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
        save({**state, "score": score, "epoch": epoch}, checkpoint)
        trial.report(score, step=epoch)  # raises TrialPruned when Hyperband ends this trial
    return score


def save(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` so that ``path`` is complete at every moment, even if the job is killed in between."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)
