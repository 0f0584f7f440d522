"""The storage that the dashboard reads: one study, as the database has it by now, on a connection that cannot write."""

from __future__ import annotations

import inspect
import io
import json
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from pilotune.pipeline.analysis.reading import reading
from pilotune.pipeline.cli.dashboard import storage as module
from pilotune.pipeline.cli.dashboard.guard import Guard
from pilotune.pipeline.cli.dashboard.storage import ReadOnlyStorage
from pilotune.pipeline.cli.dashboard.writable import WritableStorage

from .test_guard import call, cookie_of

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def study(database_url: str) -> optuna.Study:
    found = optuna.create_study(storage=database_url, study_name="digits", directions=["maximize"])
    for value in (0.5, 0.25):
        trial = found.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        trial.report(value, 1)
        found.tell(trial, value)
    found.set_user_attr("note", "mine")
    return found


def test_it_reads_the_study_as_optuna_does(database_url: str, study: optuna.Study) -> None:
    optuna.create_study(storage=database_url, study_name="another")
    seen = ReadOnlyStorage(database_url, "digits")
    (listed,) = seen.get_all_studies()
    assert (listed.study_name, listed.user_attrs, listed._study_id) == ("digits", {"note": "mine"}, study._study_id)
    assert seen.get_all_trials(study._study_id) == study.trials
    assert [trial._trial_id for trial in seen.get_all_trials(study._study_id)] == [
        trial._trial_id for trial in study.trials
    ]
    assert seen.get_best_trial(study._study_id) == study.best_trial
    assert optuna.load_study(study_name="digits", storage=seen).best_value == 0.5
    with pytest.raises(KeyError):
        seen.get_study_id_from_name("another")
    assert [each.study_name for each in ReadOnlyStorage(database_url, None).get_all_studies()] == ["digits", "another"]


def test_it_reads_what_has_changed_at_most_every_two_seconds(
    database_url: str, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def counted(url: str) -> Any:
        opened.append(url)
        return reading(url)

    monkeypatch.setattr(module, "reading", counted)
    clock = Clock()
    seen = ReadOnlyStorage(database_url, "digits", clock)
    assert len(seen.get_all_trials(study._study_id)) == 2
    running = study.ask()
    running.report(0.125, 1)
    before = len(opened)
    assert len(seen.get_all_trials(study._study_id)) == 2
    assert len(opened) == before
    clock.now += 3
    assert seen.get_all_trials(study._study_id)[2].intermediate_values == {1: 0.125}
    study.tell(running, 0.75)
    clock.now += 3
    assert seen.get_all_trials(study._study_id, states=(TrialState.COMPLETE,))[2].value == 0.75
    optuna.delete_study(study_name="digits", storage=database_url)
    clock.now += 3
    assert seen.get_all_studies() == []
    assert not seen.shows(study._study_id)


def test_every_method_of_optunas_storages_that_writes_is_refused(database_url: str, study: optuna.Study) -> None:
    seen = ReadOnlyStorage(database_url, None)
    writing = [name for name in BaseStorage.__abstractmethods__ if name.startswith(("set_", "create_", "delete_"))]
    assert len(writing) == 10
    for name in writing:
        method = getattr(seen, name)
        arguments = [None for each in inspect.signature(method).parameters.values() if each.default is each.empty]
        with pytest.raises(PermissionError):
            method(*arguments)


def test_the_database_itself_refuses_to_be_written(database_url: str, study: optuna.Study) -> None:
    from pilotune.errors import PilotuneError

    with pytest.raises((PilotuneError, OperationalError)), reading(database_url) as database:
        database.run("DELETE FROM trials")
    assert len(study.trials) == 2


def test_with_write_the_dashboard_keeps_notes_and_deletes_studies(database_url: str, study: optuna.Study) -> None:
    from optuna_dashboard._app import create_app

    seen = WritableStorage(database_url, "digits")
    guard = Guard(create_app(seen), seen, "digits", write=True)
    path, cookie = f"/api/studies/{study._study_id}", cookie_of(guard)

    def send(method: str, path: str, body: bytes = b"") -> tuple[str, str]:
        more = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json"}
        status, _, text = call(guard, path, method, HTTP_COOKIE=cookie, **more)  # type: ignore[arg-type]
        return status, text

    assert send("PUT", f"{path}/note", b'{"version": 1, "body": "a note"}')[0] == "204 No Content"
    assert json.loads(send("GET", path)[1])["note"]["body"] == "a note"
    assert send("DELETE", path, b"{}")[0] == "204 No Content"
    assert optuna.get_all_study_names(database_url) == []


def test_changes_reach_the_study_that_is_shown_and_no_other(database_url: str, study: optuna.Study) -> None:
    other = optuna.create_study(storage=database_url, study_name="another")
    seen = WritableStorage(database_url, "digits")
    seen.set_study_system_attr(study._study_id, "dashboard:note_str:0", "a note")
    assert seen.get_study_system_attrs(study._study_id)["dashboard:note_str:0"] == "a note"
    for write in (
        lambda: seen.set_study_system_attr(other._study_id, "x", 1),
        lambda: seen.delete_study(other._study_id),
        lambda: seen.set_trial_user_attr(10**6, "x", 1),
    ):
        with pytest.raises(KeyError):
            write()
    made = seen.create_new_study(study.directions, "made")
    assert seen.shows(made)
    seen.delete_study(made)
    assert not seen.shows(made)
    assert sorted(optuna.get_all_study_names(database_url)) == ["another", "digits"]
