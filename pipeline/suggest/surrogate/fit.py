"""Finds the most probable hyperparameters, in pieces: a generator that says how much work each piece was."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from .kernel import Likelihood
from .optimizer import minimize

FIRST_ITERATIONS, LATER_ITERATIONS = 25, 10
"""Steps of the optimizer: the first time, and from the last optimum on."""

Work = Generator[int, None, np.ndarray]


def fitted(likelihood: Likelihood, starts: Sequence[np.ndarray], iterations: int) -> Work:
    """The most probable hyperparameters (logarithms) that are found from some starts.

    Yields:
        About how many elementary operations the last piece was.
    """
    best, least = starts[0], np.inf
    prior = likelihood.prior
    for start in starts:
        search = minimize(start, prior.low, prior.high, iterations)
        point = next(search)
        while True:
            evaluation = likelihood(point)
            yield likelihood.work
            try:
                point = search.send(evaluation)
            except StopIteration as end:
                found, value = end.value
                break
        if value < least:
            best, least = found, value
    return best
