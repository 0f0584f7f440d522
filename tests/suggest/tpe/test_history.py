"""TPE's arrays of a study: updating them with changes gives the same as reading the study anew."""

import pickle
import threading

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from pilotune.pipeline.record import RecordStorage, normalize_url
from pilotune.pipeline.record.study_cache import replica
from pilotune.pipeline.study_changes import Changes
from pilotune.pipeline.suggest.tpe import TPESampler, incremental_mixture
from pilotune.pipeline.suggest.tpe.history import NONE, History
from pilotune.pipeline.suggest.tpe.mixture import KernelSettings, build_mixture, default_gamma
from pilotune.pipeline.suggest.tpe.model import Model
from pilotune.pipeline.suggest.tpe.pareto import best_by_hypervolume, hypervolume, non_dominated
from pilotune.pipeline.suggest.tpe.truncnorm import log_mass, quantile

from ...support.tpe_histories import Space, asked, close, seeded, study_of, trial_of

MINIMIZE = [optuna.study.StudyDirection.MINIMIZE]


def state_of(history, known=None):
    """All that suggestions depend on, for the parameters whose distributions ``known`` has seen in a trial."""
    below = history.split_below(default_gamma(history.finished))
    counted = history.state[: history.size] != NONE
    values = {
        name: {int(n): float(column[n]) for n in np.flatnonzero(counted) if not np.isnan(column[n])}
        for name, column in history.columns.items()
    }
    states = {int(n): int(history.state[n]) for n in np.flatnonzero(counted)}
    told = (known or history).distributions
    return below, states, {name: found for name, found in values.items() if found and name in told}, history.finished


def fresh(trials):
    history = History(MINIMIZE, running=True, relative=True)
    history.apply(Changes(trials, whole=True))
    return history


@pytest.mark.parametrize("seed", range(40))
def test_changes_give_the_same_as_the_whole_study(seed):
    r = seeded(seed)
    space = Space(r, conditional=r.random() < 0.5)
    trials, history, next_id = {}, fresh([]), 0
    for _ in range(60):
        changed, gone = {}, []
        for _ in range(r.randint(1, 4)):
            dice = r.random()
            if dice < 0.55 or not trials:
                trial = trial_of(r, space, 0, ("minimize",), running=0.4, pruned=0.2, infeasible=0.2)
                trial.number, trial._trial_id = max((t.number for t in trials.values()), default=-1) + 1, next_id
                next_id += 1
            else:
                trial = replica(r.choice(list(trials.values())))
                other = trial_of(r, space, 0, ("minimize",), pruned=0.3, failed=0.3)
                if dice < 0.65:
                    del trials[trial._trial_id]
                    changed.pop(trial._trial_id, None)
                    gone.append(trial._trial_id)
                    continue
                if dice < 0.75:  # renumbered: others took its number
                    trial.number = max(t.number for t in trials.values()) + r.randint(1, 3)
                elif trial.state == TrialState.RUNNING:
                    trial.state, trial.values = other.state, other.values
                    trial.params, trial.distributions = other.params, other.distributions
                    trial.intermediate_values = other.intermediate_values
            trials[trial._trial_id] = changed[trial._trial_id] = trial
        history.apply(Changes(list(changed.values()), gone))
        if r.random() < 0.3:
            anew = fresh(list(trials.values()))
            assert state_of(history, anew) == state_of(anew)


def test_two_trials_may_swap_their_numbers():
    study = study_of(seeded(1), Space(seeded(1)), 4, failed=0)
    history = fresh(study.trials)
    one, other = replica(study.trials[0]), replica(study.trials[1])
    one.number, other.number = 1, 0
    history.apply(Changes([one, other]))
    assert state_of(history) == state_of(fresh([other, one, *study.trials[2:]]))


@pytest.mark.parametrize("seed", range(6))
def test_an_updated_mixture_is_that_of_a_new_model(seed):
    r = seeded(seed)
    space = Space(r, most=5)
    study = study_of(r, space, 190, running=0.2)
    model = Model(MINIMIZE, KernelSettings(), default_gamma, running=True, relative=True)
    names = {name: found for name, found in sorted(space.parameters.items()) if not found.single()}
    if not names:
        return
    random = np.random.RandomState(seed)
    for _ in range(12):
        for _ in range(r.randint(1, 4)):
            study.add_trial(trial_of(r, space, 0, ("minimize",), running=0.5))
            running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if running and r.random() < 0.5:
                state = r.choice((TrialState.COMPLETE, TrialState.FAIL))
                values = [r.gauss(-0.5, 1)] if state == TrialState.COMPLETE else None
                study._storage.set_trial_state_values(r.choice(running)._trial_id, state, values)
        model.refresh(study)
        subspace = model._subspace(names)
        below, above = model._split_mixtures(subspace, 10**6)
        assert above._large
        points = below.sample(random, 24)
        plain = build_mixture(subspace.axes, above._values[above._order], KernelSettings())
        assert (np.diff(above._numbers[above._order]) > 0).all()
        assert np.allclose(above.log_density(points), plain.log_density(points), rtol=0, atol=1e-7)


