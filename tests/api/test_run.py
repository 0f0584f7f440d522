"""Campaigns that Python starts: in scripts of their own, on real workers, seen from other processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..support.local import PATIENCE, Here, kill_processes, until

pytestmark = pytest.mark.real


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    here = Here(tmp_path / "user")
    here.environment.pop("PILOTUNE_RUNS")  # the default folder is part of what is tested
    here.runs = here.folder / "pilotune-runs"
    yield here
    kill_processes(here)


def start(here: Here, text: str, name: str = "tune.py") -> subprocess.Popen[str]:
    """Start a script in the user's folder."""
    path = here.write(name, text)
    output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, str(path)], cwd=here.folder, env=here.environment, **output)


def script(here: Here, text: str, name: str = "tune.py") -> str:
    """Run a script to its end; returns what it printed."""
    process = start(here, text, name)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out + err
    return out


BY_VALUE = """
import pilotune, helper
from pilotune.errors import PilotuneError

shift = 2

def parts(x):
    return helper.square(x) + shift

def train(x, n):
    return parts(x) + n

if __name__ == "__main__":
    options = dict(direction="minimize", metrics=["loss"], budget={"trials": 4}, sampler={"name": "random", "seed": 1})
    space = {"x": {"float": (0, 1)}, "n": {"int": (0, 3)}}
    campaign = pilotune.run(train, space=space, set={"trial.retries": 1}, **options)
    assert campaign.wait(check=True).complete == 4, campaign.status
    study = campaign.study
    row = study.best
    assert abs(row.values["loss"] - (row.params["x"] ** 2 + 2 + row.params["n"])) < 1e-12, row
    assert study.verify().ok
    assert len(study.campaigns) == 1
    try:
        pilotune.run(train, space={"x": {"float": (0, 2)}, "n": {"int": (0, 3)}}, **options)
    except PilotuneError as error:
        print(type(error).__name__, error)
"""


def test_a_function_of_a_script_is_tuned_and_every_command_knows_its_study(here: Here) -> None:
    here.write("helper.py", "def square(x): return x * x\n")
    said = script(here, BY_VALUE)
    assert said.startswith("StudyMismatch the search space of 'train' changed after it ran: x: ")
    assert "or run this as a new study with name='NAME'" in said
    assert [row["state"] for row in here.trials("train")] == ["complete"] * 4
    study = here.runs / "train" / "study.yaml"
    assert study.read_text().startswith("# Written by pilotune.run.")
    here.run("check", study)
    here.run("run", study, "--trials", "5", "--quiet")
    assert len(here.trials("train")) == 5, "it goes on in the same place"
    here.run("rename", "train", "renamed", "--yes")
    assert here.json("status", "renamed")["study_file"] == str(here.runs / "renamed" / "study.yaml")
    assert here.run("delete", "renamed", "--yes").stderr == "", "nothing is left"
    assert not (here.runs / "renamed").exists()


WAITING = """
import sys, time
from pathlib import Path
import pilotune

GO = Path("go").absolute()

def objective(trial):
    while not GO.exists():
        time.sleep(0.05)
    return trial.number

if __name__ == "__main__":
    options = dict(space={"x": {"float": [0, 1]}}, direction="maximize", budget={"trials": 3})
    campaign = pilotune.run(objective, name="waiting", **options)
    print(campaign.id, flush=True)
    campaign.wait()
"""

OTHER = """
import pilotune
from pathlib import Path

(campaign,) = pilotune.open("waiting").campaigns
assert campaign.status.alive, campaign.status
assert campaign.wait(0.1, progress=False).alive
Path("go").touch()
status = campaign.wait(check=True)
print(campaign.id, status.state, status.complete, status.best_values, pilotune.open("waiting").verify().ok)
campaign.stop()
"""


@pytest.mark.exhaustive  # that of a kernel is killed in test_notebook
def test_killing_the_process_that_called_run_loses_nothing(here: Here) -> None:
    process = start(here, WAITING)
    assert process.stdout is not None
    campaign = process.stdout.readline().strip()
    here.await_status("waiting", lambda status: status["running"], "a trial runs")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert script(here, OTHER, "other.py") == f"{campaign} ended 3 (2.0,) True\n"


def test_an_interrupt_ends_the_waiting_only_and_stop_ends_the_campaign(here: Here) -> None:
    process = start(here, WAITING)
    assert process.stdout is not None
    assert process.stdout.readline()
    here.await_status("waiting", lambda status: status["running"], "a trial runs")
    until(lambda: (here.folder / "tune.py").exists(), "it waits")
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert "the campaign keeps running; pilotune stop waiting ends it" in err
    assert here.json("status", "waiting")["campaigns"][0]["alive"]
    text = """
import pilotune
(campaign,) = pilotune.open("waiting").campaigns
assert "waiting</b>, campaign " in campaign._repr_html_()
try:
    pilotune.run("pilotune-runs/waiting/study.yaml")
except pilotune.errors.CampaignRunning as error:
    print(error)
campaign.stop(now=True)
status = campaign.wait(progress=False)
print(status.state, status.code)
"""
    refused, state = script(here, text, "stop.py").splitlines()
    assert "of 'waiting' is running already" in refused
    assert state == "stopped 130"
