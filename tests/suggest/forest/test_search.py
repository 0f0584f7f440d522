"""Whole studies with the sampler: it improves, in every kind of space, and breaks on nothing."""

from __future__ import annotations

import math
import pickle
import random
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState, create_trial

from pilotune.pipeline.attributes import PAUSED
from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.forest import ForestSampler
from pilotune.pipeline.suggest.forest.acquisition import ACQUISITIONS
from pilotune.pipeline.suggest.forest.search import GROWN
from pilotune.pipeline.suggest.forest.trees import Forest

from ...support.gp_studies import MIXED, ONE, Loss, loss, params_of, run


def sampler(seed: int = 0, **options: Any) -> ForestSampler:
    """A forest that is quick to grow."""
    return ForestSampler(**{"seed": seed, "trees": 20, "candidates": 500, **options})


def search_of(study: optuna.Study) -> Any:
    """The only search of the study's sampler, with what has changed."""
    assert isinstance(study.sampler, ForestSampler)
    (search,) = study.sampler._searches.values()
    search.refresh(study)
    return search


@pytest.mark.parametrize(("acquire", "workers"), [(name, 6) for name in ACQUISITIONS] + [("qucb", 1)])
def test_it_is_better_than_random(acquire: str, workers: int) -> None:
    found = [run(sampler(seed, acquire=acquire), 40, workers=workers).best_value for seed in range(3)]
    chance = [run(sampler(seed, n_startup_trials=40), 40).best_value for seed in range(3)]
    assert np.median(found) < 0.6 * np.median(chance)


def test_the_same_seed_gives_the_same_trials() -> None:
    first, again, other = (params_of(run(sampler(seed, acquire="gp_hedge"), 30)) for seed in (2, 2, 3))
    assert first == again != other


def test_a_pickled_copy_goes_on_with_the_study_and_a_reseeded_one_differs() -> None:
    study = run(sampler(4), 25)
    copies = [pickle.loads(pickle.dumps(study.sampler)) for _ in range(3)]
    copies[2].reseed_rng()
    found = []
    for study.sampler in copies:
        trial = study.ask()
        found.append(study.sampler.sample_relative(study, trial._get_latest_trial(), MIXED))
        study.tell(trial, state=TrialState.FAIL)
    assert found[0] == found[1] != found[2]


def test_several_samplers_share_a_study() -> None:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="s", storage=storage)
    studies = [optuna.load_study(study_name="s", storage=storage, sampler=sampler(seed)) for seed in (5, 6)]
    running: list[Trial] = []
    for number in range(60):
        trial = studies[number % 2].ask(MIXED)
        running.append(trial)
        if len(running) == 6:
            ended = running.pop(number % 5)
            studies[number % 2].tell(ended.number, loss(ended.params))
    assert studies[0].best_value < 0.2
    for study in studies:
        assert search_of(study).trials.size == 60


def test_a_resumed_study_is_searched_on_from_its_trials_alone() -> None:
    study = run(sampler(21), 25)
    study.sampler = sampler(22)
    later = [study.ask(MIXED).params for _ in range(12)]
    assert np.median([loss(params) for params in later]) < np.median([loss(p) for p in params_of(study)[:10]])


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
    for workers, acquire, lie in ((1, "qucb", None), (5, "gp_hedge", "max")):
        with np.errstate(invalid="raise", divide="raise", over="raise"):
            study = run(sampler(7, n_startup_trials=4, acquire=acquire, lie=lie), count, space, value, workers)
        for params in params_of(study):
            assert all(kind._contains(kind.to_internal_repr(params[name])) for name, kind in space.items())


