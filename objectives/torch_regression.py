"""Trains a PyTorch network whose output is a Normal distribution: a mean and a standard deviation for each row.

Its recipe is a set of parameters, so that it can be searched together with the network: with the likelihood alone as
loss, a network learns large deviations first, and then hardly improves its mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .torch_training import activation, nn, torch

Array = np.ndarray[Any, Any]

RECIPE: dict[str, Any] = {
    "layers": 2,  # hidden ones
    "units": 64,  # in each
    "activation": "silu",  # or relu, tanh, gelu
    "dropout": 0.0,
    "loss": "beta_nll",  # or nll, warm_up
    "beta": 0.5,  # of beta_nll: 0 is nll, and with 1 the mean is learnt as by squared errors
    "warm_up": 0.3,  # of warm_up: the fraction of the epochs with squared errors, before nll
    "epochs": 200,
    "batch_size": 32,
    "lr": 3e-3,
    "schedule": "one-cycle",  # or constant
    "weight_decay": 1e-4,
    "best_weights": True,  # those of the epoch with the best likelihood of the held-out rows; or those of the last one
}
"""The parameters of network and training, with defaults."""

OFFERED: dict[str, tuple[str, ...]] = {
    "loss": ("nll", "beta_nll", "warm_up"),
    "schedule": ("one-cycle", "constant"),
    "activation": ("relu", "tanh", "gelu", "silu"),
}
LEAST_STD = 1e-3
"""The least standard deviation, as a fraction of that of the training rows."""

ROOT = math.log(2 * math.pi) / 2
AT_ONCE = 10_000
"""Rows that are predicted together."""


class NormalNetwork(nn.Module):  # type: ignore[misc]  # PyTorch is not there where types are checked
    """A multilayer perceptron that gives a mean and a standard deviation for each row.

    The scales of features and target are kept with the weights, so it takes and gives numbers as they are in the table.

    Args:
        columns: The number of features.
        recipe: Values for all parameters in :data:`RECIPE`.

    Example:
        >>> network = NormalNetwork(3, RECIPE)
        >>> mean, std = network(torch.zeros(5, 3))
        >>> mean.shape, bool((std > 0).all())
        (torch.Size([5]), True)
    """

    def __init__(self, columns: int, recipe: Mapping[str, Any]) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        width = columns
        for _ in range(recipe["layers"]):
            parts += [nn.Linear(width, recipe["units"]), activation(dict(recipe))]
            parts += [nn.Dropout(recipe["dropout"])] if recipe["dropout"] else []
            width = recipe["units"]
        self.body = nn.Sequential(*parts, nn.Linear(width, 2))
        for name, size in (("x_mean", columns), ("x_spread", columns), ("y_mean", 1), ("y_spread", 1)):
            self.register_buffer(name, torch.ones(size) if "spread" in name else torch.zeros(size))

    def scale(self, x: Array, y: Array) -> None:
        """Keep the scales of the rows that the network is trained on."""
        for name, values in (("x", x), ("y", y[:, None])):
            mean, spread = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
            constant = spread <= 1e-7 * abs(mean)  # such a column is all rounding
            getattr(self, f"{name}_mean").copy_(torch.from_numpy(mean))
            getattr(self, f"{name}_spread").copy_(torch.from_numpy(np.where(constant, 1.0, spread)))

    def scaled(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of scaled features, for a scaled target."""
        mean, width = self.body(x).unbind(1)
        return mean, nn.functional.softplus(width + 0.5413) + LEAST_STD  # at first the deviation is about 1

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = self.scaled((x - self.x_mean) / self.x_spread)
        return mean * self.y_spread + self.y_mean, std * self.y_spread


def predict_rows(network: NormalNetwork, x: Array) -> tuple[Array, Array]:
    """The mean and the standard deviation of each row, as float64."""
    network.eval()
    rows = torch.from_numpy(np.require(x, np.float32, ["C", "W"])).to(network.y_mean.device)
    with torch.no_grad():
        found = [torch.stack(network(part)) for part in rows.split(AT_ONCE)]
    mean, std = torch.cat(found, 1).double().cpu().numpy() if found else np.empty((2, 0))
    return mean, std


def nll(mean: Array, std: Array, y: Array) -> float:
    """The mean negative log likelihood of the targets.

    Example:
        >>> round(nll(np.zeros(1), np.ones(1), np.zeros(1)), 4)
        0.9189
    """
    return float(np.mean(((y - mean) / std) ** 2 / 2 + np.log(std)) + ROOT)


