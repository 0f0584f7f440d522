"""Configurations as numbers, and back."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.surrogate.encoding import Encoding

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(-1.0, 1.0),
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "units": IntDistribution(16, 1024, log=True),
    "layers": IntDistribution(1, 6),
    "width": IntDistribution(0, 1000, step=250),
    "quarter": FloatDistribution(0.0, 1.0, step=0.25),
    "kind": CategoricalDistribution(["a", "b", "c"]),
}
CONDITIONAL = Space(
    (
        Parameter("kind", CategoricalDistribution(["sgd", "adam"])),
        Parameter("momentum", FloatDistribution(0.0, 1.0), when={"kind": ("sgd",)}),
        Parameter("deep", CategoricalDistribution(["x", "y", "z"]), when={"momentum": (1.0,)}),
        Parameter("layers", IntDistribution(1, 4)),
        Parameter("last", IntDistribution(1, 8), when={"layers": (3, 4)}),
    ),
    constraints=(Constraint("layers * last <= 20"),),
)


def both(encoding: Encoding) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = encoding.draw(rng, 200)
    return [drawn, encoding.mutate(rng, drawn, np.full(200, 0.1))]


def placed(encoding: Encoding, params: dict, *, whole: bool = True) -> np.ndarray | None:
    return encoding.places_of([params], [whole])[0]


def test_what_is_drawn_is_in_the_space_and_comes_back_from_its_parameters() -> None:
    encoding = Encoding(SPACE)
    for places in both(encoding):
        for row in places:
            params = encoding.params(row)
            assert all(kind._contains(kind.to_internal_repr(params[name])) for name, kind in SPACE.items())
            assert placed(encoding, params) == pytest.approx(row, abs=1e-9)


def test_draws_are_uniform_over_steps_and_choices() -> None:
    encoding = Encoding(SPACE)
    drawn = encoding.draw(np.random.default_rng(1), 6_000)
    for name in ("layers", "width", "quarter", "kind"):
        _, counts = np.unique(drawn[:, encoding.names.index(name)], return_counts=True)
        assert counts.max() < 1.3 * counts.min()


def test_a_step_changes_what_it_moves() -> None:
    encoding = Encoding({name: SPACE[name] for name in ("layers", "width")})
    rng = np.random.default_rng(2)
    drawn = encoding.draw(rng, 300)
    moved = encoding.mutate(rng, drawn, np.full(300, 1e-6))
    assert (np.abs(moved - drawn).max(axis=1) > 0.1).all()


def test_two_choices_have_a_distance_of_one() -> None:
    encoding = Encoding({"kind": SPACE["kind"]})
    features = encoding.features(np.array([[0.0], [1.0], [2.0], [-1.0]]))
    distances = np.linalg.norm(features[:, None] - features[None], axis=2)
    assert distances[:3, :3] == pytest.approx(1.0 - np.eye(3))
    assert distances[3, :3] == pytest.approx(distances[3, 0])


def test_inactive_parameters_lie_in_the_middle_whatever_they_would_have_been() -> None:
    encoding = Encoding(CONDITIONAL.distributions, CONDITIONAL)
    for places in both(encoding):
        active = encoding.active(places)
        for row, on in zip(places, active, strict=True):
            params = encoding.params(row)
            assert params.keys() == {p.name for p in CONDITIONAL.parameters if p.active(params)}
            assert set(params) == {name for name, each in zip(encoding.names, on, strict=True) if each}
            assert placed(encoding, params) == pytest.approx(row, abs=1e-9)
        assert (places[~active[:, 1], 1] == 0.5).all()
        assert (places[~active[:, 2], 2] == -1.0).all()
    assert {len(encoding.params(row)) for row in places} >= {2, 3, 4}


def test_a_value_that_is_missing_or_far_outside_is_refused() -> None:
    encoding = Encoding(CONDITIONAL.distributions, CONDITIONAL)
    assert placed(encoding, {"kind": "sgd", "layers": 1}, whole=True) is None
    assert placed(encoding, {"kind": "adam", "layers": 1}, whole=True) is not None
    assert placed(encoding, {"kind": "sgd", "layers": 1}, whole=False) is not None
    assert placed(encoding, {"kind": "rmsprop", "layers": 1}, whole=False) is None
    assert placed(encoding, {"kind": "sgd", "layers": 1, "momentum": -0.5}, whole=True) is not None
    assert placed(encoding, {"kind": "sgd", "layers": 1, "momentum": 7.0}, whole=True) is None
    assert placed(encoding, {"other": 1}, whole=False) is None
    assert placed(Encoding(SPACE), {"rate": -1.0}, whole=False) is None


def test_the_constraints_of_the_study_file_are_known() -> None:
    encoding = Encoding(CONDITIONAL.distributions, CONDITIONAL)
    places = encoding.draw(np.random.default_rng(3), 300)
    allowed = encoding.feasible(places)
    assert [CONDITIONAL.feasible(encoding.params(row)) for row in places] == allowed.tolist()
    assert 0 < allowed.sum() < 300


def test_equal_configurations_have_equal_keys() -> None:
    encoding = Encoding(CONDITIONAL.distributions, CONDITIONAL)
    places = encoding.draw(np.random.default_rng(4), 100)
    again = [placed(encoding, encoding.params(row)) for row in places]
    assert [encoding.key(row) for row in places] == [encoding.key(row) for row in again]
