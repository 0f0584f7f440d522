"""The commands on a real campaign: Parsl's workers, SQLite and a detached driver."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest

from ...support.cli import Pilotune, alone, pilotune_  # noqa: F401

pytestmark = pytest.mark.real

OBJECTIVE = """
import time

def train(trial):
    for step in range(1, 400):
        time.sleep(trial.params["pause"])
        trial.report(trial.params["x"], step=step)
        if trial.params["x"] > 0:
            return trial.params["x"]
    return 0.0
"""

STUDY = """
name: sums
objective: sums.py:train
direction: maximize
space: {x: {float: [0.5, 1.0]}, pause: 0.05}
sampler: {name: random, seed: 0}
budget: {trials: 10000}
"""


def write(folder: Path) -> Path:
    (folder / "sums.py").write_text(OBJECTIVE)
    (folder / "study.yaml").write_text(STUDY)
    return folder / "study.yaml"


def gone(pid: int) -> None:
    """Wait until a driver, a child of this process, has ended."""
    with contextlib.suppress(ChildProcessError):  # its Popen object was deleted, and another has waited for it
        os.waitpid(pid, 0)


def wait_for(pilotune: Pilotune, trials: int) -> None:
    while json.loads(pilotune("status", "sums", "--json").out)["campaigns"][0]["complete"] < trials:
        time.sleep(0.1)


def test_a_detached_campaign_is_shown_killed_resumed_and_stopped(pilotune: Pilotune) -> None:
    study = write(Path.cwd())
    options = ["--set", "pools.local.workers_per_node=2", "--json"]
    started = json.loads(pilotune("run", study, "--detach", *options).out)
    try:
        assert started["state"] in ("starting", "running")
        wait_for(pilotune, 4)
        refused = pilotune("run", study)
        assert (refused.code, "is running already" in refused.err) == (2, True)
    finally:
        os.kill(started["pid"], signal.SIGKILL)
    gone(started["pid"])
    assert "pilotune resume sums" in pilotune("status", "sums").out

    known = len(json.loads(pilotune("trials", "sums", "--json", "--state", "complete").out))
    again = json.loads(pilotune("resume", "sums", "--detach", "--json").out)
    wait_for(pilotune, known + 4)
    stopped = pilotune("stop", "sums", "--now")
    assert (stopped.code, "ended at" in stopped.out) == (0, True)
    gone(again["pid"])
    trials = json.loads(pilotune("trials", "sums", "--json").out)
    assert [trial["number"] for trial in trials] == list(range(len(trials)))
    assert sum(trial["state"] == "complete" for trial in trials) >= known + 4


def test_a_campaign_that_cannot_start_says_why_and_ends_with_its_code(pilotune: Pilotune) -> None:
    study = write(Path.cwd())
    assert pilotune("run", study, "--trials", "2", "--quiet").code == 0
    study.write_text(STUDY.replace("0.5, 1.0", "0.5, 2.0"))
    result = pilotune("run", study, "--detach")
    assert (result.code, result.out) == (2, "")
    assert "--new-name" in result.err
    assert "float [0.5, 2" in result.err


def test_utilization_is_one_number(pilotune: Pilotune) -> None:
    summary = pilotune("run", write(Path.cwd()), "--trials", "2", "--quiet").out
    (plot,) = json.loads(pilotune("plot", "sums", "utilization", "--json").out)["plots"]
    shown = plot["numbers"]["utilization"].replace(" ", "")
    assert f"utilization {shown}\n" in summary


def test_a_dry_run_prints_how_the_workers_would_be_started(pilotune: Pilotune) -> None:
    study = write(Path.cwd())
    result = pilotune("run", study, "--dry-run", "--set", "pools.local.workers_per_node=7")
    assert (result.code, result.err) == (0, "")
    assert "--- pool local: 1 block, 7 trials at a time in it ---\n#!/bin/bash\n" in result.out
    assert "-m pilotune.providers.node.agent" in result.out
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["study.yaml", "sums.py"]
