"""The sampler suggests the same values as Optuna's, to rounding, on the same history and with the same seed."""

import warnings

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import PartialFixedSampler
from optuna.trial import TrialState

from ...support.sizes import at_size
from ...support.tpe_histories import Space, asked, both, close, compare, seeded, study_of, tied

pytestmark = pytest.mark.slow

TWO, THREE = ("minimize", "maximize"), ("maximize", "minimize", "minimize")
EVERYTHING = {"running": 0.2, "pruned": 0.25, "infeasible": 0.25, "special": 0.05}
CASES = {
    "numbers": ({"kinds": ["float", "log"]}, {}, {}, ("minimize",)),
    "all kinds": ({}, {}, EVERYTHING, ("minimize",)),
    "all kinds, maximized": ({}, {}, EVERYTHING, ("maximize",)),
    "no constant liar": ({}, {"constant_liar": False}, EVERYTHING, ("minimize",)),
    "each by itself": ({"conditional": True}, {"multivariate": False}, EVERYTHING, ("minimize",)),
    "conditional, in groups": ({"conditional": True}, {"multivariate": True, "group": True}, EVERYTHING, ("minimize",)),
    "conditional, common parameters": ({"conditional": True}, {"multivariate": True}, EVERYTHING, ("maximize",)),
    "few values": ({"kinds": ["step", "choice", "int step"]}, {"n_startup_trials": 1}, EVERYTHING, ("minimize",)),
    "two directions": ({}, {}, EVERYTHING, TWO),
    "two directions, equal values": ({}, {"multivariate": True}, {**EVERYTHING, "grid": 0.7}, TWO),
    "three directions": ({}, {"multivariate": True}, EVERYTHING, THREE),
    "three directions in groups": ({"conditional": True}, {"multivariate": True, "group": True}, EVERYTHING, THREE),
    "few candidates": ({}, {"n_ei_candidates": 3}, EVERYTHING, ("minimize",)),
    "random at first": ({}, {"n_startup_trials": 40}, EVERYTHING, ("minimize",)),
}
HISTORIES = at_size(10, 150)


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    optuna.logging.set_verbosity(before)


def differences(case, seeds, sizes):
    shape, options, shares, directions = CASES[case]
    found, ties = [], 0
    for seed in seeds:
        r = seeded(seed)
        space, count = Space(r, **shape), r.randint(*sizes)
        result = compare(
            lambda s=seed, sp=space, n=count: study_of(seeded(s + 10**6), sp, n, directions, **shares),
            space,
            seed,
            **options,
        )
        ties += result == "tie"
        if result not in (None, "tie"):
            found.append((seed, count, result))
    return found, ties


