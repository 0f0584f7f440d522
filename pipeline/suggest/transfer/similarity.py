"""How much each earlier study counts: as much as its predictions agree with the new study's own results.

Agreement is the rank correlation between what a study predicts of the configurations that were tried and how they
turned out (Feurer, Letham, Bakshy, *Scalable Meta-Learning for Bayesian Optimization*, 2018, rank models in the same
spirit). Before there are results each study counts the same. A study that does not agree is dropped.
"""

from __future__ import annotations

import numpy as np

PRIOR_RESULTS, PRIOR_AGREEMENT = 3.0, 0.4
"""The agreement that is assumed of an earlier study, and the number of results that it counts as much as."""
LEAST_AGREEMENT = 0.15
"""A study that agrees less is dropped."""
POWER = 2.0
"""Studies are weighted by the power of their agreement."""
MOST_SCALE = 1.2
"""How much stronger than in the earlier studies an effect may be assumed to be."""
SCALE_RESULTS = 5.0
"""The number of results that the assumption counts as much as, that effects are as strong as in the earlier studies."""


def weights(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The weight of each study's prediction; they sum to how strong the effects are, compared with the earlier ones.

    Args:
        predictions: Of the configurations that were tried, by configuration and study.
        targets: How they turned out, standardized: lower is better.

    Example:
        >>> import numpy as np
        >>> turned_out = np.linspace(-1, 1, 20)
        >>> found = weights(np.stack([turned_out, -turned_out], axis=1), turned_out)
        >>> [round(float(weight), 1) for weight in found]
        [1.0, 0.0]
    """
    count, studies = predictions.shape
    if not studies:
        return np.zeros(0)
    agreement = np.full(studies, PRIOR_AGREEMENT)
    if count > 1:
        found = _correlations(predictions, targets)
        agreement = (count * found + PRIOR_RESULTS * PRIOR_AGREEMENT) / (count + PRIOR_RESULTS)
    raw = np.where(agreement > LEAST_AGREEMENT, agreement, 0.0) ** POWER
    if not raw.sum():
        return np.zeros(studies)
    raw = raw / raw.sum()
    scale = _scale(predictions @ raw, targets) if count > 1 else 1.0
    result: np.ndarray = raw * scale
    return result


def _correlations(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each column with the targets; 0 where one of them has no spread."""
    ranks = np.stack([_centred_ranks(column) for column in predictions.T], axis=1)
    turned = _centred_ranks(targets)
    spread = np.sqrt((ranks**2).sum(axis=0) * (turned**2).sum())
    found: np.ndarray = np.where(spread > 0, turned @ ranks / np.maximum(spread, 1e-300), 0.0)
    return found


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks about 0; equal values share the middle of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    found: np.ndarray = middle[places] - middle[places].mean()
    return found


def _scale(mean: np.ndarray, targets: np.ndarray) -> float:
    """The slope of the targets over the mean prediction, drawn towards 1 while there are few results."""
    centred = mean - mean.mean()
    slope = (centred @ (targets - targets.mean()) + SCALE_RESULTS) / (centred @ centred + SCALE_RESULTS)
    return float(np.clip(slope, 0.0, MOST_SCALE))
