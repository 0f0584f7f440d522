"""The campaign's state machine on a real record in SQLite, with events made by the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.trial import TrialState

from pilotune.pipeline.analysis.trial_facts import attempts_made, state_of
from pilotune.pipeline.attributes import details_of, has_begun
from pilotune.pipeline.campaign.events import (
    Capacity,
    Finish,
    Lost,
    PoolFailed,
    Reply,
    StopAttempt,
    StopRequested,
    Submit,
)
from pilotune.pipeline.campaign.failed_attempt import SHOWN_LINES
from pilotune.pipeline.campaign.limits import ASKS_AMONG_REPORTS, ASKS_PER_STEP, MOST_ASKS, ahead
from pilotune.pipeline.driver.status import snapshot
from pilotune.pipeline.fidelity import SuccessiveHalvingPruner
from pilotune.pipeline.record import Orphan
from pilotune.pipeline.trial.protocol import Report, Suggest, Suggested, Verdict
from tests.support.campaign_bench import Bench, benches, finish_of, over, started


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


# Asking


def test_nothing_is_asked_before_there_is_a_worker(bench) -> None:
    assert bench(trials=5).turn() == []


def test_a_worker_is_given_a_trial_and_the_budget_is_kept(bench) -> None:
    campaign = bench(trials=3)
    first = campaign.specs(Capacity(2))
    assert [(spec.number, spec.attempt, spec.token) for spec in first] == [(0, 1, "0.1.c1"), (1, 1, "1.1.c1")]
    assert [trial.state for trial in campaign.trials()] == [TrialState.RUNNING] * 2, "committed before it is submitted"
    (last,) = campaign.specs(*map(started, first), over(first[0], started=0.0, finished=60.0))
    assert campaign.turn(started(last), over(first[1], started=0.0, finished=60.0)) == []
    finish = finish_of(campaign.turn(over(last)))
    assert (finish.code, "the budget of 3 trials" in finish.reason) == (0, True)
    assert [trial.value for trial in campaign.trials()] == [1.0] * 3


def test_long_trials_are_not_asked_for_ahead_and_short_ones_are(bench) -> None:
    long, short = bench(campaign="long", trials=100), bench(campaign="short", trials=100)
    for campaign, seconds, in_flight in ((long, 60.0, 4), (short, 0.05, 8)):
        specs = campaign.specs(Capacity(4, latency=0.1))
        assert len(specs) == 4
        campaign.turn(*map(started, specs), over(specs[0], started=0.0, finished=seconds))
        assert campaign.campaign.in_flight == in_flight


def test_the_time_for_which_a_trial_was_suspended_does_not_count(bench) -> None:
    campaign = bench(trials=5)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec), over(spec, started=0.0, finished=3660.0, suspended=3600.0))
    assert campaign.campaign.outcomes.durations.median == 60.0
    assert campaign.trials()[0].user_attrs["pilotune:seconds_running"] == 60.0
    assert "pilotune:peak_memory" not in campaign.trials()[0].user_attrs, "it is not known"


def test_a_trial_keeps_the_largest_peak_memory_of_its_attempts(bench) -> None:
    campaign = bench(trials=5)
    (spec,) = campaign.specs(Capacity(1))
    (again,) = campaign.specs(started(spec), over(spec, "yielded", memory=900))
    campaign.turn(started(again), over(again, memory=200))
    assert campaign.trials()[0].user_attrs["pilotune:peak_memory"] == 900


def test_what_is_asked_ahead_hides_the_latency_and_is_never_more_than_the_workers() -> None:
    assert ahead(8, 0.1, None) == 0
    assert ahead(0, 0.1, 0.1) == 0
    assert ahead(8, 0.1, 100.0) == 0
    assert ahead(8, 0.1, 0.4) == 2
    assert ahead(8, 0.1, 1e-9) == 8


def test_many_asks_are_spread_over_steps_which_grow_while_workers_wait(bench) -> None:
    campaign = bench(trials=1000)
    sizes = [len(campaign.specs(Capacity(700)))]
    while campaign.campaign.more_to_ask:
        sizes.append(len(campaign.specs()))
    assert sizes == [16, 32, 64, 128, 256, 204]
    assert sizes[0] == ASKS_PER_STEP
    assert max(sizes) == MOST_ASKS
    assert len(campaign.specs(Capacity(720))) == 16, "all workers had a trial, so the next step starts small again"


def test_while_attempts_wait_for_verdicts_steps_ask_for_fewer_trials(bench) -> None:
    campaign = bench(trials=1000)
    (first, *_) = campaign.specs(Capacity(700))
    sizes = []
    while campaign.campaign.more_to_ask:
        sizes.append(len(campaign.specs(Report(first.token, len(sizes) + 1, len(sizes), 0.0))))
    assert max(sizes) == ASKS_AMONG_REPORTS


def test_a_finite_space_ends_the_campaign_when_all_of_it_was_tried(bench) -> None:
    grid = optuna.samplers.GridSampler({"x": [0.25, 0.75]})
    campaign = bench(options={"sampler": grid})
    specs = campaign.specs(Capacity(1))
    while specs:
        actions = campaign.turn(started(specs[0]), over(specs[0], started=0.0, finished=9.0))
        specs = [action.spec for action in actions if isinstance(action, Submit)]
    assert "every configuration" in finish_of(actions).reason
    assert sorted(trial.params["x"] for trial in campaign.trials()) == [0.25, 0.75]


# Requests


def test_several_reports_in_one_message_are_judged_one_by_one(bench) -> None:
    """A rung has the value of the first report at it, not that of the last one in the message."""
    pruner = SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    campaign = bench(trials=2, options={"pruner": pruner})
    one, two = campaign.specs(Capacity(2))[:2]
    together = Report.of(one.token, 1, [(1, 9.0), (2, 8.0), (3, 0.0)])
    assert campaign.turn(started(one), started(two), together) == [Reply(Verdict(one.token, 1))]
    assert campaign.turn(Report(two.token, 1, 1, 5.0)) == [Reply(Verdict(two.token, 1))]
    assert campaign.turn(Report.of(two.token, 2, [(2, 8.5), (3, 8.5)])) == [Reply(Verdict(two.token, 2, stop="prune"))]
    campaign.turn(over(two, "pruned", started=0.0, finished=1.0))
    trial = campaign.trials()[1]
    assert trial.intermediate_values == {1: 5.0, 2: 8.5, 3: 8.5}
    assert details_of(trial)["rung"] == 2


def test_a_request_that_is_sent_again_gets_the_same_answer_and_counts_once(bench) -> None:
    campaign = bench(trials=1, options={"pruner": optuna.pruners.ThresholdPruner(upper=5.0)})
    (spec,) = campaign.specs(Capacity(1))
    (good,) = campaign.turn(started(spec), Report(spec.token, 1, 0, 1.0))
    assert campaign.turn(Report(spec.token, 1, 0, 1.0)) == [good] == [Reply(Verdict(spec.token, 1))]
    (prune,) = campaign.turn(Report(spec.token, 2, 1, 9.0))
    assert prune == Reply(Verdict(spec.token, 2, stop="prune"))
    assert campaign.turn(Report(spec.token, 2, 1, 9.0), Report(spec.token, 1, 0, 1.0)) == [prune]
    finish = finish_of(campaign.turn(over(spec, "pruned")))
    assert (finish.code, "no trial completed" in finish.reason) == (1, True)
    (trial,) = campaign.trials()
    assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {0: 1.0, 1: 9.0})
    assert details_of(trial)["rung"] == 1


def test_several_reports_in_one_message_are_all_kept_and_the_first_verdict_stands(bench) -> None:
    campaign = bench(trials=1, options={"pruner": optuna.pruners.ThresholdPruner(upper=5.0)})
    (spec,) = campaign.specs(Capacity(1))
    together = Report.of(spec.token, 1, [(0, 4.0), (1, 1.0), (-1, 7.0), (1, 8.0), (2, 2.0)])
    assert campaign.turn(started(spec), together) == [Reply(Verdict(spec.token, 1))]
    assert campaign.turn(together) == [Reply(Verdict(spec.token, 1))], "the same answer, and nothing is kept twice"
    late = Report.of(spec.token, 2, [(2, 0.0), (3, 6.0), (4, 1.0)])
    assert campaign.turn(late) == [Reply(Verdict(spec.token, 2, stop="prune"))]
    campaign.turn(over(spec, "pruned"))
    (trial,) = campaign.trials()
    assert trial.intermediate_values == {0: 4.0, 1: 1.0, 2: 2.0, 3: 6.0, 4: 1.0}
    assert details_of(trial)["rung"] == 3


def test_a_suggestion_that_is_requested_again_is_the_same(bench) -> None:
    campaign = bench(trials=1, options={"space": None})
    (spec,) = campaign.specs(Capacity(1))
    request = Suggest(spec.token, 1, "lr", distribution_to_json(FloatDistribution(0.0, 1.0)))
    (first,) = campaign.turn(started(spec), request)
    assert isinstance(first.message, Suggested)
    assert 0.0 <= first.message.value <= 1.0
    assert campaign.turn(request) == [first]
    (refused,) = campaign.turn(Suggest(spec.token, 2, "lr", '{"name": "nothing"}'))
    assert refused.message.error
    assert campaign.trials()[0].params == {"lr": first.message.value}


def test_a_fenced_attempt_is_killed_and_changes_nothing(bench) -> None:
    campaign = bench(trials=1)
    (first,) = campaign.specs(Capacity(1))
    actions = campaign.turn(started(first), Lost(first.token, "its node died"))
    assert StopAttempt(first.token, "kill") in actions
    (second,) = [action.spec for action in actions if isinstance(action, Submit)]
    assert (second.number, second.attempt, second.params) == (0, 2, first.params)
    assert campaign.turn(started(first)) == [StopAttempt(first.token, "kill")]
    assert campaign.turn(Report(first.token, 1, 0, 5.0)) == [Reply(Verdict(first.token, 1, stop="kill"))]
    assert campaign.turn(Suggest(first.token, 2, "lr", "{}")) == [Reply(Verdict(first.token, 2, stop="kill"))]
    assert campaign.turn(over(first, value=9.0)) == []
    campaign.turn(started(second), over(second, value=3.0))
    campaign.turn(over(second, value=4.0))
    (trial,) = campaign.trials()
    assert (trial.value, trial.intermediate_values, trial.user_attrs["pilotune:attempts"]) == (3.0, {}, 2)


def test_a_step_keeps_its_first_value(bench) -> None:
    campaign = bench(trials=1)
    (first,) = campaign.specs(Capacity(1))
    actions = campaign.turn(started(first), Report(first.token, 1, 3, 1.0), Lost(first.token, "gone"))
    (second,) = [action.spec for action in actions if isinstance(action, Submit)]
    campaign.turn(started(second), Report(second.token, 1, 3, 2.0), over(second, reports=[[3, 2.0], [4, 4.0]]))
    assert campaign.trials()[0].intermediate_values == {3: 1.0, 4: 4.0}


# New attempts


@pytest.mark.parametrize(
    ("failure", "limits", "attempts"),
    [
        ("signal", {}, 1),
        ("signal", {"retries": 2}, 3),
        ("exit", {"retries": 1}, 2),
        ("memory", {"retries": 1}, 2),
        ("exception", {"retries": 2}, 1),
        ("exception", {"retries": 2, "retry_errors": True}, 3),
        ("timeout", {"retries": 1, "retry_errors": True}, 2),
        ("value", {"retries": 2, "retry_errors": True}, 1),
        ("output", {"retries": 2, "retry_errors": True}, 1),
        ("lost", {}, 6),
    ],
)
def test_a_failure_is_retried_if_its_kind_allows(bench, failure: str, limits: dict[str, Any], attempts: int) -> None:
    campaign = bench(trials=1, **limits)
    specs = campaign.specs(Capacity(1))
    count = 0
    while specs:
        count += 1
        assert specs[0].attempt == count
        event = over(specs[0], "failed", failure=failure, reason="because")
        specs = campaign.specs(started(specs[0]), event)
    (trial,) = campaign.trials()
    assert (count, trial.state, trial.user_attrs["pilotune:exit"]) == (attempts, TrialState.FAIL, failure)
    assert "because" in trial.user_attrs["pilotune:reason"]


LONG = {"started": 0.0, "finished": 60.0}
"""Trials that run so long that none is asked for ahead."""


def ends(campaign: Bench, kinds: Sequence[str]) -> Iterator[list[Any]]:
    """One trial after the other ends like this; yields the actions that follow, as long as the campaign goes on."""
    specs = campaign.specs(Capacity(1))
    for number, kind in enumerate(kinds):
        fields = {"failure": kind, "reason": f"because {number}", "traceback": "x\n" * 99, **LONG}
        event = over(specs[0], **LONG) if kind == "complete" else over(specs[0], "failed", **fields)
        actions = campaign.turn(started(specs[0]), event)
        yield actions
        specs = [action.spec for action in actions if isinstance(action, Submit)]
        if campaign.campaign.finished:
            return


def test_the_first_and_the_last_failure_are_kept_for_the_user(bench) -> None:
    campaign = bench(trials=9)
    assert len(list(ends(campaign, ["complete", "exception", "timeout", "complete"]))) == 4
    first, last = campaign.campaign.outcomes.first_failure, campaign.campaign.outcomes.last_failure
    assert (first.number, first.failure, first.reason, first.again) == (1, "exception", "because 1", False)
    assert (last.number, last.failure, last.reason) == (2, "timeout", "because 2")
    assert last.traceback == "\n".join(["x"] * SHOWN_LINES)


@pytest.mark.parametrize(
    ("kinds", "after"),
    [
        (["setup"] * 9, 3),
        (["setup", "exception", "setup", "setup", "setup"], None),
        (["complete", "setup", "setup", "setup", "setup"], None),
        (["exception"] * 5, None),
    ],
)
def test_a_campaign_whose_first_trials_could_not_be_started_ends_soon(
    bench, kinds: list[str], after: int | None
) -> None:
    campaign = bench(trials=20, import_failures=3)
    actions = list(ends(campaign, kinds))
    if after is None:
        assert (len(actions), campaign.campaign.ending) == (len(kinds), None)
    else:
        finish = finish_of(actions[-1])
        assert (len(actions), finish.code) == (after, 1)
        assert finish.reason == "the first 3 trials could not be started, and no other could: because 2"
    assert len(list(ends(bench(campaign="c2", trials=20), ["setup"] * 5))) == 5, "a command may depend on parameters"


@pytest.mark.parametrize(
    ("failures", "reason"),
    [
        (1, "trial 0 failed, and budget.failures is 1: because 0"),
        (2, "2 trials failed in a row, the last one (trial 1): because 1"),
    ],
)
def test_failures_in_a_row_end_the_campaign(bench, failures: int, reason: str) -> None:
    *_, actions = ends(bench(trials=9, failures=failures), ["value"] * 9)
    assert (finish_of(actions).code, finish_of(actions).reason) == (1, reason)


def test_a_trial_may_yield_any_number_of_times(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    for _ in range(10):
        (spec,) = campaign.specs(started(spec), over(spec, "yielded", started=0.0, finished=9.0))
    campaign.turn(over(spec, value=7.0))
    assert campaign.trials()[0].user_attrs["pilotune:attempts"] == 11


# How a campaign ends


def test_the_target_ends_the_campaign_when_running_trials_have_ended(bench) -> None:
    campaign = bench(trials=100, target=0.5)
    one, two = campaign.specs(Capacity(2))
    assert campaign.specs(started(one), started(two), over(one, value=0.4)) == []
    finish = finish_of(campaign.turn(over(two, value=0.9)))
    assert (finish.code, "trial 0 reached the target" in finish.reason) == (0, True)


def test_failures_in_a_row_end_the_campaign_and_a_success_ends_the_row(bench) -> None:
    campaign = bench(trials=100, failures=2)
    (spec,) = campaign.specs(Capacity(1))
    for kind in ("failed", "complete", "failed"):
        (spec,) = campaign.specs(started(spec), over(spec, kind, reason="no", started=0.0, finished=60.0))
    finish = finish_of(campaign.turn(over(spec, "failed", reason="no")))
    assert (finish.code, "2 trials failed in a row" in finish.reason) == (1, True)


def test_when_the_time_is_up_running_trials_yield_and_can_be_resumed(bench) -> None:
    campaign = bench(time=100.0)
    one, two = campaign.specs(Capacity(2))
    (third,) = campaign.specs(started(one), started(two), over(one, started=0.0, finished=60.0))
    actions = campaign.turn(after=200.0)
    assert actions == [StopAttempt(token, "yield") for token in (two.token, third.token)]
    assert campaign.campaign.in_flight == 1, "attempts that no worker has begun are not waited for"
    finish = finish_of(campaign.turn(over(two, "yielded")))
    assert (finish.code, "time budget of 100 s" in finish.reason) == (0, True)
    assert [trial.state for trial in campaign.trials()] == [TrialState.COMPLETE, *[TrialState.RUNNING] * 2]


@pytest.mark.parametrize("how", ["finish", "yield", "now"])
def test_a_retry_in_the_step_of_the_end_is_left_to_a_later_campaign(bench, how: str) -> None:
    campaign = bench(trials=5)
    (spec,) = campaign.specs(Capacity(1))
    actions = campaign.turn(started(spec), Lost(spec.token, "gone"), StopRequested(how))
    assert not [action for action in actions if isinstance(action, Submit)]
    assert finish_of(actions).code == 130
    (trial,) = campaign.trials()
    assert (trial.state, trial.system_attrs["pilotune:attempt"]) == (TrialState.RUNNING, 1)


def test_an_attempt_that_only_waited_for_a_worker_is_no_interrupted_one(bench) -> None:
    campaign = bench(trials=5)
    first, _ = campaign.specs(Capacity(2))
    actions = campaign.turn(started(first), StopRequested("now"))
    assert finish_of(actions).code == 130
    attrs = [trial.system_attrs for trial in campaign.trials()]
    assert [has_begun(each) for each in attrs] == [True, False]
    assert [state_of(trial) for trial in campaign.trials()] == ["interrupted", "waiting"]
    status = snapshot(campaign.campaign, storage="", run_dir="")
    assert (status.interrupted, status.not_begun) == (1, 1)


def test_a_trial_that_only_waited_when_its_driver_was_killed_has_lost_no_attempt(bench) -> None:
    killed = bench("c1", trials=1)
    (spec,) = killed.specs(Capacity(1))
    killed.storage.close()
    heir = bench("c2", trials=1)
    token = heir.campaign.adopt(Orphan(0, 1, "c1", spec.directory, spec.params, begun=False))
    assert token == spec.token
    (again,) = heir.specs(Capacity(1), Lost(token, "its driver died", begun=False))
    assert (again.number, again.attempt) == (0, 2), "a worker that begins the first one after all is fenced"
    heir.turn(started(again), over(again))
    (trial,) = heir.trials()
    assert attempts_made(trial, "complete") == 1
    assert "last_loss" not in details_of(trial)


def test_the_user_stops_in_three_steps(bench) -> None:
    campaign = bench(trials=100)
    one, two, three = campaign.specs(Capacity(3))
    campaign.turn(started(one), started(two))
    assert campaign.turn(StopRequested("finish"), over(one)) == [], "no new trial, and no attempt is stopped"
    assert campaign.turn(StopRequested("yield")) == [StopAttempt(each.token, "yield") for each in (two, three)]
    (reply,) = campaign.turn(Report(two.token, 1, 0, 1.0))
    assert reply.message.stop == "yield"
    actions = campaign.turn(StopRequested("now"))
    assert StopAttempt(two.token, "kill") in actions
    assert finish_of(actions).code == 130
    assert [trial.state for trial in campaign.trials()] == [TrialState.COMPLETE, *[TrialState.RUNNING] * 2]


def test_a_pool_that_failed_ends_the_campaign_with_3_at_once(bench) -> None:
    campaign = bench(trials=100)
    campaign.specs(Capacity(2))
    finish = finish_of(campaign.turn(PoolFailed("the scheduler is gone")))
    assert finish == Finish(3, "the scheduler is gone")
    assert [trial.state for trial in campaign.trials()] == [TrialState.RUNNING] * 2


# Several drivers


def test_trials_beyond_the_budget_that_others_used_are_refused_and_never_submitted(bench) -> None:
    mine, other = bench(trials=3), bench(campaign="c2", trials=3)
    other.specs(Capacity(2))
    assert [spec.number for spec in mine.specs(Capacity(2))] == [2]
    assert mine.campaign.in_flight == 1
    assert [trial.number for trial in mine.trials()] == [0, 1, 2]


def test_a_trial_that_another_process_ended_is_stopped_and_not_told_again(bench) -> None:
    campaign = bench(trials=2)
    one, two = campaign.specs(Capacity(2))
    campaign.turn(started(one), started(two))
    optuna.load_study(study_name="s", storage=campaign.storage.url).tell(0, 42.0)
    assert StopAttempt(one.token, "kill") in campaign.turn(Report(one.token, 1, 0, 1.0))
    campaign.turn(over(one, value=1.0), over(two, value=2.0))
    assert [trial.value for trial in campaign.trials()] == [42.0, 2.0]


def test_trials_of_a_dead_campaign_end_with_their_outcomes_or_start_again(bench) -> None:
    dead = bench(trials=2)
    one, two = dead.specs(Capacity(2))
    dead.storage.close()
    orphans = [Orphan(spec.number, spec.attempt, "c1", "/tmp", spec.params) for spec in (one, two)]
    heir = bench(campaign="c2", trials=2)
    assert [heir.campaign.adopt(orphan) for orphan in orphans] == [one.token, two.token]
    (again,) = heir.specs(over(one, value=8.0), Lost(two.token, "the driver died"), Capacity(2))
    assert (again.number, again.attempt, again.params, again.token) == (1, 2, two.params, "1.2.c2")
    heir.turn(over(again, value=9.0))
    assert [trial.value for trial in heir.trials()] == [8.0, 9.0]
    assert {trial.system_attrs["pilotune:campaign"] for trial in heir.trials()} == {"c2"}


def test_attributes_that_no_database_holds_are_left_out(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    attrs = {"k" * 5000: 1, "nul\0": 1, "half \ud800": 1, "pilotune:exit": "forged", "fine": [1, "ü"]}
    campaign.turn(started(spec), over(spec, user_attrs=attrs))
    kept = campaign.trials()[0].user_attrs
    assert {key for key in kept if not key.startswith("pilotune:")} == {"fine"}
    assert kept["pilotune:exit"] == "complete"
