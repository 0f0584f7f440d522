"""TPE with many running trials: when suggestions are Optuna's, when they differ, and how."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.study_changes import Changes
from pilotune.pipeline.suggest.axes import axes_of
from pilotune.pipeline.suggest.tpe import TPESampler
from pilotune.pipeline.suggest.tpe.marginals import BINS, Histograms
from pilotune.pipeline.suggest.tpe.parallel import MANY_RUNNING, ParallelHistory, TriedConfigurations
from pilotune.pipeline.suggest.tpe.partial_results import MIN_REPORTS, PartialResults

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(-1.0, 1.0),
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "units": IntDistribution(16, 1024, log=True),
    "layers": IntDistribution(1, 6),
    "width": IntDistribution(0, 1000, step=2),
    "kind": CategoricalDistribution(["a", "b", "c"]),
}
GRID: dict[str, BaseDistribution] = {"i": IntDistribution(0, 9), "j": IntDistribution(0, 9)}


def loss(params: dict[str, Any]) -> float:
    return float(params.get("x", 0.0) ** 2 + 0.1 * params.get("layers", params.get("i", 0)))


def asked(
    sampler: optuna.samplers.BaseSampler,
    workers: int,
    count: int,
    space: dict[str, BaseDistribution] = SPACE,
    value: Callable[[dict[str, Any]], Any] = loss,
    **options: Any,
) -> list[dict[str, Any]]:
    """The parameters of ``count`` trials, ``workers`` of them running at a time and ending in order."""
    study = optuna.create_study(sampler=sampler, **options)
    running: list[optuna.Trial] = []
    for _ in range(count):
        if len(running) == workers:
            ended = running.pop(0)
            study.tell(ended, value(ended.params))
        running.append(study.ask(space))
    return [trial.params for trial in study.get_trials(deepcopy=False)]


def same(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> bool:
    numbers = [
        math.isclose(a[name], b[name], rel_tol=1e-9) if isinstance(a[name], float) else a[name] == b[name]
        for a, b in zip(left, right, strict=True)
        for name in a
    ]
    return len(left) == len(right) and all(numbers)


def test_below_the_threshold_suggestions_are_those_of_optuna():
    ours, theirs = (kind(seed=1) for kind in (TPESampler, optuna.samplers.TPESampler))
    assert same(asked(ours, MANY_RUNNING, MANY_RUNNING + 40), asked(theirs, MANY_RUNNING, MANY_RUNNING + 40))


def test_suggestions_differ_from_the_threshold_on():
    ours, plain = TPESampler(seed=1), TPESampler(seed=1, parallel="none")
    mine, others = asked(ours, MANY_RUNNING + 1, MANY_RUNNING + 40), asked(plain, MANY_RUNNING + 1, MANY_RUNNING + 40)
    begun = MANY_RUNNING + 11  # ten are finished
    assert same(mine[: begun - 1], others[: begun - 1])
    assert not same(mine[begun - 1 :], others[begun - 1 :])


def test_parallel_none_is_optuna_however_many_trials_run():
    ours = asked(TPESampler(seed=2, parallel="none"), MANY_RUNNING + 6, MANY_RUNNING + 40)
    assert same(ours, asked(optuna.samplers.TPESampler(seed=2), MANY_RUNNING + 6, MANY_RUNNING + 40))


def test_the_same_seed_gives_the_same_suggestions():
    assert asked(TPESampler(seed=3), MANY_RUNNING + 6, 130) == asked(TPESampler(seed=3), MANY_RUNNING + 6, 130)


def test_suggestions_are_within_the_space_and_improve():
    params = asked(TPESampler(seed=4, parallel="crowd"), 20, 200)
    for name, kind in SPACE.items():
        assert all(kind._contains(kind.to_internal_repr(each[name])) for each in params)
    assert np.median([loss(each) for each in params[150:]]) < 0.7 * np.median([loss(each) for each in params[:30]])


def test_configurations_are_repeated_less_often():
    def repeats(parallel: str) -> int:
        params = asked(TPESampler(seed=5, parallel=parallel), 30, 90, GRID)
        return len(params) - len({tuple(each.values()) for each in params[30:]}) - 30

    assert repeats("crowd") < repeats("none") / 2


def test_a_failed_configuration_is_not_suggested_again():
    study = optuna.create_study(sampler=TPESampler(seed=6, parallel="crowd", n_startup_trials=5))
    space: dict[str, BaseDistribution] = {"i": IntDistribution(0, 39)}
    seen: list[int] = []
    for number in range(25):
        trial = study.ask(space)
        assert number < 6 or trial.params["i"] not in seen
        seen.append(trial.params["i"])
        failed = number >= 6 and number % 2 == 0
        study.tell(trial, None if failed else float(trial.params["i"]), state=TrialState.FAIL if failed else None)


def test_parallel_changes_nothing_with_several_directions():
    def values(params: dict[str, Any]) -> tuple[float, float]:
        return loss(params), -loss(params)

    both = ["minimize", "minimize"]
    crowd, none = (TPESampler(seed=7, parallel=parallel, multivariate=True) for parallel in ("crowd", "none"))
    assert asked(crowd, 4, 40, value=values, directions=both) == asked(none, 4, 40, value=values, directions=both)


def test_conditional_spaces_work_in_groups():
    def objective(trial: optuna.Trial) -> float:
        kind = trial.suggest_categorical("kind", ["a", "b"])
        return trial.suggest_float("a", 0, 1) if kind == "a" else 1 + trial.suggest_int("b", 0, 5)

    study = optuna.create_study(sampler=TPESampler(seed=8, parallel="crowd", group=True))
    study.optimize(objective, n_trials=60)
    assert study.best_value < 0.2


def test_an_unknown_value_of_parallel_is_refused():
    with pytest.raises(ValueError, match="parallel must be one of auto, crowd, none, but is 'often'"):
        TPESampler(parallel="often")


# -- trials below the split by intermediate values --------------------------------------------------------------------


def trial_of(number: int, reports: dict[int, float], state: TrialState = TrialState.RUNNING) -> FrozenTrial:
    trial = optuna.trial.create_trial(
        state=TrialState.PRUNED if state == TrialState.RUNNING else state,
        value=0.0 if state == TrialState.COMPLETE else None,
        intermediate_values=dict(reports),
    )
    trial._trial_id, trial.number, trial.state = number, number, state
    return trial


def updated(results: PartialResults, trials: list[FrozenTrial]) -> PartialResults:
    results.apply(Changes(trials))
    return results


def test_the_best_are_found_at_the_highest_step_with_enough_reports():
    trials = [trial_of(i, {1: float(i)} | ({3: float(-i)} if i < MIN_REPORTS else {})) for i in range(40)]
    assert updated(PartialResults(1.0), trials).best(2) == [MIN_REPORTS - 1, MIN_REPORTS - 2]
    assert updated(PartialResults(-1.0), trials).best(2) == [0, 1]
    trials[0] = trial_of(0, {1: 0.0})
    assert updated(PartialResults(1.0), trials).best(2) == [0, 1]


def test_reports_are_counted_once_however_often_a_trial_changes():
    results = PartialResults(1.0)
    for step in range(1, 30):
        updated(results, [trial_of(0, dict.fromkeys(range(1, step), 1.0))])
    assert results.best(1) is None
    updated(results, [trial_of(i, {5: float(i)}) for i in range(1, MIN_REPORTS)])
    assert results.best(2) == [0, 1]


def test_failed_trials_vanished_trials_and_nan_do_not_count():
    trials = [trial_of(i, {1: float(i)}) for i in range(MIN_REPORTS + 1)]
    results = updated(PartialResults(1.0), trials)
    updated(results, [trial_of(0, {1: 0.0}, TrialState.FAIL)])
    assert results.best(1) == [1]
    results.apply(Changes([], gone=[1]))
    assert results.best(1) is None
    assert updated(PartialResults(1.0), [trial_of(i, {1: math.nan}) for i in range(MIN_REPORTS)]).best(1) is None


def test_final_values_decide_when_enough_trials_are_complete():
    trials = [trial_of(i, {1: float(i)}, TrialState.COMPLETE) for i in range(MIN_REPORTS)]
    assert updated(PartialResults(1.0), trials[1:]).best(1) is None
    assert updated(PartialResults(1.0), [*trials[1:], trial_of(0, {1: 0.0})]).best(1) == [0]
    assert updated(PartialResults(1.0), trials).best(1) is None


def test_a_running_trial_with_good_reports_is_below_the_split():
    history = ParallelHistory([optuna.study.StudyDirection.MINIMIZE], running=True, relative=True)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask(SPACE) for _ in range(MIN_REPORTS + 5)]
    for trial in trials:
        trial.report(float(trial.number), 1)
    for trial in trials[12:]:
        study.tell(trial, state=TrialState.PRUNED)
    history.apply(Changes(study.get_trials(deepcopy=False), whole=True))
    assert history.split_below(3) == [12, 13, 14]
    assert history.split_below_by_reports(3) == [0, 1, 2]


# -- histograms -------------------------------------------------------------------------------------------------------


def test_updated_histograms_are_those_made_anew():
    history = ParallelHistory([optuna.study.StudyDirection.MINIMIZE], running=True, relative=True)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    axes = axes_of(SPACE)
    histograms = Histograms(history, axes)
    running: list[optuna.Trial] = []
    for step in range(90):
        running.append(study.ask(SPACE))
        if step % 3:
            ended = running.pop(0)
            study.tell(ended, state=TrialState.FAIL) if step % 5 == 0 else study.tell(ended, loss(ended.params))
        trials = study.get_trials(deepcopy=False)
        history.apply(Changes(trials, whole=step == 0))
        histograms.refresh()
        below = history.split_below(5)
        anew = Histograms(history, axes)
        anew.refresh()
        for mine, other, axis in zip(histograms.log_densities(below), anew.log_densities(below), axes, strict=True):
            assert mine == pytest.approx(other)
            assert np.exp(mine).sum() == pytest.approx(1.0)
            assert len(mine) == {"layers": 6, "kind": 3}.get(axis.name, BINS)


def test_trials_outside_a_narrowed_range_count_at_its_end():
    study = optuna.create_study(sampler=TPESampler(seed=9, parallel="crowd", n_startup_trials=3))
    for number in range(30):
        trial = study.ask({"i": IntDistribution(0, 9 if number < 10 else 4), "x": FloatDistribution(0, 1)})
        assert trial.params["i"] <= 4 or number < 10
        study.tell(trial, float(trial.params["i"]))


def test_trials_below_the_split_are_not_counted():
    history = ParallelHistory([optuna.study.StudyDirection.MINIMIZE], running=True, relative=True)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = {"kind": SPACE["kind"]}
    for _ in range(30):
        trial = study.ask(space)
        study.tell(trial, "abc".index(trial.params["kind"]))
    history.apply(Changes(study.get_trials(deepcopy=False), whole=True))
    histograms = Histograms(history, axes_of(space))
    histograms.refresh()
    without = np.exp(histograms.log_densities(history.split_below(5))[0])
    assert without[0] < np.exp(histograms.log_densities([])[0])[0]


def test_parameters_with_a_single_value_do_not_distinguish_configurations():
    kinds = {"i": IntDistribution(0, 3), "c": CategoricalDistribution(["a", None]), "one": IntDistribution(2, 2)}
    tried = TriedConfigurations()
    tried.apply(
        Changes([optuna.trial.create_trial(value=0.0, params={"i": 1, "c": None, "one": 2}, distributions=kinds)])
    )
    assert {"c": None, "i": 1} in tried
    assert {"c": "a", "i": 1} not in tried
    tried.apply(Changes([], whole=True))
    assert {"c": None, "i": 1} not in tried