def test_the_first_pass_in_single_precision_finds_the_best_candidate(monkeypatch):
    monkeypatch.setattr(incremental_mixture, "SINGLE_PRECISION_FROM", 200)
    for seed in range(6):
        space = Space(seeded(seed), ["float", "log", "int", "choice"], most=6)
        study = study_of(seeded(seed), space, 400, running=0.1)
        model = Model(MINIMIZE, KernelSettings(), default_gamma, running=True, relative=True)
        model.refresh(study)
        below, above = model._split_mixtures(model._subspace(dict(sorted(space.parameters.items()))), 10**6)
        points = below.sample(np.random.RandomState(seed), 50)
        log_below, exact = below.log_density(points), above.log_density(points)
        rough = above.log_density_for_ranking(log_below, points)
        assert np.abs(rough - exact).max() <= above._error() < 0.2
        assert np.argmax(log_below - rough) == np.argmax(log_below - exact)


def test_kernels_of_later_chunks_may_be_larger_by_any_factor(monkeypatch):
    monkeypatch.setattr(incremental_mixture, "CHUNK_ROWS", 256)
    space = Space(seeded(0), ["float"], most=1)
    space.parameters = {f"x{i}": FloatDistribution(0, 1) for i in range(20)}
    study = optuna.create_study()
    r = seeded(1)
    for number in range(1200):  # those of the first chunks are far from the candidates
        low, high = ((0.0, 0.2), (0.5, 0.6), (0.9, 0.91))[number // 400]
        params = {name: r.uniform(low, high) for name in space.parameters}
        value = 0.0 if number >= 1180 else 1.0
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space.parameters, value=value))
    model = Model(MINIMIZE, KernelSettings(), default_gamma, running=True, relative=True)
    model.refresh(study)
    _, above = model._split_mixtures(model._subspace(space.parameters), 10**6)
    points = np.array([list(trial.params.values()) for trial in study.trials[1150:1174]])
    plain = build_mixture(above.axes, above._values[above._order], KernelSettings()).log_density(points)
    assert plain.min() > 50  # the kernels of the first chunks alone give less than 0
    assert np.allclose(above.log_density(points), plain, rtol=0, atol=1e-7)
    assert np.abs(above._log_density(points, np.float32) - plain).max() < above._error()


def count_evaluations(monkeypatch):
    evaluated = []
    ours = incremental_mixture.log_mass
    monkeypatch.setattr(
        incremental_mixture, "log_mass", lambda low, high: evaluated.append(np.size(low)) or ours(low, high)
    )
    return evaluated


def test_an_ask_computes_only_the_kernels_that_changed(monkeypatch):
    space = Space(seeded(0), ["float", "log", "int", "choice"], most=1)
    space.parameters = {"a": FloatDistribution(0, 1), "b": FloatDistribution(1e-4, 1, log=True)}
    space.parameters |= {"n": IntDistribution(1, 9), "c": CategoricalDistribution(["x", "y"])}
    study = study_of(seeded(0), space, 600, failed=0, running=0.1)
    sampler = TPESampler(seed=0)
    asked(study, sampler, space)
    evaluated = count_evaluations(monkeypatch)
    for _ in range(10):
        asked(study, sampler, space)
    assert sum(evaluated) <= 10 * 2 * 8  # two continuous axes, a few neighbours each
    study.tell(study.trials[-1].number, 1e9)
    asked(study, sampler, space)
    assert sum(evaluated) <= 11 * 2 * 8


def test_several_studies_in_turn_and_a_study_made_anew():
    space = Space(seeded(3), ["float", "int"])
    sampler = TPESampler(seed=0, n_startup_trials=1)
    studies = [study_of(seeded(i), space, 20) for i in range(12)]
    for _ in range(2):
        for study in studies:
            asked(study, sampler, space)
    assert len(sampler._models) <= 8
    alone = TPESampler(seed=5)
    wanted = asked(study_of(seeded(2), space, 30), alone, space)[1]
    again = TPESampler(seed=5)
    asked(study_of(seeded(7), space, 3), again, space)  # random, from another stream of numbers
    found = asked(study_of(seeded(2), space, 30), again, space)[1]
    assert all(close(wanted[name], found[name], space.parameters[name]) for name in wanted)


