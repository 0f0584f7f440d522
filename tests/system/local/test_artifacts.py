"""Artifacts of trials on real workers: kept best first, over failures, yields and a killed driver."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from optuna.trial import TrialState

from pilotune.pipeline.record.artifacts import kept_artifacts

from ...support.local import Here, ended, until

pytestmark = pytest.mark.real

TRAINING = """
import os
import time
from pathlib import Path

import pilotune

def objective(trial):
    x = trial.params["x"]
    with trial.artifact("model.txt").open("w") as file:
        file.write(str(x))
        file.flush()
        if trial.number == 8:
            Path(os.environ["PILOTUNE_STUDY_DIR"], "waits").touch()
            while not Path(os.environ["PILOTUNE_STUDY_DIR"], "go").exists():
                time.sleep(0.05)
    Path("held.npz").write_text("held out")
    trial.artifact(Path("held.npz"))
    if trial.number % 4 == 3:
        raise ValueError("no")
    if trial.number % 4 == 2 and trial.attempt == 1:
        raise pilotune.TrialYield
    return x
"""

STUDY = """
direction: maximize
space: {x: {int: [0, 1000000]}}
sampler: {name: random, seed: 1}
budget: {trials: 14}
trial: {keep: {artifacts: 3}}
"""


def test_the_best_trials_files_are_kept(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.study("training", TRAINING, STUDY)
    two = ("--set", "pools.local.workers_per_node=2")
    with ended(here.start("run", "training.yaml", *two)) as driver:
        until((tmp_path / "waits").exists, "trial 8 runs")
        assert len(kept_artifacts(here.runs / "training")) == 3
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        (tmp_path / "go").touch()
    here.run("run", "training.yaml", *two)
    study = here.optuna("training")
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == 11
    best = sorted(complete, key=lambda trial: -trial.values[0])[:3]
    kept = kept_artifacts(here.runs / "training")
    assert set(kept) == {trial.number for trial in best}
    for trial in best:
        assert sorted(kept[trial.number]) == ["held.npz", "model.txt"]
        assert kept[trial.number]["model.txt"].read_text() == str(trial.params["x"])
    assert not list(here.runs.glob("training/2*/trials/*/artifacts-*")), "what other attempts have left"
    listed = here.json("artifacts", "training")
    assert [each["number"] for each in listed["trials"]] == [trial.number for trial in best]
    assert here.status("training")["artifacts"] == [3, listed["bytes"]]
    assert "artifacts    of 3 trials, " in here.run("status", "training").stdout
    assert "artifacts  of 3 trials" in here.run("verify", "training").stdout
    kept[best[0].number]["held.npz"].unlink()
    damaged = here.run("verify", "training", code=1).stdout
    assert f"violation: the artifact 'held.npz' of trial {best[0].number} is missing" in damaged
