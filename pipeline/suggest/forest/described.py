"""The features of configurations for a forest: their places, and what earlier studies say of them.

So trees split by an earlier study's prediction where that tells good from bad, and leave it alone where it does not;
a study that is wrong everywhere, always in the same way, is as useful as one that is right.
"""

from __future__ import annotations

import numpy as np

from ..surrogate.encoding import Encoding
from ..surrogate.trials import Trials
from ..transfer.knowledge import Knowledge


class Described:
    """Features of trials and of other configurations.

    Args:
        encoding: Of the space.
        trials: Of the study.
        knowledge: What earlier studies say; None: nothing.
    """

    def __init__(self, encoding: Encoding, trials: Trials, knowledge: Knowledge | None) -> None:
        self._encoding, self._trials, self._knowledge = encoding, trials, knowledge
        self._places = np.zeros((0, trials.places.shape[1]))  # that something was said of, by row
        self._said = np.zeros((0, 0 if knowledge is None else len(knowledge.weights)))

    def of_places(self, places: np.ndarray) -> np.ndarray:
        """Of configurations, a row each."""
        features = self._encoding.features(places)
        if self._knowledge is None:
            return features
        return np.concatenate([features, self._knowledge.predict(features)], axis=1)

    def of_rows(self, rows: np.ndarray) -> np.ndarray:
        """Of trials; what studies say of them is kept."""
        places = self._trials.places
        features = self._encoding.features(places[rows])
        if self._knowledge is None:
            return features
        if len(self._said) < len(places):
            more = len(places) - len(self._said)
            self._said = np.concatenate([self._said, np.zeros((more, self._said.shape[1]))])
            self._places = np.concatenate([self._places, np.full((more, places.shape[1]), np.nan)])
        new = np.unique(rows[(self._places[rows] != places[rows]).any(axis=1)])
        if len(new):
            self._said[new] = self._knowledge.predict(self._encoding.features(places[new]))
            self._places[new] = places[new]
        return np.concatenate([features, self._said[rows]], axis=1)
