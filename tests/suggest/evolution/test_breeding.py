"""What children are like, and who their parents are, without a barrier."""

from __future__ import annotations

import pickle
import statistics
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from pilotune.pipeline.attributes import GENERATION, KEPT, LEARNED, MATE, PARENT, PAUSED
from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.evolution import AgeingSampler, DHPOSampler, EvolutionSampler, GeneticSampler

from ...support.gp_studies import MIXED, run
from ...support.sizes import at_size

KIND = CategoricalDistribution(list("abcd"))
TWO: dict[str, BaseDistribution] = {"k": KIND, "n": IntDistribution(0, 9)}
MADE = {
    "evolution": lambda **args: EvolutionSampler(population=5, **args),
    "crossed": lambda **args: EvolutionSampler(population=5, crossover=0.8, elitist=False, repeats=False, **args),
    "ageing": lambda **args: AgeingSampler(population=5, **args),
    "genetic": lambda **args: GeneticSampler(population=5, **args),
    "dhpo": lambda **args: DHPOSampler(**args),
}


def given(values: list[float | None], **fields: Any) -> optuna.Study:
    """A study whose trial ``i`` has ``n = i`` and the value ``values[i]``; None for one that failed."""
    study = optuna.create_study()
    for number, value in enumerate(values):
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        params = {"k": "a", "n": number}
        study.add_trial(create_trial(state=state, value=value, params=params, distributions=TWO, **fields))
    return study


def children(study: optuna.Study, sampler: optuna.samplers.BaseSampler, count: int) -> list[optuna.trial.FrozenTrial]:
    """Trials that are asked for and run; none of them ends."""
    study.sampler = sampler
    asked = [study.ask(TWO).number for _ in range(count)]
    return [study.trials[number] for number in asked]


def parents(trials: list[optuna.trial.FrozenTrial]) -> set[int | None]:
    return {trial.system_attrs.get(PARENT) for trial in trials}


def test_a_child_of_ageing_differs_from_its_parent_in_one_parameter() -> None:
    study = run(AgeingSampler(population=6, seed=0), 80)
    for trial in study.trials[6:]:
        parent = study.trials[trial.system_attrs[PARENT]]
        assert sum(trial.params[name] != parent.params[name] for name in MIXED) == 1
        assert trial.system_attrs[GENERATION] == parent.system_attrs[GENERATION] + 1
        assert trial.number - 6 <= parent.number < trial.number, "the parent is one of the last six"


@pytest.mark.parametrize("workers", [1, 4])
def test_trials_are_at_random_until_the_population_has_ended(workers: int) -> None:
    study = run(AgeingSampler(population=6, seed=0), 30, workers=workers)
    first = 6 + workers - 1
    assert [PARENT in trial.system_attrs for trial in study.trials] == [False] * first + [True] * (30 - first)
    assert all(trial.system_attrs[GENERATION] == 0 for trial in study.trials[:first])


def test_the_parent_is_the_best_of_the_sample_in_either_direction() -> None:
    study = given([5.0, 3.0, 4.0, 1.0, 2.0])
    assert parents(children(study, AgeingSampler(population=5, sample=5, seed=0), 5)) == {3}
    study = optuna.create_study(direction="maximize")
    study.add_trials(given([5.0, 3.0, 4.0, 1.0, 2.0]).trials)
    assert parents(children(study, AgeingSampler(population=5, sample=5, seed=0), 5)) == {0}


def test_ageing_forgets_the_best_and_elitists_do_not() -> None:
    study = given([0.0, 5.0, 4.0, 3.0])
    assert 0 not in parents(children(study, AgeingSampler(population=3, sample=2, seed=0), 20))
    study = given([0.0, 5.0, 4.0, 3.0])
    assert parents(children(study, EvolutionSampler(population=3, sample=1, seed=0), 40)) == {0, 2, 3}


def test_failed_trials_are_no_parents_and_not_of_the_population() -> None:
    study = given([None, None, 1.0, None, 2.0, None])
    assert parents(children(study, AgeingSampler(population=3, sample=1, seed=0), 10)) == {None}
    assert parents(children(study, AgeingSampler(population=2, sample=1, seed=0), 30)) == {2, 4}