def test_no_configuration_comes_twice_while_others_are_left() -> None:
    space: dict[str, BaseDistribution] = {"i": IntDistribution(0, 5), "j": IntDistribution(0, 5)}
    tried = params_of(run(sampler(8), 36, space, lambda params: params["i"] * params["j"], workers=4))
    assert len({tuple(params.values()) for params in tried}) == 36


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_failures_do_not_attract_the_search(direction: str) -> None:
    sign = 1.0 if direction == "minimize" else -1.0
    value: Loss = lambda params: None if params["kind"] == "b" else sign * loss(params)  # noqa: E731
    for acquire in ("qucb", "gp_hedge"):
        study = run(sampler(9, acquire=acquire), 60, value=value, direction=direction, workers=4)
        late = params_of(study)[30:]
        assert sum(params["kind"] == "b" for params in late) < 0.2 * len(late)
        assert abs(study.best_value) < 1.2


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_a_search_is_not_misled_by_trials_that_fail_anywhere(share: float) -> None:
    found = []
    for seed in range(3):
        fails = random.Random(seed)

        def value(params: dict[str, Any], fails: random.Random = fails) -> float | None:
            return None if fails.random() < share else loss(params)

        study = run(sampler(seed), 60, value=value)
        assert len(study.get_trials(states=(TrialState.FAIL,))) > 1
        found.append(study.best_value)
    assert np.median(found) < 0.2


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


def test_conditions_and_constraints_of_the_study_file_are_known() -> None:
    study = optuna.create_study(sampler=sampler(11, space=CONDITIONAL))
    for _ in range(60):
        trial = study.ask()
        study.tell(trial, branches(CONDITIONAL.suggest(trial)))
    assert all(CONDITIONAL.feasible(params) for params in params_of(study))
    assert study.best_params == {"kind": "right", "b": 52, "c": "v", "one": 3}


def test_trials_with_other_parameters_are_left_to_tpe() -> None:
    study = optuna.create_study(sampler=sampler(12))

    def objective(trial: Trial) -> float:
        if trial.suggest_categorical("kind", ["a", "b"]) == "a":
            return trial.suggest_float("x", 0, 1)
        return 1 + trial.suggest_int("n", 0, 5)

    study.optimize(objective, n_trials=40)
    assert study.best_value < 0.2


