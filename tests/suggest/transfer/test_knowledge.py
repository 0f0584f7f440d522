"""What earlier studies say of a configuration, and how much each of them counts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.surrogate.encoding import Encoding
from pilotune.pipeline.suggest.transfer.earlier import BEST, MOST_TRIALS, EarlierStudy, normal_scores
from pilotune.pipeline.suggest.transfer.first_points import first_points
from pilotune.pipeline.suggest.transfer.knowledge import Knowledge
from pilotune.pipeline.suggest.transfer.similarity import weights

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(-5.0, 5.0),
    "lr": FloatDistribution(1e-5, 1.0, log=True),
    "layers": IntDistribution(1, 8),
    "kind": CategoricalDistribution(["a", "b"]),
}


def loss(params: dict[str, Any], shift: float = 0.0) -> float:
    return float(
        (params["x"] - 2.0 - shift) ** 2 / 10
        + (np.log10(params["lr"]) + 2.0) ** 2 / 4
        + (params["kind"] == "b")
        + 0.1 * params["layers"]
    )


def draw(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "x": float(rng.uniform(-5, 5)),
        "lr": float(10 ** rng.uniform(-5, 0)),
        "layers": int(rng.integers(1, 9)),
        "kind": str(rng.choice(["a", "b"])),
    }


def study(seed: int, sign: float = 1.0, trials: int = 60, shift: float = 0.0) -> EarlierStudy:
    rng = np.random.default_rng(seed)
    params = [draw(rng) for _ in range(trials)]
    return EarlierStudy.of(f"s{seed}", params, [sign * 1000 * loss(each, shift) for each in params])


def configurations(count: int = 60) -> tuple[Encoding, np.ndarray, np.ndarray]:
    """The space's encoding, features of random configurations, and their losses."""
    encoding, rng = Encoding(SPACE), np.random.default_rng(99)
    params = [draw(rng) for _ in range(count)]
    places = encoding.places_of(params, [True] * count)
    return encoding, encoding.features(np.array(places)), np.array([loss(each) for each in params])


def test_scores_are_ranks_and_keep_no_scale() -> None:
    assert normal_scores(np.array([1.0, 2.0, 1e9])).tolist() == pytest.approx([-0.967, 0.0, 0.967], abs=1e-3)
    assert normal_scores(np.array([3.0, 3.0])).tolist() == pytest.approx([0.0, 0.0])
    scores = normal_scores(np.array([np.nan, 1.0, np.inf]))
    assert scores[1] < scores[0] == scores[2]


def test_a_study_in_the_database_is_the_same_again_and_is_bounded() -> None:
    many = study(0, trials=1000)
    assert len(many.params) == MOST_TRIALS
    assert list(many.scores) == sorted(many.scores)
    assert many.scores[BEST - 1] == pytest.approx(normal_scores(np.arange(1000.0))[BEST - 1])
    again = EarlierStudy.from_json(json.loads(json.dumps(many.to_json())))
    assert again.params == many.params
    assert again.scores == pytest.approx(many.scores, abs=1e-4)


def test_predictions_rank_configurations_as_the_study_did() -> None:
    encoding, features, losses = configurations()
    said = Knowledge([study(0), study(1, sign=-1.0)], encoding).predict(features)
    assert np.corrcoef(said[:, 0], losses)[0, 1] > 0.8
    assert np.corrcoef(said[:, 1], losses)[0, 1] < -0.8


def test_the_fit_is_done_in_pieces_and_says_the_same_in_each_driver() -> None:
    encoding, features, _ = configurations(5)
    knowledge = Knowledge([study(0)], encoding)
    pieces = 0
    while not knowledge.prepare():
        pieces += 1
    assert pieces > 4
    assert knowledge.mean(features) == pytest.approx(Knowledge([study(0)], encoding).mean(features))


def test_a_parameter_that_a_study_lacks_makes_no_difference_to_what_it_says() -> None:
    encoding, _, _ = configurations(1)
    whole = study(0)
    without = EarlierStudy("w", tuple({k: v for k, v in each.items() if k != "lr"} for each in whole.params),
                           whole.scores)  # fmt: skip
    places = np.repeat(encoding.places_of([draw(np.random.default_rng(5))], [True])[0][None, :], 5, axis=0)  # type: ignore[index]
    places[:, 1] = np.linspace(0.0, 1.0, 5)
    said = Knowledge([without, whole], encoding).predict(encoding.features(places))
    assert np.ptp(said[:, 0]) == pytest.approx(0.0)
    assert np.ptp(said[:, 1]) > 0.1


def test_studies_with_too_few_trials_say_nothing() -> None:
    encoding, features, _ = configurations(3)
    assert not Knowledge([EarlierStudy.of("few", list(study(0).params[:3]), [1.0, 2.0, 3.0])], encoding)
    assert Knowledge([], encoding).mean(features).tolist() == [0.0, 0.0, 0.0]


def test_studies_count_alike_before_there_are_results() -> None:
    assert weights(np.zeros((0, 4)), np.zeros(0)).tolist() == [0.25] * 4
    assert weights(np.zeros((3, 0)), np.zeros(3)).tolist() == []


def test_a_study_that_contradicts_is_dropped_and_one_that_says_nothing_fades() -> None:
    rng = np.random.default_rng(0)
    turned_out = rng.standard_normal(30)
    said = np.stack([turned_out + 0.3 * rng.standard_normal(30), -turned_out, rng.standard_normal(30)], axis=1)
    found = weights(said, turned_out)
    assert found[0] > 0.8
    assert found[1] == 0.0
    assert found[2] < 0.1
    assert weights(-turned_out[:5, None], turned_out[:5]).tolist() == [0.0]
    assert weights(np.zeros((3, 1)), turned_out[:3]).tolist() != [0.0]  # no contrast is no contradiction yet


def test_the_weights_of_a_knowledge_that_was_kept_do_not_change() -> None:
    encoding, features, losses = configurations()
    knowledge = Knowledge([study(0)], encoding)
    before = knowledge.as_of_now()
    assert before is not None
    said = before(features)
    knowledge.weigh(knowledge.predict(features), -losses)
    assert before(features) == pytest.approx(said)
    assert knowledge.as_of_now() is None
    assert knowledge.mean(features).tolist() == [0.0] * len(features)


def test_first_points_are_good_distinct_and_in_the_space() -> None:
    space = Space(tuple(Parameter(name, each) for name, each in SPACE.items()), constraints=(Constraint("layers > 1"),))
    found = first_points([study(0), study(1, shift=-3.0)], SPACE, space)
    assert len(found) == 4
    assert len({json.dumps(each) for each in found}) == 4
    losses = sorted(loss(draw(np.random.default_rng(i))) for i in range(400))
    assert all(each["layers"] > 1 and space.feasible(each) for each in found)
    assert loss(found[0]) < losses[80]
    assert min(map(loss, found)) < losses[20]


def test_one_earlier_study_gives_points_too_and_values_beyond_the_space_none() -> None:
    assert len(first_points([study(0)], SPACE)) == 4
    narrow = {**SPACE, "x": FloatDistribution(1.0, 3.0)}
    assert all(1.0 <= each["x"] <= 3.0 for each in first_points([study(0)], narrow))
    assert first_points([study(0)], {"other": FloatDistribution(0.0, 1.0)}) == []
    assert first_points([], SPACE) == []
