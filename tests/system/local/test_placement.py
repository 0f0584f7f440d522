"""Trials on two pools of this machine: each runs where it costs least, or where the study file lets it run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.attributes import details_of

from ...support.campaigns import campaign, side_by_side
from ...support.local import Here

pytestmark = pytest.mark.real

SLEEPS = """
import os, time

def objective(trial):
    slow = trial.params["model"] == "deep" and os.environ["PILOTUNE_POOL"] == "cpu"
    time.sleep(3.0 if slow else 0.3)
    return trial.params["x"]
"""
"""A pool is ten times slower than the other for one model, and as fast for the other model."""

TRIALS, LEARNED = 90, 50
"""Trials, and those from which on costs are known: 20 of them wait while others are tried in both pools."""


def run(folder: Path, trial: str) -> Here:
    here = Here(folder)
    here.write("two.yaml", "scheduler: local\npools: {cpu: {workers_per_node: 1}, gpu: {workers_per_node: 1}}\n")
    here.study(
        "placed",
        SLEEPS,
        "direction: minimize\nspace: {x: {float: [0, 1]}, model: {choice: [deep, flat]}}\n"
        f"sampler: {{name: random, seed: 0}}\nbudget: {{trials: {TRIALS}}}\n{trial}",
    )
    here.run("run", "placed.yaml", "--site", "./two.yaml")
    return here


def learned(folder: Path) -> Here:
    return run(folder, "")


def ruled(folder: Path) -> Here:
    return run(folder, "trial: {pools: \"gpu if model == 'deep' else [cpu, gpu]\"}\n")


@pytest.fixture(scope="module")
def campaigns(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with side_by_side(request, tmp_path_factory.mktemp("placement"), 2) as running:
        yield running


def pools_of(here: Here, model: str, first: int = 0) -> Mapping[str, int]:
    trials = here.optuna("placed").trials
    assert len(trials) == TRIALS
    return Counter(details_of(each)["pool"] for each in trials[first:] if each.params["model"] == model)


@campaign(learned)
def test_a_trial_runs_in_the_pool_where_it_costs_least_once_its_cost_is_known(campaigns: Any) -> None:
    here = campaigns[learned].result()
    assert pools_of(here, "deep", LEARNED)["cpu"] <= 2
    assert pools_of(here, "flat", LEARNED)["cpu"] > pools_of(here, "flat", LEARNED)["gpu"]
    plan = here.run("plan", "placed").stdout
    assert "model = deep" in plan
    assert "times as many trials end in an hour as with first-come" in plan
    found = json.loads(here.run("plan", "placed", "--json").stdout)
    assert found["pools"] == ["cpu", "gpu"]
    assert 1.3 < found["gain"] < 6.0
    deep = next(kind for kind in found["kinds"] if "deep" in kind["name"])
    assert deep["seconds"]["cpu"] > 4.0 * deep["seconds"]["gpu"]


@campaign(ruled)
def test_a_trial_runs_only_in_the_pools_that_the_study_file_names_for_it(campaigns: Any) -> None:
    here = campaigns[ruled].result()
    assert set(pools_of(here, "deep")) == {"gpu"}
    assert pools_of(here, "flat")["cpu"] > 0
