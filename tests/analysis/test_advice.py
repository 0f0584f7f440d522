"""What ``importance`` says about the space of a study, and how sure it is of a share."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pilotune.pipeline.analysis import interactions, measure
from pilotune.pipeline.analysis.reading import StudyData

from ..support.sizes import at_size

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "layers": IntDistribution(1, 8),
    "optimizer": CategoricalDistribution(["adam", "sgd", "lion"]),
    "noise": FloatDistribution(0.0, 1.0),
}


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interactions, which ``test_interactions`` is about, take most of the time of an importance."""
    monkeypatch.setattr(interactions, "ROUNDS", at_size(5, interactions.ROUNDS))


def study(loss: Any, trials: int = 120, direction: str = "minimize") -> StudyData:
    """A study of random trials."""
    rng, sign = random.Random(0), -1.0 if direction == "maximize" else 1.0
    made = []
    for _ in range(trials):
        params = {name: sampled(distribution, rng) for name, distribution in SPACE.items()}
        made.append(optuna.create_trial(params=params, distributions=SPACE, value=sign * loss(params)))
    return StudyData("", "s", (direction,), ("value",), tuple(made), {})


def sampled(distribution: BaseDistribution, rng: random.Random) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return rng.choice(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return rng.randint(distribution.low, distribution.high)
    assert isinstance(distribution, FloatDistribution)
    if distribution.log:
        return 10 ** rng.uniform(-5, -1)
    return rng.uniform(distribution.low, distribution.high)


def texts(data: StudyData) -> list[str]:
    return [each.text for each in measure(data).advice]


def edge(params: dict[str, Any]) -> float:
    return (8 - params["layers"]) ** 2 + 30.0 * (params["optimizer"] == "sgd") + 0.01 * params["lr"]


def test_a_range_is_to_be_widened_a_choice_left_out_and_a_parameter_fixed() -> None:
    for direction in ("minimize", "maximize"):
        said = texts(study(edge, trials=160, direction=direction))
        assert said[0].startswith("layers: ")
        assert "of the 16 best trials lie at the upper end of its range, 8; widen it there" in said[0]
        assert said[1].startswith("optimizer: none of the 16 best trials has 'sgd', and ")
        assert not any(text.startswith("optimizer: it cannot") for text in said)
        assert any(text.startswith("noise: it cannot be told from chance in 160 trials; a constant") for text in said)


def test_the_end_of_a_logarithmic_range_is_on_its_own_scale() -> None:
    low = texts(study(lambda params: params["lr"], trials=400))
    assert low[0].startswith("lr: ")
    assert "at the lower end of its range, 1e-05" in low[0]
    assert not any("widen" in text for text in texts(study(lambda params: abs(params["lr"] - 1e-3))))


def test_few_trials_give_no_advice() -> None:
    assert texts(study(edge, trials=29)) == []


def test_nothing_is_said_of_several_objectives_at_once() -> None:
    one = study(edge, trials=40)
    trials = tuple(
        optuna.create_trial(
            params=trial.params, distributions=SPACE, values=[trial.values[0], float(trial.params["layers"])]
        )
        for trial in one.trials
    )
    two = replace(one, directions=("minimize", "maximize"), metrics=("loss", "layers"), trials=trials)
    assert measure(two).advice == ()
    assert measure(two, metric="loss").advice != ()


def test_the_interval_of_a_share_holds_it_and_narrows_with_more_trials() -> None:
    widths = []
    for trials in (15, 40, 600):
        found = measure(study(edge, trials=trials))
        low, high = found.intervals["layers"]
        assert all(0.0 <= least <= most <= 1.0 for least, most in found.intervals.values())
        for name, (least, most) in found.intervals.items():
            assert least <= found.shares[name] <= most, name
        widths.append(high - low)
    assert widths[2] < widths[1]


def test_of_a_few_trials_the_interval_is_all_that_is_possible() -> None:
    assert all(ends == (0.0, 1.0) for ends in measure(study(edge, trials=2)).intervals.values())
