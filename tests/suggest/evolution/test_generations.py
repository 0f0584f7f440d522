"""Generations, as the sampler sees them: who is in one, when it has ended, and who breeds the next."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from pilotune.pipeline.attributes import GENERATION, KEPT, PARENT
from pilotune.pipeline.suggest.evolution import AgeingSampler, DHPOSampler, EvolutionSampler, GeneticSampler

from ...support.gp_studies import run

SPACE: dict[str, BaseDistribution] = {f"x{i}": FloatDistribution(0.0, 1.0) for i in range(4)}
N: dict[str, BaseDistribution] = {"n": IntDistribution(0, 99)}


def generations(study: optuna.Study) -> list[int]:
    return [trial.system_attrs[GENERATION] for trial in study.trials]


def with_generations(*values: list[float | None], direction: str = "minimize") -> optuna.Study:
    """A study with the values of each generation; None for a trial that failed. Trial ``i`` has ``n = i``."""
    study = optuna.create_study(direction=direction)
    for generation, members in enumerate(values):
        for value in members:
            number = len(study.trials)
            study.add_trial(
                create_trial(
                    state=TrialState.FAIL if value is None else TrialState.COMPLETE,
                    value=value,
                    params={"n": number},
                    distributions=N,
                    system_attrs={GENERATION: generation},
                )
            )
    return study


def parents(study: optuna.Study, sampler: EvolutionSampler, count: int = 30) -> set[Any]:
    """The parents of trials that are asked for and run."""
    study.sampler = sampler
    first = len(study.trials)
    for _ in range(count):
        study.ask(N)
    return {trial.system_attrs.get(PARENT) for trial in study.trials[first:]}


def test_generations_follow_each_other_in_their_sizes() -> None:
    study = run(EvolutionSampler(population=3, offspring=5, barrier=True, seed=0), 18, SPACE, lambda p: p["x0"])
    assert generations(study) == [0] * 3 + [1] * 5 + [2] * 5 + [3] * 5


def test_children_that_are_as_their_parents_count_in_their_generation() -> None:
    study = run(GeneticSampler(population=8, barrier=True, seed=0), 60, SPACE, lambda p: p["x0"])
    sizes = dict.fromkeys(range(max(generations(study))), 0)
    for trial in study.trials:
        generation, kept = trial.system_attrs[GENERATION], trial.system_attrs.get(KEPT, [])
        assert all(generations(study)[number] < generation for number in kept)
        if generation in sizes:
            sizes[generation] += 1 + len(kept)
    assert len(sizes) > 5
    assert set(sizes.values()) == {8}
    assert 8 * len(sizes) > 60, "less is run than is bred"


def test_the_best_of_all_generations_survive_with_elitists() -> None:
    study = with_generations([1.0, 9.0, 8.0], [5.0, 2.0, 3.0])
    assert parents(study, EvolutionSampler(population=3, sample=1, barrier=True, seed=0)) == {0, 4, 5}


def test_the_last_generation_replaces_all_others_without() -> None:
    study = with_generations([1.0, 9.0, 8.0], [5.0, 4.0, 3.0])
    sampler = AgeingSampler(population=3, sample=1, barrier=True, seed=0)
    assert parents(study, sampler) == {3, 4, 5}


def test_the_best_of_a_larger_generation_are_the_population() -> None:
    study = with_generations([1.0, 2.0], [5.0, 4.0, 3.0, 7.0, None])
    sampler = EvolutionSampler(population=2, offspring=5, sample=1, barrier=True, elitist=False, seed=0)
    assert parents(study, sampler) == {3, 4}
    study = with_generations([1.0, 2.0], [5.0, 4.0, 3.0, 7.0, None], direction="maximize")
    sampler = EvolutionSampler(population=2, offspring=5, sample=1, barrier=True, elitist=False, seed=0)
    assert parents(study, sampler) == {2, 5}


def test_kept_individuals_are_parents_as_often_as_they_were_kept() -> None:
    study = with_generations([1.0, 2.0, 3.0])
    study.add_trial(
        create_trial(value=9.0, params={"n": 9}, distributions=N, system_attrs={GENERATION: 1, KEPT: [1, 1]})
    )
    sampler = GeneticSampler(population=3, sample=1, crossover=0.0, mutate_child=1.0, mutate=1.0, barrier=True, seed=0)
    assert parents(study, sampler) == {1, 3}
    assert sampler._individuals.slots(1) == 3


def test_a_generation_without_a_value_leaves_the_one_before_as_parents() -> None:
    study = with_generations([1.0, 2.0], [None, None])
    assert parents(study, AgeingSampler(population=2, barrier=True, seed=0)) == {0}
    assert set(generations(study)[4:]) == {2}


@pytest.mark.parametrize("elitist", [False, True])
def test_without_any_value_trials_are_at_random(elitist: bool) -> None:
    study = with_generations([None, None], [None, None])
    assert parents(study, EvolutionSampler(population=2, elitist=elitist, barrier=True, seed=0)) == {None}


def test_a_generation_has_ended_when_as_many_have_ended_as_it_has() -> None:
    """So one that asks without waiting, or beside a program that died, is not held up."""
    study = optuna.create_study(sampler=DHPOSampler(barrier=True, seed=0))
    sampler = study.sampler
    assert isinstance(sampler, DHPOSampler)
    trials = [study.ask(SPACE) for _ in range(3)]
    assert not sampler.waits(study)
    trials += [study.ask(SPACE) for _ in range(3)]
    assert sampler.waits(study)
    assert generations(study) == [0] * 6
    for trial in trials[2:5]:
        study.tell(trial, trial.params["x0"])
    assert sampler.waits(study)
    study.tell(trials[5], state=TrialState.FAIL)
    assert not sampler.waits(study)
    study.ask(SPACE)
    assert generations(study) == [0] * 6 + [1]
    assert not sampler.waits(study), "of the new generation three are left"


def test_without_a_barrier_nothing_waits() -> None:
    study = optuna.create_study(sampler=DHPOSampler(seed=0))
    for _ in range(9):
        study.ask(SPACE)
    assert isinstance(study.sampler, DHPOSampler)
    assert not study.sampler.waits(study)
    assert study.sampler.at_once is None


@pytest.mark.parametrize(
    ("sampler", "most"),
    [
        (DHPOSampler(barrier=True), 4),
        (EvolutionSampler(population=5, offspring=9, barrier=True), 9),
        (EvolutionSampler(population=9, offspring=5, barrier=True), 9),
    ],
)
def test_at_once_is_the_size_of_the_largest_generation(sampler: EvolutionSampler, most: int) -> None:
    assert sampler.at_once == most


def test_trials_without_a_generation_are_of_the_newest_one() -> None:
    study = with_generations([1.0, 2.0], [3.0])
    study.add_trial(create_trial(value=0.0, params={"n": 50}, distributions=N))
    study.sampler = sampler = EvolutionSampler(population=2, sample=1, barrier=True, seed=0)
    assert parents(study, sampler) == {0, 3}
    assert {trial.system_attrs[GENERATION] for trial in study.trials[4:]} == {2}


def test_with_one_worker_the_same_seed_gives_the_same_generations() -> None:
    one, two = (run(GeneticSampler(population=6, barrier=True, seed=4), 40, SPACE, lambda p: p["x0"]) for _ in range(2))
    assert [(t.params, t.system_attrs) for t in one.trials] == [(t.params, t.system_attrs) for t in two.trials]
