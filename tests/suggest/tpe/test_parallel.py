"""TPE with many trials running: where it is Optuna's, where it differs, and what it differs by."""

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
from pilotune.pipeline.suggest.tpe import TPESampler
from pilotune.pipeline.suggest.tpe.axes import axes_of
from pilotune.pipeline.suggest.tpe.marginals import BINS, Counts
from pilotune.pipeline.suggest.tpe.parallel import CROWD, CrowdHistory
from pilotune.pipeline.suggest.tpe.partial_results import ENOUGH, Rungs
from pilotune.pipeline.suggest.tpe.tried import Tried

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
    assert same(asked(ours, CROWD, CROWD + 40), asked(theirs, CROWD, CROWD + 40))


def test_from_the_threshold_on_they_differ():
    ours, plain = TPESampler(seed=1), TPESampler(seed=1, parallel="none")
    mine, others = asked(ours, CROWD + 1, CROWD + 40), asked(plain, CROWD + 1, CROWD + 40)
    begun = CROWD + 11  # ten are finished
    assert same(mine[: begun - 1], others[: begun - 1])
    assert not same(mine[begun - 1 :], others[begun - 1 :])


def test_parallel_none_is_optuna_whatever_runs():
    ours = asked(TPESampler(seed=2, parallel="none"), CROWD + 6, CROWD + 40)
    assert same(ours, asked(optuna.samplers.TPESampler(seed=2), CROWD + 6, CROWD + 40))


def test_a_crowd_gets_the_same_suggestions_again_with_the_same_seed():
    assert asked(TPESampler(seed=3), CROWD + 6, 130) == asked(TPESampler(seed=3), CROWD + 6, 130)


def test_suggestions_to_a_crowd_lie_in_the_space_and_get_better():
    params = asked(TPESampler(seed=4, parallel="crowd"), 20, 200)
    for name, kind in SPACE.items():
        assert all(kind._contains(kind.to_internal_repr(each[name])) for each in params)
    assert np.median([loss(each) for each in params[150:]]) < 0.7 * np.median([loss(each) for each in params[:30]])


def test_a_crowd_is_not_sent_where_others_are():
    def repeats(parallel: str) -> int:
        params = asked(TPESampler(seed=5, parallel=parallel), 30, 90, GRID)
        return len(params) - len({tuple(each.values()) for each in params[30:]}) - 30

    assert repeats("crowd") < repeats("none") / 2


def test_what_failed_is_not_suggested_again():
    study = optuna.create_study(sampler=TPESampler(seed=6, parallel="crowd", n_startup_trials=5))
    space: dict[str, BaseDistribution] = {"i": IntDistribution(0, 39)}
    seen: list[int] = []
    for number in range(25):
        trial = study.ask(space)
        assert number < 6 or trial.params["i"] not in seen
        seen.append(trial.params["i"])
        failed = number >= 6 and number % 2 == 0
        study.tell(trial, None if failed else float(trial.params["i"]), state=TrialState.FAIL if failed else None)


def test_several_directions_are_as_without_a_crowd():
    def values(params: dict[str, Any]) -> tuple[float, float]:
        return loss(params), -loss(params)

    both = ["minimize", "minimize"]
    crowd, none = (TPESampler(seed=7, parallel=parallel, multivariate=True) for parallel in ("crowd", "none"))
    assert asked(crowd, 4, 40, value=values, directions=both) == asked(none, 4, 40, value=values, directions=both)


def test_conditional_spaces_in_groups_work_in_a_crowd():
    def objective(trial: optuna.Trial) -> float:
        kind = trial.suggest_categorical("kind", ["a", "b"])
        return trial.suggest_float("a", 0, 1) if kind == "a" else 1 + trial.suggest_int("b", 0, 5)

    study = optuna.create_study(sampler=TPESampler(seed=8, parallel="crowd", group=True))
    study.optimize(objective, n_trials=60)
    assert study.best_value < 0.2


def test_an_unknown_kind_of_parallel_is_refused():
    with pytest.raises(ValueError, match="parallel must be one of auto, crowd, none, but is 'often'"):
        TPESampler(parallel="often")


# -- which trials are good ones ---------------------------------------------------------------------------------------


def trial_of(number: int, reports: dict[int, float], state: TrialState = TrialState.RUNNING) -> FrozenTrial:
    trial = optuna.trial.create_trial(
        state=TrialState.PRUNED if state == TrialState.RUNNING else state,
        value=0.0 if state == TrialState.COMPLETE else None,
        intermediate_values=dict(reports),
    )
    trial._trial_id, trial.number, trial.state = number, number, state
    return trial


def learned(rungs: Rungs, trials: list[FrozenTrial]) -> Rungs:
    rungs.learn(Changes(trials))
    return rungs


def test_the_best_are_found_at_the_highest_step_with_enough_reports():
    trials = [trial_of(i, {1: float(i)} | ({3: float(-i)} if i < ENOUGH else {})) for i in range(40)]
    assert learned(Rungs(1.0), trials).best(2) == [ENOUGH - 1, ENOUGH - 2]
    assert learned(Rungs(-1.0), trials).best(2) == [0, 1]
    trials[0] = trial_of(0, {1: 0.0})
    assert learned(Rungs(1.0), trials).best(2) == [0, 1]


