"""What the driver sends to the loggers' process: reports as they are committed, ends with all that a trial has."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from pilotune.pipeline.attributes import OWNER
from pilotune.pipeline.driver import logger_feed
from pilotune.pipeline.driver.logger_feed import LoggerFeed, record_of
from pilotune.pipeline.loggers.settings import LoggerSettings
from pilotune.pipeline.record import open_storage


def finished(number: int, owner: str, state: TrialState = TrialState.COMPLETE) -> Any:
    """A finished trial of a campaign."""
    complete = state == TrialState.COMPLETE
    return create_trial(
        state=state,
        value=float(number) if complete else None,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0, 1)},
        intermediate_values={1: 0.25, 3: float("nan")},
        system_attrs={OWNER: owner},
    )


@pytest.fixture
def feed(tmp_path: Path) -> Any:
    """A feed of the campaign ``mine``, whose folder has the run directories ``mine`` and ``before``."""
    for name in ("mine", "before"):
        (tmp_path / "digits" / name).mkdir(parents=True)
    study_file: Any = SimpleNamespace(
        name="digits",
        folder=tmp_path,
        metrics=("loss",),
        directions=("minimize",),
        space=None,
        loggers=(LoggerSettings("tensorboard", {}),),
    )
    with contextlib.closing(open_storage(f"sqlite:///{tmp_path}/study.db")) as storage:
        study = optuna.create_study(study_name="digits", storage=storage)
        for number, owner in enumerate(["before", "elsewhere", "mine"]):
            study.add_trial(finished(number, owner, TrialState.PRUNED if number == 0 else TrialState.COMPLETE))
        storage.commit()
        yield LoggerFeed(study_file, storage, study, "mine", tmp_path / "digits")


def end(feed: Any) -> None:
    feed.finish(lambda: False, lambda sentence: None)


def test_what_earlier_campaigns_of_this_folder_left_is_written_once(feed: Any, tmp_path: Path) -> None:
    folder = tmp_path / "digits" / "loggers" / "tensorboard"
    feed.start()
    end(feed)
    assert sorted(each.name for each in folder.iterdir()) == ["trial-0", "trial-2"], "not those of other places"
    assert feed.warnings == []
    before = {each: each.stat().st_mtime_ns for each in folder.rglob("events*")}
    assert list(feed._left(set())) == []
    assert {each: each.stat().st_mtime_ns for each in folder.rglob("events*")} == before


def test_trials_of_other_drivers_that_run_are_left_to_them(feed: Any) -> None:
    assert list(feed._left(set())) == [0, 2]
    assert list(feed._left({"before"})) == [2]


def test_a_trial_that_cannot_be_told_keeps_no_other_back(feed: Any) -> None:
    feed.start()
    feed.put_ended([99])
    feed.put_reports({98: {1: 0.5}})
    feed.put_ended([2])
    end(feed)
    assert feed.warnings == []


def test_reports_beyond_the_limit_are_left_to_the_end_of_their_trials(
    feed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger_feed, "MOST_WAITING", 1)
    feed._process = object()
    for step in range(5):
        feed.put_reports({7: {step: 0.5}})
    assert feed._queue.qsize() == 2


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.stdin.readline(); sys.exit(3)", "the loggers' process "),
        ("import time; time.sleep(60)", "the loggers were still writing "),
    ],
)
def test_a_process_that_dies_or_hangs_is_told_and_waited_for_no_longer(
    program: str, said: str, feed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = logger_feed.subprocess.Popen
    monkeypatch.setattr(logger_feed.subprocess, "Popen", lambda words, **more: real([words[0], "-c", program], **more))
    monkeypatch.setattr(logger_feed, "LONGEST_WAIT", 0.5)
    feed.start()
    end(feed)
    (warning,) = feed.warnings
    assert warning.startswith(said)
    assert "; the next campaign writes what they lack (their log: " in warning


def test_a_record_at_the_end_has_all_that_is_known() -> None:
    found = record_of(finished(2, "mine"), ("loss",), {"epochs": 3})
    assert (found.state, found.values, found.params) == ("complete", {"loss": 2.0}, {"x": 0.5, "epochs": 3})
    assert [each[0] for each in found.reports] == [1, 3]
    assert json.loads(found.to_line())["metric"] == "loss"
    live = record_of(finished(2, "mine"), ("loss",), {}, [[1, 0.25, 7.0]])
    assert (live.state, live.reports, live.ended) == ("", [[1, 0.25, 7.0]], None)
