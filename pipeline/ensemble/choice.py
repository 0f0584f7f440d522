"""Chooses an ensemble from stored predictions, and compares it with the single best model on rows it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import UserError
from ...grammar import count
from . import scores
from .held import CLASSES, NORMAL, Predictions
from .losses import Loss, of_classes, of_normals
from .selection import greedy, top_k

MEMBERS = 8
"""Members of an ensemble at most, where nothing else is said."""

LOSSES = {NORMAL: ("nll", "crps", "rmse"), CLASSES: ("nll", "accuracy")}
"""What an ensemble may be chosen by, by what it predicts."""

TITLES = {
    "nll": "NLL",
    "nll_matched": "NLL matched",
    "crps": "CRPS",
    "rmse": "RMSE",
    "coverage": "90 % covers",
    "accuracy": "accuracy",
    "log_loss": "log loss",
}
"""How tables call the scores of :func:`all_scores`."""

ASIDE = 1 / 3
"""Share of the held-out rows that the selection does not see, where the trials have kept no other rows."""

LEVEL = 0.9
"""Of the interval whose coverage is shown."""


@dataclass(frozen=True)
class Choice:
    """An ensemble that was chosen.

    Attributes:
        predictions: Of all models, for the rows that the selection saw.
        check: The same models' for the rows that it did not see.
        weights: Of each model; 0 for those that were not chosen.
        losses: Of each model by itself, on the rows that the selection saw; small is good.
        loss: The name of that loss.
    """

    predictions: Predictions
    check: Predictions
    weights: np.ndarray
    losses: np.ndarray
    loss: str

    @property
    def members(self) -> list[int]:
        """The models with a weight, by index, the heaviest first."""
        order = sorted(np.flatnonzero(self.weights), key=lambda each: (-self.weights[each], self.losses[each]))
        return [int(each) for each in order]

    @property
    def best(self) -> int:
        """The model with the smallest loss, by index."""
        return int(self.losses.argmin())

    @property
    def score(self) -> str:
        """The score in :func:`all_scores` that belongs to the loss."""
        return "log_loss" if (self.predictions.kind, self.loss) == (CLASSES, "nll") else self.loss

    def own(self, model: int) -> float:
        """The :attr:`score` of this model by itself, on the rows that the selection saw."""
        return all_scores(self.predictions, self.alone(model))[self.score]

    def scores(self, weights: np.ndarray) -> dict[str, float]:
        """How good the ensemble with these weights is on the rows that the selection did not see, by name."""
        return all_scores(self.check, weights)

    def alone(self, model: int) -> np.ndarray:
        """The weights of an ensemble of this model only."""
        return np.asarray(np.arange(len(self.weights)) == model, dtype=float)


def choose(
    held: Predictions,
    check: Predictions | None = None,
    *,
    members: int | None = None,
    select: str = "greedy",
    loss: str = "nll",
    bags: int = 0,
    seed: int = 0,
) -> Choice:
    """Choose the members of an ensemble and their weights.

    Args:
        held: The predictions to choose by.
        check: Those for rows that the selection does not see, of the same trials. Without them a third of the rows of
            ``held``, drawn at random, is set aside.
        members: Different models at most; ``topk`` takes so many. Default: :data:`MEMBERS`, or all if they are fewer.
        select: ``greedy`` or ``topk``.
        loss: One of :data:`LOSSES`.
        bags: Of ``greedy``.
        seed: Of the bags, and of the rows that are set aside.

    Raises:
        UserError: More members than models are asked for, the loss is of another kind of predictions, or there are too
            few rows.
    """
    models = len(held.trials)
    if members is not None and members > models:
        only = f"only {count(models, 'trial')} {'has' if models == 1 else 'have'}"
        raise UserError(f"--members {members}: {only} predictions to choose from; give {models} or fewer")
    if loss not in LOSSES[held.kind]:
        what = "classes" if held.kind == CLASSES else "numbers"
        raise UserError(f"--loss {loss}: the trials predict {what}; give {' or '.join(LOSSES[held.kind])}")
    if check is None:
        held, check = set_aside(held, seed)
    made = loss_of(held, loss)
    wanted = min(MEMBERS, models) if members is None else members
    weights = top_k(made.alone, wanted) if select == "topk" else greedy(made, wanted, bags=bags, seed=seed)
    return Choice(held, check, weights, made.alone, loss)


def set_aside(held: Predictions, seed: int) -> tuple[Predictions, Predictions]:
    """The rows to choose by, and a third that is drawn at random. Raises UserError for fewer than two rows."""
    rows = len(held.y)
    aside = max(1, round(ASIDE * rows))
    if aside == rows:
        raise UserError("held.npz has 1 row, but one is needed to choose members by and another to check them with")
    order = np.random.default_rng(seed).permutation(rows)
    return held.rows(np.sort(order[aside:])), held.rows(np.sort(order[:aside]))


def loss_of(predictions: Predictions, name: str) -> Loss:
    """The loss of this name, of these predictions."""
    if predictions.kind == CLASSES:
        return of_classes(name, predictions.probabilities, predictions.y)
    return of_normals(name, predictions.mean, predictions.std, predictions.y)


def all_scores(predictions: Predictions, weights: np.ndarray) -> dict[str, float]:
    """Every score of the ensemble with these weights, by name."""
    y = predictions.y
    if predictions.kind == CLASSES:
        found = predictions.probabilities
        return {"accuracy": scores.accuracy(found, y, weights), "log_loss": scores.log_loss(found, y, weights)}
    mean, std = predictions.mean, predictions.std
    return {
        "nll": scores.nll(mean, std, y, weights),
        "nll_matched": scores.nll_matched(mean, std, y, weights),
        "crps": scores.crps(mean, std, y, weights),
        "rmse": scores.rmse(mean, y, weights),
        "coverage": scores.coverage(mean, std, y, LEVEL, weights),
    }


def calibration_curves(choice: Choice, best: str) -> tuple[str, str, str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """What a picture of the calibration shows, on the rows that the selection did not see.

    Args:
        choice: The ensemble.
        best: The name of the best model.

    Returns:
        The labels of what is said and what is found, a caption, and by name the shares that are said and found.
    """
    check, everyone = choice.check, {"the ensemble": choice.weights, best: choice.alone(choice.best)}
    rows = f"{count(len(check.y), 'row')} that the selection has not seen"
    if check.kind == CLASSES:
        curves = {name: scores.reliability(check.probabilities, check.y, each) for name, each in everyone.items()}
        caption = f"How often the most probable class is true, on {rows}. Below the diagonal it is overconfident."
        return "probability of the class", "share of right rows", caption, curves
    levels = np.linspace(0.05, 0.95, 19)
    curves = {
        name: (levels, np.array(scores.calibration(check.mean, check.std, check.y, list(levels), each)))
        for name, each in everyone.items()
    }
    caption = f"How many true values lie inside the central interval, on {rows}. Below the diagonal it is too narrow."
    return "probability of the interval", "share of rows inside", caption, curves
