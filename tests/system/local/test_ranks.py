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


NETWORKS = """
import torch
import torch._dynamo
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from pilotune.architecture import build

def objective(trial):
    params, ranks = trial.params, trial.world_size
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    torch.manual_seed(trial.rng_seed)  # the same on all ranks: they begin with the same network
    x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
    x = x.float() / 16
    net = build(params, "net")
    model = DistributedDataParallel(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=params["lr"] * ranks)
    for rows in torch.randperm(1200).split(params["batch"] * ranks):
        optimizer.zero_grad()
        cross_entropy(model(x[rows[trial.rank :: ranks]]), y[rows[trial.rank :: ranks]]).backward()
        optimizer.step()
    trial.set_user_attr("ranks", ranks)
    sums = [torch.zeros(()) for _ in range(ranks)]
    dist.all_gather(sums, sum(each.detach().sum() for each in net.parameters()))
    trial.set_user_attr("same weights", all(torch.equal(each, sums[0]) for each in sums))
    with torch.no_grad():
        return (net(x[1200:]).argmax(1) == y[1200:]).float().mean().item()
"""

AGEBO = """
direction: maximize
space:
  net:
    graph:
      inputs: {x: 64}
      cells: 3
      choice: [identity, "dense({16, 32}, {relu, tanh})"]
      skips: 1
      output: dense(10)
  lr:    {float: [1.0e-3, 1.0e-1], log: true}
  batch: {choice: [16, 32, 64]}
  ranks: {choice: [1, 2]}
sampler: {name: agebo, evolve: net, model: forest, kappa: 0.001, population: 6, sample: 3, seed: 0}
budget: {trials: 16}
trial: {ranks: ranks, cores: ranks}
"""


@pytest.mark.exhaustive
def test_agebo_searches_a_network_with_its_batch_learning_rate_and_number_of_ranks(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    here = Here(tmp_path)
    here.run("run", here.study("networks", NETWORKS, AGEBO))
    trials = here.optuna("networks").trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 16
    assert {trial.params["ranks"] for trial in trials} == {1, 2}
    assert all(trial.user_attrs["ranks"] == trial.params["ranks"] for trial in trials)
    assert all(trial.user_attrs["same weights"] for trial in trials)
    children = [trial for trial in trials if "pilotune:parent" in trial.system_attrs]
    assert children
    for child in children:
        parent = trials[child.system_attrs["pilotune:parent"]]
        changed = {name for name, value in child.params.items() if value != parent.params[name]}
        assert len([name for name in changed if name.startswith("net.")]) == 1
    assert "No problems found." in here.run("verify", "networks").stdout
