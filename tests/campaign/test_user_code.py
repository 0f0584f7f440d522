"""A campaign whose sampler or pruner, the user's own, raises errors; and what it does not lose by that."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from pilotune.pipeline.campaign.events import Capacity
from pilotune.pipeline.trial.protocol import Report
from tests.support.campaign_bench import Bench, benches, finish_of, over, started


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


class Faulty(optuna.samplers.RandomSampler):
    """Raises at one of the places where Optuna calls a sampler, from the third trial on."""

    def __init__(self, where: str, error: BaseException):
        super().__init__(seed=0)
        self.where, self.error = where, error

    def _fail(self, where: str, number: int) -> None:
        if where == self.where and number >= 2:
            raise self.error

    def before_trial(self, study, trial):
        self._fail("before_trial", trial.number)

    def infer_relative_search_space(self, study, trial):
        self._fail("infer", trial.number)
        return {}

    def sample_independent(self, study, trial, name, distribution):
        self._fail("sample_independent", trial.number)
        return super().sample_independent(study, trial, name, distribution)

    def after_trial(self, study, trial, state, values):
        self._fail("after_trial", trial.number)


LINE = inspect.getsourcelines(Faulty._fail)[1] + 2


@pytest.mark.parametrize("where", ["before_trial", "infer", "sample_independent"])
@pytest.mark.parametrize("error", [ValueError("odd"), ZeroDivisionError("by zero"), SystemExit(3)], ids=repr)
def test_a_sampler_that_raises_ends_the_campaign_and_leaves_nothing_behind(bench, where, error) -> None:
    campaign = bench(trials=6, options={"sampler": Faulty(where, error)})
    first = campaign.specs(Capacity(2))
    actions = campaign.turn(*map(started, first), over(first[0], started=0.0, finished=60.0))
    assert actions == []
    assert campaign.campaign.ending.code == 1
    reason = campaign.campaign.ending.reason
    assert reason.startswith(
        f"no further trial can be suggested: the sampler failed: {type(error).__name__}: {error} ("
    )
    code, hint = reason.split("; ")
    assert code.endswith(f"test_user_code.py:{LINE})"), "whose code it is"
    assert hint == "another trial was running, which has no value yet"
    assert finish_of(campaign.turn(over(first[1]))).code == 1
    assert [trial.state for trial in campaign.trials()] == [TrialState.COMPLETE] * 2, "no trial without parameters"
    campaign.storage.close()

    again = bench(campaign="c2", trials=6)
    assert [spec.number for spec in again.specs(Capacity(2))] == [2, 3]


def test_an_enqueued_point_waits_again_when_the_sampler_raises(bench) -> None:
    campaign = bench(trials=6, options={"sampler": Faulty("before_trial", KeyError("x"))})
    first = campaign.specs(Capacity(2))
    campaign.campaign.study.study.enqueue_trial({"x": 0.25})
    campaign.storage.commit()
    campaign.campaign.study.study.enqueue_trial({"x": 0.75})  # and one that is not committed yet
    campaign.turn(*map(started, first), over(first[0], started=0.0, finished=60.0))
    assert campaign.campaign.ending.code == 1
    campaign.turn(over(first[1]))
    waiting = [trial for trial in campaign.trials() if trial.state == TrialState.WAITING]
    assert [trial.system_attrs["fixed_params"] for trial in waiting] == [{"x": 0.25}, {"x": 0.75}]
    campaign.storage.close()
    again = bench(campaign="c2", trials=6)
    assert [spec.params["x"] for spec in again.specs(Capacity(2))] == [0.25, 0.75]


def test_a_sampler_that_raises_after_a_trial_costs_a_warning(bench) -> None:
    campaign = bench(trials=6, options={"sampler": Faulty("after_trial", ValueError("late"))})
    specs = campaign.specs(Capacity(4))
    campaign.turn(*map(started, specs), *(over(spec) for spec in specs))
    assert [trial.state for trial in campaign.trials()].count(TrialState.COMPLETE) == 4
    (warning,) = campaign.campaign.study.warnings
    assert warning.startswith("the sampler failed 2 times, at last with trial 3: ValueError: late (")
    assert warning.endswith(f"test_user_code.py:{LINE})")


class FaultyPruner(optuna.pruners.BasePruner):
    def __init__(self) -> None:
        self.saw: list[tuple[type, type, int | None]] = []

    def prune(self, study, trial):
        self.saw.append((type(study), type(trial), trial.last_step))
        trial.intermediate_values.clear()
        trial.user_attrs["mine"] = 1
        raise RuntimeError("no verdict")


def test_a_pruner_that_raises_costs_a_warning_and_gets_what_optuna_gives(bench) -> None:
    pruner = FaultyPruner()
    campaign = bench(trials=2, options={"pruner": pruner})
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec), Report(spec.token, 1, 1, 0.5))
    campaign.turn(Report(spec.token, 2, 2, 0.25))
    assert pruner.saw == [
        (optuna.Study, optuna.trial.FrozenTrial, 1),
        (optuna.Study, optuna.trial.FrozenTrial, 2),
    ]
    (trial, *_) = campaign.trials()
    assert trial.intermediate_values == {1: 0.5, 2: 0.25}, "it may change its own copy only"
    assert trial.user_attrs == {}
    (warning,) = campaign.campaign.study.warnings
    assert warning.startswith("the pruner failed 2 times, at last with trial 0: RuntimeError: no verdict (")
