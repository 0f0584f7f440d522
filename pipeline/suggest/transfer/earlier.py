"""The trials of one earlier study as a new study sees them: parameters by name, and ranks instead of values.

Values of different studies are on different scales, so only their order counts: the loss of a trial becomes the normal
score of its rank (the quantile of the normal distribution), about -2 for the best trials, 0 for the median one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_TRIALS, BEST = 300, 100
"""Trials of one study that are kept: so many at most, of which so many are the best, and the others an even choice."""


@dataclass(frozen=True)
class EarlierStudy:
    """The complete trials of one earlier study, the best first.

    Attributes:
        name: Of the study.
        params: By trial, its parameters, those that the new study has.
        scores: By trial, the normal score of its loss: the lower, the better.

    Example:
        >>> study = EarlierStudy.of("old", [{"x": 1.0}, {"x": 2.0}, {"x": 3.0}], [0.5, 1e9, -3.0])
        >>> [params["x"] for params in study.params], [round(score, 2) for score in study.scores]
        ([3.0, 1.0, 2.0], [-0.97, 0.0, 0.97])
    """

    name: str
    params: tuple[Mapping[str, Any], ...]
    scores: tuple[float, ...]

    @classmethod
    def of(cls, name: str, params: Sequence[Mapping[str, Any]], losses: Sequence[float]) -> EarlierStudy:
        """The study of these trials.

        Args:
            name: Of the study.
            params: By trial.
            losses: By trial, what is minimized; NaN and infinities count as the worst.
        """
        scores = normal_scores(np.array(losses, dtype=float))
        order = np.argsort(scores, kind="stable")
        if len(order) > MOST_TRIALS:
            rest = np.linspace(BEST, len(order) - 1, MOST_TRIALS - BEST).round().astype(int)
            order = order[np.concatenate([np.arange(BEST), rest])]
        return cls(name, tuple(params[i] for i in order.tolist()), tuple(scores[order].tolist()))

    def to_json(self) -> dict[str, Any]:
        """For the database."""
        scores = [round(score, 4) for score in self.scores]
        return {"name": self.name, "params": [dict(each) for each in self.params], "scores": scores}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EarlierStudy:
        """What :meth:`to_json` made."""
        return cls(str(data["name"]), tuple(data["params"]), tuple(map(float, data["scores"])))


def normal_scores(losses: np.ndarray) -> np.ndarray:
    """The normal scores of losses; equal ones have the same."""
    from scipy.special import ndtri

    finite = np.where(np.isnan(losses), np.inf, losses)
    _, places, counts = np.unique(finite, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    scores: np.ndarray = ndtri(middle / max(1, len(losses)))[places]
    return scores
