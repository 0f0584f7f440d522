"""The points that a new study tries first: those that were good in earlier studies, and differ.

A greedy portfolio (Wistuba, Schilling, Schmidt-Thieme, *Sequential Model-Free Hyperparameter Tuning*, ICDM 2015): each
point is the one that lowers the mean, over the earlier studies, of the best predicted score so far the most. Where no
point lowers it any more, as with a single earlier study, a good point follows that is far from those before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from ...space import Space
from ..surrogate.encoding import Encoding
from .earlier import EarlierStudy
from .knowledge import Knowledge

POINTS = 4
"""Points that are tried first."""
LEAST_GAIN = 0.01
"""A point that lowers the mean score by less is chosen for its distance instead."""
GOOD_SHARE = 0.1
"""Points chosen for their distance are among this share of the best ones."""


def first_points(
    studies: Sequence[EarlierStudy],
    distributions: Mapping[str, BaseDistribution],
    space: Space | None = None,
    count: int = POINTS,
) -> list[dict[str, Any]]:
    """The points to try first, the best one first.

    Args:
        studies: The earlier studies.
        distributions: The parameters of the new study that have more than one value.
        space: The new study's; None where its objective defines it.
        count: How many.

    Returns:
        Configurations of the new space; fewer than ``count`` where the earlier studies have no more.
    """
    encoding = Encoding(distributions, space)
    params = [each for study in studies for each in study.params]
    places = [
        row
        for row in encoding.places_of(params, [True] * len(params))
        if row is not None and ((row <= 1.0) & (row >= 0.0) | (encoding.choices > 0)).all()
    ]
    knowledge = Knowledge(studies, encoding)
    if not places or not knowledge:
        return []
    candidates = np.unique(np.array(places), axis=0)
    candidates = candidates[encoding.feasible(candidates)]
    features = encoding.features(candidates)
    return [encoding.params(candidates[i]) for i in _chosen(knowledge.predict(features), features, count)]


def _chosen(scores: np.ndarray, features: np.ndarray, count: int) -> list[int]:
    """The indices of the points, from the scores by point and study."""
    found: list[int] = []
    best: np.ndarray | None = None
    order = np.argsort(scores.mean(axis=1), kind="stable")
    good = order[: max(count, round(GOOD_SHARE * len(order)))]
    while len(found) < min(count, len(scores)):
        next_one = _lowering(scores, best)
        if next_one is None or next_one in found:
            left = [i for i in good.tolist() if i not in found]
            if not left:
                break
            next_one = max(left, key=_distance_to(features, found))
        found.append(next_one)
        best = scores[next_one] if best is None else np.minimum(best, scores[next_one])
    return found


def _lowering(scores: np.ndarray, best: np.ndarray | None) -> int | None:
    """The point that lowers the mean of the best scores most; None where none lowers it enough."""
    if best is None:
        return int(scores.mean(axis=1).argmin())
    gains = np.maximum(best - scores, 0.0).mean(axis=1)
    return int(gains.argmax()) if gains.max() >= LEAST_GAIN else None


def _distance_to(features: np.ndarray, found: Sequence[int]) -> Callable[[int], float]:
    return lambda i: float(((features[list(found)] - features[i]) ** 2).sum(axis=1).min())