def test_a_pickled_sampler_continues_with_the_same_random_numbers():
    space = Space(seeded(4), ["float", "log", "int", "choice"])
    sampler = TPESampler(seed=1, n_startup_trials=2)
    study = study_of(seeded(4), space, 30)
    asked(study, sampler, space)
    copy = pickle.loads(pickle.dumps(sampler))
    assert not copy._models
    copied_study = study_of(seeded(4), space, 30)
    copied_study.add_trial(study.trials[-1])
    wanted, found = asked(study, sampler, space)[1], asked(copied_study, copy, space)[1]
    assert all(close(wanted[name], found[name], space.parameters[name]) for name in wanted)
    sampler.reseed_rng()
    assert asked(study, sampler, space)[1] != asked(copied_study, copy, space)[1]


def test_samplers_without_a_seed_differ():
    space = Space(seeded(4), ["float"])
    found = [asked(study_of(seeded(4), space, 30), TPESampler(), space)[1] for _ in range(2)]
    assert found[0] != found[1]


def test_threads_may_share_a_sampler():
    space = Space(seeded(5), ["float", "int", "choice"])
    study = optuna.create_study(sampler=TPESampler(n_startup_trials=3, seed=0))
    failures = []

    def work():
        try:
            for _ in range(15):
                trial, found = asked(study, study.sampler, space)
                study.tell(trial, float(len(found)))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(study.trials) == 60


def test_suggestions_are_the_same_with_record_storage_and_in_memory(tmp_path):
    space = Space(seeded(6), ["float", "log", "int", "choice"])
    results = []
    for storage in (None, RecordStorage(normalize_url(f"sqlite:///{tmp_path}/s.db"), autocommit=False)):
        study = study_of(seeded(6), space, 40, storage=storage, running=0.2)
        sampler = TPESampler(seed=2)
        found = []
        for number in range(40):
            trial, params = asked(study, sampler, space)
            found.append(params)
            if number % 3:
                study.tell(trial, float(number % 7))
        results.append(found)
    assert results[0] == results[1]


def test_a_thousand_parameters():
    study = optuna.create_study(sampler=TPESampler(seed=0, n_startup_trials=2))
    distributions = {f"p{i}": FloatDistribution(0, 1) for i in range(1000)}
    for number in range(4):
        study.tell(study.ask(distributions), number)
    assert len(study.trials[-1].params) == 1000
    assert study.trials[-1].system_attrs["tpe:relative_params:1"]


def test_choices_that_are_not_plain_values_can_be_modelled():
    study = optuna.create_study(sampler=TPESampler(seed=0, n_startup_trials=1, constant_liar=False))
    for _ in range(4):
        trial = study.ask()
        with pytest.warns(UserWarning, match="persistent"):
            trial.suggest_categorical("c", (("a", 1), ("b", 2)))
        study.tell(trial, 0.0)
    assert study.trials[-1].params["c"] in (("a", 1), ("b", 2))


def test_hypervolumes_and_fronts_match_their_definition():
    random = np.random.RandomState(0)
    for dimensions in (2, 3, 4):
        losses = random.rand(12, dimensions)
        grid = random.rand(200_000, dimensions)
        covered = (losses[None, :, :] <= grid[:, None, :]).all(axis=2).any(axis=1).mean()
        assert hypervolume(losses, np.ones(dimensions)) == pytest.approx(covered, abs=0.01)
        ordered = np.unique(losses, axis=0)
        dominated = [any((other <= one).all() and (other < one).any() for other in ordered) for one in ordered]
        assert (non_dominated(ordered) == ~np.array(dominated)).all()
    assert len(best_by_hypervolume(np.full((9, 2), np.inf), 4)) == 4
    assert best_by_hypervolume(np.empty((0, 2)), 3).size == 0


def test_masses_and_quantiles_are_accurate_in_the_tails():
    assert log_mass(np.array([-1.0]), np.array([1.0]))[0] == pytest.approx(np.log(0.6826894921370859))
    assert log_mass(np.array([40.0]), np.array([41.0]))[0] == pytest.approx(-804.608442, abs=1e-5)
    assert log_mass(np.array([-41.0]), np.array([-40.0]))[0] == log_mass(np.array([40.0]), np.array([41.0]))[0]
    low, high = np.array([-3.0, 8.0, -50.0]), np.array([1.0, 9.0, -30.0])
    for share in (0.0, 0.25, 1.0):
        found = quantile(np.full(3, share), low, high)
        assert ((found >= low) & (found <= high)).all()
        inside = np.exp(log_mass(low[:2], found[:2]) - log_mass(low[:2], high[:2])) if share == 0.25 else share
        assert np.allclose(inside, share, atol=1e-9)
