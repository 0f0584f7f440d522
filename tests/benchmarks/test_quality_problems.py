"""The problems of the benchmark of search quality: their optima, ranges, and what they are for."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import problems
from benchmarks.quality.problems import functions, several
from benchmarks.quality.problems.base import space_of

needs_data = pytest.mark.skipif(
    not problems.data_folder().is_dir(), reason=f"the benchmark's data are not here ({problems.data_folder()})"
)
WITHOUT_DATA = [name for name, listed in problems.PROBLEMS.items() if not listed.needs]
WITH_DATA = [name for name, listed in problems.PROBLEMS.items() if listed.needs == "data"]


def best_of(problem: problems.Problem, draws: int) -> float:
    """The least value of random configurations; with several objectives, minus their hypervolume."""
    rng = random.Random(0)
    found = [problem.evaluate(problem.space.sample(rng)) for _ in range(draws)]
    values = [outcome.values for outcome in found if outcome.values and outcome.feasible]
    if problem.corner:
        return -several.hypervolume(np.array(values), problem.corner)
    return min((value[0] for value in values), default=math.inf)


@pytest.mark.parametrize("name", WITHOUT_DATA)
def test_random_draws_never_beat_the_optimum(name: str):
    problem = problems.make(name)
    assert problem.name == name
    best = best_of(problem, 300)
    assert best >= problem.optimum
    assert problem.regret(problem.optimum) == 0.0
    assert problem.regret(best) >= 0.0


@needs_data
@pytest.mark.parametrize("name", WITH_DATA)
def test_random_draws_never_beat_the_best_of_the_data(name: str):
    problem = problems.make(name)
    assert problem.optimum <= best_of(problem, 300)
    if name != "taskset-gru" and name.startswith("taskset"):
        return  # 4,000 draws each: one of them is enough
    assert problem.optimum < problem.reference
    assert problem.regret(problem.reference) == pytest.approx(1.0)


@needs_data
def test_illegal_kernels_fail():
    problem = problems.make("kernel-a100")
    rng = random.Random(0)
    found = [problem.evaluate(problem.space.sample(rng)) for _ in range(300)]
    assert 0.3 < sum(outcome.values is None for outcome in found) / 300 < 0.8
    assert all(outcome.seconds for outcome in found)


@needs_data
def test_noise_of_a_table_is_one_of_its_repeats():
    problem = problems.make("nas201-noisy")
    rng = random.Random(0)
    assert problem.noise
    params = problem.space.sample(rng)
    true = problem.evaluate(params).values
    assert true
    told = {problem.noise(params, true[0], np.random.default_rng(i)) for i in range(50)}
    assert 2 <= len(told) <= 3
    assert min(told) <= true[0] <= max(told)


PLACES = {
    "branin": {"x0": math.pi, "x1": 2.275},
    "rosenbrock5": dict.fromkeys(["x0", "x1", "x2", "x3", "x4"], 1.0),
    "ackley10": {f"x{i}": 0.0 for i in range(10)},
    "styblinski6": {f"x{i}": -2.903534 for i in range(6)},
    "conditional-machine": {"kernel": "rbf", "cost": 20.0, "gamma": 0.03},
    "conditional-nested": {"model": "trees", "scale": "none", "trees": "boosting", "depth": 5, "count": 1000}
    | {"eta": 0.03, "loss": "huber"},
    "gramacy": {"a": 0.1954, "b": 0.4044},
    "welded-beam": {"h": 0.20573, "length": 3.470489, "t": 9.036624, "b": 0.20573},
    "pressure-vessel": {"shell": 13, "head": 7, "r": 42.0984455, "length": 176.6365958},
}


@pytest.mark.parametrize("name", PLACES)
def test_the_optimum_is_where_it_is_known_to_be(name: str):
    problem = problems.make(name)
    values = problem.evaluate(PLACES[name]).values
    assert values
    assert values[0] == pytest.approx(problem.optimum, abs=1e-3)


def test_a_moved_optimum_is_not_at_the_centre():
    problem = problems.make("ackley10-moved")
    centre = problem.evaluate({f"x{i}": 0.0 for i in range(10)}).values
    assert centre
    assert centre[0] > 5


def test_the_optimum_of_a_chain_is_that_of_all_its_configurations():
    problem = functions.chain("short", 4, 3, seed=1)
    every = [
        problem.evaluate({f"c{i}": "abc"[code // 3**i % 3] for i in range(4)}).values[0]  # type: ignore[index]
        for code in range(81)
    ]
    assert min(every) == pytest.approx(problem.optimum)


def test_an_optimum_that_differs_by_rounding_is_the_optimum():
    problem = problems.make("chain8")
    assert problem.regret(problem.optimum + 4e-15) == 0.0
    assert problem.regret(problem.optimum + 1e-9) == pytest.approx(1e-9, rel=1e-3)


def test_hypervolumes():
    assert several.hypervolume(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 3.0]]), (4.0, 4.0)) == 5.0
    assert several.hypervolume(np.array([[5.0, 0.0]]), (4.0, 4.0)) == 0.0
    points, corner = np.random.default_rng(0).uniform(size=(40, 3)), np.array([0.9, 1.0, 1.1])
    wfg = pytest.importorskip("optuna._hypervolume").compute_hypervolume
    inside = points[(points < corner).all(axis=1)]
    assert 20 < len(inside) < len(points)
    assert several.hypervolume(points, corner) == pytest.approx(wfg(inside, corner))


def test_regret_is_one_at_what_a_hundred_random_draws_find():
    from optuna.distributions import FloatDistribution

    problem = problems.Problem(
        "parabola",
        space_of({"x": FloatDistribution(-1.0, 1.0)}),
        lambda params: problems.Outcome((params["x"] ** 2,)),
        0.0,
    )
    draws = np.random.default_rng(1).uniform(-1, 1, (2000, 100)) ** 2
    assert problem.regret(float(np.median(draws.min(axis=1)))) == pytest.approx(1.0, rel=0.25)
    assert problem.regret(math.inf) == math.inf


def test_tuning_and_confirming_have_nothing_in_common():
    tuning, confirming = problems.names_of(False), problems.names_of(True)
    assert not set(tuning) & set(confirming)
    assert set(tuning) | set(confirming) == set(problems.PROBLEMS)
    assert not set(problems.seeds_of(False, 100)) & set(problems.seeds_of(True, 1000))
    with pytest.raises(ValueError, match="100 tuning seeds"):
        problems.seeds_of(False, 101)
    for family, members in problems.FAMILIES.items():
        assert {listed.confirming for listed in members.values()} == {False, True}, family


def test_what_is_missing_is_said_and_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PILOTUNE_DATA", str(tmp_path / "none"))
    assert "set PILOTUNE_DATA" in (problems.missing("nas201") or "")
    assert problems.missing("branin") is None
