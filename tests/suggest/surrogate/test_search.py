"""Whole studies with the sampler: it improves, in every kind of space, and breaks on nothing."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.surrogate import GPSampler

from ...support.gp_studies import MIXED, ONE, Loss, loss, params_of, run


@pytest.mark.parametrize("workers", [1, 8])
def test_it_finds_the_optimum_of_a_mixed_space(workers: int) -> None:
    study = run(GPSampler(seed=1), 60, workers=workers)
    assert study.best_value < 0.01


def test_the_same_seed_gives_the_same_trials() -> None:
    first, again, other = (params_of(run(GPSampler(seed=seed), 30)) for seed in (2, 2, 3))
    assert first == again != other


def test_a_pickled_copy_goes_on_with_the_study() -> None:
    study = run(GPSampler(seed=4), 25)
    study.sampler = pickle.loads(pickle.dumps(study.sampler))
    study.tell(study.ask(MIXED), 0.5)
    assert len(study.trials) == 26


def test_several_samplers_share_a_study() -> None:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="s", storage=storage)
    studies = [optuna.load_study(study_name="s", storage=storage, sampler=GPSampler(seed=seed)) for seed in (5, 6)]
    running: list[optuna.Trial] = []
    for number in range(70):
        trial = studies[number % 2].ask(MIXED)
        running.append(trial)
        if len(running) == 6:
            ended = running.pop(number % 5)
            studies[number % 2].tell(ended.number, loss(ended.params))
    assert studies[0].best_value < 0.05
    searches = [next(iter(study.sampler._searches.values())) for study in studies]
    assert all(search.trials.size >= 68 for search in searches)


def raises(_: dict[str, Any]) -> None:
    return None


CHOICES: dict[str, BaseDistribution] = {str(i): CategoricalDistribution(["a", "b", "c"]) for i in range(4)}
LARGE: dict[str, BaseDistribution] = {f"x{i}": FloatDistribution(0.0, 1.0) for i in range(100)}
THREE: dict[str, BaseDistribution] = {"i": IntDistribution(0, 2)}


@pytest.mark.parametrize(
    ("space", "value", "count"),
    [
        (MIXED, lambda params: 1.0, 30),
        (MIXED, raises, 30),
        (MIXED, lambda params: None if params["x"] < 0.8 else loss(params), 60),
        (MIXED, lambda params: 1e300 if params["x"] > 0 else -1e300 * params["rate"], 30),
        (MIXED, lambda params: math.inf if params["x"] > 0 else loss(params), 30),
        (MIXED, lambda params: -math.inf if params["x"] > 0.9 else 1.0, 30),
        (MIXED, lambda params: params["x"] * 1e-310, 30),
        (ONE, lambda params: (params["x"] - 0.7) ** 2, 40),
        (CHOICES, lambda params: sum(value != "b" for value in params.values()), 40),
        (THREE, lambda params: params["i"], 30),
        (LARGE, lambda params: sum(params.values()), 16),
    ],
    ids=["equal", "failed", "mostly failed", "huge", "infinite", "minus infinity", "tiny", "one", "choices", "grid",
         "large"],
)  # fmt: skip
def test_it_breaks_on_no_values_and_no_space(space: dict[str, BaseDistribution], value: Loss, count: int) -> None:
    for workers in (1, 5):
        with np.errstate(invalid="raise", divide="raise", over="raise"):
            study = run(GPSampler(seed=7, n_startup_trials=4), count, space, value, workers)
        for params in params_of(study):
            assert all(kind._contains(kind.to_internal_repr(params[name])) for name, kind in space.items())


def test_no_configuration_comes_twice_while_others_are_left() -> None:
    space: dict[str, BaseDistribution] = {"i": IntDistribution(0, 5), "j": IntDistribution(0, 5)}
    tried = params_of(run(GPSampler(seed=8), 36, space, lambda params: params["i"] * params["j"], workers=4))
    assert len({tuple(params.values()) for params in tried}) == 36


def test_failed_regions_are_left() -> None:
    study = run(GPSampler(seed=9), 60, value=lambda params: None if params["kind"] == "b" else loss(params))
    late = params_of(study)[30:]
    assert sum(params["kind"] == "b" for params in late) < 0.3 * len(late)


def test_copies_of_one_configuration_in_a_study_do_no_harm() -> None:
    study = optuna.create_study(sampler=GPSampler(seed=10))
    params = {"x": 0.5, "rate": 0.1, "layers": 2, "kind": "a"}
    for _ in range(40):
        study.add_trial(create_trial(params=params, distributions=MIXED, value=1.0))
    for _ in range(20):
        study.tell(trial := study.ask(MIXED), loss(trial.params))
    assert study.best_value < 0.8


CONDITIONAL = Space(
    (
        Parameter("kind", CategoricalDistribution(["left", "right"])),
        Parameter("a", FloatDistribution(0.0, 1.0), when={"kind": ("left",)}),
        Parameter("b", IntDistribution(0, 100), when={"kind": ("right",)}),
        Parameter("c", CategoricalDistribution(["u", "v", "w"]), when={"kind": ("right",)}),
        Parameter("one", IntDistribution(3, 3)),
    ),
    constants={"limit": 0.9},
    constraints=(Constraint("a <= limit"), Constraint("b % 7 == one")),
)


def branches(params: dict[str, Any]) -> float:
    if params["kind"] == "left":
        return 1.0 + (params["a"] - 0.5) ** 2
    return abs(params["b"] - 52) / 100 + 0.5 * (params["c"] != "v")


def run_space(sampler: optuna.samplers.BaseSampler, space: Space, value: Loss, count: int) -> optuna.Study:
    study = optuna.create_study(sampler=sampler)
    for _ in range(count):
        trial = study.ask()
        study.tell(trial, value(space.suggest(trial)))
    return study


def test_conditions_and_constraints_of_the_study_file_are_known() -> None:
    study = run_space(GPSampler(seed=11, space=CONDITIONAL), CONDITIONAL, branches, 60)
    modelled = params_of(study)
    assert all(CONDITIONAL.feasible(params) for params in modelled)
    assert study.best_params == {"kind": "right", "b": 52, "c": "v", "one": 3}


def test_trials_with_other_parameters_are_left_to_tpe() -> None:
    study = optuna.create_study(sampler=GPSampler(seed=12))

    def objective(trial: optuna.Trial) -> float:
        if trial.suggest_categorical("kind", ["a", "b"]) == "a":
            return trial.suggest_float("x", 0, 1)
        return 1 + trial.suggest_int("n", 0, 5)

    study.optimize(objective, n_trials=40)
    assert study.best_value < 0.2
    assert not study.sampler._searches or study.trials[-1].params.keys() <= {"kind", "x", "n"}


def test_a_range_that_changes_is_followed() -> None:
    study = optuna.create_study(sampler=GPSampler(seed=13, n_startup_trials=4))
    for number in range(24):
        trial = study.ask({"x": FloatDistribution(0.0, 1.0 if number < 12 else 3.0)})
        study.tell(trial, (trial.params["x"] - 2.0) ** 2)
    assert study.best_value < 0.3


def test_soft_constraints_are_met_where_the_best_values_break_them() -> None:
    study = optuna.create_study(sampler=GPSampler(seed=0))
    for _ in range(45):
        trial = study.ask({"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)})
        x, y = trial.params["x"], trial.params["y"]
        trial.set_constraint("ring", abs(x * x + y * y - 0.5) - 0.05)
        study.tell(trial, x + 2 * y)
    met = [trial for trial in study.trials if trial.constraints["ring"] <= 0]
    assert len(met) > 12
    assert min(trial.value for trial in met if trial.value) < 0.72  # the least on the ring is 0.67


def test_constraints_that_nothing_meets_at_first_are_found() -> None:
    study = optuna.create_study(sampler=GPSampler(seed=15))
    for _ in range(40):
        trial = study.ask({f"x{i}": FloatDistribution(0.0, 1.0) for i in range(4)})
        trial.set_constraint("corner", 0.75 - min(trial.params.values()))
        study.tell(trial, trial.params["x0"])
    assert any(trial.constraints["corner"] <= 0 for trial in study.trials)


def test_a_constraints_func_is_asked_after_each_trial() -> None:
    sampler = GPSampler(seed=16, constraints_func=lambda trial: (trial.params["x"] - 0.5,))
    study = run(sampler, 30, ONE, lambda params: -params["x"])
    assert all("constraints" in trial.system_attrs for trial in study.trials)
    assert max(trial.params["x"] for trial in study.trials if trial.params["x"] <= 0.5) > 0.45


def test_the_front_of_two_directions_is_found() -> None:
    space: dict[str, BaseDistribution] = {f"x{i}": FloatDistribution(0.0, 1.0) for i in range(4)}

    def both(params: dict[str, Any]) -> tuple[float, float]:
        rest = 1 + 3 * (params["x1"] + params["x2"] + params["x3"])
        return params["x0"], rest * (1 - math.sqrt(params["x0"] / rest))

    study = run(GPSampler(seed=17), 70, space, both, workers=4, directions=["minimize", "minimize"])
    front = np.array(sorted(trial.values for trial in study.best_trials))
    assert (front[:, 1] < 1.15 - np.sqrt(front[:, 0])).sum() >= 6
    assert front[:, 0].max() - front[:, 0].min() > 0.3


def test_maximizing_is_minimizing_the_negative() -> None:
    down = params_of(run(GPSampler(seed=20), 30))
    up = params_of(run(GPSampler(seed=20), 30, value=lambda params: -loss(params), direction="maximize"))
    assert down == up


def test_a_resumed_study_is_searched_on_from_its_trials_alone() -> None:
    study = run(GPSampler(seed=21), 16)
    study.sampler = GPSampler(seed=22)
    before = study.best_value
    for _ in range(12):
        study.tell(trial := study.ask(MIXED), loss(trial.params))
    assert study.best_value < 0.1 * before


def test_enqueued_and_foreign_trials_count() -> None:
    study = optuna.create_study(sampler=GPSampler(seed=23, n_startup_trials=4))
    study.enqueue_trial({"x": 0.3, "layers": 4})
    study.add_trial(create_trial(params={"x": 0.2, "other": 3.0}, value=5.0,
                                 distributions={"x": MIXED["x"], "other": FloatDistribution(0, 5)}))  # fmt: skip
    for _ in range(12):
        study.tell(trial := study.ask(MIXED), loss(trial.params))
    assert study.trials[0].params["x"] == 0.3
    assert len(study.trials) == 13


@pytest.mark.parametrize(
    "value",
    [
        lambda params: (1.0, 1.0, 1.0),
        lambda params: (1e300 * params["x"], -1e300 * params["rate"], 0.0),
        lambda params: (params["x"], -params["x"], params["rate"]),
        lambda params: None if params["x"] < 0 else (params["x"], params["rate"], params["layers"]),
        lambda params: (math.inf, 1.0, params["x"]),
    ],
    ids=["equal", "huge", "opposed", "failed", "infinite"],
)
def test_several_directions_break_on_no_values(value: Loss) -> None:
    directions = ["minimize", "maximize", "minimize"]
    with np.errstate(invalid="raise", divide="raise", over="raise"):
        run(GPSampler(seed=28, n_startup_trials=4), 25, value=value, workers=3, directions=directions)
