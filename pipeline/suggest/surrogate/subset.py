"""Chooses which trials a model is made of: it can hold some hundreds, and a study may have many more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .kernel import squared_distances

MOST_ROWS, BEST_ROWS, NEAR_ROWS = 250, 125, 62
"""Finished trials in a model, and how many of them are the best, and the nearest to the best; the rest is random."""
MOST_FITTED, BEST_FITTED = 128, 64
"""Trials that hyperparameters are fitted to, and how many of them are the best; the rest is random."""
MOST_PENDING, NEAR_PENDING = 64, 48
"""Running trials in a model, and how many of them are the nearest to the best; the rest is random."""
CENTRES = 5
"""The best trials to which distances are taken."""
MOST_COMPARED = 2_000
"""Trials, drawn at random, among which the nearest are looked for."""
FITTED_NUMBERS = 24 * MOST_FITTED**2
"""Most squared distances that a fit works with: in spaces of many parameters, hyperparameters are fitted to fewer."""


def chosen_rows(
    rng: np.random.Generator, order: np.ndarray, features: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """The trials that make a model, the best first.

    Args:
        order: Trials, the best first.
        features: From trials to their features in units of the length scales.
    """
    if len(order) <= MOST_ROWS:
        return order
    rest = order[BEST_ROWS:]
    compared = np.sort(rng.permutation(len(rest))[:MOST_COMPARED])
    distances = squared_distances(features(rest[compared]), features(order[:CENTRES])).min(axis=1)
    near = compared[np.argsort(distances, kind="stable")[:NEAR_ROWS]]
    others = rng.permutation(np.setdiff1d(np.arange(len(rest)), near))[: MOST_ROWS - BEST_ROWS - NEAR_ROWS]
    return np.concatenate([order[:BEST_ROWS], rest[np.sort(near)], rest[np.sort(others)]])


def fitted_rows(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """Which of the ``count`` rows of a model, the best first, hyperparameters are fitted to."""
    most = min(MOST_FITTED, max(16, int((FITTED_NUMBERS / dimensions) ** 0.5)))
    if count <= most:
        return np.arange(count)
    best = most * BEST_FITTED // MOST_FITTED
    others = best + rng.permutation(count - best)[: most - best]
    return np.concatenate([np.arange(best), np.sort(others)])


def pending_rows(rng: np.random.Generator, pending: np.ndarray, features: np.ndarray, best: np.ndarray) -> np.ndarray:
    """The running trials that a model keeps away from.

    Args:
        pending: Running trials.
        features: Theirs, in units of the length scales.
        best: The features of the best finished trials.
    """
    if len(pending) <= MOST_PENDING:
        return pending
    order = np.argsort(squared_distances(features, best[:CENTRES]).min(axis=1), kind="stable")
    others = rng.permutation(order[NEAR_PENDING:])[: MOST_PENDING - NEAR_PENDING]
    return np.asarray(pending[np.sort(np.concatenate([order[:NEAR_PENDING], others]))])
