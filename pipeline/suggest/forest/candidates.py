"""The candidates of a forest: drawn uniformly, renewed as trees are, and handed out once each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..surrogate.encoding import Encoding
from ..surrogate.trials import Trials


class Candidates:
    """Configurations that may be suggested.

    Args:
        places: A row each, as the encoding has them.

    Attributes:
        left: Which of them have not been handed out or refused.
    """

    def __init__(self, places: np.ndarray) -> None:
        self.places, self.left = places, np.ones(len(places), dtype=bool)
        self._next = 0

    def renew(self, places: np.ndarray) -> np.ndarray:
        """Put other configurations in place of the oldest. Returns which."""
        which = (self._next + np.arange(len(places))) % len(self.places)
        self._next = int((which[-1] + 1) % len(self.places)) if len(which) else self._next
        self.places[which], self.left[which] = places, True
        return which

    def take(self, scores: np.ndarray, encoding: Encoding, trials: Trials) -> int | None:
        """Hand out the candidate with the largest score that is allowed and that no trial has; None: all were tried.

        Whether constraints allow a configuration takes some microseconds, so it is asked of the best ones only.
        """
        for index in self._best_first(scores):
            self.left[index] = False
            if not trials.tried(self.places[index]) and encoding.feasible(self.places[index][None, :])[0]:
                return index
        return None

    def _best_first(self, scores: np.ndarray) -> Iterator[int]:
        where = np.flatnonzero(self.left)
        if len(where):
            yield int(where[scores[where].argmax()])
            yield from where[np.argsort(-scores[where], kind="stable")][1:].tolist()
