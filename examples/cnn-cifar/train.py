"""A convolutional network for the ten classes of CIFAR-10.

The images are read from the binary files of CIFAR-10 (``data_batch_1.bin`` and others, or ``.bin.gz``) in the folder
``cifar10`` in PILOTUNE_DATA.
"""

from __future__ import annotations

import functools
import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import pilotune
from pilotune.architecture import build

HELD_OUT = 1000
"""Images to validate with."""


@functools.cache
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """All images, (n, 3, 32, 32) from -1 to 1, and their classes, (n,)."""
    folder = Path(os.environ.get("PILOTUNE_DATA", "data")) / "cifar10"
    files = sorted(folder.glob("data_batch*.bin*"))
    if not files:
        raise FileNotFoundError(f"{folder} has no data_batch_1.bin; README.md says where the images are from")
    data = b"".join((gzip.decompress if file.suffix == ".gz" else bytes)(file.read_bytes()) for file in files)
    rows = np.frombuffer(data, np.uint8).reshape(-1, 3073)
    pixels = torch.from_numpy(rows[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32))
    return pixels / 127.5 - 1, torch.from_numpy(rows[:, 0].astype(np.int64))


def train(trial: pilotune.Trial) -> float:
    """The accuracy on held-out images after the last epoch."""
    torch.set_num_threads(trial.resources.cores)
    torch.manual_seed(trial.rng_seed)
    x, y = images()
    x_valid, y_valid = x[:HELD_OUT], y[:HELD_OUT]
    x, y = (part[HELD_OUT : HELD_OUT + trial.params["images"]] for part in (x, y))
    net = build(trial.params, "net")
    optimizer = torch.optim.Adam(net.parameters(), lr=trial.params["lr"])
    score = 0.0
    for epoch in range(1, trial.params["epochs"] + 1):
        net.train()
        for rows in torch.randperm(len(y)).split(32):
            optimizer.zero_grad()
            cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            score = (net(x_valid).argmax(1) == y_valid).float().mean().item()
        trial.report(score, epoch)
    return score