def test_pruned_and_paused_trials_come_after_complete_ones_by_their_last_step() -> None:
    study = given([100.0])
    ends: list[tuple[dict[int, float], dict[str, Any], TrialState]] = [
        ({1: 0.0}, {}, TrialState.PRUNED),
        ({1: 0.0, 3: 9.0}, {}, TrialState.PRUNED),
        ({1: 0.0, 3: 8.0}, {PAUSED: 3}, TrialState.RUNNING),
        ({}, {}, TrialState.PRUNED),
        ({1: float("nan")}, {}, TrialState.PRUNED),
    ]
    for reports, attrs, state in ends:
        study.add_trial(
            create_trial(
                state=state, params={"k": "a", "n": 1}, distributions=TWO, intermediate_values=reports, user_attrs=attrs
            )
        )
    orders = [
        [each.number for each in _individuals(study, EvolutionSampler(population=4, sample=1)).best(count)]
        for count in (1, 2, 3, 9)
    ]
    assert orders == [[0], [0, 3], [0, 3, 2], [0, 3, 2, 1]]


def _individuals(study: optuna.Study, sampler: EvolutionSampler):
    sampler.infer_relative_search_space(study, study.trials[0])
    return sampler._individuals


def test_trials_that_violate_a_soft_constraint_come_last() -> None:
    study = given([0.0], system_attrs={"constraints:c": 2.0})
    study.add_trials(given([1.0], system_attrs={"constraints:c": -1.0}).trials)
    study.add_trials(given([2.0], system_attrs={"constraints": [0.5, 0.5]}).trials)
    individuals = _individuals(study, EvolutionSampler(population=2, sample=1))
    assert [each.number for each in individuals.best(9)] == [1, 2, 0]


def test_the_youngest_are_those_that_ended_last() -> None:
    study = optuna.create_study()
    trials = [study.ask(TWO) for _ in range(4)]
    for number in (2, 0, 3, 1):
        study.tell(trials[number], 1.0)
    individuals = _individuals(study, AgeingSampler(population=2))
    assert [each.number for each in individuals.youngest(3)] == [1, 3, 0]


