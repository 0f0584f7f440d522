"""How sure the means of repeated trials are, and which trial is the best when one is cautious.

The mean of few values may be good by chance, and so may be their spread: of a hundred trials that were run three times
each, the one with the smallest spread says nothing. So the variance of a trial is taken together with those of all
others, as far as these agree: the moderated variance of limma (Smyth, "Linear models and empirical Bayes methods for
assessing differential expression in microarray experiments", 2004), made for hundreds of samples of two to five values.
With it, the interval of Student's t is right for each trial, also for one that was run once.

The best trial is the one whose pessimistic bound is best: the end of its 90 % interval on the bad side. Of the others,
those are as good for all that is known whose mean is not significantly worse, at 5 % for all comparisons together
(Bonferroni's correction; Hsu, "Multiple Comparisons", 1996, on comparisons with the best).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .repetitions import Repetition, spreads

CONFIDENCE = 0.9
"""Probability that an interval holds the true mean; its pessimistic end holds with 95 %."""

ERRORS = 0.05
"""Probability that any trial is said to be worse than the best one, and is not."""

ENOUGH = 3
"""Trials with a spread, from which on it is estimated how much their variances differ; with fewer they are equal."""

Floats = NDArray[np.float64]


class Measured:
    """The means of a study's complete trials, with what is known of their errors.

    Args:
        numbers: The trials' numbers.
        means: Their values.
        counts: How often each was run.
        variances: Variance of each trial's repetitions; anything where the count is 1.
    """

    def __init__(
        self, numbers: Sequence[int], means: Sequence[float], counts: Sequence[int], variances: Sequence[float]
    ) -> None:
        self.numbers = np.asarray(numbers, dtype=np.int64)
        self.means = np.asarray(means, dtype=np.float64)
        self._counts = np.asarray(counts, dtype=np.float64)
        self._own = np.asarray(variances, dtype=np.float64)

    @property
    def known(self) -> bool:
        """Whether any trial has a spread; without one nothing is known of the noise."""
        return bool(np.any(self._counts > 1))

    def errors(self) -> tuple[Floats, Floats]:
        """The standard error of each mean, and its degrees of freedom. Only where ``known``."""
        own_freedom = self._counts - 1.0
        repeated = own_freedom > 0
        prior, prior_freedom = _prior(self._own[repeated], own_freedom[repeated])
        own = np.where(repeated, self._own, 0.0)
        if math.isinf(prior_freedom):
            variances = np.full_like(own, prior)
        else:
            variances = (prior_freedom * prior + own_freedom * own) / (prior_freedom + own_freedom)
        freedom = np.minimum(prior_freedom + own_freedom, np.sum(own_freedom))
        return np.sqrt(variances / self._counts), freedom


def _prior(variances: Floats, freedom: Floats) -> tuple[float, float]:
    """The variance that a trial is expected to have, and how many degrees of freedom that is worth.

    They are infinite where the variances differ no more than by chance.
    """
    from scipy.special import digamma, polygamma

    pooled = float(np.average(variances, weights=freedom))
    positive = variances[variances > 0.0]
    if len(variances) < ENOUGH or not len(positive):
        return pooled, math.inf
    floored = np.maximum(variances, 1e-5 * float(np.median(positive)))  # logarithms follow
    logs = np.log(floored) - digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(np.var(logs, ddof=1) - np.mean(polygamma(1, freedom / 2)))
    if excess <= 0.0:
        return pooled, math.inf
    prior_freedom = 2.0 * _inverse_trigamma(excess)
    prior = math.exp(float(np.mean(logs)) + float(digamma(prior_freedom / 2)) - math.log(prior_freedom / 2))
    return prior, prior_freedom


def _inverse_trigamma(value: float) -> float:
    """The x with trigamma(x) = ``value``, above 0, by Newton's method (Smyth 2004, appendix).

    >>> round(_inverse_trigamma(1.6449340668), 6)
    1.0
    """
    from scipy.special import polygamma

    if value > 1e7:
        return 1.0 / math.sqrt(value)
    if value < 1e-6:
        return 1.0 / value
    found = 0.5 + 1.0 / value
    for _ in range(50):
        trigamma = float(polygamma(1, found))
        change = trigamma * (1.0 - trigamma / value) / float(polygamma(2, found))
        found += change
        if -change / found < 1e-8:
            break
    return found


@dataclass(frozen=True)
class CautiousBest:
    """The trial with the best pessimistic bound.

    Attributes:
        number: Its number.
        low, high: Its 90 % interval.
        alike: Numbers of the trials whose mean is not significantly worse, the best mean first.
    """

    number: int
    low: float
    high: float
    alike: tuple[int, ...] = ()


def cautious_best(measured: Measured, *, maximize: bool) -> CautiousBest | None:
    """The best of these trials, with its interval and the trials that cannot be told apart from it.

    Args:
        measured: Complete trials that meet all constraints.
        maximize: Whether larger values are better.

    Returns:
        None where nothing is known of the noise, or there is no trial.

    >>> once_lucky = Measured([0, 1, 2], [0.70, 0.71, 0.75], [5, 5, 1], [0.002, 0.002, 0.0])
    >>> best = cautious_best(once_lucky, maximize=True)
    >>> best.number, round(best.low, 3), round(best.high, 3), best.alike
    (1, 0.673, 0.747, (2, 0))
    """
    if not measured.known:
        return None
    from scipy.special import stdtrit

    sign = -1.0 if maximize else 1.0
    losses: Floats = sign * measured.means
    errors, freedom = measured.errors()
    half: Floats = stdtrit(freedom, (1.0 + CONFIDENCE) / 2) * errors
    if not np.all(np.isfinite(half)):  # values so large that their variances are no numbers
        return None
    place = int(np.lexsort((measured.numbers, losses + half))[0])
    distances = np.sqrt(errors**2 + errors[place] ** 2)
    worst = stdtrit(np.minimum(freedom, freedom[place]), 1.0 - ERRORS / max(1, len(losses) - 1)) * distances
    alike = np.flatnonzero(losses - losses[place] <= worst)
    alike = alike[np.lexsort((measured.numbers[alike], losses[alike]))]
    others = tuple(int(number) for number in measured.numbers[alike] if number != measured.numbers[place])
    mean, width = float(measured.means[place]), float(half[place])
    return CautiousBest(int(measured.numbers[place]), mean - width, mean + width, others)


def measured_of(trials: Sequence[tuple[Any, Sequence[Repetition]]]) -> Measured:
    """The trials of a study with one direction, as Optuna's, each with its repetitions."""
    counts = [max(1, len(found)) for _, found in trials]
    return Measured(
        [trial.number for trial, _ in trials],
        [trial.values[0] for trial, _ in trials],
        counts,
        [variance_of(found) for _, found in trials],
    )


def variance_of(repetitions: Sequence[Repetition]) -> float:
    """The variance of the first value; 0 for less than two repetitions."""
    spread = spreads(repetitions)
    return 0.0 if spread is None else spread[0] * spread[0]
