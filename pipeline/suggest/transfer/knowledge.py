"""What earlier studies say of the configurations of one space, weighted by how much the new study agrees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from .earlier import EarlierStudy
from .experts import Experts
from .similarity import weights

LEAST_TRIALS = 4
"""A study with fewer trials in the space is passed over."""
SEED = 20181
"""Of the random features, so that all drivers of a study, and a resumed one, predict the same."""


class _Layout(Protocol):
    def parts(self) -> list[slice]: ...


class SpaceEncoding(Protocol):
    """What is needed of the encoding of a space; :class:`Encoding` is one."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def layout(self) -> _Layout: ...
    def places_of(self, many: Sequence[Mapping[str, Any]], whole: Sequence[bool]) -> list[np.ndarray | None]: ...
    def features(self, places: np.ndarray) -> np.ndarray: ...


class Knowledge:
    """What earlier studies say of the configurations of one space.

    Args:
        studies: The earlier studies. A trial with a value that the space does not have is passed over; a parameter that
            a study does not have makes no difference to what it says.
        encoding: Of the space.

    Attributes:
        weights: The weight of each study, as of the last :meth:`weigh`; all the same before.
    """

    def __init__(self, studies: Sequence[EarlierStudy], encoding: SpaceEncoding) -> None:
        tables, scores, masks = [], [], []
        parts = encoding.layout.parts()
        for study in studies:
            places = encoding.places_of(study.params, [False] * len(study.params))
            usable = [i for i, each in enumerate(places) if each is not None]
            if len(usable) < LEAST_TRIALS:
                continue
            names = {name for i in usable for name in study.params[i]}
            mask = np.zeros(sum(part.stop - part.start for part in parts))
            for name, part in zip(encoding.names, parts, strict=True):
                mask[part] = name in names
            tables.append(encoding.features(np.array([places[i] for i in usable])))
            scores.append(np.array([study.scores[i] for i in usable]))
            masks.append(mask)
        self._experts = Experts(tables, scores, masks, parts, np.random.default_rng(SEED))
        self.weights = weights(np.zeros((0, len(tables))), np.zeros(0))

    def __bool__(self) -> bool:
        """Whether some study says something."""
        return self._experts.count > 0

    def prepare(self) -> bool:
        """Do a part of what predictions need, some milliseconds. Returns whether nothing is left to do."""
        return self._experts.prepare()

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The scores of configurations, by configuration and study."""
        return self._experts.predict(features)

    def weigh(self, predictions: np.ndarray, targets: np.ndarray) -> None:
        """Weigh the studies by the new study's results. Args: those of :func:`.weights`."""
        self.weights = weights(predictions, targets)

    def as_of_now(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """:meth:`mean` with the weights of now, whatever they become later; None where no study counts."""
        now = self.weights.copy()
        return (lambda features: self.predict(features) @ now) if now.any() else None

    def mean(self, features: np.ndarray) -> np.ndarray:
        """The weighted score of each configuration: 0 where no study counts."""
        if not self.weights.any():
            return np.zeros(len(features))
        found: np.ndarray = self.predict(features) @ self.weights
        return found
