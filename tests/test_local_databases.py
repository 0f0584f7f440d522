"""Campaigns on real workers and a shared PostgreSQL; databases that go away and come back."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from .local import Here, end_of, ended, until
from .postgres import Server

OBJECTIVE = """
import os, time
from pathlib import Path

def objective(trial):
    descriptor = os.open(Path(__file__).parent / "ran", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{trial.number}\\n".encode())
    os.close(descriptor)
    for step in range(3):
        time.sleep(0.05)
        trial.report(trial.params["x"] + step, step=step)
    return trial.params["x"]
"""

STUDY = """
direction: minimize
space: {x: {float: [0.0, 1.0]}}
sampler: tpe
"""

TWO = ("--set", "pools.local.workers_per_node=2")


def numbers(here: Here) -> list[int]:
    return sorted(map(int, here.lines("ran")))


@pytest.mark.postgres
def test_two_drivers_share_one_study_and_its_budget(tmp_path: Path, postgres_url: str) -> None:
    here = Here(tmp_path)
    here.study("shared", OBJECTIVE, f"{STUDY}budget: {{trials: 60}}\n")
    command = ("run", "shared.yaml", "--storage", postgres_url, *TWO)
    with (
        ended(here.start(*command, "--runs", here.folder / "one")) as one,
        ended(here.start(*command, "--runs", here.folder / "two")) as two,
    ):
        url = postgres_url.replace("://", "+psycopg://")
        until(lambda: len(here.lines("ran")) > 5, "trials run")
        seen = optuna.load_study(study_name="shared", storage=url).trials  # by plain Optuna, while both work on it
        assert any(trial.state == TrialState.COMPLETE for trial in seen)
        summaries = [end_of(process).stdout for process in (one, two)]
    assert all("the budget of 60 trials is used up" in summary for summary in summaries)
    trials = optuna.load_study(study_name="shared", storage=url).trials
    assert [trial.number for trial in trials] == list(range(60))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert numbers(here) == list(range(60)), "a trial was run twice, or not at all"
    owners = Counter(trial.system_attrs["pilotune:campaign"] for trial in trials)
    assert len(owners) == 2, owners
    for trial in trials:
        folder = Path(trial.user_attrs["pilotune:directory"])
        assert trial.system_attrs["pilotune:campaign"] == folder.parent.parent.name
        assert len(trial.intermediate_values) == 3


@pytest.fixture
def own_server(postgres_server: Server) -> Iterator[Server]:
    """A server to be stopped: it has started again for the tests that come after."""
    yield postgres_server
    if postgres_server.process.poll() is not None:
        postgres_server.start()


@pytest.mark.postgres
def test_a_campaign_waits_for_its_postgresql_and_goes_on(tmp_path: Path, own_server: Server, postgres_url: str) -> None:
    here = Here(tmp_path)
    here.study("away", OBJECTIVE, f"{STUDY}budget: {{trials: 30}}\nstorage: {postgres_url}\n")
    with ended(here.start("run", "away.yaml", *TWO)) as process:
        here.await_status("away", lambda status: status["complete"] >= 3, "some trials are done")
        own_server.shut_down()
        waiting = here.await_status("away", lambda status: "is away" in status["message"], "it says that it waits")
        assert waiting["state"] == "running"
        assert "waiting" in here.run("status", "away").stdout
        time.sleep(3)
        assert process.poll() is None
        own_server.start()
        here.await_status("away", lambda status: not status["message"], "it has found its database again")
        summary = end_of(process).stdout
    assert "30: 30 complete" in summary
    assert numbers(here) == list(range(30))
    trials = optuna.load_study(study_name="away", storage=postgres_url.replace("://", "+psycopg://")).trials
    assert [len(trial.intermediate_values) for trial in trials] == [3] * 30


def test_a_campaign_waits_while_another_process_locks_its_sqlite_database(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.study("locked", OBJECTIVE, f"{STUDY}budget: {{trials: 30}}\n")
    with ended(here.start("run", "locked.yaml", *TWO)) as process:
        here.await_status("locked", lambda status: status["complete"] >= 3, "some trials are done")
        other = sqlite3.connect(here.runs / "locked" / "study.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ran = len(here.lines("ran"))
        time.sleep(5)
        assert len(here.lines("ran")) <= ran + 4, "what is not kept must not be acted upon"
        other.execute("COMMIT")
        other.close()
        assert "30: 30 complete" in end_of(process).stdout
    assert numbers(here) == list(range(30))
