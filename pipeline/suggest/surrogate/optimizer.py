"""Minimizes a smooth function within bounds, one evaluation at a time, so that others can work in between."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

MEMORY = 8
"""Steps whose curvature is remembered."""
SHRINKING = 8
"""Most times that a step which does not improve is shortened, before the search ends."""
SUFFICIENT = 1e-4
"""The share of the improvement that the slope promises which a step must bring."""

Evaluation = tuple[float, np.ndarray]
Search = Generator[np.ndarray, Evaluation, tuple[np.ndarray, float]]


def minimize(start: np.ndarray, low: np.ndarray, high: np.ndarray, iterations: int, tolerance: float = 1e-3) -> Search:
    """A projected limited-memory BFGS (Nocedal, Updating quasi-Newton matrices with limited storage, 1980).

    Args:
        start: Where to begin.
        low, high: Bounds of each coordinate.
        iterations: Most steps.
        tolerance: The search ends where no coordinate of the gradient, but for those at a bound, is larger.

    Yields:
        Points; the value and the gradient there are to be sent back. An infinite value is a point that cannot be.

    Returns:
        The best point, and its value.
    """
    x = np.clip(start, low, high)
    value, gradient = yield x
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(iterations):
        free = ~(((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0)))
        slope = np.where(free, gradient, 0.0)
        if not np.isfinite(value) or np.abs(slope).max() <= tolerance:
            break
        direction = np.where(free, _direction(slope, steps), 0.0)
        if direction @ slope >= 0:
            steps, direction = [], -slope
        length = 1.0 if steps else min(1.0, 1.0 / float(np.abs(slope).sum()))
        for _ in range(SHRINKING):
            there = np.clip(x + length * direction, low, high)
            promised = float(slope @ (there - x))
            found, new = yield there
            if found <= value + SUFFICIENT * promised:
                break
            curvature = found - value - promised
            shorter = -0.5 * promised / curvature if np.isfinite(found) and curvature > 0 else 0.1
            length *= float(np.clip(shorter, 0.1, 0.5))
        else:
            break
        moved, turned = there - x, new - gradient
        if moved @ turned > 1e-10 * float(turned @ turned):
            steps = [*steps, (moved, turned)][-MEMORY:]
        x, value, gradient = there, found, new
    return x, value


def _direction(gradient: np.ndarray, steps: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Minus the gradient times the inverse Hessian that the steps tell of (the two-loop recursion)."""
    direction = -gradient
    kept = []
    for moved, turned in reversed(steps):
        rho = 1.0 / float(moved @ turned)
        share = rho * float(moved @ direction)
        direction = direction - share * turned
        kept.append((rho, share, moved, turned))
    if steps:
        moved, turned = steps[-1]
        direction = direction * (float(moved @ turned) / float(turned @ turned))
    for rho, share, moved, turned in reversed(kept):
        direction = direction + (share - rho * float(turned @ direction)) * moved
    return direction
