"""Pairs of parameters that act together: found where they are, and not where each acts alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pilotune.pipeline.analysis import interactions as module
from pilotune.pipeline.analysis import measure
from pilotune.pipeline.analysis.importance import Importances
from pilotune.pipeline.analysis.interactions import Interaction, interactions
from pilotune.pipeline.analysis.reading import StudyData
from pilotune.pipeline.cli.commands.importance import importance_json, interactions_explained, pair_lines

from .test_advice import sampled

SPACE: dict[str, BaseDistribution] = {name: FloatDistribution(-1.0, 1.0) for name in ("w", "x", "y", "z")}
MIXED: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "layers": IntDistribution(1, 4),
    "optimizer": CategoricalDistribution(["adam", "sgd"]),
    "seed": FloatDistribution(0.0, 1.0),
}

Loss = Callable[[dict[str, Any]], float]


def trials(loss: Loss, number: int, space: dict[str, BaseDistribution] = SPACE) -> list[optuna.trial.FrozenTrial]:
    rng, made = random.Random(1), []
    for _ in range(number):
        params = {name: sampled(distribution, rng) for name, distribution in space.items()}
        made.append(optuna.create_trial(params=params, distributions=space, value=loss(params)))
    return made


def found(loss: Loss, number: int = 150, space: dict[str, BaseDistribution] = SPACE) -> tuple[Interaction, ...]:
    pairs, why_not = interactions(trials(loss, number, space), list(space), lambda trial: float(trial.values[0]))
    assert not why_not
    return pairs


def product(params: dict[str, Any]) -> float:
    return float(params["x"] * params["y"])


def additive(params: dict[str, Any]) -> float:
    return float(params["x"] ** 2 + params["y"] + 0.5 * params["z"])


def test_the_factors_of_a_product_act_together_and_no_other_pair_does() -> None:
    first, *others = found(product)
    assert first.pair == ("x", "y")
    assert first.certain
    assert first.dominates
    assert first.share > 0.5 > 3 * max(first.alone)
    assert first.interval[0] <= first.share <= first.interval[1] <= 1.0
    assert not any(each.certain for each in others)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_terms_of_a_sum_do_not_act_together(noise: float) -> None:
    rng = random.Random(2)
    pairs = found(lambda params: additive(params) + rng.gauss(0.0, noise))
    assert not any(each.certain for each in pairs)
    assert pairs[0].share < 0.1


def test_choices_and_whole_numbers_interact_on_their_own_scales() -> None:
    def loss(params: dict[str, Any]) -> float:
        return float(params["layers"] * (1 if params["optimizer"] == "sgd" else -1) + (params["lr"] > 1e-3))

    first, *others = found(loss, space=MIXED)
    assert first.pair == ("layers", "optimizer")
    # the layers have mean 2.5 and variance 1.25, and `lr` adds 1/4
    assert first.share == pytest.approx(1.25 / (2.5**2 + 1.25 + 0.25), rel=0.25)
    assert first.certain
    assert not first.dominates
    assert not any(each.certain for each in others)


def test_few_trials_or_one_parameter_give_a_reason_instead() -> None:
    def value(trial: optuna.trial.FrozenTrial) -> float:
        return float(trial.values[0])

    assert interactions(trials(product, 19), list(SPACE), value) == ((), "it takes 20 complete trials")
    one = ((), "it takes two parameters that every complete trial has")
    assert interactions(trials(product, 40), ["x"], value) == one
    assert interactions((), (), value) == one


def test_without_scikit_learn_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    made = interactions(trials(product, 40), list(SPACE), lambda trial: float(trial.values[0]))
    assert made == ((), "that needs scikit-learn, which is not installed: pip install scikit-learn")


def test_many_trials_and_parameters_cost_no_more_than_some(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []
    real = module._Forest

    class Counted(real):  # type: ignore[misc, valid-type]
        def __init__(self, table: Any, values: Any, cells: Any, seed: int) -> None:
            fitted.append(len(table))
            super().__init__(table, values, cells, seed)

    monkeypatch.setattr(module, "_Forest", Counted)
    wide: dict[str, BaseDistribution] = {f"x{i}": FloatDistribution(0.0, 1.0) for i in range(12)}
    pairs = found(lambda params: params["x0"] * params["x1"] + params["x2"], 1000, wide)
    assert len(pairs) == 8 * 7 // 2
    assert len(fitted) == 41
    assert max(fitted) <= 300


def measured(loss: Loss, number: int = 150) -> Importances:
    return measure(StudyData("", "s", ("minimize",), ("value",), tuple(trials(loss, number)), {}))


def test_importance_shows_what_acts_together_and_does_not_advise_to_fix_it() -> None:
    result = measured(product)
    (line,) = pair_lines(result.interactions)
    assert line[0] == "x x y"
    assert "#" in line[-1]
    assert any(text.startswith("x and y act together: ") for text in interactions_explained(result))
    assert not {each.parameter for each in result.advice if each.what == "fix"} & {"x", "y"}
    first, *_ = importance_json(result)["interactions"]  # type: ignore[misc]
    assert (first["parameters"], first["distinguishable"]) == (["x", "y"], True)


def test_importance_says_why_there_are_no_interactions() -> None:
    assert interactions_explained(measured(additive)) == [
        "no interaction of two parameters can be told from chance with these trials"
    ]
    few = measured(additive, 10)
    assert interactions_explained(few) == ["no interactions: it takes 20 complete trials"]
    assert importance_json(few)["no_interactions"] == "it takes 20 complete trials"


def test_of_several_objectives_one_must_be_chosen() -> None:
    both = tuple(
        optuna.create_trial(params=trial.params, distributions=SPACE, values=[trial.values[0], trial.params["w"]])
        for trial in trials(product, 60)
    )
    data = StudyData("", "s", ("minimize", "maximize"), ("loss", "size"), both, {})
    assert measure(data).no_interactions == "they are those of one objective: choose it with --metric loss|size"
    assert measure(data, metric="loss").interactions[0].pair == ("x", "y")
