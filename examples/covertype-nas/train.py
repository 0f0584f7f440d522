"""A network that tells the kind of forest from 54 numbers of a place: elevation, slope, soil, ...

The table is UCI's Covertype: a file ``covertype/covertype_93k.csv.gz`` in the folder that PILOTUNE_DATA names, with 54
columns and the kind of forest, 1 to 7, as the last one.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy

import pilotune
from pilotune.architecture import build

Split = tuple[torch.Tensor, torch.Tensor]


@functools.cache
def splits() -> dict[str, Split]:
    """Training, validation and test rows: 60, 20 and 20 %, standardized as the training rows are."""
    file = Path(os.environ.get("PILOTUNE_DATA", "data")) / "covertype/covertype_93k.csv.gz"
    table = pd.read_csv(file).to_numpy(np.float32)
    x, y = table[:, :-1], table[:, -1].astype(np.int64) - 1
    train, rest = train_test_split(np.arange(len(y)), train_size=0.6, stratify=y, random_state=0)
    valid, test = train_test_split(rest, train_size=0.5, stratify=y[rest], random_state=0)
    mean, spread = x[train].mean(0), x[train].std(0)
    x = (x - mean) / np.where(spread > 0, spread, 1)
    chosen = {"train": train, "valid": valid, "test": test}
    return {name: (torch.from_numpy(x[rows]), torch.from_numpy(y[rows])) for name, rows in chosen.items()}


def accuracy(net: torch.nn.Module, split: Split) -> float:
    """The share of the rows that a network classifies rightly."""
    net.eval()
    with torch.no_grad():
        return (net(split[0]).argmax(1) == split[1]).float().mean().item()


def fitted(params: dict, rows: int | None) -> torch.nn.Module:
    """A network of the space, trained.

    Args:
        params: The trial's.
        rows: How many training rows; None for all.
    """
    net = build(params, "net")
    for _ in epochs_of(net, params["lr"], params["batch"], params["epochs"], params["schedule"], rows):
        pass
    return net


def epochs_of(
    net: torch.nn.Module, lr: float, size: int, epochs: int, schedule: str, rows: int | None
) -> Iterator[int]:
    """Train a network with Adam; after each epoch comes its number.

    Args:
        net: The network.
        lr: The learning rate; with ``one-cycle`` the highest one.
        size: Rows in a batch.
        epochs: How often each row is seen.
        schedule: ``constant``, or ``one-cycle``: the rate rises and falls.
        rows: How many training rows; None for all.
    """
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    x, y = (part[:rows] for part in splits()["train"])
    steps = epochs * math.ceil(len(y) / size)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps) if schedule == "one-cycle" else None
    for epoch in range(1, epochs + 1):
        net.train()
        for batch in torch.randperm(len(y)).split(size):
            optimizer.zero_grad()
            cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
        yield epoch


def train(trial: pilotune.Trial) -> float:
    """The accuracy on the validation rows after the last epoch."""
    torch.set_num_threads(1)
    torch.manual_seed(trial.rng_seed)
    params, score = trial.params, 0.0
    net = build(params, "net")
    for epoch in epochs_of(net, params["lr"], params["batch"], params["epochs"], params["schedule"], params["rows"]):
        score = accuracy(net, splits()["valid"])
        trial.report(score, epoch)
    return score
