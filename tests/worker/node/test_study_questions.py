"""What an attempt asks about its study and notes about itself, over a real report channel."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.trial.protocol import (
    Attributes,
    Message,
    ObjectiveSpec,
    Query,
    Report,
    Started,
    Suggested,
    Verdict,
)
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.trial_driver import Driver, go_on, make_spec

OBJECTIVE = """
    def plain(trial):
        for step in range(3):
            trial.report(0.5, step)
        return 0.5

    def notes(trial):
        for step in range(3):
            trial.set_user_attr("epochs", step)
            trial.set_system_attr("mlflow_run_id", "r")
            trial.report(0.5, step)
        trial.set_user_attr("epochs", 3)
        return 0.5

    def asks(trial):
        trial.study.set_user_attr("rows", 150)
        try:
            trial.study.enqueue_trial({"x": 7})
        except ValueError as error:
            trial.set_user_attr("refused", str(error))
        return {"value": 0.5, "seen": trial.study.user_attrs}

    def earlier(trial):
        trial.set_user_attr("more", 1)
        return {"value": 0.5, "known": trial.user_attrs}
"""
both = pytest.mark.parametrize("isolate", [True, False])


@pytest.fixture
def objective(tmp_path: Path) -> Callable[[str], ObjectiveSpec]:
    path = tmp_path / "asking.py"
    path.write_text(textwrap.dedent(OBJECTIVE))
    return lambda name: ObjectiveSpec(file=str(path), function=name, folder=str(tmp_path))


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    made: list[Driver] = []

    def make(answer: Any = None) -> Driver:
        made.append(Driver(tmp_path, answer))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


def answers(message: Message) -> Message | None:
    """A study with one attribute, where nothing can be enqueued."""
    if not isinstance(message, Query):
        return go_on(message)
    if message.what == "enqueue":
        return Suggested(message.token, message.request, error="the space has no parameter 'x'")
    found = {"study_attrs": {"user": {"rows": 150}, "system": {}}, "set_study_attr": None}
    if message.what == "trial":
        return Suggested(message.token, message.request, {"trials": [{"user_attrs": {"epochs": 3}}]})
    return Suggested(message.token, message.request, found[message.what])


@both
def test_an_objective_that_asks_and_notes_nothing_sends_what_it_always_sent(
    tmp_path, objective, drive, isolate
) -> None:
    driver = drive()
    run_attempt(make_spec(tmp_path, objective("plain"), channel=driver.address, isolate=isolate))
    assert {type(message) for message in driver.got} == {Started, Report}
    assert sum(len(message.reports) for message in driver.of(Report)) == 3


@both
def test_attributes_come_before_the_report_that_follows_them(tmp_path, objective, drive, isolate) -> None:
    driver = drive()
    outcome = run_attempt(make_spec(tmp_path, objective("notes"), channel=driver.address, isolate=isolate))
    epochs = -1
    for message in driver.got:
        if isinstance(message, Attributes):
            epochs = message.user_attrs.get("epochs", epochs)
        elif isinstance(message, Report):
            assert all(step <= epochs for step, _ in message.reports)
    serials = [message.serial for message in driver.of(Attributes)]
    assert serials == list(range(1, len(serials) + 1))
    assert (outcome["user_attrs"], outcome["system_attrs"]) == ({"epochs": 3}, {"mlflow_run_id": "r"})


@both
def test_questions_are_answered_or_refused_in_a_sentence(tmp_path, objective, drive, isolate) -> None:
    driver = drive(answers)
    outcome = run_attempt(make_spec(tmp_path, objective("asks"), channel=driver.address, isolate=isolate))
    assert outcome["kind"] == "complete", outcome
    assert outcome["user_attrs"] == {"refused": "the space has no parameter 'x'", "seen": {"rows": 150}}
    assert [(query.what, query.arguments.get("key")) for query in driver.of(Query)] == [
        ("set_study_attr", "rows"),
        ("enqueue", None),
        ("study_attrs", None),
    ]


@both
def test_a_question_that_is_answered_with_a_kill_ends_the_attempt(tmp_path, objective, drive, isolate) -> None:
    driver = drive(lambda m: Verdict(m.token, m.request, "kill") if isinstance(m, Query) else go_on(m))
    outcome = run_attempt(make_spec(tmp_path, objective("asks"), channel=driver.address, isolate=isolate))
    assert outcome["kind"] == "stopped"


@both
@pytest.mark.parametrize("has_attrs", [True, False])
def test_attributes_of_earlier_attempts_cost_a_question_only_where_there_are_any(
    tmp_path, objective, drive, isolate, has_attrs
) -> None:
    driver = drive(answers)
    spec = make_spec(
        tmp_path, objective("earlier"), channel=driver.address, isolate=isolate, attempt=2, has_attrs=has_attrs
    )
    outcome = run_attempt(spec)
    known = {"epochs": 3, "more": 1} if has_attrs else {"more": 1}
    assert outcome["user_attrs"] == {"more": 1, "known": known}
    assert len(driver.of(Query)) == has_attrs


def test_without_a_channel_a_question_is_refused(tmp_path, objective) -> None:
    outcome = run_attempt(make_spec(tmp_path, objective("asks")))
    assert (outcome["kind"], outcome["failure"]) == ("failed", "exception")
    assert "no report channel, so nobody can answer" in outcome["reason"]
