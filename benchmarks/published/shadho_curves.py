"""Trains a support vector machine on rows of MNIST. The products of all rows are computed once for each seed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.svm import SVC

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pilotune
from benchmarks.published.search import Point
from benchmarks.quality.problems.folder import data_folder
from pilotune.objectives.images import load_images

ROWS = 1000
"""Rows to train on, and as many to validate on; so that a trial takes a third of a second."""
TEST_ROWS = 4000
MOST_ITERATIONS = 20_000
"""Of libsvm: a few kernels with huge values do not converge."""


class Machine:
    """Machines on the rows of one seed."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        (x, y), (test_x, test_y) = (load_images(str(data_folder() / "mnist"), part) for part in ("train", "test"))
        rows = rng.permutation(len(y))[: 2 * ROWS]
        train, held = rows[:ROWS], rows[ROWS:]
        test = rng.permutation(len(test_y))[:TEST_ROWS]
        parts = [_flat(x[train]), _flat(x[held]), _flat(test_x[test])]
        self.products = [part @ parts[0].T for part in parts]
        self.squares = [(part**2).sum(1) for part in parts]
        self.train, self.held, self.test = y[train], y[held], test_y[test]

    def kernel(self, params: dict[str, Any], part: int) -> np.ndarray:
        """The kernel of a part's rows with the training rows."""
        name, products = params["kernel"], self.products[part]
        if name == "linear":
            return products
        if name == "rbf":
            distances = self.squares[part][:, None] + self.squares[0][None] - 2 * products
            return np.exp(-params["gamma"] * np.maximum(distances, 0.0))
        inner = params["gamma"] * products + params["coef0"]
        return np.tanh(inner) if name == "sigmoid" else inner ** params["degree"]

    def __call__(self, params: dict[str, Any], seed: int, steps: bool) -> Iterator[Point]:
        machine = SVC(C=params["C"], kernel="precomputed", max_iter=MOST_ITERATIONS, cache_size=200)
        machine.fit(self.kernel(params, 0), self.train)
        held, test = (
            100.0 * float((machine.predict(self.kernel(params, part)) == classes).mean())
            for part, classes in ((1, self.held), (2, self.test))
        )
        yield Point(1, held, test)


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float64) / 255


def train(trial: pilotune.Trial) -> float:
    """A trial of the study ``shadho.yaml``: the accuracy on the validation rows in percent."""
    return next(Machine(0)(trial.params, 0, False)).score