@pytest.mark.parametrize("case", CASES)
def test_suggestions_are_optunas(case):
    found, ties = differences(case, range(HISTORIES), (0, 60))
    assert not found
    assert ties <= max(1, HISTORIES // 20)


@pytest.mark.parametrize("case", ["all kinds", "each by itself", "conditional, in groups", "two directions"])
def test_suggestions_are_optunas_where_the_mixture_is_incremental(case):
    found, ties = differences(case, range(at_size(6, 12)), (180, 420))
    assert not found
    assert ties <= at_size(1, 2)


@pytest.mark.parametrize("seed", range(at_size(1, 3)))
def test_suggestions_are_optunas_with_thousands_of_trials(seed):
    space = Space(seeded(seed), ["float", "log", "int", "choice", "wide"], most=8)
    assert compare(lambda: study_of(seeded(seed), space, 1500, running=0.2), space, seed, asks=3) is None


def run(study, sampler, space, seed, until, compared=None):
    """A small campaign: asks, reports and tells in random order. Returns the suggestions, in order."""
    r, running, found = seeded(seed), [], []
    while len(found) < until:
        if not running or r.random() < 0.5:
            if compared:
                compared(len(found))
            trial, params = asked(study, sampler, space)
            running.append(trial)
            found.append(params)
            continue
        trial = running.pop(r.randrange(len(running)))
        state = r.choice((TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
        value = [r.gauss(0, 1)] if state == TrialState.COMPLETE else None
        trial.report(r.random(), r.randint(1, 3))
        study.tell(trial, value, state=state)
    return found


@pytest.mark.parametrize("seed", range(at_size(4, 8)))
def test_suggestions_of_a_whole_campaign_are_optunas(seed):
    space = Space(seeded(seed), ["float", "log", "int", "log int", "choice"])
    theirs, ours = both(seed, multivariate=seed % 2 == 0)
    wanted = run(optuna.create_study(), theirs, space, seed, 90)
    found = run(optuna.create_study(), ours, space, seed, 90)
    for ask, (one, other) in enumerate(zip(wanted, found, strict=True)):
        for name in one:
            if not close(one[name], other[name], space.parameters[name]):
                assert tied(theirs, space.parameters[name], name, other[name]), (ask, name, one[name], other[name])
                return  # after a tie the two histories differ


def test_some_parameters_may_be_fixed():
    space = Space(seeded(1), ["float", "int", "choice"], most=6)
    fixed = {next(iter(space.parameters)): asked(optuna.create_study(), both(0)[1], space)[1]["p0"]}
    studies = [study_of(seeded(5), space, 40, running=0.2) for _ in range(2)]
    for options in ({}, {"multivariate": True, "group": True}):
        results = [
            asked(study, PartialFixedSampler(fixed, sampler), space)[1]
            for study, sampler in zip(studies, both(3, **options), strict=True)
        ]
        assert results[0].keys() == results[1].keys()
        assert all(close(results[0][name], results[1][name], space.parameters[name]) for name in results[0])


def test_hyperbands_brackets_change_nothing_just_as_in_optuna():
    space = Space(seeded(2), ["float", "log", "choice"])
    results = []
    for sampler in both(4, n_startup_trials=3):
        study = study_of(seeded(9), space, 40)
        study.pruner = optuna.pruners.HyperbandPruner(1, 9, 3)
        trial = study.ask()
        trial.report(1.0, 1)
        trial.should_prune()
        results.append([asked(study, sampler, space)[1] for _ in range(3)])
    for one, other in zip(*results, strict=True):
        assert all(close(one[name], other[name], space.parameters[name]) for name in one)


@pytest.mark.parametrize(
    "options",
    [
        {"prior_weight": 0.3},
        {"prior_weight": 0.0},
        {"consider_magic_clip": False},
        {"consider_endpoints": True},
        {"gamma": lambda count: count // 3},
        {"weights": lambda count: np.arange(1, count + 1)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_deprecated_arguments_do_what_they_do_in_optuna(options):
    for seed, count in [(0, 30), (1, 60), (2, 220), (3, 220)]:
        space = Space(seeded(seed), ["float", "log", "int", "choice"])
        result = compare(
            lambda n=count, sp=space, s=seed: study_of(seeded(s), sp, n, running=0.1), space, seed, **options
        )
        assert result in (None, "tie")


def test_a_range_that_changes_is_modelled_as_in_optuna():
    results = []
    for options in ({}, {"multivariate": False}):
        for sampler in both(1, n_startup_trials=2, **options):
            study = optuna.create_study(sampler=sampler)
            found = []
            for number in range(30):
                trial = study.ask()
                high = 10 + 5 * (number // 8)
                found.append((trial.suggest_float("x", 0, high), trial.suggest_int("n", -number // 10, high)))
                study.tell(trial, (found[-1][0] - 3) ** 2)
            results.append(found)
    for one, other in (results[:2], results[2:]):
        assert np.allclose(one, other, rtol=1e-6)


def test_constraint_values_are_written_where_optuna_reads_them():
    results = []
    for sampler in both(1, n_startup_trials=2, constraints_func=lambda trial: (trial.params["x"] - 0.5, -1.0)):
        study = optuna.create_study(sampler=sampler)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=25)
        assert study.trials[3].constraints.keys() == {"0", "1"}
        results.append([trial.params["x"] for trial in study.trials])
    assert np.allclose(*results, rtol=1e-6)


def test_running_trials_written_by_optunas_sampler_are_read():
    distributions = {
        "x": FloatDistribution(0, 1), "n": IntDistribution(1, 9), "c": CategoricalDistribution(["a", None])
    }  # fmt: skip
    space = Space(seeded(0), ["float"], most=1)
    space.parameters, space.when = distributions, {}
    theirs, ours = both(2)
    results = []
    for sampler in (theirs, ours):
        study = study_of(seeded(3), space, 30)
        study.sampler = optuna.samplers.TPESampler(seed=8)
        waiting = [study.ask() for _ in range(3)]
        for trial in waiting:
            assert trial.relative_params.keys() == distributions.keys()
        results.append(asked(study, sampler, space)[1])
    assert all(close(results[0][name], results[1][name], distributions[name]) for name in distributions)
