"""The demand for workers, expected durations, and trials that come back with nothing done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from pilotune.pipeline.attributes import details_of
from pilotune.pipeline.campaign.durations import ENOUGH, REMEMBERED, Durations
from pilotune.pipeline.campaign.events import Capacity, Lost, Scale, StopAttempt, StopRequested
from pilotune.pipeline.campaign.flight import LONGEST_PAUSE
from pilotune.pipeline.campaign.limits import IDLE_YIELDS, STALLS, UNLIMITED
from pilotune.pipeline.record import Orphan
from pilotune.pipeline.trial.protocol import AttemptSpec, Report
from tests.support.campaign_bench import Bench, benches, over, started


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


def ran(spec: AttemptSpec, seconds: float, kind: str = "complete", **fields):
    return over(spec, kind, started=0.0, finished=seconds, **fields)


def demands(campaign: Bench) -> list[int]:
    return [scale.workers for scale in campaign.scales]


# Demand


def test_the_demand_is_what_is_in_flight_plus_what_the_budget_allows(bench) -> None:
    campaign = bench(trials=5)
    assert campaign.turn() == []
    assert campaign.scales == [Scale(5, None, final=True)], "before there is any worker"
    one, two = campaign.specs(Capacity(2))
    campaign.turn(started(one), started(two))
    assert demands(campaign) == [5], "asking changes nothing"
    campaign.turn(ran(one, 60.0))
    assert demands(campaign) == [5, 4]


def test_without_a_budget_of_trials_the_demand_is_unlimited(bench) -> None:
    campaign = bench(time=100.0)
    campaign.specs(Capacity(1))
    assert demands(campaign) == [UNLIMITED]


def test_trials_of_other_drivers_lower_the_demand(bench) -> None:
    mine, other = bench(trials=5), bench(campaign="c2", trials=5)
    mine.turn()
    other.specs(Capacity(2))
    mine.storage.sync()
    mine.campaign.study.recount()
    mine.turn()
    assert demands(mine) == [5, 3]


def test_a_campaign_that_ends_needs_workers_only_for_what_is_in_flight(bench) -> None:
    campaign = bench(trials=50)
    one, two = campaign.specs(Capacity(2))
    campaign.turn(started(one), started(two))
    campaign.turn(StopRequested("finish"))
    campaign.turn(ran(one, 60.0))
    assert demands(campaign) == [50, 2, 1]
    campaign.turn(ran(two, 60.0))
    assert demands(campaign)[-1] == 0


def test_an_exhausted_space_needs_no_more_workers(bench) -> None:
    campaign = bench(time=1e6, options={"sampler": optuna.samplers.GridSampler({"x": [0.5]})})
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec), ran(spec, 60.0))
    assert demands(campaign)[-1] == 0


# Durations


def test_the_duration_of_a_trial_is_learned_from_those_that_did_not_fail() -> None:
    durations = Durations()
    for seconds in range(1, ENOUGH):
        durations.add(float(seconds), whole=True)
        durations.add(1000.0, whole=False)
        durations.add(1000.0, whole=False)
    assert durations.expected is None
    assert durations.left(0.0) is None
    durations.add(100.0, whole=True)
    assert durations.expected == 100.0
    assert durations.median == 1000.0, "failed trials keep workers busy as well"


def test_one_trial_in_ten_may_take_longer_than_expected_and_old_ones_are_forgotten() -> None:
    durations = Durations()
    for _ in range(500):
        durations.add(7000.0, whole=True)
    for seconds in range(REMEMBERED):
        durations.add(float(seconds), whole=True)
    assert durations.expected == 89.0


def test_the_expected_duration_does_not_change_with_every_trial() -> None:
    durations = Durations()
    seen = set()
    for index in range(200):
        durations.add(3701.0 + index % 50, whole=True)
        seen.add(durations.expected)
    assert seen == {None, 3800.0}


def test_the_remaining_time_of_a_trial_is_never_zero() -> None:
    durations = Durations(3600.0)
    assert [durations.left(ran) for ran in (0.0, 600.0, 3500.0, 9000.0)] == [3600.0, 3000.0, 360.0, 360.0]


def test_a_duration_that_the_user_gives_is_not_learned() -> None:
    durations = Durations(3600.0)
    for _ in range(20):
        durations.add(5.0, whole=True)
    assert durations.expected == 3600.0


def test_the_expected_duration_is_sent_with_the_demand(bench) -> None:
    campaign = bench(trials=100)
    (spec,) = campaign.specs(Capacity(1))
    for _ in range(ENOUGH):
        (spec,) = campaign.specs(started(spec), ran(spec, 60.0))
    assert [scale.expected for scale in campaign.scales] == [None] * ENOUGH + [60.0]
    said = bench(campaign="c2", trials=200, expected=90.0)
    said.turn()
    assert said.scales[0].expected == 90.0


def test_all_attempts_of_a_trial_count_for_its_duration_and_other_campaigns_trials_do_not(bench) -> None:
    campaign = bench(trials=100)
    campaign.campaign.adopt(Orphan(campaign.campaign.study.ask()[0].number, 1, "c0", "/tmp", {"x": 0.5}))
    adopted = next(iter(campaign.campaign.flights))
    (again,) = campaign.specs(Lost(adopted, "its driver died"), Capacity(1))
    (spec,) = campaign.specs(started(again), ran(again, 9000.0))
    for _ in range(ENOUGH):
        (spec,) = campaign.specs(started(spec), ran(spec, 60.0, "yielded"))
        (spec,) = campaign.specs(started(spec), ran(spec, 20.0))
    assert campaign.campaign.outcomes.durations.expected == 80.0


# Attempts that a worker declines


def test_a_declined_attempt_comes_back_as_the_same_one(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    (again,) = campaign.specs(over(spec, "declined"))
    assert (again.token, again.attempt) == (spec.token, spec.attempt)
    campaign.turn(started(again), ran(again, 5.0))
    (trial,) = campaign.trials()
    assert (trial.state, trial.user_attrs["pilotune:attempts"]) == (TrialState.COMPLETE, 1)
    assert trial.user_attrs["pilotune:seconds_waiting"] == 2.0, "since the trial was created"
    assert "last_loss" not in details_of(trial)


def test_an_attempt_that_is_declined_again_and_again_waits_and_is_neither_lost_nor_failed(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    rounds = 0
    for _ in range(600):
        specs = campaign.specs(*([over(spec, "declined")] if spec else []))
        spec = specs[0] if specs else None
        rounds += spec is not None
        assert campaign.campaign.in_flight == 1
    assert 600 / LONGEST_PAUSE - 5 < rounds < 600 / LONGEST_PAUSE + 5
    assert demands(campaign) == [1], "it counts for the demand while it waits"
    while spec is None:
        spec = next(iter(campaign.specs()), None)
    assert spec.attempt == 1
    campaign.turn(started(spec), ran(spec, 5.0))
    (trial,) = campaign.trials()
    assert (trial.state, trial.user_attrs["pilotune:attempts"]) == (TrialState.COMPLETE, 1)


def test_a_campaign_that_ends_leaves_declined_and_backed_off_trials_to_a_later_one(bench) -> None:
    campaign = bench(trials=2)
    one, two = campaign.specs(Capacity(2))
    for _ in range(3):
        campaign.turn(over(one, "declined"))
    assert campaign.campaign.in_flight == 2
    campaign.turn(StopRequested("finish"))
    campaign.turn(over(two, "declined"))
    assert campaign.campaign.finished.code == 130
    assert [trial.state for trial in campaign.trials()] == [TrialState.RUNNING] * 2


def test_a_declined_attempt_of_a_trial_that_another_process_ended_is_not_submitted_again(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    optuna.load_study(study_name="s", storage=campaign.storage.url).tell(0, 42.0)
    assert campaign.specs(over(spec, "declined")) == []
    assert campaign.campaign.in_flight == 0


# Attempts that yield


def test_a_trial_that_yields_at_once_again_and_again_fails_with_a_reason(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    yields = 0
    for _ in range(1000):
        events = [started(spec), ran(spec, 1.0, "yielded")] if spec else []
        yields += spec is not None
        spec = next(iter(campaign.specs(*events)), None)
    (trial,) = campaign.trials()
    assert (trial.state, yields) == (TrialState.FAIL, IDLE_YIELDS)
    assert trial.user_attrs["pilotune:exit"] == "yielded"
    assert "should_yield" in trial.user_attrs["pilotune:reason"]


@pytest.mark.parametrize("progress", ["time", "reports", "messages"])
def test_a_trial_that_makes_progress_may_yield_any_number_of_times(bench, progress: str) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    for step in range(3 * IDLE_YIELDS):
        seconds = 9.0 if progress == "time" else 1.0
        reports = [[step, 0.5]] if progress == "reports" else []
        messages = [Report(spec.token, 1, step, 0.5)] if progress == "messages" else []
        (spec,) = campaign.specs(started(spec), *messages, ran(spec, seconds, "yielded", reports=reports))
    campaign.turn(started(spec), ran(spec, 1.0))
    assert campaign.trials()[0].state == TrialState.COMPLETE


def test_a_report_of_a_step_that_an_earlier_attempt_reported_is_no_progress(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    for _ in range(IDLE_YIELDS * int(LONGEST_PAUSE) * 2):
        if spec:
            spec = next(iter(campaign.specs(started(spec), ran(spec, 1.0, "yielded", reports=[[0, 0.5]]))), None)
        else:
            spec = next(iter(campaign.specs()), None)
    assert campaign.trials()[0].state == TrialState.FAIL


def test_a_lost_attempt_does_not_count_as_an_idle_yield_nor_end_the_row(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    for _ in range(2):
        (spec,) = campaign.specs(started(spec), ran(spec, 1.0, "yielded"), after=100.0)
    actions = campaign.turn(started(spec), Lost(spec.token, "its node died"), after=100.0)
    assert StopAttempt(spec.token, "kill") in actions
    (flight,) = campaign.campaign.backoff or campaign.campaign.flights.values()
    assert flight.idle_yields == 2


@pytest.mark.parametrize(("saved", "step"), [(True, 0), (False, 1)])
def test_a_trial_that_saves_or_reports_a_new_step_may_use_any_number_of_blocks(bench, saved, step) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    for block in range(3 * STALLS):
        ended = ran(spec, 900.0, "yielded", leaving=True, saved=saved, reports=[[step * block, 0.5]])
        (spec,) = campaign.specs(started(spec), ended)
    campaign.turn(started(spec), ran(spec, 1.0))
    assert campaign.trials()[0].state == TrialState.COMPLETE


def test_a_trial_that_starts_over_in_each_block_fails_instead_of_using_up_the_allocation(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    blocks = 0
    while spec:
        blocks += 1
        ended = ran(spec, 900.0, "yielded", leaving=True, saved=False, reports=[[1, 0.5]])
        spec = next(iter(campaign.specs(started(spec), ended)), None)
    (trial,) = campaign.trials()
    assert (trial.state, blocks) == (TrialState.FAIL, STALLS + 1), "the first block did report a new step"
    assert "save into trial.checkpoint_dir" in trial.user_attrs["pilotune:reason"]
