"""Chooses the members of an ensemble and their weights, from losses on stored predictions.

:func:`greedy` is the ensemble selection of Caruana, Niculescu-Mizil, Crew and Ksikes (2004), with repetition and, if
asked for, with bagging. It begins with one model: with the five best, as later variants do, ensembles that were chosen
from 80 models by 60 rows were neither better nor worse on new rows. :func:`top_k` takes the models that are best by
themselves. The order in which models are given changes nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .losses import Loss

STEPS = 100
"""Models are added so often at most. A weight is then a multiple of a hundredth or more."""
PATIENCE = 10
"""Adding stops after so many models that did not lower the loss: the next ones hardly change the weights."""
BAG = 0.5
"""Share of the models that a bag draws."""


def greedy(loss: Loss, members: int, *, bags: int = 0, seed: int = 0) -> np.ndarray:
    """Weights of an ensemble that grows by the model that lowers its loss most.

    It begins with the best model. Models may be added again, which raises their weight. Once the ensemble has
    ``members`` different models, only these are added again. Of all ensembles on the way the best is taken, so it is
    never worse than the best model, on the rows it is chosen with.

    With bags, each of them chooses in this way from half of the models, drawn at random; the weights are averaged, and
    the ``members`` models with the largest are kept. Where that is worse than the best model, the choice is made
    without bags.

    Args:
        loss: Of the models on rows that they were not trained with.
        members: Different models at most.
        bags: How many bags; 0 chooses once from all models.
        seed: Of the draws.

    Returns:
        A weight for each model, 0 for those that were not chosen; their sum is one.

    Raises:
        ValueError: There are fewer models than members, or a loss is not a number.

    Example:
        >>> from pilotune.pipeline.ensemble.losses import Rmse
        >>> greedy(Rmse([[0.0, 1.0], [2.0, 1.0], [9.0, 9.0]], [1.0, 1.0]), 2)
        array([0.5, 0.5, 0. ])
    """
    alone = _checked(loss.alone, members)
    order = np.argsort(alone, kind="stable")  # bags draw places in this order, so that the models' own does not matter
    if bags <= 0:
        return _grown(loss, order, members)
    generator = np.random.default_rng(seed)
    size = max(members, int(np.ceil(BAG * len(alone))))
    weights = np.zeros(len(alone))
    for _ in range(bags):
        places = np.sort(generator.choice(len(alone), size, replace=False))
        weights += _grown(loss, order[places], members) / bags
    heaviest = order[np.argsort(-weights[order], kind="stable")][:members]
    kept = np.zeros(len(alone))
    kept[heaviest] = weights[heaviest] / weights[heaviest].sum()
    return kept if loss.of(kept) <= alone[order[0]] else _grown(loss, order, members)


def _grown(loss: Loss, candidates: np.ndarray, members: int) -> np.ndarray:
    """Greedy selection from these models, which are sorted by their own losses."""
    ensemble = loss.empty()
    chosen: list[int] = []
    best, length = np.inf, 1
    while len(chosen) < STEPS and len(chosen) < length + PATIENCE:
        allowed = candidates
        if len(set(chosen)) == members:
            allowed = candidates[np.isin(candidates, chosen)]
        found = ensemble.with_each(allowed)
        place = int(found.argmin())
        chosen.append(int(allowed[place]))
        ensemble.add(chosen[-1])
        if found[place] < best:
            best, length = float(found[place]), len(chosen)
    counts = np.bincount(chosen[:length], minlength=len(loss.alone))
    return np.asarray(counts / length)


def top_k(losses: ArrayLike, members: int) -> np.ndarray:
    """Equal weights for the models that have the smallest losses by themselves.

    Args:
        losses: Of each model.
        members: How many models.

    Raises:
        ValueError: There are fewer models than members, or a loss is not a number.

    Example:
        >>> top_k([0.3, 0.1, 0.2], 2)
        array([0. , 0.5, 0.5])
    """
    alone = _checked(losses, members)
    return _equal(np.argsort(alone, kind="stable")[:members], len(alone))


def _checked(losses: ArrayLike, members: int) -> np.ndarray:
    alone = np.asarray(losses, dtype=float)
    if not 1 <= members <= len(alone):
        raise ValueError(f"members must be from 1 to {len(alone)}, the number of models, not {members}")
    if np.isnan(alone).any():
        raise ValueError(f"the loss of model {int(np.isnan(alone).argmax())} is not a number")
    return alone


def _equal(chosen: np.ndarray, models: int) -> np.ndarray:
    weights = np.zeros(models)
    weights[chosen] = 1.0 / len(chosen)
    return weights
