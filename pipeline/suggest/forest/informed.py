"""What earlier studies say of a study's trials and of a pool of candidates, for a forest that learns the rest."""

from __future__ import annotations

import numpy as np

from ..surrogate.trials import COMPLETE, Trials
from ..transfer.knowledge import Knowledge

MOST_WEIGHED = 300
"""Results, an even choice of more, by which earlier studies are weighed."""


class Offsets:
    """The weighted scores of earlier studies.

    Args:
        knowledge: What they say.
        trials: Of the new study.
    """

    def __init__(self, knowledge: Knowledge, trials: Trials) -> None:
        self._knowledge, self._trials = knowledge, trials
        self._by_row = np.zeros((0, len(knowledge.weights)))  # what studies say of trials
        self._places = np.zeros((0, trials.places.shape[1]))  # of the configurations that they said it of
        self._pool = np.zeros((0, len(knowledge.weights)))

    def weigh(self, losses: np.ndarray) -> None:
        """Weigh the studies anew, by the losses of rows."""
        rows = self._trials.rows(COMPLETE)
        rows = rows[~np.isnan(losses[rows])]
        rows = rows[:: max(1, -(-len(rows) // MOST_WEIGHED))]
        self._knowledge.weigh(self._said(rows), losses[rows])

    def of_rows(self, rows: np.ndarray) -> np.ndarray:
        """The scores of trials, by row of ``rows``."""
        found: np.ndarray = self._said(rows) @ self._knowledge.weights
        return found

    def of_pool(self) -> np.ndarray:
        """The scores of the pool's candidates."""
        found: np.ndarray = self._pool @ self._knowledge.weights
        return found

    def of(self, features: np.ndarray) -> np.ndarray:
        """The scores of other configurations."""
        return self._knowledge.mean(features)

    def fill(self, features: np.ndarray) -> None:
        """Take over a pool: the features of all its candidates."""
        self._pool = self._knowledge.predict(features)

    def renew(self, which: np.ndarray, features: np.ndarray) -> None:
        """Some candidates of the pool are others now."""
        self._pool[which] = self._knowledge.predict(features)

    def _said(self, rows: np.ndarray) -> np.ndarray:
        """What each study says of trials; each configuration is asked for once."""
        places = self._trials.places
        if len(self._by_row) < len(places):
            more = len(places) - len(self._by_row)
            self._by_row = np.concatenate([self._by_row, np.zeros((more, self._by_row.shape[1]))])
            self._places = np.concatenate([self._places, np.full((more, places.shape[1]), np.nan)])
        new = rows[(self._places[rows] != places[rows]).any(axis=1)]
        if len(new):
            self._by_row[new] = self._knowledge.predict(self._trials.encoding.features(places[new]))
            self._places[new] = places[new]
        found: np.ndarray = self._by_row[rows]
        return found
