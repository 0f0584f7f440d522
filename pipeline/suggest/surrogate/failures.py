"""How much a failed trial tells about its configuration: much among other failures, little where others succeed."""

from __future__ import annotations

import numpy as np

from .kernel import squared_distances

NEIGHBOURS = 4
"""Nearest trials that each failed one is compared with."""
MOST_COMPARED = 500
"""Trials, the newest, that it is compared with."""
LARGEST_NOISE = 100.0
"""The variance of the target of a failure that tells nothing."""


def failure_noise(failures: np.ndarray, finished: np.ndarray, failed: np.ndarray) -> np.ndarray:
    """The variance that is added to the target of each failed trial.

    Where configurations decide what fails, most failures lie among others. One whose neighbours have succeeded is more
    likely due to a node, a network or a licence, and near it the objective may be as good as elsewhere.

    Args:
        failures: Features of the failed trials, a row each.
        finished: Features of the newest finished trials.
        failed: Whether each of these has failed.
    """
    failed = failed.astype(float)
    if not len(failures) or len(failed) <= NEIGHBOURS + 1:
        return np.zeros(len(failures))
    distances = squared_distances(failures, finished)
    nearest = np.argpartition(distances, NEIGHBOURS, axis=1)[:, : NEIGHBOURS + 1]  # with itself
    share = failed.mean()
    near = (failed[nearest].sum(axis=1) - 1.0 + share) / (NEIGHBOURS + 1.0)
    odds = (1.0 - near) / np.maximum(near, 1e-3)
    noise: np.ndarray = np.minimum(odds**4, LARGEST_NOISE)
    return noise
