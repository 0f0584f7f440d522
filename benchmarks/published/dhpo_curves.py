"""Trains a configuration of DHPO's experiments, by its protocol or by a clean one.

The first weights come from the seed, the same for all trials of a run. The published protocol trains on the whole
training part in the order of the file, and scores on the test part. (It was published with seed 0 only, whose weights
are others in another version of PyTorch; they decide on more than the method does.) The clean one scores on a sixth of
the training part, and draws the order from the seed.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pilotune
from benchmarks.published.dhpo_network import Images, Network, Rates
from benchmarks.published.search import Point
from benchmarks.quality.problems.folder import data_folder
from pilotune.objectives.images import load_images

PROTOCOLS = ("published", "clean")
PARTS = 9
"""An epoch of MNIST in parts, the steps of Hyperband."""
RUNGS = (1, 3)
CIFAR_EPOCHS = 2
CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_DEVIATION = (0.2023, 0.1994, 0.2010)


class Mnist:
    """One epoch of MNIST with the published network. Steps are ninths of the epoch."""

    full = PARTS

    def __init__(self, folder: str, protocol: str) -> None:
        self.clean = protocol == "clean"
        self.train, self.test = (Images(*load_images(folder, part)) for part in ("train", "test"))
        rows = np.arange(len(self.train))
        count = len(rows) // 6 if self.clean else 0
        self.rows, self.held = rows[: len(rows) - count], rows[len(rows) - count :]

    def __call__(self, params: dict[str, Any], seed: int, steps: bool) -> Iterator[Point]:
        rates = Rates(params["lr"], params["momentum"], params["dropout"])
        network = Network(rates, seed)
        order = np.random.default_rng(seed).permutation(self.rows) if self.clean else self.rows
        every = np.arange(len(self.test))
        for step, part in enumerate(np.array_split(order, PARTS), start=1):
            network.train(self.train, part)
            last = step == PARTS
            if last or (steps and step in RUNGS):
                test = network.accuracy(self.test, every) if last or not self.clean else 0.0
                yield Point(step, network.accuracy(self.train, self.held) if self.clean else test, test)


class Cifar:
    """Two epochs of 5,000 images with a small network of two convolutions, not the published one. Steps are epochs."""

    full = CIFAR_EPOCHS

    def __init__(self, folder: str, protocol: str) -> None:
        self.clean = protocol == "clean"
        mean, deviation = (torch.tensor(each)[:, None, None] for each in (CIFAR_MEAN, CIFAR_DEVIATION))
        parts = [load_images(folder, part) for part in ("train", "test")]
        (x, y), self.test = (
            ((torch.from_numpy(x.copy()).float() / 255 - mean) / deviation, torch.from_numpy(y)) for x, y in parts
        )
        count = len(y) // 5 if self.clean else 0
        self.train = x[: len(y) - count], y[: len(y) - count]
        self.held = x[len(y) - count :], y[len(y) - count :]

    def __call__(self, params: dict[str, Any], seed: int, steps: bool) -> Iterator[Point]:
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Dropout(params["dropout"]), nn.Linear(16 * 8 * 8, 10),
        )  # fmt: skip
        optimizer = torch.optim.SGD(network.parameters(), lr=params["lr"], momentum=params["momentum"])
        x, y = self.train
        for epoch in range(1, CIFAR_EPOCHS + 1):
            network.train()
            for rows in torch.randperm(len(y)).split(128):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
                optimizer.step()
            if epoch == CIFAR_EPOCHS:
                test = _accuracy(network, *self.test)
                yield Point(epoch, _accuracy(network, *self.held) if self.clean else test, test)


@torch.no_grad()
def _accuracy(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    network.eval()
    return 100.0 * float((network(x).argmax(1) == y).float().mean())


def train(trial: pilotune.Trial) -> float:
    """The clean protocol on MNIST as an objective, for ``pilotune run dhpo.yaml``."""
    score = 0.0
    for point in _mnist()(trial.params, trial.rng_seed, True):
        score = point.score
        trial.report(score, point.step)
    return score


@functools.cache
def _mnist() -> Mnist:
    return Mnist(str(data_folder() / "mnist"), "clean")
