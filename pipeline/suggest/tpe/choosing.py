"""The last step of a suggestion: which of the candidates is taken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Choose = Callable[[np.ndarray, np.ndarray], int]
"""From the candidates' logarithms of the density of the good trials, and of the others, to the place of one of them."""


def largest_ratio(good: np.ndarray, other: np.ndarray) -> int:
    """The candidate with the largest ratio of the densities, which is that of the largest expected improvement."""
    return int(np.argmax(good - other))
