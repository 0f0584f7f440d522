"""Values as targets: warped, estimated from reports, and where constraints and several objectives are."""

from __future__ import annotations

import numpy as np
import pytest

from pilotune.pipeline.suggest.surrogate.pruned import estimates
from pilotune.pipeline.suggest.surrogate.warp import Warp


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).standard_normal(50),
        np.exp(3 * np.random.default_rng(1).standard_normal(50)),
        np.array([1e300, -1e300, 1.0, 2.0]),
        np.array([1.7e308, -1.7e308]),
        np.array([3.0, 3.0, 3.0]),
        np.array([3.0]),
        np.array([0.0, 5e-324, 1e-310]),
        np.array([1.0] * 30 + [2.0]),
        np.arange(5_000.0) ** 2,
    ],
)
def test_warped_values_keep_their_order_and_are_finite(values: np.ndarray) -> None:
    warp = Warp.of(values)
    warped = warp(np.sort(values))
    assert np.isfinite(warped).all()
    assert (np.diff(warped) >= 0).all()
    assert np.abs(warped).max() < 1e9
    assert np.isfinite(warp(np.array([-1.7e308, 0.0, 1.7e308]))).all()


def test_skewed_values_become_normal() -> None:
    values = np.exp(2 * np.random.default_rng(2).standard_normal(500))
    warped = Warp.of(values)(values)
    assert warped.mean() == pytest.approx(0.0, abs=1e-9)
    assert warped.std() == pytest.approx(1.0)
    assert abs((warped**3).mean()) < 0.3 < ((values - values.mean()) ** 3).mean() / values.std() ** 3


def curves(count: int, rng: np.random.Generator) -> tuple[np.ndarray, dict[int, dict[int, float]]]:
    finals = rng.standard_normal(count)
    return finals, {i: {step: float(finals[i] + 3 / step + 0.1 * rng.standard_normal()) for step in (1, 3, 9)}
                    for i in range(count)}  # fmt: skip


def test_pruned_trials_are_ranked_among_those_that_came_as_far() -> None:
    finals, reports = curves(60, np.random.default_rng(3))
    wanted = list(range(30, 60))
    for i in wanted:
        reports[i] = {step: value for step, value in reports[i].items() if step < (9 if i % 2 else 3)}
    found = estimates(reports, {i: float(finals[i]) for i in range(30)}, wanted, 1.0)
    assert found.keys() == set(wanted)
    targets = np.array([found[i].target for i in wanted])
    assert np.corrcoef(targets, finals[30:])[0, 1] > 0.95
    assert all(0 < found[i].noise < 0.3 for i in wanted)


def test_values_to_maximize_are_ranked_the_other_way() -> None:
    finals, reports = curves(40, np.random.default_rng(4))
    negated = {i: {step: -value for step, value in each.items()} for i, each in reports.items()}
    for both in (reports, negated):
        for i in range(20, 40):
            both[i] = {1: both[i][1]}
    known = {i: float(finals[i]) for i in range(20)}
    assert estimates(reports, known, range(20, 40), 1.0) == estimates(negated, known, range(20, 40), -1.0)


def test_reports_that_say_nothing_lead_to_noise_and_no_slope() -> None:
    rng = np.random.default_rng(5)
    finals = {i: float(rng.standard_normal()) for i in range(100)}
    reports = {i: {1: -final} for i, final in finals.items()} | {i: {1: 0.0} for i in range(100, 103)}
    found = estimates(reports, finals, [100, 101, 102, 200], 1.0)
    assert found.keys() == {100, 101, 102}
    assert found[100].target == pytest.approx(np.mean(list(finals.values())), abs=0.1)
    assert found[100].noise > 0.7


def test_trials_without_a_number_are_left_out() -> None:
    assert estimates({0: {1: float("nan")}}, {}, [0], 1.0) == {}
