"""When attempts and blocks ran: what campaigns keep, what follows for studies that lack it, and the axis of time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from pilotune.pipeline.analysis import StudyData
from pilotune.pipeline.analysis.plots.timing import (
    Clock,
    attempts_of,
    available,
    blocks_of,
    edges,
    integral,
    running,
    starting,
    utilization_of,
)
from pilotune.pipeline.attributes import (
    ATTEMPTS,
    BEGAN,
    BLOCKS,
    DETAILS,
    LEASE,
    RUNS,
    SECONDS_RUNNING,
    SECONDS_WAITING,
    UTILIZATION,
)

START = datetime(2026, 1, 1, 12)
T0 = START.timestamp()


def ended(number: int = 0, seconds: float = 100.0, system: dict[str, Any] | None = None, **user: Any) -> FrozenTrial:
    """A complete trial that was asked for at T0 and told ``seconds`` later; ``user``: Pilotune's attributes."""
    details = {DETAILS: {"worker": "n1/0", "block": "0", "pool": "cpu"}}
    own = {f"pilotune:{key}": value for key, value in user.items()}
    made = create_trial(value=1.0, user_attrs=own, system_attrs=details | (system or {}))
    made.number, made.datetime_start = number, START
    made.datetime_complete = datetime.fromtimestamp(T0 + seconds)
    return made


def study(*trials: FrozenTrial, **system: Any) -> StudyData:
    return StudyData("", "s", ("minimize",), ("value",), trials, {}, system_attrs=system)


def times(data: StudyData) -> list[tuple[float, float, str]]:
    """Begin and end after T0, and how, of each attempt."""
    return [(each.began - T0, each.ended - T0, each.how) for each in attempts_of(data)]


def test_an_attempt_begins_when_it_runs_and_not_when_it_was_asked() -> None:
    trial = ended(began=T0 + 30.0, seconds_running=50.0, seconds_waiting=30.0, attempts=1)
    (attempt,) = attempts_of(study(trial))
    assert (attempt.asked - T0, attempt.began - T0, attempt.ended - T0) == (0.0, 30.0, 80.0)
    assert (attempt.how, attempt.place, attempt.pool, attempt.block) == ("complete", "n1/0", "cpu", "0")


def test_a_trial_of_an_earlier_version_begins_after_its_wait() -> None:
    assert times(study(ended(seconds_waiting=30.0, seconds_running=60.0, attempts=1))) == [(30.0, 90.0, "complete")]


def test_a_trial_of_several_attempts_of_an_earlier_version_ends_with_its_last_one() -> None:
    assert times(study(ended(seconds_waiting=30.0, seconds_running=60.0, attempts=3))) == [(40.0, 100.0, "complete")]


def test_a_trial_of_plain_optuna_runs_from_start_to_end() -> None:
    trial = create_trial(value=1.0)
    trial.datetime_start, trial.datetime_complete = START, datetime.fromtimestamp(T0 + 7.0)
    assert times(study(trial)) == [(0.0, 7.0, "complete")]


def test_earlier_attempts_have_their_own_place_and_the_last_one_what_is_left_of_the_time() -> None:
    runs = [[1, T0 + 5.0, 10.0, "lost", "n2", "gpu", "7", "n2/1"], "broken", [2, "soon"]]
    trial = ended(began=T0 + 40.0, seconds_running=30.0, attempts=2, system={RUNS: runs})
    first, last = attempts_of(study(trial))
    assert (first.began - T0, first.ended - T0, first.how, first.place) == (5.0, 15.0, "lost", "n2/1")
    assert (last.asked - T0, last.began - T0, last.ended - T0, last.how) == (15.0, 40.0, 60.0, "complete")


def test_what_overlaps_on_a_worker_is_cut() -> None:
    found = study(ended(0, began=T0, seconds_running=50.2), ended(1, began=T0 + 50.0, seconds_running=20.0))
    assert times(found) == [(0.0, 50.0, "complete"), (50.0, 70.0, "complete")]


@pytest.mark.parametrize("began", ["soon", float("nan"), None, True, [1]])
def test_a_time_that_is_none_is_ignored(began: object) -> None:
    trial = ended(seconds_waiting=30.0, seconds_running=60.0, attempts=1, began=began)
    assert len(times(study(trial))) == 1


