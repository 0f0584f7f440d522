"""Trials that pause at rungs and are promoted, on a real record with events made by the test."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.attributes import PAUSED, details_of
from pilotune.pipeline.campaign.events import Capacity, Lost, Reply, StopAttempt, StopRequested, Submit
from pilotune.pipeline.campaign.promotion import RETIRED_PER_STEP
from pilotune.pipeline.fidelity import rung_schedule
from pilotune.pipeline.record import Orphan
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.trial.protocol import AttemptSpec, Report, Verdict
from tests.support.campaign_bench import Bench, benches, finish_of, over, started

RUNGS = rung_schedule(Named("successive_halving", {"mode": "promote", "max_resource": 9, "reduction_factor": 3}))
"""Trials pause at steps 1 and 3, and end at step 9."""


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    make = benches(tmp_path)

    def promoting(campaign: str = "c1", options: Any = None, **limits: Any) -> Bench:
        return make(campaign, {"pausing": RUNGS, **(options or {})}, **limits)

    return promoting


def submitted(actions: list[Any]) -> list[tuple[int, int]]:
    """Number and attempt of each submitted attempt."""
    return [(action.spec.number, action.spec.attempt) for action in actions if isinstance(action, Submit)]


def paused(trial: FrozenTrial) -> Any:
    return trial.user_attrs.get(PAUSED)


def pause(campaign: Bench, spec: AttemptSpec, value: float, step: int = 1) -> list[Any]:
    """Let the trial begin, report at its rung and yield as it is told; returns all actions."""
    reply = campaign.turn(started(spec), Report(spec.token, 1, step, value))
    assert Reply(Verdict(spec.token, 1, stop="yield")) in reply
    assert paused(campaign.trials()[spec.number]) == step, "committed before the attempt is told"
    return [*reply, *campaign.turn(over(spec, "yielded", started=0.0, finished=60.0))]


def test_a_trial_pauses_at_its_rung_and_its_worker_gets_another(bench) -> None:
    campaign = bench(trials=2)
    (first,) = campaign.specs(Capacity(1))
    assert submitted(pause(campaign, first, 5.0)) == [(1, 1)]
    assert list(campaign.campaign.promotion.paused) == [0]
    (trial, _) = campaign.trials()
    assert (trial.state, trial.intermediate_values, paused(trial)) == (TrialState.RUNNING, {1: 5.0}, 1)


def test_the_best_of_three_goes_on_as_the_next_attempt_and_to_its_end(bench) -> None:
    campaign = bench(trials=3)
    specs = campaign.specs(Capacity(3))
    assert submitted(pause(campaign, specs[0], 1.0)) == []
    assert submitted(pause(campaign, specs[1], 2.0)) == []
    actions = pause(campaign, specs[2], 3.0)
    assert submitted(actions) == [(0, 2)]
    (again,) = [action.spec for action in actions if isinstance(action, Submit)]
    assert again.params == specs[0].params
    trial = campaign.trials()[0]
    assert (paused(trial), trial.system_attrs["pilotune:attempt"]) == (None, 2)
    # Its first report is known already and changes nothing. At the next rung the trial is alone: it pauses, and goes on
    # at once, since no other trial will come.
    assert campaign.turn(started(again), Report(again.token, 1, 1, 1.0)) == [Reply(Verdict(again.token, 1))]
    assert campaign.turn(Report(again.token, 2, 3, 0.5)) == [Reply(Verdict(again.token, 2, stop="yield"))]
    (last,) = [action.spec for action in campaign.turn(over(again, "yielded")) if isinstance(action, Submit)]
    assert (last.number, last.attempt) == (0, 3)
    assert campaign.turn(started(last), Report(last.token, 1, 9, 0.1)) == [Reply(Verdict(last.token, 1))]
    finish = finish_of(campaign.turn(over(last, value=0.1)))
    assert (finish.code, finish.reason) == (0, "the budget of 3 trials is used up")
    trials = campaign.trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert [paused(trial) for trial in trials] == [None] * 3
    assert [trial.user_attrs["pilotune:exit"] for trial in trials] == ["complete", "paused", "paused"]
    assert [details_of(trial).get("rung") for trial in trials] == [None, 1, 1]
    assert [trial.value for trial in trials] == [0.1, 2.0, 3.0]
    assert campaign.campaign.outcomes.rungs == {1: 2}


def test_a_trial_that_is_the_best_already_goes_on_without_a_pause(bench) -> None:
    campaign = bench(trials=9)
    specs = campaign.specs(Capacity(3))
    campaign.turn(started(specs[0]), Report(specs[0].token, 1, 1, 4.0))
    campaign.turn(started(specs[1]), Report(specs[1].token, 1, 1, 5.0))
    assert campaign.turn(started(specs[2]), Report(specs[2].token, 1, 1, 3.0)) == [Reply(Verdict(specs[2].token, 1))]
    assert PAUSED not in campaign.trials()[2].user_attrs


def test_promotions_come_before_new_trials(bench) -> None:
    campaign = bench(trials=100)
    specs = campaign.specs(Capacity(6))
    for place, spec in enumerate(specs):
        campaign.turn(started(spec), Report(spec.token, 1, 1, float(place)))
    assert submitted(campaign.turn(Capacity(0), *[over(spec, "yielded", finished=60.0) for spec in specs])) == []
    assert campaign.campaign.promotion.promotable == 2
    assert submitted(campaign.turn(Capacity(1))) == [(0, 2)]
    assert submitted(campaign.turn(Capacity(3))) == [(1, 2), (6, 1)]


def test_an_attempt_that_was_to_pause_and_completes_is_complete(bench) -> None:
    campaign = bench(trials=2)
    first, second = campaign.specs(Capacity(2))
    campaign.turn(started(first), Report(first.token, 1, 1, 5.0))
    assert Reply(Verdict(first.token, 2, stop="yield")) in campaign.turn(Report(first.token, 2, 2, 4.0))
    campaign.turn(over(first, value=3.0))
    trial = campaign.trials()[0]
    assert (trial.state, trial.value, paused(trial)) == (TrialState.COMPLETE, 3.0, None)
    assert not campaign.campaign.promotion.paused
    assert second.number == 1


def test_an_attempt_that_runs_past_its_rung_pauses_at_the_next_or_not_at_all(bench) -> None:
    campaign = bench(trials=9)
    specs = campaign.specs(Capacity(3))
    for place, spec in enumerate(specs):
        campaign.turn(started(spec), Report(spec.token, 1, 1, 3.0 + place))
    assert campaign.turn(Report(specs[1].token, 2, 3, 1.0)) == [Reply(Verdict(specs[1].token, 2, stop="yield"))]
    assert paused(campaign.trials()[1]) == 3
    assert campaign.turn(Report(specs[2].token, 2, 3, 2.0)) == [Reply(Verdict(specs[2].token, 2, stop="yield"))]
    assert campaign.turn(Report(specs[0].token, 2, 3, 0.0)) == [Reply(Verdict(specs[0].token, 2))]
    assert paused(campaign.trials()[0]) is None


def test_a_worker_that_dies_while_its_trial_is_to_pause_leaves_it_paused(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec), Report(spec.token, 1, 1, 5.0))
    actions = campaign.turn(Capacity(0), Lost(spec.token, "its node died"))
    assert (StopAttempt(spec.token, "kill") in actions, submitted(actions)) == (True, [])
    assert list(campaign.campaign.promotion.paused) == [0]
    assert submitted(campaign.turn(Capacity(1))) == [(0, 2)], "it is the only trial"


def test_an_outcome_that_a_paused_trial_left_on_disk_counts_when_it_would_not_go_on(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    outcome = over(spec, value=2.0).outcome
    campaign.written_outcome = lambda flight: outcome if flight.token == spec.token else None
    campaign.turn(started(spec), Report(spec.token, 1, 1, math.nan))
    finish_of(campaign.turn(Lost(spec.token, "its driver died")))
    (trial,) = campaign.trials()
    assert (trial.state, trial.value, paused(trial)) == (TrialState.COMPLETE, 2.0, None)


def test_an_outcome_that_a_paused_trial_left_on_disk_counts_when_it_would_go_on(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    written = {}
    campaign.written_outcome = lambda flight: written.get(flight.token)
    campaign.turn(started(spec), Report(spec.token, 1, 1, 5.0))
    campaign.turn(Capacity(0), Lost(spec.token, "its driver died"))
    assert list(campaign.campaign.promotion.paused) == [0]
    written[spec.token] = over(spec, value=2.0).outcome
    assert submitted(campaign.turn(Capacity(1))) == []
    finish_of(campaign.turn())
    (trial,) = campaign.trials()
    assert (trial.state, trial.value, paused(trial)) == (TrialState.COMPLETE, 2.0, None)


def test_nan_is_never_promoted(bench) -> None:
    campaign = bench(trials=3)
    specs = campaign.specs(Capacity(3))
    for spec in specs[:2]:
        pause(campaign, spec, math.nan)
    finish = finish_of(pause(campaign, specs[2], math.nan))
    assert (finish.code, "no trial completed" in finish.reason) == (1, True)
    assert [trial.state for trial in campaign.trials()] == [TrialState.PRUNED] * 3


@pytest.mark.parametrize("how", ["finish", "yield", "now"])
def test_a_stop_keeps_paused_trials_paused_and_the_next_campaign_goes_on_with_them(bench, how: Any) -> None:
    campaign = bench(trials=3)
    specs = campaign.specs(Capacity(3))
    for place, spec in enumerate(specs[:2]):
        pause(campaign, spec, 1.0 + place)
    campaign.turn(started(specs[2]), StopRequested(how))
    campaign.turn(Report(specs[2].token, 1, 1, 0.5), over(specs[2], "yielded"))
    assert campaign.campaign.finished.code == 130
    assert [paused(trial) for trial in campaign.trials()[:2]] == [1, 1]
    assert [trial.state for trial in campaign.trials()] == [TrialState.RUNNING] * 3

    heir = bench(campaign="c2", trials=3)
    tokens = [heir.campaign.adopt(Orphan(number, 1, "c1", "/tmp", {"x": 0.5})) for number in range(3)]
    assert len(heir.campaign.held) == 3
    actions = heir.turn(Capacity(3), *(Lost(token, "its driver died") for token in tokens))
    assert submitted(actions) == [(2, 2)]
    assert sorted(heir.campaign.promotion.paused) == [0, 1]
    assert len(heir.campaign.held) == 3
    assert "last_loss" not in details_of(heir.trials()[0])
    (again,) = [action.spec for action in actions if isinstance(action, Submit)]
    actions = heir.turn(started(again), over(again, value=0.1))
    if how == "now":  # its report was not handled, so the better of the two others goes on
        (spec,) = [action.spec for action in actions if isinstance(action, Submit)]
        actions = heir.turn(over(spec, value=0.2))
    assert finish_of(actions).code == 0
    ends = ["PRUNED", "PRUNED", "COMPLETE"] if how != "now" else ["COMPLETE", "PRUNED", "COMPLETE"]
    assert [trial.state.name for trial in heir.trials()] == ends


def test_a_report_that_is_only_in_the_outcome_leads_to_a_pause(bench) -> None:
    campaign = bench(trials=2)
    (first,) = campaign.specs(Capacity(1))
    campaign.turn(started(first))
    assert submitted(campaign.turn(over(first, "yielded", reports=[[1, 5.0]]))) == [(1, 1)]
    assert paused(campaign.trials()[0]) == 1


def test_paused_trials_go_on_at_once_if_the_pruner_no_longer_pauses(bench, tmp_path: Path) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec), Report(spec.token, 1, 1, 5.0), StopRequested("now"))
    assert paused(campaign.trials()[0]) == 1
    plain = benches(tmp_path)("c2", None, trials=1)
    token = plain.campaign.adopt(Orphan(0, 1, "c1", "/tmp", {"x": 0.5}))
    assert submitted(plain.turn(Capacity(1), Lost(token, "its driver died"))) == [(0, 2)]
    assert paused(plain.trials()[0]) is None


def test_promotable_trials_count_for_the_demand(bench) -> None:
    campaign = bench(trials=3)
    specs = campaign.specs(Capacity(3))
    for place, spec in enumerate(specs):
        campaign.turn(started(spec), Report(spec.token, 1, 1, 1.0 + place))
    campaign.turn(Capacity(0), *[over(spec, "yielded") for spec in specs])
    campaign.turn(after=5.0)
    assert campaign.scales[-1].workers == 1


def test_very_many_paused_trials_end_in_several_steps_between_which_events_are_handled(bench) -> None:
    count = RETIRED_PER_STEP + 20
    campaign = bench(trials=count)
    specs = campaign.specs(Capacity(count))
    while len(specs) < count:
        specs += campaign.specs()
    campaign.turn(*(event for spec in specs for event in (started(spec), Report(spec.token, 1, 1, math.nan))))
    first = campaign.turn(*[over(spec, "yielded") for spec in specs])
    assert (first, campaign.campaign.more_to_ask) == ([], True)
    assert len(campaign.campaign.promotion.paused) == 20
    assert finish_of(campaign.turn()).code == 1


def test_an_objective_without_a_checkpoint_is_reported_once(bench, caplog: pytest.LogCaptureFixture) -> None:
    campaign = bench(trials=9)
    first, second = campaign.specs(Capacity(2))
    for spec in (first, second):
        campaign.turn(started(spec), Report(spec.token, 1, 1, 5.0))
        campaign.turn(over(spec, "yielded", saved=False))
    assert "trial 0 paused at step 1 without a checkpoint" in campaign.campaign.promotion.trouble
    assert caplog.text.count("without a checkpoint") == 1


def test_a_paused_trial_that_another_program_ends_is_forgotten(bench) -> None:
    campaign = bench(trials=4)
    specs = campaign.specs(Capacity(4))
    pause(campaign, specs[0], 5.0)
    campaign.campaign.release(overtaken=[0])
    assert not campaign.campaign.promotion.paused
