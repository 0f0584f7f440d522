"""The parameters of members and of copies, by ``pbt`` and ``pb2``, as plain samplers of Optuna."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from pilotune.pipeline.attributes import LEARNED, PARENT, PAUSED, STEP
from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.population import PB2Sampler, PBTSampler
from pilotune.pipeline.suggest.population.bandit import Bandit

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "shift": FloatDistribution(-1.0, 1.0),
    "width": IntDistribution(8, 128, step=8),
    "kind": CategoricalDistribution(("a", "b", "c")),
}
PARAMS = {"lr": 0.1, "shift": 0.0, "width": 64, "kind": "a"}
SAMPLERS = (PBTSampler, PB2Sampler)


def space(*constraints: str) -> Space:
    parameters = tuple(Parameter(name, distribution, {}) for name, distribution in SPACE.items())
    return Space(parameters, {}, tuple(Constraint(text) for text in constraints))


def study_with(sampler: Any, trials: int = 4) -> optuna.Study:
    study = optuna.create_study(sampler=sampler)
    for number in range(trials):
        study.add_trial(
            optuna.create_trial(
                state=TrialState.PRUNED, params={**PARAMS, "lr": 0.1 / (number + 1)}, distributions=SPACE,
                intermediate_values={1: 1.0 + number, 2: 0.5 + number / 2, 3: 0.4},
            )
        )  # fmt: skip
    return study


def copy_of(study: optuna.Study, parent: int, step: int = 2) -> dict[str, Any]:
    """The parameters of a copy, as the campaign has it drawn."""
    trial_id = study._storage.create_new_trial(study._study_id)
    study._storage.set_trial_system_attr(trial_id, PARENT, parent)
    study._storage.set_trial_system_attr(trial_id, STEP, step)
    trial = optuna.Trial(study, trial_id)
    return {name: trial._suggest(name, distribution) for name, distribution in SPACE.items()}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_copy_changes_what_it_may_and_keeps_the_rest(sampler: Any) -> None:
    study = study_with(sampler(interval=1, perturb=["lr"], seed=0, space=space()))
    for _ in range(20):
        params = copy_of(study, 0)
        assert {**params, "lr": 0.1} == PARAMS
        assert params["lr"] != 0.1


def test_a_number_is_multiplied_and_where_the_range_holds_0_shifted() -> None:
    study = study_with(PBTSampler(interval=1, resample=0.0, seed=1, space=space()))
    found = [copy_of(study, 0) for _ in range(40)]
    assert {round(params["lr"], 6) for params in found} == {0.08, 0.12}
    assert {round(params["shift"], 6) for params in found} == {-0.2, 0.2}
    assert {params["width"] for params in found} == {48, 80}  # 51.2 and 76.8, by steps
    assert {params["kind"] for params in found} == {"a", "b", "c"}


def test_a_value_stays_within_its_range_and_small_whole_numbers_change() -> None:
    sampler = PBTSampler(interval=1, resample=0.0, seed=1)
    few, log = IntDistribution(1, 3), FloatDistribution(0.1, 1.0, log=True)
    assert {sampler._changed("n", few, 2) for _ in range(20)} == {1, 3}
    assert {sampler._changed("n", few, 1) for _ in range(20)} == {1, 2}
    assert {sampler._changed("x", log, 1.0) for _ in range(20)} == {0.8, 1.0}
    assert all(type(sampler._changed("n", few, 2)) is int for _ in range(5))


def test_some_values_are_drawn_anew() -> None:
    study = study_with(PBTSampler(interval=1, resample=0.5, seed=1, space=space()))
    drawn = [round(copy_of(study, 0)["lr"], 6) not in (0.08, 0.12) for _ in range(200)]
    assert 70 < sum(drawn) < 130


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_copy_meets_the_constraints_or_is_as_its_parent(sampler: Any) -> None:
    study = study_with(sampler(interval=1, seed=0, space=space("lr * width <= 7")))
    assert all((found := copy_of(study, 0))["lr"] * found["width"] <= 7 for _ in range(50))
    study = study_with(sampler(interval=1, seed=0, perturb=["lr"], space=space("lr == 0.1")))
    assert copy_of(study, 0) == PARAMS


def test_members_are_counted_without_learned_trials_and_without_those_that_are_gone() -> None:
    sampler = PBTSampler(interval=1, population=4, seed=0)
    study = study_with(sampler, trials=2)
    assert sampler.left(study) == 4  # both were replaced
    study.add_trial(optuna.create_trial(value=1.0, user_attrs={LEARNED: "old#0"}))
    study.add_trial(optuna.create_trial(value=1.0, user_attrs={PAUSED: None}))
    study.add_trial(optuna.create_trial(state=TrialState.FAIL))
    study.ask()
    assert sampler.left(study) == 2
    assert not sampler.exhausted(study)
    study.ask()
    newest = study.ask()
    assert sampler.exhausted(study)
    assert sampler.repeated(study, [newest._trial_id]) == []
    one_more = study.ask()
    assert sampler.repeated(study, [newest._trial_id, one_more._trial_id]) == [one_more._trial_id]
    assert sampler.repeated(study, [newest._trial_id]) == [newest._trial_id]  # another driver has stored the last one
    assert sampler.finished(study) == "1 member was trained to the end, 2 were replaced, 1 failed, 4 have not ended"


def test_a_copy_beyond_the_population_is_one_too_many_and_one_that_the_user_enqueued_is_not() -> None:
    sampler = PBTSampler(interval=1, population=2, seed=0)
    study = study_with(sampler, trials=0)
    for attrs in ({}, {}, {PARENT: 0}, {"fixed_params": {"lr": 0.1}}):
        study.add_trial(optuna.create_trial(state=TrialState.RUNNING, system_attrs=attrs))
    _, _, copied, enqueued = [trial._trial_id for trial in study.get_trials(deepcopy=False)]
    assert sampler.repeated(study, [copied, enqueued]) == [copied], "another driver has filled the place"


def test_a_population_that_never_paused_is_said_to_be_none() -> None:
    sampler = PBTSampler(interval=200, population=2, seed=0)
    study = study_with(sampler, trials=0)
    for value in (1.0, 2.0):
        study.add_trial(optuna.create_trial(value=value))
    assert sampler.finished(study) == (
        "2 members were trained to the end; none ever paused, so none was compared or replaced: report after each "
        "interval of steps, or shorten it"
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"interval": 0}, "interval must be at least 1, but is 0"),
        ({"population": 1}, "population must be at least 2"),
        ({"quantile": 0.6}, "quantile must be above 0 and at most 0.5, but is 0.6"),
        ({"interval": 5, "max_resource": 5}, "max_resource must be more than interval, which is 5"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PBTSampler(**{"interval": 1, **settings})


def test_the_resample_probability_is_checked() -> None:
    with pytest.raises(ValueError, match="resample must be from 0 to 1, but is 2"):
        PBTSampler(interval=1, resample=2.0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_pickled_sampler_goes_on(sampler: Any) -> None:
    first = study_with(sampler(interval=1, seed=3, space=space()))
    second = study_with(pickle.loads(pickle.dumps(first.sampler)))
    assert copy_of(first, 0) == copy_of(second, 0)


def test_several_threads_may_use_it() -> None:
    study = study_with(PBTSampler(interval=1, seed=0, space=space()))
    threads = [threading.Thread(target=lambda: [copy_of(study, 1) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(study.trials) == 84


# -- pb2 --------------------------------------------------------------------------------------------------------------


def test_pb2_prefers_what_had_improved_members() -> None:
    """Values fall fastest near lr = 0.5."""
    only = {"lr": FloatDistribution(0.0, 1.0)}
    sampler = PB2Sampler(interval=1, seed=0, space=Space((Parameter("lr", only["lr"], {}),), {}, ()))
    study = optuna.create_study(sampler=sampler)
    for number in range(12):
        lr = (number + 0.5) / 12
        gain = 1.0 - 4.0 * (lr - 0.5) ** 2
        values = {step: 7.0 * number % 12 - step * gain for step in range(1, 5)}  # the level says nothing of the gain
        study.add_trial(
            optuna.create_trial(
                state=TrialState.PRUNED, params={"lr": lr}, distributions=only, intermediate_values=values
            )
        )
    found = []
    for _ in range(10):
        trial_id = study._storage.create_new_trial(study._study_id)
        study._storage.set_trial_system_attr(trial_id, PARENT, 5)
        study._storage.set_trial_system_attr(trial_id, STEP, 4)
        trial = optuna.Trial(study, trial_id)
        found.append(trial.suggest_float("lr", 0.0, 1.0))
        study.tell(trial, state=TrialState.FAIL)
    assert abs(float(np.median(found)) - 0.5) < 0.12


def test_pending_points_lower_the_uncertainty_only() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((20, 2))
    bandit = Bandit(points, np.zeros(20), rng.normal(size=20))
    candidates = rng.random((50, 2))
    nobody = np.empty((0, 2))
    mean, variance = bandit._predict(candidates, 1.0, nobody)
    _, less = bandit._predict(candidates, 1.0, candidates[:5])
    assert (less <= variance + 1e-9).all()
    assert (less[:5] < variance[:5]).all()
    assert mean.shape == (50,)


def test_a_far_time_says_less() -> None:
    points = np.linspace(0, 1, 10)[:, None]
    bandit = Bandit(np.vstack([points, points]), np.repeat([0.0, 9.0], 10), np.repeat([-1.0, 1.0], 10))
    mean, variance = bandit._predict(np.array([[0.5]]), 9.0, np.empty((0, 1)))
    later, wider = bandit._predict(np.array([[0.5]]), 60.0, np.empty((0, 1)))
    assert abs(later[0]) < abs(mean[0])
    assert wider[0] > variance[0]
