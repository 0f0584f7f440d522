"""Trials that run, or ran when their driver died, in the plots over time: their begin is in the run directory only."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from pilotune.pipeline.analysis import StudyData
from pilotune.pipeline.analysis.plots import DoesNotSuit, Figure, make
from pilotune.pipeline.analysis.plots.figure import Panel, Spans
from pilotune.pipeline.analysis.plots.unfinished import unfinished_attempts
from pilotune.pipeline.attributes import ATTEMPT, ATTEMPTS, BEGAN, DETAILS, LEASE, OWNER, RUNS, SECONDS_RUNNING

START = datetime(2026, 1, 1, 12)
T0 = START.timestamp()
CAMPAIGN = "20260101-120000-aaaaaa"


def running(number: int, attempt: int = 1, **system: Any) -> FrozenTrial:
    """A trial that was asked for at T0 and has not ended."""
    made = create_trial(state=TrialState.RUNNING, system_attrs={OWNER: CAMPAIGN, ATTEMPT: attempt, **system})
    made.number, made.datetime_start = number, START
    return made


def complete(number: int) -> FrozenTrial:
    """A trial that ran on the worker ``n1/0`` from T0 + 10 on for 20 seconds."""
    user, details = {BEGAN: T0 + 10.0, SECONDS_RUNNING: 20.0, ATTEMPTS: 1}, {"worker": "n1/0", "block": "0"}
    made = create_trial(value=1.0, user_attrs=user, system_attrs={OWNER: CAMPAIGN, DETAILS: details})
    made.number, made.datetime_start, made.datetime_complete = number, START, datetime.fromtimestamp(T0 + 30.0)
    return made


def listed(number: int, began: float | None = None, **changes: Any) -> dict[str, Any]:
    place = {"host": "n1", "pool": "cpu", "block": "0", "worker": f"n1/{number % 2}"}
    return {"number": number, "attempt": 1, "seconds": 40.0, "began": began, **place, **changes}


def study(run: Path, *trials: FrozenTrial, alive: bool = True) -> StudyData:
    live = frozenset({CAMPAIGN} if alive else ())
    kept = {LEASE + CAMPAIGN: {"run": str(run)}}
    return StudyData("", "s", ("minimize",), ("value",), trials, {}, live, kept)


def write(run: Path, *trials: dict[str, Any], **changes: Any) -> Path:
    """The status that the driver has written 60 seconds after T0."""
    status = {"study": "s", "campaign": CAMPAIGN, "state": "running", "updated": T0 + 60.0, "running_trials": trials}
    (run / "status.json").write_text(json.dumps(status | changes))
    return run


def test_a_running_trial_begins_when_its_worker_began_and_goes_up_to_the_last_status(tmp_path: Path) -> None:
    data = study(write(tmp_path, listed(1, T0 + 5.0), listed(2)), running(1), running(2))
    first, old = unfinished_attempts(data)
    assert (first.asked - T0, first.began - T0, first.ended - T0, first.how) == (0.0, 5.0, 60.0, "running")
    assert (first.place, first.host, first.pool, first.block) == ("n1/1", "n1", "cpu", "0")
    assert (old.began - T0, old.ended - T0) == (20.0, 60.0), "of a version that wrote only for how long"


def test_a_later_attempt_has_waited_since_the_one_before(tmp_path: Path) -> None:
    runs = [[1, T0 + 5.0, 10.0, "lost", "n2", "cpu", "0", "n2/1"]]
    data = study(write(tmp_path, listed(1, T0 + 40.0, attempt=2)), running(1, 2, **{RUNS: runs}))
    (found,) = unfinished_attempts(data)
    assert (found.attempt, found.asked - T0, found.began - T0) == (2, 15.0, 40.0)


def test_a_trial_of_a_driver_that_died_is_interrupted(tmp_path: Path) -> None:
    data = study(write(tmp_path, listed(1, T0 + 5.0)), running(1), alive=False)
    assert [each.how for each in unfinished_attempts(data)] == ["interrupted"]


@pytest.mark.parametrize(
    "changes",
    [{"campaign": "another"}, {"updated": "soon"}, {"updated": 1e30}, {"running_trials": [{"number": 1}]},
     {"running_trials": [listed(1, attempt=2)]}, {"running_trials": [listed(1, seconds=float("nan"))]}],
)  # fmt: skip
def test_what_is_not_the_status_of_this_attempt_is_ignored(tmp_path: Path, changes: dict[str, Any]) -> None:
    data = study(write(tmp_path, listed(1), **changes), running(1))
    assert unfinished_attempts(data) == []


def timeline(data: StudyData) -> tuple[Figure, dict[str, Spans]]:
    (figure,) = make(data, ["timeline"])
    (panel,) = figure.panels
    assert isinstance(panel, Panel)
    return figure, {mark.name: mark for mark in panel.marks if isinstance(mark, Spans)}


def test_the_timeline_shows_running_trials_and_their_numbers_have_no_end(tmp_path: Path) -> None:
    figure, marks = timeline(study(write(tmp_path, listed(1, T0 + 20.0)), complete(0), running(1)))
    bar = marks["running"]
    assert (bar.start.tolist(), bar.length.tolist()) == ([10.0], [40.0])
    assert bar.labels == ["trial 1: running, ran 40 s so far, waited 20 s"]
    assert "The bar of 1 trial that has not ended goes up to the last status of its driver." in figure.caption
    assert "not shown" not in figure.caption
    table = figure.table.set_index("trial")
    assert table["how"].to_dict() == {0: "complete", 1: "running"}
    assert (table.loc[0, "ended"], table.loc[1, "ended"]) == (datetime.fromtimestamp(T0 + 30, UTC), pd.NaT)


@pytest.mark.parametrize("hidden", [1, 2])
def test_running_trials_whose_run_directory_cannot_be_read_are_left_out_and_counted(
    tmp_path: Path, hidden: int
) -> None:
    trials = (complete(0), *(running(1 + number) for number in range(hidden)))
    figure, marks = timeline(study(tmp_path / "elsewhere", *trials))
    assert "running" not in marks
    assert {
        1: "1 running trial is not shown: no status that can be read here says when it began.",
        2: "2 running trials are not shown: no status that can be read here says when they began.",
    }[hidden] in figure.caption


def test_only_running_trials_are_enough_for_a_timeline_and_count_as_busy(tmp_path: Path) -> None:
    data = study(write(tmp_path, listed(1, T0 + 5.0), listed(2, T0 + 10.0)), running(1), running(2))
    figure, _ = timeline(data)
    assert dict(figure.main)["attempts"] == 2
    assert "The bars of 2 trials that have not ended go up to the last status of their driver." in figure.caption
    (busy,) = make(data, ["utilization"])
    assert dict(busy.main)["most trials at once"] == 2
    with pytest.raises(DoesNotSuit, match="has run to its end"):
        make(data, ["cost"])


def test_a_trial_that_is_running_on_a_worker_cuts_the_one_before(tmp_path: Path) -> None:
    data = study(write(tmp_path, listed(2, T0 + 29.0)), complete(0), running(2))
    ended = timeline(data)[0].table.set_index("trial")["ended"]
    assert ended[0] == datetime.fromtimestamp(T0 + 29.0, UTC)


def test_a_run_directory_that_is_no_path_is_ignored(tmp_path: Path) -> None:
    for path in ("\0", os.devnull, 7, None, ""):
        data = StudyData("", "s", ("minimize",), ("value",), (running(1),), {}, frozenset({CAMPAIGN}),
                         {LEASE + CAMPAIGN: {"run": path}})  # fmt: skip
        assert unfinished_attempts(data) == []
