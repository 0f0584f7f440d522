"""What the search learns as trials begin, report and end, and how it renews its model."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from pilotune.pipeline.attributes import PAUSED
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.surrogate import GPSampler
from pilotune.pipeline.suggest.surrogate import search as search_module
from pilotune.pipeline.suggest.surrogate.kernel import Kernel, Likelihood
from pilotune.pipeline.suggest.surrogate.search import Search

from ...support.gp_studies import MIXED, ONE, pruned_study, run, search_of


def test_pruned_and_paused_trials_are_learnt_from() -> None:
    found = [
        [study.ask(ONE).params["x"] for _ in range(3)]
        for study in (pruned_study(TrialState.PRUNED, {}), pruned_study(TrialState.RUNNING, {PAUSED: 1}))
    ]
    assert found[0] == found[1]
    assert abs(np.median(found[0]) - 0.6) < 0.15


def test_pruned_trials_alone_are_enough() -> None:
    study = optuna.create_study(sampler=GPSampler(seed=19), direction="maximize")
    for _ in range(40):
        trial = study.ask(ONE)
        trial.report(-((trial.params["x"] - 0.2) ** 2), 1)
        study.tell(trial, state=TrialState.PRUNED)
    late = [trial.params["x"] for trial in study.trials[20:]]
    assert abs(np.median(late) - 0.2) < 0.1


def test_the_model_is_made_anew_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    build = Search._build

    def counted(self: Search) -> Any:
        for work in build(self):
            pieces.append(work)
            yield work

    monkeypatch.setattr(Search, "_build", counted)
    monkeypatch.setattr(search_module, "WORK", 1)
    study = run(GPSampler(seed=24), 50)
    most = max(pieces)
    search = next(iter(study.sampler._searches.values()))
    assert search.model is not None
    assert most < 3e6
    assert study.best_value < 0.2


def test_trials_of_other_drivers_are_in_the_model_at_once() -> None:
    study = run(GPSampler(seed=25), 20)
    other = optuna.load_study(
        study_name=study.study_name, storage=study._storage, sampler=optuna.samplers.RandomSampler()
    )
    foreign = other.ask(MIXED)
    search = search_of(study)
    row = search.trials.row_of[foreign._trial_id]
    assert search.model is not None
    assert row in search.model.row_of
    other.tell(foreign, 0.5)
    search = search_of(study)
    assert not np.isnan(search.model._values[search.model.row_of[row]])


@pytest.mark.parametrize("space", [None, Space(tuple(Parameter(name, kind) for name, kind in MIXED.items()))])
def test_another_configuration_than_the_suggested_one_is_noticed(space: Space | None) -> None:
    study = run(GPSampler(seed=26, space=space), 20)
    trial = study.ask()
    study.sampler.sample_relative(study, trial._get_latest_trial(), MIXED)
    search = search_of(study)
    known = search.trials.row_of.get(trial._trial_id)  # from the attributes, where the space is not known beforehand
    suggested = search.model.expected[trial._trial_id] if known is None else search.model.row_of[known]
    for name, value in (("kind", 0.0), ("x", -0.9), ("rate", 0.9), ("layers", 1)):
        study._storage.set_trial_param(trial._trial_id, name, value, MIXED[name])
    search = search_of(study)
    assert search.model.row_of[search.trials.row_of[trial._trial_id]] != suggested
    study.tell(trial, 3.0)
    assert np.isnan(search_of(study).model.factor._targets[suggested, 0])


def test_running_trials_count_by_their_reports_in_a_study_that_prunes() -> None:
    study = pruned_study(TrialState.PRUNED, {})
    running = study.ask(ONE)
    search = search_of(study)
    row = search.trials.row_of[running._trial_id]
    running.report(0.1, 1)  # the best of all that reported this step
    search.refresh(study)
    targets = search_module.Targets(search.trials)
    values = targets.at(search.trials.rows(1, 2, 3))[:, 0]
    assert targets.at(np.array([row]))[0, 0] < np.quantile(values, 0.25)
    assert targets.noise(np.array([row]))[0] > 0
    assert row in search._order(targets)


def test_no_suggestion_does_much_more_work_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in entries of kernel matrices: a model that is made within one suggestion is many times more."""
    done: list[int] = []
    cross, likelihood = Kernel.cross, Likelihood.__call__

    def counted(self: Kernel, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        done[-1] += len(left) * len(right)
        return cross(self, left, right)

    def also_counted(self: Likelihood, logarithms: np.ndarray) -> Any:
        done[-1] += 3 * self._size**2
        return likelihood(self, logarithms)

    monkeypatch.setattr(Kernel, "cross", counted)
    monkeypatch.setattr(Likelihood, "__call__", also_counted)
    space = {f"x{i}": FloatDistribution(0.0, 1.0) for i in range(6)}
    study = optuna.create_study(sampler=GPSampler(seed=27))
    rng = np.random.default_rng(0)
    for _ in range(3_000):
        params = {name: float(rng.random()) for name in space}
        study.add_trial(create_trial(params=params, distributions=space, value=sum(params.values())))
    running: list[optuna.Trial] = []
    for _ in range(120):
        done.append(0)
        running.append(study.ask(space))
        if len(running) > 16:
            ended = running.pop(0)
            study.tell(ended, sum(ended.params.values()))
    assert done[0] > 1_000_000  # the first model
    assert min(done[1:]) > 0
    assert max(done[1:]) < 250_000
