"""A campaign that does not move says why: its blocks, their workers, or its trials."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pilotune.pipeline.campaign.events import BlocksSeen, BlockView, Capacity, Lost, PoolNote, StopRequested
from pilotune.pipeline.driver.stall_report import BRIEF, NO_BLOCK, SET_UP, SLOW, SLOW_AT_FIRST, SLOW_AT_LEAST, waiting
from pilotune.pipeline.driver.status import snapshot
from pilotune.pipeline.trial.protocol import Report
from tests.support.campaign_bench import Bench, benches, over, started

QUEUED = BlockView("knl", "0", "4711", "queued", "Priority", since=1000.0)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


def clock(moment: float) -> str:
    return time.strftime("%H:%M", time.localtime(moment))


def block(state: str, reason: str = "", *, number: str = "0", since: float = 1000.0, pool: str = "knl") -> BlockView:
    return replace(QUEUED, state=state, reason=reason, block=number, since=since, pool=pool)


def after(campaign: Bench, seconds: float, *events) -> str:
    campaign.turn(*events, after=seconds)
    return waiting(campaign.campaign)


# Blocks


def test_queued_blocks_are_reported_with_the_schedulers_reason_and_the_time(bench) -> None:
    campaign = bench(trials=9)
    assert after(campaign, BRIEF / 2, BlocksSeen((QUEUED,))) == "", "most blocks begin soon"
    since = clock(1000.0)
    assert after(campaign, BRIEF) == f"1 block of pool knl is queued since {since} (Priority)"
    blocks = (QUEUED, block("queued", "Priority", number="1"), block("queued", "(Resources)", number="2", pool="gpu"))
    assert after(campaign, 1.0, BlocksSeen(blocks)) == (
        f"2 blocks of pool knl are queued since {since} (Priority), "
        f"and 1 block of pool gpu is queued since {since} (Resources)"
    )


def test_the_sentence_stays_the_same_while_nothing_changes_and_has_the_date_after_midnight(bench) -> None:
    campaign = bench(trials=9)
    sentences = {after(campaign, BRIEF, BlocksSeen((QUEUED,)))} | {after(campaign, 60.0) for _ in range(30)}
    assert len(sentences) == 1
    assert time.strftime("%Y-%m-%d %H:%M", time.localtime(1000.0)) in after(campaign, 2 * 86_400.0)


def test_running_blocks_whose_workers_do_not_connect_are_reported(bench) -> None:
    campaign = bench(trials=9)
    seen = BlocksSeen((block("starting", "stderr: blocks/knl-0.err"), block("queued", "Priority", number="1")))
    assert "starting" not in (text := after(campaign, SET_UP / 2, seen))
    assert "queued" in text
    text = after(campaign, SET_UP)
    assert f"1 block of pool knl is running since {clock(1000.0)} and no worker has reached the driver" in text
    assert "what it printed is in blocks/ of the run directory (stderr: blocks/knl-0.err)" in text
    assert "1 block of pool knl is queued" in text


def test_blocks_without_time_for_a_trial_are_reported(bench) -> None:
    campaign = bench(trials=9, expected=1500.0)
    assert after(campaign, SET_UP / 2, BlocksSeen((block("running"),))) == ""
    text = after(campaign, SET_UP)
    assert text == (
        "1 block of pool knl is running and what is left of their time is too short for a trial, "
        "which is expected to run 25m"
    )


@pytest.mark.parametrize("state", ["suspended", "disconnected"])
def test_blocks_that_are_suspended_or_without_workers_are_reported_as_such(bench, state: str) -> None:
    campaign = bench(trials=9)
    text = after(campaign, BRIEF, BlocksSeen((block(state, "by qsig"), block("ended", number="1"))))
    word = {"suspended": "suspended", "disconnected": "without workers"}[state]
    assert text == f"1 block of pool knl is {word} since {clock(1000.0)} (by qsig)"


def test_a_suspended_block_is_reported_though_its_trials_are_running(bench) -> None:
    campaign = bench(trials=9)
    (spec,) = campaign.specs(Capacity(1), BlocksSeen((block("running"),)))
    assert after(campaign, 1.0, started(spec)) == ""
    text = after(campaign, BRIEF, BlocksSeen((block("suspended", since=campaign.now),)))
    assert text.startswith("1 block of pool knl is suspended since ")


def test_at_the_end_of_a_block_nobody_asks_whether_the_objective_is_imported(bench) -> None:
    campaign = bench(trials=9)
    running = replace(block("running"), ends=campaign.now + 2 * SET_UP)
    campaign.specs(Capacity(1), BlocksSeen((running,)))
    text = after(campaign, SET_UP)
    assert text == "1 block of pool knl is at the end of its time"
    later = replace(running, ends=campaign.now + 3600.0)
    assert "is it still importing the objective?" in after(campaign, 1.0, BlocksSeen((later,)))


def test_without_any_block_the_pools_own_reason_is_reported(bench) -> None:
    campaign = bench(trials=9)
    assert after(campaign, 1.0) == ""
    assert after(campaign, NO_BLOCK) == "no block is queued or running"
    ended = BlocksSeen((block("ended", "walltime", since=1031.0),))
    assert after(campaign, 1.0, ended) == "", "another will follow"
    text = after(campaign, NO_BLOCK)
    assert text == f"no block is queued or running; the last one ended at {clock(1031.0)} (walltime)"
    note = "the next block is tried at 14:10"
    assert after(campaign, 1.0, PoolNote(note)) == note
    assert after(campaign, 1.0, PoolNote("")) == text


def test_the_pools_note_comes_before_the_blocks(bench) -> None:
    campaign = bench(trials=9)
    text = after(campaign, BRIEF, PoolNote("the scheduler does not answer"), BlocksSeen((QUEUED,)))
    assert text.startswith("the scheduler does not answer; 1 block of pool knl is queued since")


# Trials


def test_a_first_trial_may_take_its_time(bench) -> None:
    campaign = bench(trials=9)
    (spec,) = campaign.specs(Capacity(1), BlocksSeen((block("running"),)))
    begun = campaign.now + 1.0
    assert after(campaign, 1.0, started(spec)) == ""
    assert after(campaign, SLOW_AT_FIRST - 1.0) == ""
    assert after(campaign, 1.0) == (
        f"no trial has ended or reported anything yet: trial 0 has been running since {clock(begun)} on host"
    )


def test_no_report_for_five_times_the_usual_duration_is_reported_with_the_oldest_trial(bench) -> None:
    campaign = bench(trials=9)
    one, two = campaign.specs(Capacity(2))
    campaign.turn(started(one), started(two))
    (third,) = campaign.specs(over(one, started=0.0, finished=60.0), after=60.0)
    ended, begun = campaign.now, 1002.0
    campaign.turn(started(third))
    assert after(campaign, SLOW * 60.0 - 2.0) == ""
    assert after(campaign, 1.0) == (
        f"no trial has ended or reported anything since {clock(ended)}, more than 5 times as long as a trial usually "
        f"runs (1m): trial 1 has been running since {clock(begun)} on host"
    )
    campaign.turn(over(third, started=0.0, finished=60.0))
    assert waiting(campaign.campaign) == ""


def test_a_report_is_progress_and_the_same_step_again_is_not(bench) -> None:
    campaign = bench(trials=9, expected=60.0)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec))
    assert after(campaign, 290.0, Report(spec.token, 1, 0, 1.0)) == ""
    assert after(campaign, 290.0, Report(spec.token, 2, 0, 1.0)) == ""
    assert after(campaign, 20.0, Report(spec.token, 3, 0, 1.0)) != ""


def test_trials_of_milliseconds_do_not_make_a_second_suspicious(bench) -> None:
    campaign = bench(trials=9)
    (spec,) = campaign.specs(Capacity(1))
    specs = campaign.specs(started(spec), over(spec, started=0.0, finished=0.001))
    campaign.turn(started(specs[0]))
    assert after(campaign, SLOW_AT_LEAST - 2.0) == ""
    assert after(campaign, 2.0) != ""


def test_hours_in_the_queue_do_not_count_as_slow_trials(bench) -> None:
    campaign = bench(trials=9, expected=60.0)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec))
    campaign.turn(Lost(spec.token, "its block ended"), Capacity(0))
    assert "queued" in after(campaign, 9000.0, BlocksSeen((QUEUED,)))
    assert after(campaign, 1.0, Capacity(1), BlocksSeen((block("running"),))) == ""


def test_workers_that_begin_nothing_are_reported(bench) -> None:
    campaign = bench(trials=9)
    (spec,) = campaign.specs(Capacity(1))
    assert after(campaign, SET_UP / 2) == ""
    assert "1 worker is connected, and none has begun a trial since" in after(campaign, SET_UP)
    assert "workers decline the trials that wait" in after(campaign, 1.0, over(spec, "declined"))


def test_where_trials_differ_in_size_there_is_room_and_no_worker(bench) -> None:
    campaign = bench(trials=9)
    campaign.specs(Capacity(2, in_flight=3, busy=0.0))
    assert "there is room for 2 typical trials, and none has begun a trial since" in after(campaign, SET_UP)
    assert snapshot(campaign.campaign, storage="", run_dir="").sized


def test_a_campaign_that_has_ended_waits_for_nothing(bench) -> None:
    campaign = bench(trials=9)
    assert after(campaign, 100.0, BlocksSeen((QUEUED,)), StopRequested("finish")) == ""


def test_a_campaign_that_is_ending_does_not_wait_for_attempts_that_no_worker_has_begun(bench) -> None:
    campaign = bench(trials=9)
    one, _ = campaign.specs(Capacity(2))
    campaign.turn(started(one))
    campaign.turn(Lost(one.token, "its block ended"), Capacity(0))
    assert campaign.campaign.in_flight == 2
    campaign.turn(StopRequested("finish"))
    assert campaign.campaign.finished.code == 130


def test_the_status_holds_the_blocks_and_the_sentence(bench) -> None:
    campaign = bench(trials=9)
    campaign.turn(BlocksSeen((QUEUED,)), after=10.0)
    status = snapshot(campaign.campaign, storage="", run_dir="")
    assert status.waiting == waiting(campaign.campaign) != ""
    assert status.blocks == [
        {"pool": "knl", "block": "0", "job": "4711", "state": "queued", "reason": "Priority", "workers": 0,
         "ends": None, "since": 1000.0, "began": None, "left": None, "nodes": 0}
    ]  # fmt: skip
    assert type(status).from_json(status.to_json()) == status


def test_a_status_has_the_last_report_of_each_running_trial(bench) -> None:
    campaign = bench(trials=9)
    one, two = campaign.specs(Capacity(2))
    campaign.turn(started(one), started(two), Report(one.token, 1, 4, 0.5), Report(two.token, 1, 0, math.nan))
    status = snapshot(campaign.campaign, storage="", run_dir="")
    assert [(each["step"], each["value"]) for each in status.running_trials] == [(4, 0.5), (0, None)]
    assert type(status).from_json(status.to_json()) == status
    (again,) = campaign.specs(Lost(one.token, "its node died"))
    campaign.turn(started(again))
    shown = {each["number"]: each for each in snapshot(campaign.campaign, storage="", run_dir="").running_trials}
    assert (shown[one.number]["step"], shown[one.number]["value"]) == (4, 0.5), "a new attempt keeps the old reports"


def test_the_time_left_follows_from_the_trials_that_ended_and_those_that_run(bench) -> None:
    """Two workers, trials of 100 s; the study has 20 of them, so that it takes 1,000 s."""
    campaign = bench(trials=20)
    specs = campaign.specs(Capacity(2), after=0.0)
    campaign.turn(*map(started, specs), after=0.0)
    for round_ in range(9):
        campaign.turn(after=50.0)
        left = snapshot(campaign.campaign, storage="", run_dir="").time_left
        if round_ < 2:
            assert left is None
        else:
            assert left == pytest.approx(1000.0 - 100.0 * round_ - 50.0, rel=0.25)
        ends = [over(spec, started=0.0, finished=100.0) for spec in specs]
        specs = campaign.specs(*ends, after=50.0)
        campaign.turn(*map(started, specs), after=0.0)
    status = snapshot(campaign.campaign, storage="", run_dir="")
    assert status.rate == pytest.approx(1.2, rel=0.1)


@pytest.mark.parametrize(("passed", "left"), [(10.0, None), (30.0, 70.0)])
def test_a_budget_of_time_is_shown_as_the_time_left_once_some_of_it_has_passed(bench, passed, left) -> None:
    campaign = bench(trials=1000, time=100.0)
    campaign.turn(Capacity(2), after=passed)
    assert snapshot(campaign.campaign, storage="", run_dir="").time_left == left
    only = bench(campaign="c2", time=100.0)
    only.turn(Capacity(2), after=passed)
    assert snapshot(only.campaign, storage="", run_dir="").time_left == 100.0 - passed, "it is exact from the beginning"


def test_a_status_in_which_only_time_has_passed_is_recognized(bench) -> None:
    campaign = bench(trials=9)
    specs = campaign.specs(Capacity(2))
    campaign.turn(started(specs[0]), started(specs[1]))
    before = snapshot(campaign.campaign, storage="", run_dir="")
    campaign.turn(after=100.0)
    later = snapshot(campaign.campaign, storage="", run_dir="")
    assert later.updated > before.updated
    assert later.same_but_time(before)
    campaign.turn(Report(specs[0].token, 1, 0, 1.0), over(specs[1]))
    assert not snapshot(campaign.campaign, storage="", run_dir="").same_but_time(later)
