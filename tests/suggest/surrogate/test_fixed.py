"""Values that a trial was enqueued with are given, and the model suggests the others for them."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.surrogate import GPSampler
from pilotune.pipeline.suggest.surrogate.encoding import Encoding

from ...support.gp_studies import search_of

PAIR = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}
TREE = Space(
    (
        Parameter("kind", CategoricalDistribution(["sgd", "adam"])),
        Parameter("layers", IntDistribution(1, 5)),
        Parameter("momentum", FloatDistribution(0.0, 1.0), {"kind": ("sgd",)}),
        Parameter("units", IntDistribution(10, 100, step=10)),
    ),
    constraints=(Constraint("layers * units <= 120"),),
)


def test_the_others_are_suggested_for_what_is_given() -> None:
    def value(x: float, y: float) -> float:
        return (x - 0.5) ** 2 + 4 * (y - x) ** 2  # the best y is x

    away = []
    for seed in (0, 2, 4):
        study = optuna.create_study(sampler=GPSampler(seed=seed))
        for number in range(32):
            if number >= 30:
                study.enqueue_trial({"x": 0.2 if number == 30 else 0.8})
            trial = study.ask(PAIR)
            study.tell(trial, value(**trial.params))
        assert [trial.params["x"] for trial in study.trials[-2:]] == [0.2, 0.8]
        away += [abs(trial.params["y"] - trial.params["x"]) for trial in study.trials[-2:]]
    assert np.median(away) < 0.1


def test_a_trial_with_given_values_is_a_row_of_the_model_at_once() -> None:
    study = optuna.create_study(
        sampler=GPSampler(seed=2, space=Space(tuple(Parameter(*each) for each in PAIR.items())))
    )
    for number in range(20):
        study.tell(study.ask(PAIR), float(number))
    study.enqueue_trial({"x": 0.25})
    trial = study.ask(PAIR)
    search = search_of(study)
    assert search.model is not None
    row = search.model.row_of[search.trials.row_of[trial._trial_id]]
    assert search.model.factor.features[row].tolist() == pytest.approx([0.25, trial.params["y"]])


def test_draws_and_steps_keep_given_values_and_what_follows_from_them() -> None:
    rng = np.random.default_rng(3)
    kinds = {parameter.name: parameter.distribution for parameter in TREE.parameters}
    encoding = Encoding(kinds, TREE).fixing({"kind": "sgd", "layers": 2, "momentum": 7.0, "other": 1})
    drawn = encoding.draw(rng, 200)
    for places in (drawn, encoding.mutate(rng, drawn, np.full(200, 0.3))):
        params = [encoding.params(row) for row in places]
        assert {(each["kind"], each["layers"]) for each in params} == {("sgd", 2)}
        assert len({each["momentum"] for each in params}) > 100  # given, but none of its values
        assert len({each["units"] for each in params}) == 10
    assert all(encoding.feasible(row[None, :])[0] == (2 * encoding.params(row)["units"] <= 120) for row in drawn)


def test_a_step_moves_something_that_is_not_given() -> None:
    rng = np.random.default_rng(4)
    kinds = {f"x{i}": FloatDistribution(0.0, 1.0) for i in range(10)}
    encoding = Encoding(kinds).fixing({f"x{i}": 0.5 for i in range(9)})
    start = encoding.draw(rng, 100)
    assert (encoding.mutate(rng, start, np.full(100, 0.1))[:, 9] != start[:, 9]).all()


@pytest.mark.parametrize("finished", [0, 20])
def test_constraints_hold_for_what_is_given_and_conditions_follow_from_it(finished: int) -> None:
    study = optuna.create_study(sampler=GPSampler(seed=5, space=TREE))
    kinds = {parameter.name: parameter.distribution for parameter in TREE.parameters}
    for _ in range(finished):
        trial = study.ask({name: kind for name, kind in kinds.items() if name != "momentum"})
        study.tell(trial, trial.params["units"])
    for _ in range(8):
        study.enqueue_trial({"kind": "sgd", "layers": 5})
        trial = study.ask()
        relative = study.sampler.sample_relative(study, trial._get_latest_trial(), kinds)
        assert (relative["kind"], relative["layers"]) == ("sgd", 5)
        assert "momentum" in relative
        assert relative["units"] <= 20
