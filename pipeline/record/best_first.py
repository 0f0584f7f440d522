"""Orders complete trials, the best first, for the rule that says whose artifacts are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial


def best_first(trials: Iterable[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """Complete trials, the best first; of equal ones the earlier.

    Trials that break a constraint come last, by the sum of what they break. With several objectives the trials of the
    Pareto front come first, then those that would be on it without these, and so on. So the order of some trials does
    not change when the last ones of them are left out.

    Args:
        trials: Complete ones, each with as many values as there are directions.
        directions: The study's.

    >>> import optuna
    >>> trials = [optuna.create_trial(value=value) for value in (0.3, 0.1, 0.2)]
    >>> [trial.value for trial in best_first(trials, [StudyDirection.MINIMIZE])]
    [0.1, 0.2, 0.3]
    """
    given = list(trials)
    signs = [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in directions]
    broken = [sum(amount for amount in trial.constraints.values() if amount > 0.0) for trial in given]
    if len(signs) == 1:
        ranks = [signs[0] * trial.values[0] for trial in given]
    else:
        ranks = _fronts([[sign * value for sign, value in zip(signs, trial.values, strict=True)] for trial in given])
    order = sorted(range(len(given)), key=lambda i: (broken[i], ranks[i], given[i].number))
    return [given[i] for i in order]


def _fronts(losses: list[list[float]]) -> list[float]:
    """Which front each trial is on, from 0."""
    import numpy as np

    # Optuna's sort for NSGA-II; it has no public name.
    from optuna.study._multi_objective import _fast_non_domination_rank

    return [float(rank) for rank in _fast_non_domination_rank(np.array(losses))] if losses else []