def test_a_sampler_that_is_made_anew_goes_on_from_the_database(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    first = run(AgeingSampler(population=6, seed=0), 40, storage=RecordStorage(url), study_name="s", workers=3)
    again = optuna.load_study(study_name="s", storage=RecordStorage(url), sampler=AgeingSampler(population=6, seed=1))
    trial = again.ask(MIXED)
    attrs = again.trials[trial.number].system_attrs
    ended = sorted(first.trials[:40], key=lambda trial: trial.datetime_complete)
    assert attrs[PARENT] in {trial.number for trial in ended[-6:]}
    assert attrs[GENERATION] > 0


@pytest.mark.parametrize("name", MADE)
def test_a_sampler_that_follows_the_study_knows_what_one_knows_that_reads_it_whole(name: str) -> None:
    sampler = MADE[name](seed=0)
    study = run(sampler, 60, workers=4, value=lambda params: None if params["layers"] == 3 else params["x"])
    other = MADE[name](seed=0)
    for each in (sampler, other):
        each.infer_relative_search_space(study, study.trials[0])
    follows, whole = sampler._individuals, other._individuals
    assert follows._by_number == whole._by_number
    assert list(follows._ranked) == list(whole._ranked)
    assert list(follows._ages) == list(whole._ages)
    assert dict(follows._generations) == dict(whole._generations)


@pytest.mark.parametrize("name", MADE)
def test_a_seed_makes_a_study_repeatable_and_a_pickled_copy_goes_on(name: str) -> None:
    one, two = (run(MADE[name](seed=3), 25) for _ in range(2))
    assert [trial.params for trial in one.trials] == [trial.params for trial in two.trials]
    two.sampler = pickle.loads(pickle.dumps(two.sampler))
    assert one.ask(MIXED).params == two.ask(MIXED).params


@pytest.mark.parametrize("name", ["crossed", "dhpo"])
def test_nothing_is_run_twice_without_repeats_while_something_is_new(name: str) -> None:
    study = run(MADE[name](seed=0), 40, TWO, lambda params: None if params["n"] == 5 else params["n"], workers=4)
    assert len({tuple(trial.params.items()) for trial in study.trials}) == 40
    assert study.ask(TWO).params, "all configurations have been tried, so one is tried again"


def test_repeats_are_allowed_but_no_child_is_as_its_parent() -> None:
    study = run(AgeingSampler(population=4, seed=0), 60, TWO, lambda params: params["n"])
    assert len({tuple(trial.params.items()) for trial in study.trials}) < 40
    for trial in study.trials[4:]:
        assert trial.params != study.trials[trial.system_attrs[PARENT]].params


WIDE: dict[str, BaseDistribution] = {f"p{i}": IntDistribution(0, 10**6) for i in range(8)}


def bred(sampler: optuna.samplers.BaseSampler, count: int) -> list[optuna.trial.FrozenTrial]:
    """Trials 0 to 9, at random, and then ``count`` children of them, which run."""
    study = run(sampler, 10, WIDE, lambda params: params["p0"])
    for _ in range(count):
        study.ask(WIDE)
    return study.trials


def test_crossover_takes_a_run_of_parameters_from_the_mate() -> None:
    trials = bred(EvolutionSampler(population=10, crossover=1.0, mutate=0.0, elitist=False, seed=0), 40)
    for trial in trials[10:]:
        one, two = (trials[trial.system_attrs[key]].params for key in (PARENT, MATE))
        origin = ["1" if trial.params[name] == one[name] else "2" for name in WIDE]
        assert all(trial.params[name] in (one[name], two[name]) for name in WIDE)
        assert set("".join(origin).strip("1")) == {"2"}, f"{origin} is not one run"
        assert trial.system_attrs[GENERATION] == 1


def test_children_without_a_change_are_noted_and_not_run() -> None:
    trials = bred(GeneticSampler(population=10, seed=0), 100)
    kept = [number for trial in trials for number in trial.system_attrs.get(KEPT, [])]
    assert 40 < len(kept) < 130, "about two in five children are as their parent"
    assert set(kept) <= set(range(10))
    for trial in trials[10:]:
        assert trial.params != trials[trial.system_attrs[PARENT]].params


def test_a_trial_that_was_kept_is_young_again() -> None:
    study = given([5.0, 4.0, 3.0])
    params = {"k": "b", "n": 9}
    study.add_trial(
        create_trial(value=2.0, params=params, distributions=TWO, system_attrs={GENERATION: 1, KEPT: [0, 0]})
    )
    individuals = _individuals(study, GeneticSampler(population=3))
    assert [each.number for each in individuals.youngest(4)] == [3, 0, 0, 2]


CONDITIONAL = Space(
    (
        Parameter("k", CategoricalDistribution(["sgd", "adam"])),
        Parameter("momentum", FloatDistribution(0.0, 1.0), {"k": ("sgd",)}),
        Parameter("beta", FloatDistribution(0.0, 1.0), {"k": ("adam",)}),
        Parameter("n", IntDistribution(1, 4)),
    ),
    {"epochs": 3},
    (Constraint("k != 'sgd' or n > 2"),),
)


def suggested(study: optuna.Study, space: Space) -> tuple[optuna.Trial, dict[str, Any]]:
    trial = study.ask()
    return trial, space.suggest(trial)


@pytest.mark.parametrize("name", MADE)
def test_children_have_the_active_parameters_and_satisfy_the_constraints(name: str) -> None:
    study = optuna.create_study(sampler=MADE[name](seed=0, space=CONDITIONAL))
    drawn = 0
    for _ in range(80):
        trial, params = suggested(study, CONDITIONAL)
        study.tell(trial, abs(params["n"] - 3) + params.get("momentum", 0.5))
        assert CONDITIONAL.feasible(params)
        assert set(params) == {"k", "n", "epochs", "momentum" if params["k"] == "sgd" else "beta"}
        parent = study.trials[-1].system_attrs.get(PARENT)
        drawn += parent is not None and study.trials[parent].params["k"] != params["k"]
    assert drawn > 3, "some children have a parameter that their parent lacks"


def test_ageing_changes_active_parameters_only() -> None:
    study = optuna.create_study(sampler=AgeingSampler(population=5, seed=0, space=CONDITIONAL))
    for _ in range(80):
        trial, params = suggested(study, CONDITIONAL)
        study.tell(trial, params["n"])
        parent = study.trials[-1].system_attrs.get(PARENT)
        if parent is not None:
            old = study.trials[parent].params
            changed = {name for name in old.keys() & trial.params.keys() if old[name] != trial.params[name]}
            assert len(changed) == 1


@pytest.mark.parametrize("space", [None, CONDITIONAL])
@pytest.mark.parametrize("name", MADE)
def test_enqueued_values_stay_and_the_others_are_bred_around_them(name: str, space: Space | None) -> None:
    study = optuna.create_study(sampler=MADE[name](seed=0, space=space))
    for number in range(40):
        if number > 20:
            study.enqueue_trial({"k": "adam", "n": 1})
        trial, params = suggested(study, CONDITIONAL)
        study.tell(trial, float(params["n"]))
        assert number <= 20 or {**params, "beta": 0} == {"k": "adam", "n": 1, "beta": 0, "epochs": 3}


def test_an_objective_may_define_its_space_as_it_runs() -> None:
    def objective(trial: optuna.Trial) -> float:
        depth = trial.suggest_int("depth", 1, 3)
        return sum(trial.suggest_float(f"x{i}", 0, 1) for i in range(depth))

    study = optuna.create_study(sampler=AgeingSampler(population=5, seed=0))
    study.optimize(objective, n_trials=60)
    for trial in study.trials[5:]:
        old = study.trials[trial.system_attrs[PARENT]].params
        common = old.keys() & trial.params.keys()
        assert len(common) > 1
        assert sum(old[name] != trial.params[name] for name in common) <= 1
    assert study.best_value < 0.3


def test_values_outside_the_ranges_of_today_are_not_inherited() -> None:
    study = given([1.0, 2.0])
    study.sampler = AgeingSampler(population=2, seed=0, space=Space((Parameter("n", IntDistribution(5, 9)),)))
    for _ in range(10):
        assert 5 <= study.ask({"n": IntDistribution(5, 9)}).params["n"] <= 9


def test_copied_trials_are_parents_of_the_first_generation() -> None:
    study = given([1.0, 2.0], system_attrs={GENERATION: 7, KEPT: [1]}, user_attrs={LEARNED: "other#3"})
    asked = children(study, AgeingSampler(population=2, seed=0), 3)
    assert {trial.system_attrs[GENERATION] for trial in asked} == {1}
    assert parents(asked) <= {0, 1}


def test_attributes_that_make_no_sense_are_ignored() -> None:
    for attrs in ({GENERATION: "x"}, {GENERATION: -1}, {GENERATION: 1, KEPT: 5}, {GENERATION: 1, KEPT: ["a", 99]}):
        study = given([1.0, 2.0], system_attrs=attrs)
        assert parents(children(study, AgeingSampler(population=2, seed=0), 3)) <= {0, 1}


@pytest.mark.parametrize("name", MADE)
def test_evolution_finds_better_values_than_chance(name: str) -> None:
    cells: dict[str, BaseDistribution] = {f"cell{i}": KIND for i in range(10)}

    def median(make: Callable[..., optuna.samplers.BaseSampler]) -> float:
        values = [
            run(make(seed=seed), 150, cells, lambda params: len(params) - [*params.values()].count("b"))
            for seed in range(at_size(3, 5))
        ]
        return statistics.median(study.best_value for study in values)

    assert median(MADE[name]) < median(optuna.samplers.RandomSampler)