def test_soft_constraints_are_met_where_the_best_values_break_them() -> None:
    best = []
    for seed in range(3):
        study = optuna.create_study(sampler=sampler(seed))
        for _ in range(60):
            trial = study.ask({"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)})
            x, y = trial.params["x"], trial.params["y"]
            trial.set_constraint("outside", 0.5 - x * x - y * y)
            study.tell(trial, x + 2 * y)
        met = [trial.value for trial in study.trials if trial.constraints["outside"] <= 0]
        assert len(met) > 30
        best.append(min(value for value in met if value is not None))
    assert np.median(best) < 0.85  # the least is 0.71


def test_constraints_that_nothing_meets_at_first_are_found() -> None:
    study = optuna.create_study(sampler=sampler(15))
    for _ in range(80):
        trial = study.ask({f"x{i}": FloatDistribution(0.0, 1.0) for i in range(4)})
        trial.set_constraint("corner", 0.7 - min(trial.params.values()))
        study.tell(trial, trial.params["x0"])
    assert any(trial.constraints["corner"] <= 0 for trial in study.trials)


def test_a_constraints_func_is_asked_after_each_trial() -> None:
    study = run(
        sampler(16, constraints_func=lambda trial: (trial.params["x"] - 0.5,)), 30, ONE, lambda params: -params["x"]
    )
    assert all("constraints" in trial.system_attrs for trial in study.trials)
    assert max(trial.params["x"] for trial in study.trials if trial.params["x"] <= 0.5) > 0.45


def test_maximizing_is_minimizing_the_negative() -> None:
    down = params_of(run(sampler(20), 30))
    up = params_of(run(sampler(20), 30, value=lambda params: -loss(params), direction="maximize"))
    assert down == up


def test_enqueued_and_foreign_trials_count() -> None:
    study = optuna.create_study(sampler=sampler(23, n_startup_trials=4))
    study.enqueue_trial({"x": 0.3, "layers": 4})
    study.add_trial(create_trial(params={"x": 0.2, "other": 3.0}, value=5.0,
                                 distributions={"x": MIXED["x"], "other": FloatDistribution(0, 5)}))  # fmt: skip
    for _ in range(12):
        study.tell(trial := study.ask(MIXED), loss(trial.params))
    assert study.trials[0].params["x"] == 0.3
    assert len(study.trials) == 13


def test_the_others_are_suggested_for_what_is_given() -> None:
    away = []
    pair: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}
    for seed in range(3):
        study = optuna.create_study(sampler=sampler(seed, acquire="lcb", kappa=0.1, n_startup_trials=50))
        for number in range(62):
            if number >= 60:
                study.enqueue_trial({"x": 0.2 if number == 60 else 0.8})
            trial = study.ask(pair)
            study.tell(trial, (trial.params["y"] - trial.params["x"]) ** 2)  # the best y is x
        assert [trial.params["x"] for trial in study.trials[-2:]] == [0.2, 0.8]
        away += [abs(trial.params["y"] - trial.params["x"]) for trial in study.trials[-2:]]
    assert np.median(away) < 0.15


@pytest.mark.parametrize(("state", "attrs"), [(TrialState.PRUNED, {}), (TrialState.RUNNING, {PAUSED: 1})])
def test_pruned_and_paused_trials_are_learnt_from(state: TrialState, attrs: dict[str, Any]) -> None:
    study = optuna.create_study(sampler=sampler(18, acquire="lcb"), direction="maximize")
    for x in np.random.default_rng(0).random(40).tolist():
        study.add_trial(
            create_trial(
                state=state,
                params={"x": x},
                distributions=ONE,
                intermediate_values={1: -((x - 0.6) ** 2)},
                user_attrs=attrs,
            )
        )
    assert abs(np.median([study.ask(ONE).params["x"] for _ in range(5)]) - 0.6) < 0.15


def test_running_trials_count_as_the_lie_and_by_default_with_qucb_as_nothing() -> None:
    found = {}
    for lie in (None, "max", "min", "mean"):
        study = run(sampler(24, lie=lie), 30)
        study.ask(MIXED)
        search = search_of(study)
        losses = search._losses.with_lies(search._losses.of_results())
        found[lie] = (losses[-1], losses[:-1])
    assert np.isnan(found[None][0])
    assert found["max"][0] == found["max"][1].max()
    assert found["min"][0] == found["min"][1].min()
    assert found["mean"][0] == pytest.approx(found["mean"][1].mean())
    assert sampler(acquire="ei")._options.lie == "max"


def test_many_that_run_at_once_differ() -> None:
    study = run(sampler(25), 30)
    asked = [study.ask(MIXED).params for _ in range(40)]
    assert len({tuple(params.values()) for params in asked}) == 40


@pytest.mark.parametrize(("lie", "count"), [(None, 0), ("max", 10)])
def test_without_results_and_lies_nothing_is_expected_anew(
    lie: str | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    values = Forest.values

    def counted(self: Forest, targets: np.ndarray) -> np.ndarray:
        looks.append(len(targets))
        return values(self, targets)

    study = run(sampler(30, lie=lie), 20)
    for _ in range(5):
        study.ask(MIXED)  # until no tree is due
    monkeypatch.setattr(Forest, "values", counted)
    for _ in range(10):
        study.ask(MIXED)
    assert len(looks) == count


def test_no_suggestion_grows_many_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    grown: list[int] = []
    grow = Forest.grow

    def counted(self: Forest, *args: Any) -> int:
        grown[-1] += 1
        return grow(self, *args)

    monkeypatch.setattr(Forest, "grow", counted)
    study = run(sampler(26, n_startup_trials=1_000), 600, ONE, lambda params: params["x"])
    study.sampler = again = sampler(27)
    ready = False
    while not ready:
        grown.append(0)
        ready = again.prepare(study)
    assert max(grown) <= GROWN
    assert sum(grown) == 20
    for _ in range(60):
        grown.append(0)
        study.tell(study.ask(ONE), 0.5)
    assert 60 * 20 // 33 - 2 <= sum(grown[-60:]) <= 60 * 20 // 30  # each tree once while the study grows by a twentieth


def test_what_is_read_in_parts_is_what_is_read_at_once() -> None:
    parts, whole = (run(sampler(28, n_startup_trials=1_000), 300) for _ in range(2))
    for study in (parts, whole):
        study.sampler = sampler(29)
    while not parts.sampler.prepare(parts):  # type: ignore[attr-defined]
        pass
    assert search_of(parts)._forest.missing == 0
    found = [study.ask(MIXED).params for study in (parts, whole)]
    assert found[0] == found[1]