def test_reports_are_counted_once_however_often_a_trial_changes():
    rungs = Rungs(1.0)
    for step in range(1, 30):
        learned(rungs, [trial_of(0, dict.fromkeys(range(1, step), 1.0))])
    assert rungs.best(1) is None
    learned(rungs, [trial_of(i, {5: float(i)}) for i in range(1, ENOUGH)])
    assert rungs.best(2) == [0, 1]


def test_failed_and_vanished_trials_and_values_that_are_no_numbers_do_not_count():
    trials = [trial_of(i, {1: float(i)}) for i in range(ENOUGH + 1)]
    rungs = learned(Rungs(1.0), trials)
    learned(rungs, [trial_of(0, {1: 0.0}, TrialState.FAIL)])
    assert rungs.best(1) == [1]
    rungs.learn(Changes([], gone=[1]))
    assert rungs.best(1) is None
    assert learned(Rungs(1.0), [trial_of(i, {1: math.nan}) for i in range(ENOUGH)]).best(1) is None


def test_when_enough_trials_are_complete_their_own_values_decide():
    trials = [trial_of(i, {1: float(i)}, TrialState.COMPLETE) for i in range(ENOUGH)]
    assert learned(Rungs(1.0), trials[1:]).best(1) is None
    assert learned(Rungs(1.0), [*trials[1:], trial_of(0, {1: 0.0})]).best(1) == [0]
    assert learned(Rungs(1.0), trials).best(1) is None


def test_a_running_trial_with_good_reports_is_a_good_one():
    history = CrowdHistory([optuna.study.StudyDirection.MINIMIZE], running=True, relative=True)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask(SPACE) for _ in range(ENOUGH + 5)]
    for trial in trials:
        trial.report(float(trial.number), 1)
    for trial in trials[12:]:
        study.tell(trial, state=TrialState.PRUNED)
    history.learn(Changes(study.get_trials(deepcopy=False), whole=True))
    assert history.divide(3) == [12, 13, 14]
    history.by_rungs = True
    assert history.divide(3) == [0, 1, 2]


# -- counts -----------------------------------------------------------------------------------------------------------


def test_counts_kept_up_to_date_are_those_made_anew():
    history = CrowdHistory([optuna.study.StudyDirection.MINIMIZE], running=True, relative=True)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    axes = axes_of(SPACE)
    kept = Counts(history, axes)
    running: list[optuna.Trial] = []
    for step in range(90):
        running.append(study.ask(SPACE))
        if step % 3:
            ended = running.pop(0)
            study.tell(ended, state=TrialState.FAIL) if step % 5 == 0 else study.tell(ended, loss(ended.params))
        trials = study.get_trials(deepcopy=False)
        history.learn(Changes(trials, whole=step == 0))
        kept.look()
        good = history.divide(5)
        anew = Counts(history, axes)
        anew.look()
        for mine, other, axis in zip(kept.tables(good), anew.tables(good), axes, strict=True):
            assert mine == pytest.approx(other)
            assert np.exp(mine).sum() == pytest.approx(1.0)
            assert len(mine) == {"layers": 6, "kind": 3}.get(axis.name, BINS)


def test_trials_beyond_a_range_that_became_smaller_count_at_its_end():
    study = optuna.create_study(sampler=TPESampler(seed=9, parallel="crowd", n_startup_trials=3))
    for number in range(30):
        trial = study.ask({"i": IntDistribution(0, 9 if number < 10 else 4), "x": FloatDistribution(0, 1)})
        assert trial.params["i"] <= 4 or number < 10
        study.tell(trial, float(trial.params["i"]))


def test_the_good_ones_are_not_among_the_counts():
    history = CrowdHistory([optuna.study.StudyDirection.MINIMIZE], running=True, relative=True)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = {"kind": SPACE["kind"]}
    for _ in range(30):
        trial = study.ask(space)
        study.tell(trial, "abc".index(trial.params["kind"]))
    history.learn(Changes(study.get_trials(deepcopy=False), whole=True))
    counts = Counts(history, axes_of(space))
    counts.look()
    without = np.exp(counts.tables(history.divide(5))[0])
    assert without[0] < np.exp(counts.tables([])[0])[0]


def test_configurations_are_known_by_what_can_differ():
    kinds = {"i": IntDistribution(0, 3), "c": CategoricalDistribution(["a", None]), "one": IntDistribution(2, 2)}
    tried = Tried()
    tried.learn(
        Changes([optuna.trial.create_trial(value=0.0, params={"i": 1, "c": None, "one": 2}, distributions=kinds)])
    )
    assert {"c": None, "i": 1} in tried
    assert {"c": "a", "i": 1} not in tried
    tried.learn(Changes([], whole=True))
    assert {"c": None, "i": 1} not in tried
