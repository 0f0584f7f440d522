"""The trials that run at a campaign's end, and what follows when a pool asks them to go on in another block."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.campaign import last_trials
from pilotune.pipeline.campaign.events import Capacity, Ended, LastTrial, Leave, Lost, Reply, StopAttempt, StopRequested
from pilotune.pipeline.campaign.last_trials import LOOK_PERIOD
from pilotune.pipeline.record import Orphan
from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import AttemptSpec, Outcome, Report, Started, Verdict
from tests.support.campaign_bench import Bench, benches, over, started


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


def ending(
    bench: Callable[..., Bench], saved: float | None = 1000.0, reports: bool = True, **limits: Any
) -> tuple[Bench, list[AttemptSpec]]:
    """A campaign that has begun all of its two trials; the second one runs in block 3."""
    campaign = bench(**{"trials": 2, "moves": True, "expected": 600.0, **limits})
    campaign.last_saved = lambda flight: saved  # type: ignore[method-assign]
    one, two = campaign.specs(Capacity(2))
    campaign.turn(started(one), Started(two.token, "host", 1, "3", "0"), after=0.0)
    if reports:
        campaign.turn(Report(one.token, 1, 0, 0.5), Report(two.token, 1, 0, 0.5))
    return campaign, [one, two]


def last(campaign: Bench) -> dict[int, LastTrial]:
    return {trial.number: trial for trial in campaign.scales[-1].last}


def test_the_pools_learn_of_the_last_trials_once_nothing_more_will_begin(bench) -> None:
    campaign, (one, two) = ending(bench, trials=3)
    assert last(campaign) == {}, "one is still to begin"
    (three,) = campaign.specs(over(one, started=0.0, finished=60.0))
    assert last(campaign) == {}, "it has not begun"
    began = campaign.now
    campaign.turn(started(three), after=10.0)
    found = last(campaign)
    assert list(found) == [1, 2]
    assert found[1] == LastTrial(two.token, 1, "3", 1001.0 + 600.0, 13.0, 1.0)
    assert found[2].ends == began + 10.0 + 600.0


@pytest.mark.parametrize("limits", [{"moves": False}, {"trials": None, "time": 1e6}])
def test_where_trials_may_not_move_or_more_begin_there_are_no_last_ones(bench, limits) -> None:
    campaign, _ = ending(bench, **limits)
    assert last(campaign) == {}


def test_there_are_none_where_they_are_too_many_to_look_at_their_files(bench, monkeypatch) -> None:
    monkeypatch.setattr(last_trials, "MOST_LAST", 1)
    campaign, (one, _) = ending(bench)
    assert last(campaign) == {}
    campaign.turn(over(one, started=0.0, finished=60.0))
    assert list(last(campaign)) == [1]


def test_a_trial_without_a_checkpoint_or_of_unknown_length_cannot_move(bench, tmp_path) -> None:
    campaign, _ = ending(bench, saved=None)
    assert [trial.lost for trial in last(campaign).values()] == [None, None]
    campaign, _ = ending(benches_in(tmp_path / "other"), expected=None)
    assert [trial.lost for trial in last(campaign).values()] == [None, None]


def test_a_trial_that_does_not_report_cannot_be_asked(bench) -> None:
    campaign, _ = ending(bench, reports=False)
    campaign.turn()
    assert [trial.lost for trial in last(campaign).values()] == [None, None]


def benches_in(folder: Path) -> Callable[..., Bench]:
    folder.mkdir()
    return benches(folder)


def test_where_others_saved_a_checkpoint_as_they_yielded_a_trial_can_move(bench) -> None:
    campaign, (one, _) = ending(bench, saved=None)
    (again,) = campaign.specs(over(one, "yielded", started=0.0, finished=60.0, saved=True))
    campaign.turn(started(again), after=LOOK_PERIOD)
    assert last(campaign)[1].lost == pytest.approx(campaign.now - 1002.0, rel=0.05), "all that it has done"


STEPS = [range(10), range(1, 11), range(10, 101, 10), range(5, 15)]


@pytest.mark.parametrize("steps", STEPS)
def test_reports_foretell_the_end_better_than_how_long_others_ran(bench, steps) -> None:
    campaign, (one, two) = ending(bench, reports=False)
    campaign.turn(Report(two.token, 1, steps[0], 0.5))
    campaign.turn(over(one, started=0.0, finished=60.0, reports=[[step, 0.5] for step in steps]))
    campaign.turn(Report(two.token, 2, steps[1], 0.5), after=100.0)
    campaign.turn(after=LOOK_PERIOD)
    each = (campaign.now - LOOK_PERIOD - 1001.0) / 2
    assert last(campaign)[1].ends == pytest.approx(campaign.now + 8 * each - LOOK_PERIOD)


def test_of_a_trial_that_was_taken_over_only_the_new_steps_count(bench) -> None:
    campaign, (one, two) = ending(bench, reports=False)
    campaign.turn(Report(two.token, 1, 0, 0.5, [[step, 0.5] for step in range(1, 6)]))
    heir = bench("c2", trials=2, moves=True, expected=600.0)
    heir.last_saved = lambda flight: 1000.0
    tokens = [heir.campaign.adopt(Orphan(each.number, 1, "c1", "/tmp", each.params)) for each in (one, two)]
    (again,) = heir.specs(Capacity(2), Lost(tokens[1], "its worker is gone"))
    complete = Outcome(tokens[0], 0, 1, "complete", [1.0], reports=[[step, 0.5] for step in range(10)])
    heir.turn(Ended(complete), Started(again.token, "host", 1, "3", "0"))
    heir.turn(Report(again.token, 1, 6, 0.5, [[7, 0.5]]), after=100.0)
    assert last(heir)[1].ends == pytest.approx(heir.now + 100.0), "two steps took 100 s, and two are left"


def test_a_trial_that_runs_longer_than_expected_is_expected_to_go_on_for_a_while(bench) -> None:
    campaign, _ = ending(bench)
    campaign.turn(after=1200.0)
    assert last(campaign)[1].ends > campaign.now + 250.0


def test_a_budget_of_time_ends_the_last_trials(bench) -> None:
    campaign, _ = ending(bench, time=300.0)
    assert last(campaign)[1].ends == 1300.0


def test_a_trial_that_is_asked_to_leave_goes_on_from_its_checkpoint_and_is_asked_once(bench) -> None:
    campaign, (_, two) = ending(bench)
    leave = Leave((two.token, "9.1.c9"), "trial 1 leaves block 3 (128 nodes) for block 5 (1 node)")
    assert campaign.turn(leave) == [StopAttempt(two.token, "yield")]
    assert campaign.turn(leave) == [], "it was asked"
    assert campaign.turn(Report(two.token, 2, 1, 0.5)) == [Reply(Verdict(two.token, 2, stop="yield"))], "if it was lost"
    campaign.turn(after=LOOK_PERIOD)
    assert last(campaign)[1].lost is None
    (again,) = campaign.specs(over(two, "yielded", started=0.0, finished=1.0))
    assert (again.number, again.attempt) == (1, 2)
    campaign.turn(Started(again.token, "host", 1, "5", "0"))
    assert (last(campaign)[1].block, last(campaign)[1].lost) == ("5", None)
    assert campaign.turn(Leave((again.token,), "again")) == []
    assert campaign.turn(Report(again.token, 1, 2, 0.5)) == [Reply(Verdict(again.token, 1))]
    flight = campaign.campaign.flights[again.token]
    assert (flight.idle_yields, flight.crashes, flight.losses) == (0, 0, 0), "it counts as no failure"


def test_a_campaign_that_ends_would_not_run_it_again(bench) -> None:
    campaign, (_, two) = ending(bench)
    campaign.turn(StopRequested("finish"))
    assert campaign.turn(Leave((two.token,), "it leaves")) == []


def test_the_newest_file_of_a_checkpoint_says_when_it_was_saved(tmp_path: Path) -> None:
    files = TrialFiles(tmp_path)
    assert files.last_saved() is None
    folder = files.checkpoint_of(2)
    (folder / "sub").mkdir(parents=True)
    assert files.last_saved() is None, "it is empty"
    (folder / "sub" / "weights").write_text("w")
    (folder / "step").write_text("3")
    assert files.last_saved() == max(path.stat().st_mtime for path in (folder / "sub" / "weights", folder / "step"))