def test_a_block_without_an_end_ended_with_its_campaign_unless_that_lives() -> None:
    block = ["cpu", "0", "17", T0, T0 + 60.0, None, 4, 2, ""]
    kept = {BLOCKS + "c1:0": [block, ["broken"]], LEASE + "c1": {"heartbeat": T0 + 500.0}}
    (found,) = blocks_of(study(**kept))
    assert (found.campaign, found.queued, found.started, found.ended) == ("c1", T0, T0 + 60.0, T0 + 500.0)
    alive = StudyData("", "s", ("minimize",), ("value",), (), {}, frozenset({"c1"}), kept)
    assert blocks_of(alive)[0].ended is None


def test_the_axis_of_time_leaves_long_pauses_out() -> None:
    clock = Clock.over(np.array([0.0, 1e6]), np.array([100.0, 1e6 + 100.0]))
    assert clock.label == "seconds since 1970-01-01 00:00:00 UTC"
    assert clock(np.array([50.0, 1e6 + 50.0])).tolist() == [50.0, 154.0]
    ((place, gap),) = clock.cuts
    assert (100.0 < place < 104.0, gap) == (True, 1e6 - 100.0)
    assert edges(clock)[[0, -1]].tolist() == [0.0, 1e6 + 100.0]


@pytest.mark.parametrize(("seconds", "unit"), [(10.0, "seconds"), (600.0, "minutes"), (1e5, "hours"), (1e6, "days")])
def test_the_axis_of_time_has_a_unit_that_fits(seconds: float, unit: str) -> None:
    assert Clock.over(np.array([0.0]), np.array([seconds])).label.startswith(unit)


def test_workers_are_those_of_the_blocks_or_those_that_ran_something() -> None:
    data = study(ended(began=T0 + 10.0, seconds_running=50.0),
                 **{BLOCKS + "c1:0": [["cpu", "0", "1", T0, T0, T0 + 100.0, 4, 1, ""]]})  # fmt: skip
    attempts, blocks = attempts_of(data), blocks_of(data)
    span = np.array([T0, T0 + 100.0])
    assert integral(*running(attempts), span).tolist() == [50.0]
    assert integral(*available(attempts, blocks), span).tolist() == [400.0]
    assert integral(*available(attempts, []), span).tolist() == [50.0]


def test_workers_count_from_when_they_connect_and_start_before() -> None:
    block = ["cpu", "0", "1", T0, T0 + 10.0, T0 + 100.0, 4, 1, "", T0 + 40.0]
    found = blocks_of(study(**{BLOCKS + "c1:0": [block]}))
    span = np.array([T0, T0 + 100.0])
    assert integral(*available([], found), span).tolist() == [240.0]
    assert integral(*starting(found), span).tolist() == [120.0]


@pytest.mark.parametrize(
    ("kept", "utilization"),
    [
        ({"c1": [30.0, 40.0]}, 0.75),
        ({"c1": [30.0, 40.0], "c2": [0.0, 10.0]}, 0.6),
        ({"c2": [30.0, 40.0]}, None),
        ({"c1": "broken", "c2": [30.0, 40.0]}, None),
        ({"c1": [50.0, 40.0]}, None),
        ({"c1": [float("nan"), 40.0]}, None),
        ({}, None),
    ],
)
def test_utilization_is_what_the_campaigns_have_counted(kept: dict[str, Any], utilization: float | None) -> None:
    blocks = {BLOCKS + "c1:0": [["cpu", "0", "1", T0, T0, T0 + 100.0, 4, 1, "", T0]]}
    assert utilization_of(study(**blocks, **{UTILIZATION + name: value for name, value in kept.items()})) == utilization


def test_the_names_of_the_attributes_are_those_of_the_record() -> None:
    assert [f"pilotune:{name}" for name in ("attempts", "began", "seconds_running", "seconds_waiting")] == [
        ATTEMPTS,
        BEGAN,
        SECONDS_RUNNING,
        SECONDS_WAITING,
    ]


def test_a_failed_trial_that_never_ran_has_no_attempt() -> None:
    trial = create_trial(state=TrialState.WAITING)
    assert times(study(trial)) == []
