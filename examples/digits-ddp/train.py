"""Train a small network on scikit-learn's handwritten digits with ``DistributedDataParallel``.

:func:`train` is the objective of ``study.yaml``. Pilotune calls it once in each rank of a trial; their number is a
parameter of the trial.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # creating the first optimizer imports it, which takes a second; here it is done once per worker
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import pilotune

HELD_OUT = 360  # images to validate with
BASE_BATCH = 32


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Return all images (n, 64; scaled to 0..1) and digits (n,), in an order that is always the same."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    return torch.tensor(digits.data, dtype=torch.float32)[order] / 16, torch.tensor(digits.target)[order]


def scaled_rate(params: dict[str, Any], ranks: int) -> float:
    """The linear scaling rule: with k times as many images a step, k times the learning rate."""
    return float(params["base_lr"] * params["batch_size"] * ranks / BASE_BATCH)


def train(trial: pilotune.Trial) -> dict[str, float]:
    """The objective. Returns the accuracy on the validation images after the last epoch, and the seconds it took."""
    began, params = time.monotonic(), trial.params
    dist.init_process_group("gloo")  # on GPUs "nccl", and torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.manual_seed(trial.rng_seed)  # the same on all ranks, so that they begin with the same network
    x, y = images()
    network = nn.Sequential(nn.Linear(64, params["width"]), nn.ReLU(), nn.Linear(params["width"], 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=scaled_rate(params, trial.world_size), momentum=0.9)

    # If an earlier attempt was interrupted (a lost node, the end of a batch job), every rank continues from its epoch.
    checkpoint = trial.checkpoint_dir / "last.pt"
    score, done = 0.0, 0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        score, done = saved["score"], saved["epoch"]

    model = DistributedDataParallel(network)
    for epoch in range(done + 1, params["epochs"] + 1):
        train_epoch(model, optimizer, x[HELD_OUT:], y[HELD_OUT:], trial, epoch)
        score = accuracy(network, x[:HELD_OUT], y[:HELD_OUT])
        if trial.rank == 0:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            save({**state, "score": score, "epoch": epoch}, checkpoint)
        trial.report(
            score, step=epoch
        )  # on every rank; raises TrialPruned on all of them when Hyperband ends this trial
    return {"value": score, "seconds": time.monotonic() - began}


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: torch.Tensor,
    y: torch.Tensor,
    trial: pilotune.Trial,
    epoch: int,
) -> None:
    """Pass once over all images, in an order that depends on the epoch; each rank takes its part of each step."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(epoch))
    size = trial.params["batch_size"] * trial.world_size
    for start in range(0, len(y) - size + 1, size):
        rows = order[start + trial.rank : start + size : trial.world_size]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()


@torch.no_grad()
def accuracy(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the share of images that the network classifies correctly, 0..1."""
    return float((network(x).argmax(1) == y).float().mean())


def save(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` so that ``path`` is complete at every moment, even if the job is killed in between."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)
