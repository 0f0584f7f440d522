"""A sampler or pruner of the user's that does not return is told of, and ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from pilotune.pipeline.campaign.events import Capacity
from pilotune.pipeline.campaign.sampling import checked_sample
from pilotune.pipeline.driver import step_watch
from pilotune.pipeline.driver.step_watch import StepWatch, interruptible
from pilotune.pipeline.trial.protocol import Report
from tests.support.campaign_bench import Bench, benches, started

NEVER = 3600.0


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    for name in ("PERIOD", "WARN_AFTER"):
        monkeypatch.setattr(step_watch, name, 0.01)
    return benches(tmp_path)


class Hanging(optuna.samplers.RandomSampler):
    def sample_independent(self, study, trial, name, distribution):
        time.sleep(NEVER)


class Asking(optuna.samplers.RandomSampler):
    """Reads the study for ever: most of the time it is in the midst of Pilotune's own code."""

    def sample_independent(self, study, trial, name, distribution):
        while True:
            study.get_trials(deepcopy=False)


class HangingPruner(optuna.pruners.BasePruner):
    def __init__(self) -> None:
        self.calls = 0

    def prune(self, study, trial) -> bool:
        self.calls += 1
        time.sleep(NEVER)
        return True


@pytest.mark.parametrize("sampler", [Hanging, Asking])
def test_a_sampler_that_hangs_is_ended_once_the_campaign_is_to_end(bench, monkeypatch, sampler) -> None:
    monkeypatch.setattr(step_watch, "LONGEST_AT_END", 0.05)
    campaign = bench(trials=6, options={"sampler": sampler(seed=0)})
    with StepWatch(lambda sentence: None, lambda: True) as watch, watch.step():
        campaign.turn(Capacity(1))
    reason = campaign.campaign.ending.reason
    assert reason.startswith("no further trial can be suggested: the sampler failed: NotReturned: it had not returned")
    assert "test_step_watch.py:" in reason, "whose code it is"


def test_the_user_is_told_once_and_after_a_limit_the_call_is_ended(bench, monkeypatch) -> None:
    monkeypatch.setattr(step_watch, "LONGEST", 0.2)
    told: list[str] = []
    campaign = bench(trials=6, options={"sampler": Hanging(seed=0)})
    with StepWatch(told.append, lambda: False) as watch, watch.step():
        campaign.turn(Capacity(1))
    (sentence,) = told
    assert sentence.startswith("a sampler, pruner or constraints function has been running for ")
    assert campaign.campaign.ending.code == 1


def test_a_pruner_that_hangs_is_not_called_again_and_trials_go_on(bench, monkeypatch) -> None:
    monkeypatch.setattr(step_watch, "LONGEST", 0.05)
    pruner = HangingPruner()
    campaign = bench(trials=6, options={"pruner": pruner})
    (spec,) = campaign.specs(Capacity(1))
    with StepWatch(lambda sentence: None, lambda: False) as watch, watch.step():
        campaign.turn(started(spec), Report(spec.token, 1, 1, 0.5))
    campaign.turn(Report(spec.token, 2, 2, 0.5))
    assert pruner.calls == 1
    assert "the pruner failed with trial 0: NotReturned: " in campaign.campaign.study.warnings[0]
    assert campaign.campaign.ending is None


def test_quick_steps_are_left_alone(bench, monkeypatch) -> None:
    monkeypatch.setattr(step_watch, "LONGEST", 0.05)
    told: list[str] = []
    with StepWatch(told.append, lambda: True) as watch:
        for _ in range(5):
            with watch.step():
                pass
            time.sleep(0.02)
    assert not told
    assert not interruptible(sys._getframe()), "no code of the campaign called this"


@pytest.mark.parametrize("value", [5.0, float("nan"), "a lot", None])
def test_a_samplers_value_outside_the_range_is_refused(value) -> None:
    with pytest.raises(ValueError, match=r"it returned .* for 'x', which is not in FloatDistribution"):
        checked_sample("x", value, optuna.distributions.FloatDistribution(0.0, 1.0))
