"""Forecasts of the sea's temperature: the next eight weeks of five POD coefficients from the last eight.

The data are NOAA's weekly means, reduced to five coefficients a week (427 weeks of 1981 to 1989). They are read from
the folder ``sst_pod`` in PILOTUNE_DATA; the files True_Train.npy and True_Test_0_700.npy are in the repository
Romit-Maulik/POD_RKHS on GitHub.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import mse_loss

import pilotune
from pilotune.architecture import build

WEEKS = 8
"""Weeks that a network sees, and weeks that it forecasts."""

GAP = 15
"""Windows that are left out between training and validation, so that no week is in both."""

BATCH = 32


def weeks(name: str) -> np.ndarray:
    """The coefficients of a file, (weeks, 5), scaled as the training weeks are: from -1 to 1."""
    folder = Path(os.environ.get("PILOTUNE_DATA", "data")) / "sst_pod"
    train = np.load(folder / "True_Train.npy").T
    low, high = train.min(0), train.max(0)
    return (2 * (np.load(folder / name).T - low) / (high - low) - 1).astype(np.float32)


def windows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All windows: eight weeks and the eight after them, (windows, 8, 5) each."""
    starts = range(len(values) - 2 * WEEKS + 1)
    return (
        np.stack([values[at : at + WEEKS] for at in starts]),
        np.stack([values[at + WEEKS : at + 2 * WEEKS] for at in starts]),
    )


def splits(kind: str, seed: int) -> tuple[np.ndarray, ...]:
    """Inputs and outputs to train on, and to validate with.

    Args:
        kind: ``blocked``: the last fifth is for validation. ``shuffled``: any fifth, as published, so that most weeks
            of validation are in windows of training, too.
        seed: Of the shuffling.
    """
    x, y = windows(weeks("True_Train.npy"))
    held = len(x) // 5
    if kind == "shuffled":
        order = np.random.default_rng(seed).permutation(len(x))
        train, valid = order[held:], order[:held]
    else:
        train, valid = np.arange(len(x) - held - GAP), np.arange(len(x) - held, len(x))
    return x[train], y[train], x[valid], y[valid]


def r2(truth: np.ndarray, forecast: np.ndarray) -> float:
    """The mean of R2 over the 40 outputs."""
    truth, forecast = truth.reshape(len(truth), -1), forecast.reshape(len(forecast), -1)
    return float(np.mean(1 - ((truth - forecast) ** 2).sum(0) / ((truth - truth.mean(0)) ** 2).sum(0)))


def fitted(
    net: torch.nn.Module, x: np.ndarray, y: np.ndarray, lr: float, epochs: int, schedule: str, after_epoch=None
) -> None:
    """Train a network with Adam in batches of 32.

    Args:
        net: The network.
        x: Its inputs.
        y: What it should forecast.
        lr: The learning rate; with ``one-cycle`` the highest one.
        epochs: How often each window is seen.
        schedule: ``constant``, or ``one-cycle``: the rate rises and falls. A constant rate that is a little too high
            overfits these few windows.
        after_epoch: Called with the number of each epoch.
    """
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    inputs, outputs = torch.from_numpy(x), torch.from_numpy(y)
    steps = epochs * math.ceil(len(inputs) / BATCH)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps) if schedule == "one-cycle" else None
    for epoch in range(1, epochs + 1):
        net.train()
        for rows in torch.randperm(len(inputs)).split(BATCH):
            optimizer.zero_grad()
            mse_loss(net(inputs[rows]), outputs[rows]).backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
        if after_epoch is not None:
            after_epoch(epoch)


def forecast(net: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    """What a network forecasts."""
    net.eval()
    with torch.no_grad():
        return net(torch.from_numpy(x)).numpy()


def train(trial: pilotune.Trial) -> float:
    """The R2 of the last epoch on the validation windows."""
    torch.set_num_threads(1)
    torch.manual_seed(trial.rng_seed)
    params = trial.params
    x, y, x_valid, y_valid = splits(params["split"], params["seed"])
    net, scores = build(params, "net"), []

    def report(epoch: int) -> None:
        scores.append(r2(y_valid, forecast(net, x_valid)))
        trial.report(scores[-1], epoch)

    fitted(net, x, y, params["lr"], params["epochs"], params["schedule"], report)
    return scores[-1]
