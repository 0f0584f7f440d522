"""The objective of the experiment on population-based training: a convolutional network on scikit-learn's digits.

Its accuracy on the validation images is reported after each epoch. The accuracy on the test images is noted beside the
result; no method sees it. Weights, momentum and the state of the random generator are in the checkpoint; the rates are
the trial's own at every start.
"""

from __future__ import annotations

import torch
import torch._dynamo  # creating the first optimizer imports it, which takes a second; here it is done once per worker
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import pilotune

TRAINING, HELD_OUT = 500, 500
"""Images to train on, and images in each of the validation split and the test split."""


def images(seed: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Images (n, 1, 8, 8) and digits (n,) of the three splits."""
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(digits.target)
    rest, test = train_test_split(range(len(y)), test_size=HELD_OUT, stratify=y, random_state=seed)
    train, validation = train_test_split(
        rest, train_size=TRAINING, test_size=HELD_OUT, stratify=y[rest], random_state=seed
    )
    return {name: (x[rows], y[rows]) for name, rows in (("train", train), ("validation", validation), ("test", test))}


def network(dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(dropout), nn.Linear(128, 10),
    )  # fmt: skip


def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    model.eval()
    with torch.no_grad():
        found = 100.0 * float((model(x).argmax(1) == y).float().mean())
    model.train()
    return found


def train(trial: pilotune.Trial) -> float:
    torch.set_num_threads(1)
    torch.manual_seed(trial.rng_seed)
    params = trial.params
    splits = images(params["split"])
    model = network(params["dropout"])
    optimizer = torch.optim.SGD(model.parameters(), lr=params["lr"], momentum=params["momentum"])
    saved, done, score = trial.checkpoint_dir / "last.pt", 0, 0.0
    if saved.exists():
        state = torch.load(saved)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        done, score = state["epoch"], state["score"]
    for group in optimizer.param_groups:  # those in the checkpoint may be those of the trial that it was copied from
        group.update(lr=params["lr"], momentum=params["momentum"], weight_decay=params["weight_decay"])
    x, y = splits["train"]
    for epoch in range(done + 1, params["epochs"] + 1):
        for rows in torch.randperm(len(y)).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        score = accuracy(model, *splits["validation"])
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
        part = saved.with_suffix(".part")
        torch.save({**state, "epoch": epoch, "score": score}, part)
        part.replace(saved)
        trial.report(score, step=epoch)
    trial.set_user_attr("test", accuracy(model, *splits["test"]))
    return score
