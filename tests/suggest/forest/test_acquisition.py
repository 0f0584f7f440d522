"""Scores of candidates, kappa's decay, and the choice between acquisitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from pilotune.pipeline.suggest.forest.acquisition import HEDGED, LEAST_IMPROVEMENT, Hedge, decayed, scores

MEANS, DEVIATIONS = np.array([0.0, -1.0, 0.3]), np.array([0.5, 0.0, 2.0])


def test_scores_are_what_their_names_say() -> None:
    u = (0.1 - LEAST_IMPROVEMENT - MEANS[[0, 2]]) / DEVIATIONS[[0, 2]]
    assert scores("lcb", MEANS, DEVIATIONS, 0.1, 2.0).tolist() == [1.0, 1.0, 3.7]
    assert scores("pi", MEANS, DEVIATIONS, 0.1, 2.0)[[0, 2]] == pytest.approx(norm.cdf(u))
    wanted = DEVIATIONS[[0, 2]] * (u * norm.cdf(u) + norm.pdf(u))
    assert scores("ei", MEANS, DEVIATIONS, 0.1, 2.0)[[0, 2]] == pytest.approx(wanted)
    assert scores("ei", MEANS, DEVIATIONS, 0.1, 2.0)[1] == pytest.approx(1.1 - LEAST_IMPROVEMENT)
    assert scores("pi", MEANS, DEVIATIONS, 0.1, 2.0)[1] == 1.0


def test_kappa_comes_down_in_each_period() -> None:
    period = [decayed(1.96, 10, results) for results in range(20)]
    assert period[:10] == period[10:]
    assert sorted(period[:10], reverse=True) == period[:10]
    assert period[1] / period[0] == pytest.approx((0.01 / 1.96) ** 0.1)
    assert [decayed(1.96, 0, results) for results in (0, 7)] == [1.96, 1.96]
    assert [decayed(kappa, 10, 7) for kappa in (0.0, 0.01)] == [0.0, 0.01]


def test_what_chose_well_is_chosen() -> None:
    hedge = Hedge(np.random.default_rng(0))
    even = np.bincount([hedge.choose() for _ in range(600)], minlength=len(HEDGED))
    assert even.min() > 150
    for _ in range(20):
        hedge.learn(np.array([0.5, -0.5, 0.5]))
    assert {hedge.choose() for _ in range(50)} == {1}
    hedge.learn(np.array([1e6, 0.0, -1e6]))
    assert hedge.choose() == 2
