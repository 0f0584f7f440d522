"""Grid and brute force: every point of a finite space once, whoever runs it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from pilotune.errors import UserError
from pilotune.pipeline.campaign.campaign_study import CampaignStudy
from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest import check_sampler, exhaustive, points
from pilotune.pipeline.suggest.exhaustive import BruteForceSampler, ExhaustiveSampler, GridSampler
from pilotune.pipeline.suggest.points import Axis, Points

SPACE = Space((Parameter("x", IntDistribution(0, 2)), Parameter("y", IntDistribution(0, 1))))
EVERY = sorted((x, y) for x in range(3) for y in range(2))
KIND = Parameter("kind", CategoricalDistribution(["sgd", "adam"]))
CONDITIONAL = Space((KIND, Parameter("momentum", FloatDistribution(0, 1, step=0.25), {"kind": ("sgd",)})))


def study_of(sampler: ExhaustiveSampler, folder: Path, campaign: str = "c") -> CampaignStudy:
    storage = RecordStorage(f"sqlite:///{folder}/s.db", autocommit=False)
    study = optuna.create_study(storage=storage, study_name="s", sampler=sampler, load_if_exists=True)
    return CampaignStudy(study, storage, sampler.points.space, campaign)


def asked(study: CampaignStudy, states: list[TrialState], most: int = 10_000) -> list[dict[str, Any]]:
    """Ask until the space is exhausted; the trials end in these states by turns. Returns what they ran."""
    found: list[dict[str, Any]] = []
    while not study.exhausted:
        assert study.left, "an unexhausted space has something left"
        trial, params = study.ask()
        study.tell(trial, state := states[len(found) % len(states)], [1.0] if state == TrialState.COMPLETE else None)
        found.append(params)
        assert len(found) <= most
    assert study.left == 0
    return found


ALL_ENDS = [TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED]


@pytest.mark.parametrize("kind", [GridSampler, BruteForceSampler])
@pytest.mark.parametrize("enqueued", [[], [(2, 1)], [(2, 1), (0, 0), (1, 1)], EVERY])
def test_enqueued_points_count_as_their_grid_point(kind: Any, enqueued: list[tuple[int, int]], tmp_path: Path) -> None:
    study = study_of(kind(SPACE, seed=1), tmp_path)
    for x, y in enqueued:
        study.study.enqueue_trial({"x": x, "y": y})
    ran = [(params["x"], params["y"]) for params in asked(study, ALL_ENDS)]
    assert ran[: len(enqueued)] == enqueued
    assert sorted(ran) == EVERY
    noun = "grid points" if kind is GridSampler else "configurations"
    assert study.exhausted_because == f"all 6 {noun} were tried"


def test_what_was_enqueued_beyond_the_grid_or_twice_runs_on_top(tmp_path: Path) -> None:
    sampler = GridSampler(SPACE, {"x": [0, 2]}, seed=3)
    study = study_of(sampler, tmp_path)
    for point in ({"x": 1, "y": 1}, {"x": 2, "y": 0}, {"x": 2, "y": 0}, {"y": 1}):
        study.study.enqueue_trial(point)
    ran = [(params["x"], params["y"]) for params in asked(study, [TrialState.COMPLETE])]
    assert sorted(ran) == [(0, 0), (0, 1), (1, 1), (2, 0), (2, 0), (2, 1)]
    assert study.exhausted_because == "all 4 grid points were tried"


def test_a_point_that_is_half_enqueued_is_filled_with_one_that_was_not_tried(tmp_path: Path) -> None:
    study = study_of(BruteForceSampler(SPACE, seed=0), tmp_path)
    for _ in range(2):
        study.study.enqueue_trial({"x": 1})
    first = [study.ask()[1] for _ in range(2)]
    assert sorted(params["y"] for params in first) == [0, 1]
    assert [params["x"] for params in first] == [1, 1]
    study.study.enqueue_trial({"x": 1})
    assert study.ask()[1]["x"] == 1, "all were tried, so one of them runs once more"
    assert len(asked(study, [TrialState.COMPLETE])) == 4


def test_another_sampler_goes_on_where_one_has_stopped_and_with_what_others_left(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    first = study_of(GridSampler(SPACE, seed=1), tmp_path)
    before = [first.ask() for _ in range(3)]
    first.tell(before[0][0], TrialState.FAIL)
    first.storage.commit()
    plain = optuna.load_study(study_name="s", storage=url, sampler=optuna.samplers.RandomSampler())
    plain.tell(plain.ask(), 0.0)  # a trial without parameters
    second = study_of(GridSampler(SPACE, seed=7), tmp_path)
    assert second.left == 3
    after = asked(second, [TrialState.COMPLETE])
    assert sorted((p["x"], p["y"]) for _, p in before) + sorted((p["x"], p["y"]) for p in after) != EVERY
    assert sorted((p["x"], p["y"]) for p in [*(p for _, p in before), *after]) == EVERY
    assert second.exhausted_because == "all 6 grid points were tried, 2 of them by trials that have not ended"


@pytest.mark.parametrize("kind", [GridSampler, BruteForceSampler])
@pytest.mark.parametrize("seed", range(6))
def test_two_drivers_share_a_grid_without_a_point_twice(kind: Any, seed: int, tmp_path: Path) -> None:
    space = Space((Parameter("n", IntDistribution(1, 30)),))
    rng = random.Random(seed)
    drivers = []
    for name in "ab":
        drivers.append(study_of(kind(space, seed=seed), tmp_path, name))  # in the same order: they collide often
        drivers[-1].storage.commit()
    refused = 0
    held: dict[str, list[optuna.Trial]] = {"a": [], "b": []}
    while not all(driver.exhausted for driver in drivers):
        driver = rng.choice(drivers)
        mine = held[driver.campaign]
        for _ in range(rng.randrange(4)):
            if not driver.exhausted:
                mine.append(driver.ask()[0])
        result = driver.storage.commit(None)
        refused += len(result.refused)
        mine[:] = [trial for trial in mine if trial._trial_id not in result.refused]
        driver.recount()
        if mine and rng.random() < 0.7:
            driver.tell(mine.pop(0), rng.choice(ALL_ENDS[1:]))
            driver.storage.commit(None)
    assert refused, "the drivers never chose the same point"
    trials = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s.db").trials
    assert sorted(trial.params["n"] for trial in trials) == list(range(1, 31))
    assert [trial.number for trial in trials] == list(range(30))


# -- points -----------------------------------------------------------------------------------------------------------


def test_conditions_and_constraints_make_fewer_points(tmp_path: Path) -> None:
    space = Space(CONDITIONAL.parameters, {"epochs": 3}, (Constraint("momentum != 0.5"),))
    for place, sampler in (("a", GridSampler(space, seed=0)), ("b", BruteForceSampler(space, seed=0))):
        (tmp_path / place).mkdir()
        ran = asked(study_of(sampler, tmp_path / place), ALL_ENDS)
        assert sorted((p["kind"], p.get("momentum", -1.0)) for p in ran) == [
            ("adam", -1.0), ("sgd", 0.0), ("sgd", 0.25), ("sgd", 0.75), ("sgd", 1.0),
        ]  # fmt: skip
        assert all(p["epochs"] == 3 for p in ran)
        assert sampler.points.size == 5


def random_space(rng: random.Random) -> Space:
    parameters: list[Parameter] = []
    for index in range(rng.randrange(1, 5)):
        distribution: BaseDistribution = rng.choice([
            IntDistribution(rng.randrange(-3, 1), rng.randrange(1, 4)),
            IntDistribution(1, rng.randrange(1, 9), log=True),
            IntDistribution(0, 9, step=rng.choice([2, 3, 9])),
            FloatDistribution(0.1, 0.1 + 0.1 * rng.randrange(4), step=0.1),
            FloatDistribution(-1e-13, 1e-13, step=5e-14),
            FloatDistribution(0.022943223880069138, 0.024943223880069138, step=0.001),
            FloatDistribution(2.5, 2.5),
            CategoricalDistribution(rng.sample([1, True, "1", None, 0.5, "b", False, 2], rng.randrange(1, 5))),
        ])  # fmt: skip
        when = {}
        if parameters and rng.random() < 0.5:
            parent = rng.choice(parameters)
            axis = Axis(parent)
            places = rng.sample(range(axis.count), rng.randrange(1, axis.count + 1))
            when = {parent.name: tuple(axis.value(place) for place in places)}
        parameters.append(Parameter(f"p{index}", distribution, when))
    return Space(tuple(parameters), {"c": 1})


@pytest.mark.parametrize("seed", range(30))
def test_the_points_of_any_space_are_tried_once_each(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    space = random_space(rng)
    whole = Points(space)
    if seed % 3:  # as in spaces that are too large to be listed
        monkeypatch.setattr(points, "COUNTED", 0)
        monkeypatch.setattr(points, "LISTED", rng.choice([0, 0, 10**6]))
        monkeypatch.setattr(exhaustive, "DRAWS", rng.choice([0, 3, 1000]))
    sampler = BruteForceSampler(space, seed=seed)
    ran = asked(study_of(sampler, tmp_path), [TrialState.COMPLETE], most=whole.size)
    numbers = [whole.number({k: v for k, v in params.items() if k != "c"}) for params in ran]
    assert None not in numbers
    assert len(set(numbers)) == len(numbers) == whole.size
    assert sorted(numbers) == sorted(whole.in_order({}))


def test_a_space_of_any_size_can_be_tried_in_part(tmp_path: Path) -> None:
    space = Space(tuple(Parameter(f"p{i}", IntDistribution(1, 10**9)) for i in range(40)))
    study = study_of(BruteForceSampler(space, seed=0), tmp_path)
    assert len({tuple(study.ask()[1].values()) for _ in range(50)}) == 50
    assert not study.exhausted
    assert study.left is not None
    assert study.left > 10**300


def test_constraints_that_allow_hardly_anything_end_the_search_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhaustive, "SCANNED", 500)
    parameters = (Parameter("a", IntDistribution(1, 10**6)), Parameter("b", IntDistribution(1, 10**6)))
    study = study_of(BruteForceSampler(Space(parameters, {}, (Constraint("a + b == 7777"),)), seed=0), tmp_path)
    assert not study.exhausted
    with pytest.raises(ValueError, match="none of 500 configurations satisfies the study file's constraints"):
        study.ask()


def test_steps_have_no_rounding_errors() -> None:
    tiny = Axis(Parameter("t", FloatDistribution(0.0, 1e-13, step=1e-14)))
    assert len({tiny.value(place) for place in range(tiny.count)}) == tiny.count == 11
    for low, high, step in ((0.0, 1.0, 0.1), (-0.3, 0.3, 0.1), (1e8, 1e8 + 1, 0.125), (1e-9, 1e-8, 1e-9)):
        axis = Axis(Parameter("t", FloatDistribution(low, high, step=step)))
        values = [axis.value(place) for place in range(axis.count)]
        assert [axis.place(value) for value in values] == list(range(axis.count))
        assert np.allclose(values, np.linspace(low, values[-1], axis.count), rtol=1e-12)
        assert (
            axis.place(low + step / 3) is axis.place(low - step) is axis.place(float("nan")) is axis.place("x") is None
        )


# -- arguments --------------------------------------------------------------------------------------------------------


def test_partly_fixed_grids_try_the_points_with_the_fixed_values() -> None:
    args = {"fixed_params": {"x": 1}, "base_sampler": {"name": "grid", "seed": 0}}
    assert check_sampler(Named("partial_fixed", args), SPACE, ("minimize",)) == 2
    assert check_sampler(Named("partial_fixed", {"fixed_params": {"x": 1}}), SPACE, ("minimize",)) is None


RATE = Space((Parameter("lr", FloatDistribution(0, 1)), *SPACE.parameters, KIND))


@pytest.mark.parametrize(
    ("given", "name", "message"),
    [
        ({"lr": []}, "lr", "has no value; list at least one, or leave 'lr' out to try its whole range"),
        ({"lr": 0.1}, "lr", "must be a list of values, as in lr: [0.1], but is 0.1"),
        ({"lr": "all"}, "lr", "must be a list of values, as in lr: ['all'], but is 'all'"),
        ({"lr": None}, "lr", "must be a list of values, as in lr: [1, 2, 3], but is empty"),
        ({"lr": {"low": 0}}, "lr", "must be a list of values, as in lr: [1, 2, 3], but is {low: 0}"),
        ({"lr": [0.1, 0.2, 0.1]}, "lr", "lists 0.1 twice; each value is tried once"),
        ({"lr": [1, 1.0]}, "lr", "lists 1.0 twice; each value is tried once"),
        ({"lr": [0.5], "kind": ["sgd", "sgd"]}, "kind", "lists 'sgd' twice; each value is tried once"),
        ({"lr": [0.5], "x": [0, 3]}, "x", "3 is outside the parameter's range"),
        ({"lr": [0.5], "x": [0.5]}, "x", "0.5 is outside the parameter's range"),
        ({"lr": [[0.1, 0.2]]}, "lr", "[0.1, 0.2] is outside the parameter's range"),
        ({"lr": [float("nan")]}, "lr", "nan is outside the parameter's range"),
        ({"lr": [True]}, "lr", "true is outside the parameter's range"),
    ],
)
def test_grid_values_that_are_no_list_of_different_values_are_refused(given: Any, name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_sampler(Named("grid", {"search_space": given}), RATE, ("minimize",))
    assert caught.value.key == f"sampler.search_space.{name}"
    assert caught.value.message == message


def test_a_grid_without_a_feasible_point_is_refused() -> None:
    space = Space(SPACE.parameters, {}, (Constraint("x + y > 5"),))
    for name in ("grid", "bruteforce"):
        with pytest.raises(UserError, match=f"no point of the {name} satisfies the constraints"):
            check_sampler(Named(name, {}), space, ("minimize",))
