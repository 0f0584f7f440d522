"""Campaigns of several drivers on real workers, which share a study in PostgreSQL."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import optuna
import psycopg
import pytest
from optuna.trial import TrialState

from ...support.local import Here, end_of, ended, until
from ...support.postgres import Server

pytestmark = pytest.mark.real

OBJECTIVE = """
import os, time
from pathlib import Path

STUDY = Path(__file__).parent

def objective(trial):
    descriptor = os.open(STUDY / "ran", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{trial.number}\\n".encode())
    os.close(descriptor)
    (STUDY / f"works-{trial.checkpoint_dir.parents[2].name}").touch()
    while len(list(STUDY.glob("works-*"))) < 2:
        time.sleep(0.05)
    for step in range(3):
        time.sleep(0.05)
        trial.report(trial.params["x"] + step, step=step)
    return trial.params["x"]
"""
"""Its trials wait until both campaigns run one, so that neither uses up the budget before the other has started."""

UNEQUAL = """
import os, time
from pathlib import Path

STUDY = Path(__file__).parent

def objective(trial):
    while os.environ["DRIVER"] == "late" and not (STUDY / "go").exists():
        time.sleep(0.05)
    slow = trial.params["model"] == "deep" and os.environ["PILOTUNE_POOL"] == "cpu"
    time.sleep(2.0 if slow else 0.2)
    return trial.params["x"]
"""
"""One of two pools is slow for one of two models. The trials of one driver wait until it is told that they may go."""

KNOWLEDGE = """
import gc, json, os
from pathlib import Path
from pilotune.pipeline.placement import Costs

def write(study, trial):
    known = Path(__file__).parent / f"{os.environ['DRIVER']}-knows"
    if not known.exists():
        (costs,) = (each for each in gc.get_objects() if isinstance(each, Costs))
        found = {pool: costs.predict({"x": 0.5, "model": "deep"}, pool) for pool in costs.pools}
        known.write_text(json.dumps({pool: [each.seconds, each.seen] for pool, each in found.items()}))
"""
"""Writes what the driver knows of the slow model's costs when its first trial has ended: seconds and trials by pool."""

MODELS = """
direction: minimize
space: {x: {float: [0.0, 1.0]}, model: {choice: [deep, flat]}}
sampler: random
budget: {trials: 80}
callbacks: [knowledge.py:write]
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
        until(lambda: len(here.lines("ran")) > 8, "trials of both campaigns have ended")
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


@pytest.mark.postgres
def test_a_driver_learns_costs_from_the_trials_of_another_one(tmp_path: Path, postgres_url: str) -> None:
    early, late = (Here(tmp_path, DRIVER=name) for name in ("early", "late"))
    early.write("two.yaml", "scheduler: local\npools: {cpu: {workers_per_node: 1}, gpu: {workers_per_node: 1}}\n")
    early.write("knowledge.py", KNOWLEDGE)
    early.study("costs", UNEQUAL, MODELS)
    command = ("run", "costs.yaml", "--storage", postgres_url, "--site", "./two.yaml", "--runs")
    one, two = tmp_path / "one", tmp_path / "two"
    with ended(late.start(*command, two)) as second:
        until(lambda: list(two.glob("costs/*/trials/*")), "its first trial waits")
        with ended(early.start(*command, one)) as first:
            until(lambda: len(list(one.glob("costs/*/trials/*"))) > 40, "the other driver runs trials")
            assert not (tmp_path / "late-knows").exists(), "no trial of the first one has ended"
            late.write("go", "")
            for process in (first, second):
                end_of(process)
    known = json.loads((tmp_path / "late-knows").read_text())
    seen = [seen for _, seen in known.values()]  # few on the CPU, where one is enough to tell
    assert min(seen) >= 1
    assert sum(seen) >= 4, "it has ended one trial itself"
    assert known["cpu"][0] > 3.0 * known["gpu"][0]


@pytest.mark.postgres
def test_a_server_that_is_not_ready_is_waited_for(tmp_path: Path, postgres_server: Server) -> None:
    """It recovers, and waits for its archive."""
    here = Here(tmp_path)
    here.study("waits", "def objective(x):\n    return x\n", STUDY + "budget: {trials: 1}\n")
    server = Server()
    try:
        url = server.new_database(tables=True)
        server.shut_down()
        (server.data / "recovery.signal").touch()
        archive = f"until test -e {server.folder}/go; do sleep 0.1; done; false"
        server.start(wait=False, restore_command=archive, hot_standby="off")
        until(lambda: not_ready(url), "the server says that it is not ready")
        with ended(here.start("run", "waits.yaml", "--storage", url)) as process:
            logs = here.runs / "waits"
            until(lambda: any("is waited for" in log.read_text() for log in logs.glob("*/driver.log")), "it is told")
            (server.folder / "go").touch()
            done = end_of(process)
        assert "waiting: the database server of postgresql" in done.stderr
        assert "; it is waited for until " in done.stderr
    finally:
        server.stop()


def not_ready(url: str) -> bool:
    try:
        psycopg.connect(url.replace("+psycopg", ""), connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return "the database system is" in str(error)
    return False
