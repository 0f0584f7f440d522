"""Running attempts end within a bounded time when a campaign ends, whatever they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from pilotune.pipeline.campaign.events import Capacity, Finish, StopAttempt, StopRequested
from pilotune.pipeline.campaign.stopping import ARRIVAL, LONGEST_INTERVAL
from pilotune.pipeline.driver.status import snapshot
from pilotune.pipeline.trial.protocol import AttemptSpec, Report

from ..support.campaign_bench import Bench, benches, finish_of, over, started

WAIT, GRACE = 30.0, 4.0


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    make = benches(tmp_path)

    def bounded(campaign: str = "c1", options: Any = None, **limits: Any) -> Bench:
        return make(campaign, options, **{"yield_wait": WAIT, "grace": GRACE, **limits})

    return bounded


def running(campaign: Bench, count: int = 1) -> list[AttemptSpec]:
    specs = campaign.specs(Capacity(count), after=0.0)
    campaign.turn(*map(started, specs), after=0.0)
    return specs


def told(actions: list[Any]) -> list[tuple[str, str]]:
    return [(action.token, action.how) for action in actions if isinstance(action, StopAttempt)]


def stopping(campaign: Bench) -> str:
    return snapshot(campaign.campaign, storage="", run_dir="").stopping


YIELD = StopRequested("yield")


@pytest.mark.parametrize("why", ["time", "stop", "in job"])
def test_an_attempt_that_never_reports_is_asked_then_stopped_then_left(bench: Any, why: str) -> None:
    campaign = bench(time=100.0 if why == "time" else None)
    (spec,) = running(campaign)
    if why == "time":
        actions = campaign.turn(after=100.0)
    else:
        actions = campaign.turn(StopRequested("yield", "" if why == "stop" else "its job ends"))
    assert told(actions) == [(spec.token, "yield")]
    assert "running trials were asked to save a checkpoint and end; those that have not by " in stopping(campaign)
    assert told(campaign.turn(after=WAIT - 0.5)) == []
    before = stopping(campaign)
    assert told(campaign.turn(after=0.5)) == [(spec.token, "kill")]
    assert (
        before
        != stopping(campaign)
        == ("stopping trial 0, which did not end when asked; pilotune resume runs it again")
    )
    assert campaign.turn(after=GRACE + ARRIVAL - 0.5) == []
    finish = finish_of(campaign.turn(after=0.5))
    assert finish.reason.endswith("1 trial did not end when asked and was stopped: pilotune resume runs it again")
    assert stopping(campaign) == ""
    assert [trial.state for trial in campaign.trials()] == [TrialState.RUNNING], "it waits for a later campaign"
    assert campaign.campaign.stopping.put_aside == {0}
    campaign.turn(over(spec), after=50.0)
    assert [trial.state for trial in campaign.trials()] == [TrialState.RUNNING], "what comes later is fenced"


def test_the_outcome_of_a_stopped_attempt_ends_the_campaign_at_once(bench: Any) -> None:
    campaign = bench()
    stopped, done, gone = running(campaign, 3)
    campaign.turn(YIELD)
    campaign.turn(over(gone, "yielded"))
    actions = campaign.turn(after=WAIT)
    assert sorted(told(actions)) == sorted([(stopped.token, "kill"), (done.token, "kill")])
    actions = campaign.turn(over(stopped, "stopped"), over(done, "complete"))
    assert finish_of(actions) == Finish(
        130,
        "stopped by the user; it can be resumed; 1 trial did not end when asked and was stopped: pilotune resume "
        "runs it again",
    )
    states = [trial.state for trial in campaign.trials()]
    assert states == [TrialState.RUNNING, TrialState.COMPLETE, TrialState.RUNNING]


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([], 0.0),
        ([50.0], 50.0),  # with its set-up
        ([50.0, 20.0], 20.0),
        ([50.0, 20.0, 80.0, 5.0], 80.0),
        ([50.0, 20.0, 3600.0], LONGEST_INTERVAL),
    ],
)
def test_an_attempt_that_reports_gets_until_its_next_report_is_due(
    bench: Any, gaps: list[float], expected: float
) -> None:
    campaign = bench()
    (spec,) = running(campaign)
    for request, gap in enumerate(gaps, start=1):
        campaign.turn(Report(spec.token, request, request, 0.5), after=gap)
    campaign.turn(YIELD, after=2.0)
    due = max(expected - 2.0, 0.0)
    assert told(campaign.turn(after=due + WAIT - 0.1)) == []
    assert told(campaign.turn(after=0.1)) == [(spec.token, "kill")]


def test_one_that_starts_late_and_one_of_the_next_attempt_have_their_own_time(bench: Any) -> None:
    campaign = bench(trials=2)
    (spec,) = running(campaign)
    campaign.turn(Report(spec.token, 1, 1, 0.5), after=500.0)
    again = campaign.specs(over(spec, "yielded"))[0]
    campaign.turn(started(again))
    campaign.turn(YIELD, after=1.0)
    assert told(campaign.turn(after=WAIT)) == [(again.token, "kill")], "the earlier attempt's reports do not count"


def test_a_stop_that_lets_trials_finish_says_what_another_one_does_and_what_still_begins(bench: Any) -> None:
    campaign = bench()
    specs = campaign.specs(Capacity(2))
    campaign.turn(started(specs[0]))
    assert stopping(campaign) == ""
    campaign.turn(StopRequested("finish"))
    more = (
        "; press Ctrl-C, or run pilotune stop s --yield, and running trials save a checkpoint and end now, for "
        "pilotune resume"
    )
    begin = ", and trials that workers have already received still begin"
    assert stopping(campaign) == f"running trials finish{begin}{more}"
    campaign.turn(started(specs[1]))
    assert stopping(campaign) == f"running trials finish{more}"
    campaign.turn(after=100 * WAIT)
    assert campaign.campaign.running == 2, "they may take as long as they need"
    assert told(campaign.turn(YIELD)) == [(spec.token, "yield") for spec in specs]
    assert told(campaign.turn(StopRequested("now"))) == [(spec.token, "kill") for spec in specs]
    assert campaign.campaign.finished == Finish(130, "stopped by the user; it can be resumed")
