"""The samplers that learn from earlier studies: they find the optimum sooner, and are not misled for long."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler

from pilotune.errors import UserError
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.registry import TRANSFER, make_sampler
from pilotune.pipeline.suggest.transfer.cmaes import informed
from pilotune.pipeline.suggest.transfer.earlier import EarlierStudy
from pilotune.pipeline.suggest.transfer.first_points import first_points

from ...support.sizes import at_size

NAMES = ("a", "b", "c", "d")
SPACE = Space(tuple(Parameter(name, FloatDistribution(0.0, 1.0)) for name in NAMES))
CONDITIONAL = Space(
    (
        Parameter("kind", CategoricalDistribution(["one", "two"])),
        Parameter("a", FloatDistribution(0.0, 1.0)),
        Parameter("b", FloatDistribution(0.0, 1.0), when={"kind": ("two",)}),
    )
)
MODELS = [name for name in TRANSFER if name != "cmaes"]


class File:
    """What of a study file decides on its sampler."""

    def __init__(self, name: str, space: Space | None = SPACE, directions: tuple[str, ...] = ("minimize",)) -> None:
        self.sampler, self.space, self.directions, self.folder = Named(name, {}), space, directions, Path()

    def error(self, message: str, key: str = "") -> UserError:
        return UserError(message, key=key)


def loss(params: dict[str, Any], centre: float = 0.7) -> float:
    return float(sum((params.get(name, 0.0) - centre) ** 2 for name in NAMES))


def earlier(space: Space = SPACE, sign: float = 1.0, trials: int = 60) -> EarlierStudy:
    """A study of the same function, a little moved and on another scale."""
    rng, params = np.random.default_rng(0), []
    for _ in range(trials):
        params.append(space.walk(lambda name, kind: _drawn(kind, rng)))
    return EarlierStudy.of("old", params, [1e4 + sign * 50 * loss(each, 0.65) for each in params])


def _drawn(kind: BaseDistribution, rng: np.random.Generator) -> Any:
    return str(rng.choice(kind.choices)) if isinstance(kind, CategoricalDistribution) else float(rng.random())


def found(sampler: BaseSampler, trials: int, space: Space = SPACE) -> list[float]:
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: loss(space.suggest(trial)), n_trials=trials)
    return [trial.values[0] for trial in study.trials]


def best(name: str, studies: Sequence[EarlierStudy], trials: int) -> float:
    """The median, over seeds, of the best value."""
    return float(
        np.median(
            [min(found(make_sampler(File(name), seed=seed, earlier=studies), trials)) for seed in range(at_size(3, 5))]
        )
    )


@pytest.mark.parametrize("name", TRANSFER)
def test_an_earlier_study_of_a_similar_function_helps_at_once(name: str) -> None:
    assert best(name, [earlier()], 12) < best(name, [], 12)


@pytest.mark.parametrize("name", MODELS)
def test_a_study_that_says_the_opposite_does_not_keep_the_optimum_from_being_found(name: str) -> None:
    assert best(name, [earlier(sign=-1.0)], 40) < 0.15


@pytest.mark.parametrize("name", TRANSFER)
@pytest.mark.parametrize("space", [CONDITIONAL, None], ids=["conditional", "no space"])
def test_conditions_and_spaces_that_the_objective_defines_work(name: str, space: Space | None) -> None:
    if name == "cmaes" and space is CONDITIONAL:
        space = Space((*SPACE.parameters[:2], Parameter("kind", CategoricalDistribution(["one", "two"])),
                       Parameter("d", FloatDistribution(0.0, 1.0), when={"kind": ("two",)})))  # fmt: skip
    sampler = make_sampler(File(name, space), seed=0, earlier=[earlier(space or SPACE)])
    assert len(found(sampler, 25, space or SPACE)) == 25


@pytest.mark.parametrize("name", TRANSFER)
def test_a_study_of_other_parameters_is_passed_over(name: str) -> None:
    other = EarlierStudy.of("other", [{"z": i / 10} for i in range(10)], list(range(10)))
    assert len(found(make_sampler(File(name), seed=0, earlier=[other]), 15)) == 15


@pytest.mark.parametrize("name", ["random", "nsgaii", "optuna_tpe"])
def test_other_samplers_pass_earlier_studies_over(name: str) -> None:
    assert found(make_sampler(File(name), seed=0, earlier=[earlier()]), 15) == found(
        make_sampler(File(name), seed=0), 15
    )


def test_with_several_directions_nothing_is_learned_by_rank() -> None:
    file = File("tpe", directions=("minimize", "maximize"))
    assert type(make_sampler(file, seed=0, earlier=[earlier()])) is type(make_sampler(File("tpe"), seed=0))


@pytest.mark.parametrize("name", MODELS)
def test_a_pickled_copy_goes_on_as_the_sampler(name: str) -> None:
    sampler = make_sampler(File(name), seed=3, earlier=[earlier()])
    assert found(pickle.loads(pickle.dumps(sampler)), 12) == found(sampler, 12)


@pytest.mark.parametrize("name", MODELS)
def test_what_the_first_suggestion_needs_is_prepared_in_pieces(name: str) -> None:
    sampler: Any = make_sampler(File(name), seed=0, earlier=[earlier()])
    study = optuna.create_study(sampler=sampler)
    pieces = 0
    while not sampler.prepare(study):
        pieces += 1
        assert pieces < 500
    assert pieces > 10


def test_cmaes_starts_from_trials_with_all_its_numbers() -> None:
    study = earlier()
    kinds = SPACE.distributions
    assert len(informed([study], kinds)["source_trials"]) == 60
    assert informed([study], {**kinds, "new": FloatDistribution(0.0, 1.0)}) == {}
    assert informed([study], {"kind": CategoricalDistribution(["x", "y"])}) == {}
    half = informed([study], {name: FloatDistribution(0.0, 0.7) for name in NAMES[:1]})["source_trials"]
    assert 20 <= len(half) < 60


def test_first_points_of_a_conditional_space_are_whole() -> None:
    for point in first_points([earlier(CONDITIONAL)], CONDITIONAL.distributions, CONDITIONAL):
        assert ("b" in point) == (point["kind"] == "two")


def test_tpe_draws_some_more_at_random_after_a_study_that_says_the_opposite() -> None:
    sampler: Any = make_sampler(File("tpe"), seed=0, earlier=[earlier(sign=-1.0)])
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: loss(SPACE.suggest(trial)), n_trials=12)
    (model,) = sampler._models.values()
    assert model.is_misled
    assert sampler._begins_anew(model)
    study.optimize(lambda trial: loss(SPACE.suggest(trial)), n_trials=4)
    assert not sampler._begins_anew(model)
