"""The intervals of repeated trials hold what they promise, and the cautious best is not the luckiest."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pilotune.pipeline.noise.bounds import CautiousBest, Measured, cautious_best

TRIALS, STUDIES = 40, 25


def drawn(seed: int, counts: list[int], scales: np.ndarray) -> tuple[np.ndarray, Measured]:
    """True means, and trials that were measured so often with noise of these standard deviations."""
    chance = np.random.default_rng(seed)
    truth = chance.normal(size=len(counts))
    values = [truth[i] + scales[i] * chance.normal(size=count) for i, count in enumerate(counts)]
    variances = [float(np.var(each, ddof=1)) if len(each) > 1 else 0.0 for each in values]
    return truth, Measured(range(len(counts)), [float(np.mean(each)) for each in values], counts, variances)


@pytest.mark.parametrize("counts", [[2] * TRIALS, [3] * TRIALS, [5] * TRIALS, [1, 2, 3, 5] * (TRIALS // 4)])
@pytest.mark.parametrize("uneven", [False, True])
def test_a_pessimistic_bound_holds_for_about_95_in_100_trials(counts: list[int], uneven: bool) -> None:
    from scipy.special import stdtrit

    held = 0
    for seed in range(STUDIES):
        scales = np.exp(np.random.default_rng(seed + 1000).normal(size=TRIALS) * (0.4 if uneven else 0.0))
        truth, measured = drawn(seed, counts, scales)
        errors, freedom = measured.errors()
        held += int(np.sum(measured.means - stdtrit(freedom, 0.95) * errors <= truth))
    assert 0.92 < held / (STUDIES * TRIALS) < 0.98


def test_a_small_spread_of_three_values_is_not_believed_alone() -> None:
    """By its own spread, trial 1 would be sure to be better than trial 0."""
    variances = [0.04, 0.0004, 0.05, 0.03, 0.01, 0.12, 0.06, 0.02, 0.004, 0.07]
    measured = Measured(range(10), [1.0, 0.95, *[0.0] * 8], [5, *[3] * 9], variances)
    best = cautious_best(measured, maximize=True)
    assert best is not None
    assert (best.number, best.alike) == (0, (1,))
    errors, _ = measured.errors()
    assert errors[1] > 4 * math.sqrt(0.0004 / 3)


def test_without_noise_the_best_mean_is_the_best_and_nothing_is_like_it() -> None:
    measured = Measured([4, 5, 6], [3.0, 1.0, 2.0], [2, 2, 1], [0.0, 0.0, 0.0])
    assert cautious_best(measured, maximize=False) == CautiousBest(5, 1.0, 1.0)


def test_equal_trials_are_alike_and_the_first_is_the_best() -> None:
    best = cautious_best(Measured([4, 5], [1.0, 1.0], [2, 2], [0.0, 0.0]), maximize=False)
    assert best == CautiousBest(4, 1.0, 1.0, (5,))


@pytest.mark.parametrize(
    ("means", "counts", "variances"),
    [([], [], []), ([1.0, 2.0], [1, 1], [0.0, 0.0]), ([1.0, 2.0], [2, 2], [math.inf, 1.0])],
)
def test_nothing_is_said_where_nothing_is_known(means: list, counts: list, variances: list) -> None:
    assert cautious_best(Measured(range(len(means)), means, counts, variances), maximize=True) is None


def test_a_single_repeated_trial_has_students_interval() -> None:
    best = cautious_best(Measured([0], [10.0], [3], [4.0]), maximize=True)
    assert best is not None
    assert best.high - 10.0 == pytest.approx(2.9200 * 2.0 / math.sqrt(3), rel=1e-4)


def test_the_true_best_is_rarely_told_apart_from_the_chosen_one() -> None:
    missed = 0
    for seed in range(100):
        truth, measured = drawn(seed, [3] * 20, np.full(20, 1.0))
        best = cautious_best(measured, maximize=True)
        assert best is not None
        missed += int(np.argmax(truth)) not in (best.number, *best.alike)
    assert missed <= 5
