"""An objective to start from: a small network in NumPy that learns on which of two rings a point lies.

Replace it with your own training. Pilotune needs a function that takes a trial, reads its parameters, reports a value
after each epoch, and returns the final value.
"""

import numpy as np

import pilotune


def train(trial: pilotune.Trial) -> float:
    """Train the network and return its accuracy on the held-out points after the last epoch, 0..1."""
    params = trial.params
    rng = np.random.default_rng(trial.rng_seed)
    points, ring = rings(400, np.random.default_rng(0))
    held_points, held_ring = rings(400, np.random.default_rng(1))

    weights = [rng.normal(size=(3, params["units"])), rng.normal(size=params["units"] + 1) / 10]
    velocity = [np.zeros_like(w) for w in weights]
    accuracy = 0.0
    for epoch in range(1, params["epochs"] + 1):
        for rows in np.array_split(rng.permutation(len(ring)), 20):
            for w, v, gradient in zip(weights, velocity, gradients(weights, points[rows], ring[rows]), strict=True):
                v *= params["momentum"]
                v -= params["lr"] * gradient
                w += v
        accuracy = float(((forward(weights, held_points)[1] > 0.5) == held_ring).mean())
        trial.report(accuracy, step=epoch)  # raises TrialPruned when the pruner ends this trial
    return accuracy


def rings(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw n points (n, 3; the last column is 1, for the bias), and whether each is on the outer ring (n,)."""
    outer = rng.random(n) < 0.5
    angle = rng.uniform(0, 2 * np.pi, n)
    radius = np.where(outer, 1.0, 0.6) + rng.normal(scale=0.1, size=n)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.ones(n)]), outer


def forward(weights: list[np.ndarray], points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the hidden units (n, units + 1; the last is 1) and the probability of the outer ring (n,)."""
    hidden = np.column_stack([np.tanh(points @ weights[0]), np.ones(len(points))])
    return hidden, 1 / (1 + np.exp(-np.clip(hidden @ weights[1], -30, 30)))


def gradients(weights: list[np.ndarray], points: np.ndarray, outer: np.ndarray) -> list[np.ndarray]:
    """Return the gradient of the mean cross-entropy for each of ``weights``."""
    hidden, probability = forward(weights, points)
    error = (probability - outer) / len(outer)
    back = np.outer(error, weights[1][:-1]) * (1 - hidden[:, :-1] ** 2)
    return [points.T @ back, hidden.T @ error]
