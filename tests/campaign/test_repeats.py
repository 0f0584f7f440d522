"""Trials that are repeated, on a real record with events made by the test."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from pilotune.pipeline.attributes import PAUSED
from pilotune.pipeline.campaign.events import Capacity, Lost, Reply, StopRequested
from pilotune.pipeline.campaign.flight import seed_of
from pilotune.pipeline.driver.time_left import progress_of
from pilotune.pipeline.fidelity import rung_schedule
from pilotune.pipeline.noise import Repeats, repetitions_of
from pilotune.pipeline.record import Orphan
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.trial.protocol import AttemptSpec, Report, Verdict
from tests.support.campaign_bench import Bench, benches, finish_of, over, started

THRICE, RACE = Repeats(3, 3), Repeats(1, 3)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


def run(campaign: Bench, spec: AttemptSpec, value: float, **fields: Any) -> list[AttemptSpec]:
    """Let the attempt begin, and return a value; returns the attempts that follow."""
    return campaign.specs(started(spec), over(spec, value=value, **{"started": 0.0, "finished": 60.0, **fields}))


def place(spec: AttemptSpec) -> tuple[int, int, int, int]:
    """Number, attempt, repetition and the attempt with which it began."""
    return spec.number, spec.attempt, spec.repeat, spec.since


def values_of(campaign: Bench, number: int = 0) -> list[float]:
    return [each.values[0] for each in repetitions_of(campaign.trials()[number])]


def test_a_trial_is_run_three_times_and_told_the_mean(bench: Any) -> None:
    campaign = bench(trials=1, repeats=THRICE)
    (first,) = campaign.specs(Capacity(1))
    assert place(first) == (0, 1, 0, 1)
    (second,) = run(campaign, first, 1.0)
    assert place(second) == (0, 2, 1, 2)
    assert second.params == first.params
    trial = campaign.trials()[0]
    assert (trial.state, values_of(campaign)) == (TrialState.RUNNING, [1.0])
    (third,) = run(campaign, second, 2.0)
    finish = finish_of(campaign.turn(started(third), over(third, value=6.0)))
    assert finish.reason == "the budget of 1 trial is used up"
    trial = campaign.trials()[0]
    assert (trial.state, trial.value, values_of(campaign)) == (TrialState.COMPLETE, 3.0, [1.0, 2.0, 6.0])
    assert trial.user_attrs["pilotune:spread"] == pytest.approx(math.sqrt(7.0))
    assert (trial.user_attrs["pilotune:repetitions"], trial.user_attrs["pilotune:attempts"]) == (3, 3)
    seeds = [each.seed for each in repetitions_of(trial)]
    assert seeds == [seed_of(None, "s", 0, repeat) for repeat in range(3)]
    assert len(set(seeds)) == 3


def test_without_repeats_nothing_is_noted(bench: Any) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec), over(spec, value=1.0))
    trial = campaign.trials()[0]
    assert "pilotune:repeats" not in trial.system_attrs
    assert not {"pilotune:repetitions", "pilotune:spread"} & trial.user_attrs.keys()


def test_a_lost_repetition_runs_again_from_its_own_checkpoint(bench: Any) -> None:
    campaign = bench(trials=1, repeats=Repeats(2, 2))
    (first,) = campaign.specs(Capacity(1))
    (second,) = run(campaign, first, 1.0)
    campaign.turn(started(second))
    (again,) = campaign.specs(Lost(second.token, "its node died"))
    assert place(again) == (0, 3, 1, 2)
    campaign.turn(started(again), over(again, value=3.0))
    trial = campaign.trials()[0]
    assert (trial.value, [each.attempt for each in repetitions_of(trial)]) == (2.0, [1, 3])


def test_losses_and_retries_are_counted_for_each_repetition(bench: Any) -> None:
    campaign = bench(trials=1, repeats=Repeats(2, 2), max_losses=1, second_opinions=False, retries=1)
    (spec,) = campaign.specs(Capacity(1))
    for value in (1.0, 2.0):
        campaign.turn(started(spec))
        (spec,) = campaign.specs(Lost(spec.token, "its node died"))
        crash = over(spec, "failed", failure="signal", reason="killed by SIGSEGV")
        (spec,) = campaign.specs(started(spec), crash)
        after = campaign.specs(started(spec), over(spec, value=value))
        spec = after[0] if after else spec
    assert campaign.trials()[0].value == 1.5


def test_a_repetition_that_fails_for_good_fails_the_trial_and_its_values_stay(bench: Any) -> None:
    campaign = bench(trials=1, repeats=THRICE)
    (first,) = campaign.specs(Capacity(1))
    (second,) = run(campaign, first, 1.0)
    campaign.turn(started(second), over(second, "failed", failure="value", reason="it returned NaN"))
    trial = campaign.trials()[0]
    assert (trial.state, trial.values, values_of(campaign)) == (TrialState.FAIL, None, [1.0])
    assert trial.user_attrs["pilotune:reason"] == "in repetition 2: it returned NaN"


def test_a_stop_between_two_repetitions_loses_none_and_counts_none_twice(bench: Any) -> None:
    campaign = bench(trials=1, repeats=Repeats(2, 2))
    (first,) = campaign.specs(Capacity(1))
    campaign.turn(started(first), StopRequested("finish"))
    assert campaign.specs(over(first, value=1.0)) == []
    assert campaign.campaign.finished.code == 130
    assert (campaign.trials()[0].state, values_of(campaign)) == (TrialState.RUNNING, [1.0])

    heir = bench(campaign="c2", trials=1, repeats=Repeats(2, 2))
    token = heir.campaign.adopt(Orphan(0, 1, "c1", "/tmp", {"x": 0.5}))
    assert token == first.token
    (second,) = heir.specs(Capacity(1), over(first, value=1.0))
    assert (place(second), values_of(heir)) == ((0, 2, 1, 2), [1.0])
    heir.turn(started(second), over(second, value=2.0))
    assert (heir.trials()[0].value, values_of(heir)) == (1.5, [1.0, 2.0])


def test_an_outcome_that_was_counted_and_is_gone_is_not_missed(bench: Any) -> None:
    campaign = bench(trials=1, repeats=Repeats(2, 2))
    (first,) = campaign.specs(Capacity(1))
    campaign.turn(started(first), StopRequested("finish"))
    campaign.turn(over(first, value=1.0))
    heir = bench(campaign="c2", trials=1, repeats=Repeats(2, 2), max_losses=0)
    token = heir.campaign.adopt(Orphan(0, 1, "c1", "/tmp", {"x": 0.5}))
    (second,) = heir.specs(Capacity(1), Lost(token, "its driver died"))
    assert place(second) == (0, 2, 1, 2)


def test_a_campaign_that_dies_in_a_repetition_loses_only_that_one(bench: Any) -> None:
    campaign = bench(trials=1, repeats=Repeats(2, 2))
    (first,) = campaign.specs(Capacity(1))
    (second,) = run(campaign, first, 1.0)
    heir = bench(campaign="c2", trials=1, repeats=Repeats(2, 2))
    token = heir.campaign.adopt(Orphan(0, 2, "c1", "/tmp", {"x": 0.5}))
    assert token == second.token
    (again,) = heir.specs(Capacity(1), Lost(token, "its driver died"))
    assert place(again) == (0, 3, 1, 2)


def test_fewer_repetitions_than_before_end_with_what_there_is(bench: Any) -> None:
    campaign = bench(trials=1, repeats=THRICE)
    (first,) = campaign.specs(Capacity(1))
    (second,) = run(campaign, first, 1.0)
    heir = bench(campaign="c2", trials=1)
    heir.campaign.adopt(Orphan(0, 2, "c1", "/tmp", {"x": 0.5}))
    heir.turn(Capacity(1), over(second, value=2.0))
    assert (heir.trials()[0].value, values_of(heir)) == (1.5, [1.0, 2.0])


def test_the_curve_and_the_verdicts_are_those_of_the_first_repetition(bench: Any) -> None:
    campaign = bench(trials=1, repeats=Repeats(2, 2), options={"pruner": AlwaysFrom(3)})
    (first,) = campaign.specs(Capacity(1))
    campaign.turn(started(first), Report(first.token, 1, 1, 0.5))
    (second,) = campaign.specs(over(first, value=1.0, reports=[[1, 0.5]]))
    for step, request in ((1, 1), (3, 2)):
        assert campaign.turn(started(second), Report(second.token, request, step, 0.7)) == [
            Reply(Verdict(second.token, request))
        ]
    campaign.turn(over(second, value=2.0, reports=[[1, 0.7], [3, 0.7]]))
    trial = campaign.trials()[0]
    assert (trial.state, trial.intermediate_values, trial.value) == (TrialState.COMPLETE, {1: 0.5}, 1.5)


def test_a_trial_that_is_pruned_is_not_repeated(bench: Any) -> None:
    campaign = bench(trials=1, repeats=THRICE, options={"pruner": AlwaysFrom(1)})
    (first,) = campaign.specs(Capacity(1))
    reply = campaign.turn(started(first), Report(first.token, 1, 1, 0.5))
    assert reply == [Reply(Verdict(first.token, 1, stop="prune"))]
    assert campaign.specs(over(first, "pruned")) == []
    assert campaign.trials()[0].state == TrialState.PRUNED


def test_a_trial_that_was_to_be_pruned_and_completes_is_repeated_without_the_verdict(bench: Any) -> None:
    campaign = bench(trials=1, repeats=Repeats(2, 2), options={"pruner": AlwaysFrom(1)})
    (first,) = campaign.specs(Capacity(1))
    campaign.turn(started(first), Report(first.token, 1, 1, 0.5))
    (second,) = campaign.specs(over(first, value=1.0))
    assert campaign.turn(started(second), Report(second.token, 1, 1, 0.5)) == [Reply(Verdict(second.token, 1))]


def test_a_trial_pauses_at_rungs_in_its_first_repetition_only(bench: Any) -> None:
    rungs = rung_schedule(Named("successive_halving", {"mode": "promote", "max_resource": 9, "reduction_factor": 3}))
    campaign = bench(trials=1, repeats=Repeats(2, 2), options={"pausing": rungs})
    (first,) = campaign.specs(Capacity(1))
    reply = campaign.turn(started(first), Report(first.token, 1, 1, 5.0))
    assert reply == [Reply(Verdict(first.token, 1, stop="yield"))]
    (second,) = campaign.specs(over(first, value=4.0, reports=[[1, 5.0]]))  # it ended all the same
    assert place(second) == (0, 2, 1, 2)
    assert campaign.trials()[0].user_attrs[PAUSED] is None
    reply = campaign.turn(started(second), Report(second.token, 1, 1, 5.0), Report(second.token, 2, 3, 5.0))
    assert reply == [Reply(Verdict(second.token, 1)), Reply(Verdict(second.token, 2))]
    campaign.turn(over(second, value=2.0))
    assert campaign.trials()[0].value == 3.0


def test_the_first_trial_of_a_race_has_all_repetitions_and_a_worse_one_few(bench: Any) -> None:
    campaign = bench(trials=3, repeats=RACE)
    (spec,) = campaign.specs(Capacity(1))
    for value in (1.0, 2.0):
        (spec,) = run(campaign, spec, value)
        assert spec.number == 0
    (spec,) = run(campaign, spec, 3.0)
    assert spec.number == 1
    (spec,) = run(campaign, spec, 2.5)  # worse than the mean of 2.0
    assert spec.number == 2
    (spec,) = run(campaign, spec, 1.5)
    assert place(spec) == (2, 7 - 5, 1, 2)
    campaign.turn(started(spec), over(spec, value=3.5))
    trials = campaign.trials()
    assert [trial.value for trial in trials] == [2.0, 2.5, 2.5]
    assert [trial.user_attrs["pilotune:repetitions"] for trial in trials] == [3, 1, 2]
    assert "pilotune:spread" not in trials[1].user_attrs


def test_a_trial_without_all_repetitions_ends_no_race(bench: Any) -> None:
    """A single lucky value, as of a campaign without repeats, must not keep all others from being repeated."""
    plain = bench(trials=1)
    (spec,) = plain.specs(Capacity(1))
    plain.turn(started(spec), over(spec, value=-100.0))
    campaign = bench(campaign="c2", trials=2, repeats=RACE)
    (spec,) = campaign.specs(Capacity(1))
    (spec,) = run(campaign, spec, 5.0)
    assert place(spec) == (1, 2, 1, 2)


def test_the_constraints_of_a_trial_are_the_means_and_a_broken_one_loses_the_race(bench: Any) -> None:
    campaign = bench(trials=2, repeats=Repeats(1, 2))
    (spec,) = campaign.specs(Capacity(1))
    (spec,) = run(campaign, spec, 5.0, system_attrs={"constraints:size": -1.0})
    (spec,) = run(campaign, spec, 5.0, system_attrs={"constraints:size": -3.0})
    assert spec.number == 1
    campaign.turn(started(spec), over(spec, value=1.0, system_attrs={"constraints:size": 0.5}))
    trials = campaign.trials()
    assert [trial.constraints for trial in trials] == [{"size": -2.0}, {"size": 0.5}]
    assert trials[1].user_attrs["pilotune:repetitions"] == 1


def test_times_and_speed_count_each_repetition_and_the_rate_each_trial(bench: Any) -> None:
    campaign = bench(trials=1, repeats=Repeats(2, 2))
    (spec,) = campaign.specs(Capacity(1))
    (spec,) = run(campaign, spec, 1.0, started=0.0, finished=60.0)
    outcomes = campaign.campaign.outcomes
    assert (list(outcomes.stage_seconds), outcomes.ended_in_all, len(outcomes.finish_times)) == ([60.0], 1, 0)
    run(campaign, spec, 1.0, started=0.0, finished=20.0)
    assert (list(outcomes.stage_seconds), outcomes.ended_in_all, len(outcomes.finish_times)) == ([60.0, 20.0], 2, 1)
    assert outcomes.first_stages == 1
    assert campaign.trials()[0].user_attrs["pilotune:seconds_running"] == 80.0


def test_all_runs_that_are_to_come_are_foreseen(bench: Any) -> None:
    campaign = bench(trials=4, repeats=THRICE)
    specs = campaign.specs(Capacity(2))
    run(campaign, specs[0], 1.0)
    campaign.turn(started(specs[1]))
    progress = progress_of(campaign.campaign, 4)
    assert progress.known + len(progress.running) + progress.to_come == 4 * 3


class AlwaysFrom:
    """A pruner that prunes at every step from ``step`` on."""

    def __init__(self, step: int):
        self.step = step

    def prune(self, study: Any, trial: Any) -> bool:
        return max(trial.intermediate_values, default=-1) >= self.step
