"""A trial that fits on no node fails at once, and the campaign goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState

from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.events import Capacity, Lost, StopAttempt, StopRequested
from pilotune.pipeline.campaign.flight import Flight

from ..support.campaign_bench import Bench, benches, finish_of, over, started

REASON = "trial.gpus: this trial needs 16 GPUs; pool gpu offers 8 GPUs"


def picky(folder: Path, bad: set[int], **limits: int) -> Bench:
    bench = benches(folder)(**limits)

    def why_unfit(flight: Flight) -> str:
        return REASON if flight.number in bad else ""

    bench.why_unfit = why_unfit  # type: ignore[method-assign]
    return bench


def test_it_fails_with_the_reason_and_the_next_one_begins(tmp_path: Path) -> None:
    bench = picky(tmp_path, {0}, trials=2)
    assert bench.specs(Capacity(1)) == []
    assert bench.campaign.more_to_ask, "the next step is taken at once"
    (spec,) = bench.specs()
    assert spec.number == 1
    bench.turn(started(spec), over(spec))
    failed, complete = bench.trials()
    assert (failed.state, complete.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert (failed.user_attrs["pilotune:exit"], failed.user_attrs["pilotune:reason"]) == ("resources", REASON)


def test_a_campaign_in_which_all_fail_ends_as_with_other_failures(tmp_path: Path) -> None:
    bench = picky(tmp_path, set(range(100)), trials=50, failures=3)
    actions = bench.turn(Capacity(2))
    for _ in range(4):
        if not bench.campaign.finished:
            actions = bench.turn()
    assert finish_of(actions).reason == f"3 trials failed in a row, the last one (trial 2): {REASON}"


def test_trials_of_different_sizes_are_asked_for_by_what_the_pool_wants(tmp_path: Path) -> None:
    bench = benches(tmp_path)(trials=50)
    assert len(bench.specs(Capacity(2, in_flight=7, busy=0.0))) == 7
    assert bench.specs(Capacity(2, in_flight=7, busy=1.5)) == []
    bench.turn(after=10.0)
    campaign: Campaign = bench.campaign
    assert campaign.busy_seconds / campaign.worker_seconds == pytest.approx(15.0 / 22.0)


def test_what_waits_for_room_does_not_begin_once_the_user_has_stopped(tmp_path: Path) -> None:
    bench = benches(tmp_path)(trials=50)
    running, *waiting = bench.specs(Capacity(1, in_flight=3, busy=0.0))
    bench.turn(started(running))
    actions = bench.turn(StopRequested("finish"))
    assert [each.token for each in actions if isinstance(each, StopAttempt)] == [spec.token for spec in waiting]
    bench.turn(*(Lost(spec.token, "it was stopped before it had begun") for spec in waiting))
    assert finish_of(bench.turn(over(running))).code == 130
    states = [trial.state for trial in bench.trials()]
    assert states == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.RUNNING], "a later campaign takes them over"
