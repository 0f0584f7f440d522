"""DHPO's network for MNIST: two convolutions of 2 and 4 channels, trained by stochastic gradient descent.

``dhpo_network.c`` trains it ten times faster than PyTorch, to the same weights. It is compiled with ``cc`` when it is
first needed; where there is no compiler, PyTorch does the work.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

BATCH = 128
MEAN, DEVIATION = 0.1307, 0.3081
FLAGS = ("-O2", "-march=native", "-ftree-vectorize", "-funroll-loops", "-shared", "-fPIC")


@dataclass(frozen=True)
class Rates:
    """The three hyperparameters of DHPO."""

    lr: float
    momentum: float
    dropout: float


class Images:
    """Images as bytes (n, 1, 28, 28) with their classes (n,)."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x = np.ascontiguousarray(x, np.uint8)
        self.y = np.ascontiguousarray(y, np.uint8)

    def __len__(self) -> int:
        return len(self.y)


def layers(dropout: float) -> nn.Sequential:
    """The network in PyTorch: weights as it draws them, and the reference for the compiled code."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(2, 4, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Dropout(dropout), nn.Linear(64, 10),
    )  # fmt: skip


class Network:
    """A network in training.

    Args:
        rates: Its hyperparameters.
        seed: Of its first weights, as ``torch.manual_seed`` gives them, and of dropout.
        compiled: Whether the compiled code does the work.

    Attributes:
        dead: No image has any feature above zero, or the weights are infinite: its accuracy stays that of one class, so
            that it is not trained any further. Known of compiled networks only.
    """

    def __init__(self, rates: Rates, seed: int, compiled: bool = True) -> None:
        self.rates, self.seed, self.steps, self.dead = rates, seed, 0, False
        self.compiled = compiled and library() is not None
        torch.manual_seed(seed)
        self.module = layers(rates.dropout)
        self.weights = nn.utils.parameters_to_vector(self.module.parameters()).detach().numpy().copy()
        self.velocity = np.zeros_like(self.weights)
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=rates.lr, momentum=rates.momentum)

    def train(self, images: Images, order: np.ndarray) -> None:
        """Pass once over the rows ``order``."""
        self.steps += 1
        if self.dead:
            return
        if self.compiled:
            seed = self.seed * 1000 + self.steps
            rates = self.rates
            alive = library().train(
                *_rows(images, order), BATCH, _at(self.weights), _at(self.velocity), ctypes.c_float(rates.lr),
                ctypes.c_float(rates.momentum), ctypes.c_float(rates.dropout), ctypes.c_uint64(seed),
            )  # fmt: skip
            self.dead = not alive or not np.isfinite(self.weights).all()
            return
        self.module.train()
        for begin in range(0, len(order), BATCH):
            rows = order[begin : begin + BATCH]
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.module(_floats(images, rows)), _classes(images, rows)).backward()
            self.optimizer.step()
        self.weights = nn.utils.parameters_to_vector(self.module.parameters()).detach().numpy().copy()

    def accuracy(self, images: Images, order: np.ndarray) -> float:
        """The percentage of the rows ``order`` that is classified correctly."""
        if self.compiled:
            right = library().correct(*_rows(images, order), _at(self.weights))
            return 100.0 * float(right) / len(order)
        self.module.eval()
        with torch.no_grad():
            found = self.module(_floats(images, order)).argmax(1)
        return 100.0 * float((found == _classes(images, order)).float().mean())


@functools.cache
def library() -> Any:
    """The compiled code; None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "dhpo_network.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, *FLAGS, "-o", str(made), str(source), "-lm"], check=True)
        return ctypes.CDLL(str(made))


def _rows(images: Images, order: np.ndarray) -> tuple[Any, ...]:
    order = np.ascontiguousarray(order, np.int32)
    return _at(images.x), _at(images.y), _at(order), len(order)


def _at(array: np.ndarray) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)


def _floats(images: Images, rows: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(images.x[rows]).float() / 255 - MEAN) / DEVIATION


def _classes(images: Images, rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.y[rows].astype(np.int64))
