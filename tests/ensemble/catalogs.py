"""Predictions of made-up models, for tests."""

from __future__ import annotations

import numpy as np


def normals(seed: int, models: int = 12, rows: int = 60, outputs: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, standard deviations and true values: models of different skill, each wrong in its own way."""
    generator = np.random.default_rng(seed)
    shape = (rows, outputs) if outputs else (rows,)
    signal = generator.normal(size=shape)
    skill = generator.uniform(0.1, 1.0, size=(models, *(1 for _ in shape)))
    mean = signal + skill * generator.normal(size=(models, *shape))
    std = np.exp(generator.normal(-0.3, 0.4, size=(models, *shape)))
    return mean, std, signal + 0.5 * generator.normal(size=shape)


def classes(seed: int, models: int = 12, rows: int = 60, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and true classes."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(count, size=rows)
    probabilities = generator.dirichlet(np.ones(count), size=(models, rows))
    probabilities[:, np.arange(rows), truth] += generator.uniform(0, 0.8, size=(models, 1))
    return probabilities / probabilities.sum(axis=2, keepdims=True), truth