class Training:
    """A network in training, with what it takes to go on with it later.

    Args:
        network: Trained in place.
        recipe: Values for all parameters in :data:`RECIPE`.
        x: Features to train on.
        y: Their targets.
        x_held: Features of the rows that are scored after each epoch.
        y_held: Their targets.

    Attributes:
        epoch: The epochs that are done.
        score: The negative log likelihood of the held-out rows: the best one so far with ``best_weights``, otherwise
            that of the last epoch. NaN if the training diverged.
    """

    def __init__(
        self, network: NormalNetwork, recipe: Mapping[str, Any], x: Array, y: Array, x_held: Array, y_held: Array
    ) -> None:
        self.network, self.recipe = network, recipe
        network.scale(x, y)
        self._rows, self._held = self._tensors(x, y), self._tensors(x_held, y_held)
        self._unit = math.log(float(network.y_spread))
        decay, lr = recipe["weight_decay"], recipe["lr"]
        self._optimizer = torch.optim.AdamW(network.body.parameters(), lr=lr, weight_decay=decay, fused=True)
        steps = recipe["epochs"] * math.ceil(len(y) / recipe["batch_size"])
        one_cycle = recipe["schedule"] == "one-cycle" and steps > 1
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(self._optimizer, lr, steps) if one_cycle else None
        self._best: dict[str, torch.Tensor] | None = None
        self.epoch, self.score = 0, math.nan

    def _tensors(self, x: Array, y: Array) -> tuple[torch.Tensor, torch.Tensor]:
        net, device = self.network, self.network.y_mean.device
        rows, target = (torch.from_numpy(np.require(each, np.float32, ["C", "W"])).to(device) for each in (x, y))
        return (rows - net.x_mean) / net.x_spread, (target - net.y_mean) / net.y_spread

    def run(self) -> Iterator[int]:
        """Train on. Yields the number of each epoch when it is over; at the end the network has its final weights."""
        while self.epoch < self.recipe["epochs"]:
            self._train_epoch()
            self.epoch += 1
            score = self._held_score()
            if not math.isfinite(score):
                self.score = self.score if self._best else math.nan
                break
            if not self.recipe["best_weights"]:
                self.score = score
            elif self._best is None or score < self.score:
                self.score = score
                self._best = {name: each.clone() for name, each in self.network.state_dict().items()}
            yield self.epoch
        if self._best is not None:
            self.network.load_state_dict(self._best)

    def _train_epoch(self) -> None:
        self.network.train()
        x, y = self._rows
        batch = self.recipe["batch_size"]
        beta = self._beta()
        order = torch.randperm(len(y)).to(y.device)
        x, y = x[order], y[order]
        for start in range(0, len(y), batch):
            self._optimizer.zero_grad()
            mean, std = self.network.scaled(x[start : start + batch])
            error = y[start : start + batch] - mean
            if beta is None:
                loss = error.square()
            else:
                loss = (error / std).square() / 2 + std.log()
                if beta:
                    loss = loss * std.detach() ** (2 * beta)
            loss.mean().backward()
            self._optimizer.step()
            if self._schedule is not None:
                self._schedule.step()

    def _beta(self) -> float | None:
        """The exponent of the loss in this epoch; None for squared errors."""
        loss = self.recipe["loss"]
        if loss == "warm_up" and self.epoch < self.recipe["warm_up"] * self.recipe["epochs"]:
            return None
        return float(self.recipe["beta"]) if loss == "beta_nll" else 0.0

    def _held_score(self) -> float:
        self.network.eval()
        x, y = self._held
        with torch.no_grad():
            parts = [self.network.scaled(part) for part in x.split(AT_ONCE)]
            mean, std = (torch.cat(each) for each in zip(*parts, strict=True))
            return float((((y - mean) / std).square() / 2 + std.log()).mean()) + ROOT + self._unit

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs to go on from here to the same result."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict() if self._schedule is not None else None,
            "best": self._best,
            "rng": torch.get_rng_state(),
            "epoch": self.epoch,
            "score": self.score,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the rates of an optimizer without a schedule stay this training's own."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule is not None and state["schedule"] is not None:
            self._schedule.load_state_dict(state["schedule"])
        self._best, self.epoch, self.score = state["best"], state["epoch"], state["score"]
        torch.set_rng_state(state["rng"].cpu())
