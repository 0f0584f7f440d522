"""Objectives of several ranks in whole campaigns: interrupted, killed, and continued from sharded checkpoints."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ...support.local import NOTE, Here, ended, processes, until

pytestmark = [pytest.mark.real, pytest.mark.heavy]

TRAINING = (
    NOTE
    + """
import json, time

def objective(trial):
    shard = trial.checkpoint_dir / f"shard-{trial.rank}.json"
    done = json.loads(shard.read_text()) if shard.exists() else []
    for epoch in range(len(done) + 1, 7):
        while epoch == 3 and trial.number == 0 and not (STUDY / "go").exists():
            (STUDY / f"waits-{trial.rank}").touch()
            time.sleep(0.02)
            if (STUDY / "report").exists():
                break
        done.append([trial.attempt, epoch])
        part = shard.with_suffix(f".{trial.attempt}")
        part.write_text(json.dumps(done))
        part.rename(shard)
        trial.report(trial.params["x"] + epoch, step=epoch)
    trial.set_user_attr("attempts", sorted({attempt for attempt, _ in done}))
    return trial.params["x"]
"""
)
"""The first trial waits in its third epoch until ``go`` exists, or goes on to its next report when ``report`` does."""

STUDY = """
direction: minimize
space: {x: {float: [0.0, 1.0]}}
sampler: {name: random, seed: 1}
budget: {trials: 2}
trial: {ranks: 4, cores: 2, yield_before: 5s}
"""


def waiting(here: Here) -> bool:
    return len(list(here.folder.glob("waits-*"))) == 4


def test_all_ranks_yield_when_the_campaign_is_stopped_and_go_on_with_their_shards(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.study("training", TRAINING, STUDY)
    with ended(here.start("run", "training.yaml")) as process:
        until(lambda: waiting(here), "all ranks wait")
        here.run("stop", "training", "--yield")
        (here.folder / "report").touch()
        process.communicate()
    (first, *_) = here.trials("training")
    assert first["state"] == "interrupted"
    (here.folder / "go").touch()
    here.run("resume", "training")
    first, second = here.optuna("training").trials
    assert (first.user_attrs["attempts"], second.user_attrs["attempts"]) == ([1, 2], [1])
    assert sorted(first.intermediate_values) == sorted(second.intermediate_values) == [1, 2, 3, 4, 5, 6]
    assert "No problems found." in here.run("verify", "training").stdout
    until(lambda: not processes(here), "no process is left")


@pytest.mark.exhaustive
def test_a_driver_that_is_killed_leaves_no_rank_behind(tmp_path: Path) -> None:
    here = Here(tmp_path, PILOTUNE_DRIVER_TIMEOUT="2")
    here.study("training", TRAINING, STUDY)
    with ended(here.start("run", "training.yaml")) as process:
        until(lambda: waiting(here), "all ranks wait")
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: not processes(here), "no process is left")
    (here.folder / "go").touch()
    here.run("resume", "training")
    first, second = here.optuna("training").trials
    assert first.user_attrs["attempts"][-1] == 2
    assert sorted(first.intermediate_values) == sorted(second.intermediate_values) == [1, 2, 3, 4, 5, 6]
    assert "No problems found." in here.run("verify", "training").stdout


def test_more_ranks_than_the_machine_has_cores_are_refused(tmp_path: Path) -> None:
    here = Here(tmp_path)
    path = here.study("training", TRAINING, STUDY.replace("ranks: 4, cores: 2", "ranks: 4096"))
    refused = here.run("check", path, code=2).stderr
    assert "trial.ranks: a trial needs 4096 cores for as many ranks; this machine offers" in refused
