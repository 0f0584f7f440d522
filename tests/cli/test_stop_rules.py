"""What the user sees of patience, and of callbacks that failed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pilotune.pipeline.analysis import Summary
from pilotune.pipeline.cli.commands.status import detail_lines
from pilotune.pipeline.cli.summary import next_commands, render
from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.studies.campaign_status import ObservedCampaign
from pilotune.pipeline.studies.resolve import StudyLocation

WARNING = "the callback notify.py:post failed 2 times, at last after trial 7: KeyError: 'x' (/home/me/notify.py:9)"
STATUS = Status("digits", "c", "running", patience=20, unimproved=12, warnings=[WARNING], message=WARNING)
ENDED = replace(STATUS, state="ended", code=0, reason="no better value in the last 20 trials", unimproved=20)
SUMMARY = Summary(
    study="digits", total=40, complete=40, pruned=0, failed=0, running=0, interrupted=0, paused=0, waiting=0,
    rungs={}, failures={}, best=(), metrics=(), directions=("minimize",), seconds=9.0,
)  # fmt: skip


def details(status: Status, alive: bool) -> dict[str, str]:
    study = StudyLocation("digits", "sqlite:///study.db")
    return dict(detail_lines(study, ObservedCampaign(status, Path("/runs/c"), alive), [], []))


def test_the_status_shows_how_near_the_end_by_patience_is() -> None:
    assert details(STATUS, alive=True)["patience"] == "12 of 20 trials without a better value"
    assert "patience" not in details(ENDED, alive=False)
    assert "patience" not in details(replace(STATUS, patience=None, unimproved=None), alive=True)


def test_what_failed_and_did_not_stop_the_study_is_said_to_the_end() -> None:
    assert details(STATUS, alive=True)["message"] == WARNING
    assert details(ENDED, alive=False)["warning"] == WARNING
    assert WARNING in render(SUMMARY, ENDED)


def test_a_study_that_patience_has_ended_is_resumed_with_more_patience() -> None:
    assert next_commands(SUMMARY, ENDED).endswith("pilotune resume digits --set budget.patience=40")
    by_budget = replace(ENDED, unimproved=3, budget=40, total=40)
    assert next_commands(SUMMARY, by_budget).endswith("pilotune resume digits --trials 80")


def test_more_trials_are_offered_only_where_they_would_run() -> None:
    by_terminator = replace(ENDED, unimproved=3, budget=100, total=40)
    assert "resume" not in next_commands(SUMMARY, by_terminator)
    by_time = replace(by_terminator, time_used_up=True)
    assert next_commands(SUMMARY, by_time).startswith("pilotune resume digits, ")
    assert "--trials" not in next_commands(SUMMARY, by_time)


def test_a_status_keeps_them() -> None:
    assert Status.from_json(STATUS.to_json()) == STATUS
