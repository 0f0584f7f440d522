"""Costs: what is learned of seconds and memory, from which attempts, and when it changes."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from pilotune.pipeline.placement import Costs
from pilotune.pipeline.placement.features import Features
from pilotune.pipeline.placement.regression import Observations, fit

POOLS = ("cpu", "gpu")


def drawn(count: int, seed: int = 0) -> list[dict[str, object]]:
    """Configurations with numbers on logarithmic scales, categories and conditional parameters."""
    draw = random.Random(seed)
    found: list[dict[str, object]] = []
    for _ in range(count):
        params: dict[str, object] = {
            "model": draw.choice(["svm", "cnn"]),
            "lr": 10 ** draw.uniform(-5, -1),
            "shuffle": draw.random() < 0.5,
            "dropout": draw.uniform(0.0, 0.5),
        }
        if params["model"] == "cnn":
            params |= {"layers": draw.randint(1, 6), "units": 2 ** draw.randint(4, 9)}
        found.append(params)
    return found


def true_seconds(params: dict[str, object], pool: str) -> float:
    if params["model"] == "svm":
        return 20.0
    size = float(params["layers"]) * float(params["units"])  # type: ignore[arg-type]
    return size / 10 if pool == "cpu" else size / 100


def learned(count: int, noise: float = 0.1) -> Costs:
    costs, draw = Costs(POOLS), random.Random(1)
    for params in drawn(count):
        pool = draw.choice(POOLS)
        costs.note(params, pool, true_seconds(params, pool) * math.exp(draw.gauss(0, noise)))
    return costs


def errors(costs: Costs) -> np.ndarray:
    """Of predictions for new trials, by trial and pool, as logarithms."""
    new = drawn(60, seed=9)
    found = costs.log_seconds(new)
    assert found is not None
    return np.asarray(found - np.log([[true_seconds(params, pool) for pool in POOLS] for params in new]))


def test_nothing_is_known_before_the_first_attempt():
    costs = Costs(POOLS)
    assert costs.seconds({"a": 1}, "cpu") is None
    assert costs.predict({"a": 1}, "cpu") is None
    assert costs.memory({"a": 1}, "cpu") is None
    assert costs.mean is None


def test_one_attempt_tells_of_all_that_are_like_it():
    costs = Costs(POOLS)
    costs.note({"model": "cnn"}, "cpu", 100.0)
    found = costs.predict({"model": "cnn"}, "cpu")
    assert found is not None
    assert found.seconds == pytest.approx(100.0, rel=0.01)
    assert found.factor > 1.3
    assert found.seen == 1


def test_seconds_follow_layers_times_units_and_the_pool():
    assert np.sqrt((errors(learned(300)) ** 2).mean()) < 0.12


def test_a_pool_in_which_nothing_ran_is_like_the_others():
    costs = Costs(POOLS)
    for _ in range(10):
        costs.note({"model": "svm"}, "cpu", 10.0)
        costs.note({"model": "cnn"}, "cpu", 90.0)
    known, new = (costs.predict({"model": "cnn"}, pool) for pool in ("cpu", "gpu"))
    assert known is not None
    assert new is not None
    assert 60.0 < new.seconds < 120.0
    assert new.factor > 2 * known.factor
    assert (9 <= known.seen <= 10, new.seen) == (True, 0)


def test_two_trials_in_three_lie_within_the_factor():
    costs = learned(400, noise=0.3)
    draw, inside = random.Random(2), 0
    for params in drawn(200, seed=5):
        found = costs.predict(params, "gpu")
        assert found is not None
        seconds = true_seconds(params, "gpu") * math.exp(draw.gauss(0, 0.3))
        inside += found.seconds / found.factor <= seconds <= found.seconds * found.factor
    assert 0.55 < inside / 200 < 0.8


def test_a_censored_attempt_is_a_bound_and_no_duration():
    plain, censored = Costs(POOLS), Costs(POOLS)
    for costs in (plain, censored):
        for _ in range(6):
            costs.note({"model": "cnn"}, "cpu", 100.0)
    for _ in range(12):  # pruned after a tenth of the time
        plain.note({"model": "cnn"}, "cpu", 10.0)
        censored.note({"model": "cnn"}, "cpu", 10.0, censored=True)
    whole, short = censored.seconds({"model": "cnn"}, "cpu"), plain.seconds({"model": "cnn"}, "cpu")
    assert whole is not None
    assert short is not None
    assert short < 60.0
    assert whole == pytest.approx(100.0, rel=0.2)


def test_a_bound_beyond_the_prediction_raises_it():
    costs = Costs(POOLS)
    for _ in range(3):
        costs.note({"model": "cnn"}, "cpu", 10.0)
    for _ in range(9):
        costs.note({"model": "cnn"}, "cpu", 60.0, censored=True)
    found = costs.predict({"model": "cnn"}, "cpu")
    assert found is not None
    assert found.seconds > 40.0


def test_steps_extrapolate_what_was_pruned():
    costs = Costs(POOLS)
    for _ in range(5):
        costs.note({"model": "cnn"}, "cpu", 10.0, censored=True, steps=3, of_steps=27)
    found = costs.predict({"model": "cnn"}, "cpu")
    assert found is not None
    assert found.seconds == pytest.approx(90.0, rel=0.01)


def test_running_trials_are_bounds_until_they_are_said_anew():
    costs = Costs(POOLS)
    for _ in range(8):
        costs.note({"model": "svm"}, "cpu", 10.0)
    before = costs.seconds({"model": "cnn"}, "cpu")
    costs.running([({"model": "cnn"}, "cpu", 200.0, True)] * 5)
    while_running = costs.seconds({"model": "cnn"}, "cpu")
    costs.running([])
    assert before is not None
    assert while_running is not None
    assert before < 20.0
    assert while_running > 100.0
    assert costs.seconds({"model": "cnn"}, "cpu") == before


def test_running_trials_whose_reports_foretell_their_end_count_as_whole_ones():
    costs = Costs(POOLS)
    for _ in range(8):
        costs.note({"model": "svm"}, "cpu", 10.0)
    costs.running([({"model": "cnn"}, "cpu", 200.0, False)] * 5)
    found = costs.predict({"model": "cnn"}, "cpu")
    assert found is not None
    assert found.seconds == pytest.approx(200.0, rel=0.1)


def test_outliers_hardly_count():
    costs = Costs(POOLS)
    for place in range(40):
        costs.note({"model": "cnn"}, "cpu", 5000.0 if place % 10 == 9 else 100.0)
    found = costs.predict({"model": "cnn"}, "cpu")
    assert found is not None
    assert found.seconds == pytest.approx(100.0, rel=0.2)


def test_the_version_changes_with_predictions_and_only_then():
    costs, params = Costs(POOLS), {"model": "cnn"}
    before = costs.version
    costs.note(params, "cpu", 100.0)
    first = costs.version
    assert first != before
    for _ in range(20):
        costs.note(params, "cpu", 100.0)
    settled = costs.version
    for _ in range(100):
        costs.note(params, "cpu", 101.0)
    assert costs.version == settled
    for _ in range(200):
        costs.note(params, "cpu", 300.0)
    assert costs.version > settled


def test_the_same_attempts_make_the_same_model_whenever_it_is_asked():
    asked, resumed = Costs(POOLS), Costs(POOLS)
    for number, params in enumerate(drawn(130)):
        pool = POOLS[number % 2]
        for costs in (asked, resumed):
            costs.note(params, pool, true_seconds(params, pool), memory=1e9)
        if number % 7 == 0:
            assert asked.seconds(params, "cpu") is not None
    np.testing.assert_array_equal(errors(asked), errors(resumed))
    assert asked.memory(drawn(1)[0], "gpu") == resumed.memory(drawn(1)[0], "gpu")


def test_fits_become_rarer_as_attempts_become_more(monkeypatch):
    from pilotune.pipeline.placement import learner

    fits: list[int] = []
    monkeypatch.setattr(learner, "fit", lambda seen, *rest: fits.append(len(seen.rows)) or fit(seen, *rest))
    costs = Costs(POOLS)
    for _ in range(2500):
        costs.note({"model": "cnn"}, "cpu", 1.0)
        assert costs.version
    assert len(fits) < 70
    assert max(fits) <= learner.MOST_ROWS


def test_memory_is_a_high_quantile_and_unknown_from_few_attempts():
    costs, draw = Costs(POOLS), random.Random(0)
    for number in range(60):
        assert (costs.memory({"batch": 64}, "cpu") is None) == (number < 5)
        batch = 2 ** draw.randint(4, 9)
        costs.note({"batch": batch}, "cpu", 1.0, memory=1e7 * batch * math.exp(draw.gauss(0, 0.1)))
    found = costs.memory({"batch": 64}, "cpu")
    assert found is not None
    assert 6.4e8 < found < 9e8


def test_two_failures_by_memory_close_a_pool_to_trials_like_these():
    costs, small, large = Costs(POOLS), {"model": "svm"}, {"model": "cnn"}
    for _ in range(6):
        costs.note(small, "gpu", 10.0)
        costs.note(large, "cpu", 500.0)
    costs.failed_by_memory(large, "gpu")
    assert not costs.closed([small, large]).any()
    before = costs.version
    costs.failed_by_memory(large, "gpu")
    assert costs.version != before
    assert costs.closed([small, large]).tolist() == [[False, False], [False, True]]


def test_lighter_trials_stay_where_heavier_ones_failed():
    costs = Costs(POOLS)
    for batch in (16, 32, 64, 128) * 4:
        costs.note({"batch": batch}, "gpu", 10.0, memory=1e8 * batch)
    for _ in range(2):
        costs.failed_by_memory({"batch": 256}, "gpu", limit=2e10)
    assert costs.closed([{"batch": 32}, {"batch": 256}])[:, 1].tolist() == [False, True]


def test_missing_constant_strange_and_new_values_have_rows():
    many = [{"a": 1, "c": 5, "x": [1]}, {"a": "b", "c": 5}, {"c": 5, "lr": 0.0}, {"c": 5, "lr": float("nan")}]
    features = Features(many)
    rows = features.rows([*many, {}, {"a": None, "lr": -3.0, "new": 1}])
    assert np.isfinite(rows).all()
    assert (rows[:, 0] == 1).all()
    assert len(features.groups) == rows.shape[1]


def test_of_too_many_columns_some_are_kept():
    draw = random.Random(0)
    many = [{f"p{place}": draw.random() for place in range(200)} for _ in range(5)]
    assert Features(many).rows(many).shape == (5, 80)


def test_a_regression_without_whole_values_is_finite():
    rows = np.ones((3, 1))
    found = fit(Observations(rows, np.zeros(3, dtype=int), np.arange(3.0), np.ones(3, dtype=bool)), np.array([0]), 1)
    assert np.isfinite(found.coefficients).all()
    assert found.coefficients[0, 0] > 1.0
