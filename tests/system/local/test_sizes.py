"""Campaigns on real workers whose trials take different shares of the node."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import pytest
from optuna.trial import TrialState

from ...support.local import Here

pytestmark = pytest.mark.real

OBJECTIVE = """
import os, time

def objective(trial):
    began = time.time()
    trial.set_user_attr("cores", int(os.environ["PILOTUNE_CORES"]))
    trial.set_user_attr("gpus", os.environ["CUDA_VISIBLE_DEVICES"])
    trial.set_user_attr("resources", [trial.resources.cores, trial.resources.gpus])
    time.sleep(0.2 * trial.params["n"])
    trial.set_user_attr("ran", [began, time.time()])
    return trial.params["x"]
"""
NODE = ("--set", "pools.local.cores_per_node=4", "--set", "pools.local.gpus_per_node=4",
        "--set", "pools.local.workers_per_node=4")  # fmt: skip


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path, CUDA_VISIBLE_DEVICES="GPU-a,GPU-b,MIG-c,GPU-d")


def most_at_once(spans: list[tuple[float, float, float]]) -> float:
    """The largest sum of what trials that run at one moment take; each is its begin, its end and what it takes."""
    ends = [(end, -taken) for _, end, taken in spans]
    changes = sorted([(begin, taken) for begin, _, taken in spans] + ends)
    return max(accumulate(taken for _, taken in changes))


def test_trials_of_different_sizes_never_take_more_than_the_node_has(here: Here) -> None:
    here.study("sized", OBJECTIVE, """direction: minimize
space: {n: {int: [0, 5]}, x: {float: [0, 1]}}
sampler: {name: random, seed: 1}
budget: {trials: 24}
trial: {cores: "max(n, 1)", gpus: "n if n > 1 else n / 2"}
""")  # fmt: skip
    note = "some trials will fail, since they fit on no node: where n is 5 (1 of 6 configurations)"
    assert note in here.run("check", "sized.yaml", *NODE).stdout
    here.run("run", "sized.yaml", *NODE)
    trials = here.optuna("sized").trials
    assert len(trials) == 24
    spans, gpus = [], []
    for trial in trials:
        n = trial.params["n"]
        if n == 5:
            assert trial.state == TrialState.FAIL
            words = "trial.gpus: this trial needs 5 cores and 5 GPUs; this machine offers 4 cores and 4 GPUs"
            assert trial.user_attrs["pilotune:reason"] == words
            continue
        assert trial.state == TrialState.COMPLETE
        wanted = n if n > 1 else n / 2
        assert (trial.user_attrs["cores"], trial.user_attrs["resources"]) == (max(n, 1), [max(n, 1), wanted])
        names = [name for name in trial.user_attrs["gpus"].split(",") if name]
        assert len(names) == (1 if n == 1 else n)
        assert set(names) <= {"GPU-a", "GPU-b", "MIG-c", "GPU-d"}
        spans.append((*trial.user_attrs["ran"], max(n, 1)))
        gpus += [(name, *trial.user_attrs["ran"], min(1.0, wanted)) for name in names]
    assert 1 < most_at_once(spans) <= 4
    for name in {each for each, *_ in gpus}:
        assert most_at_once([(begin, end, part) for each, begin, end, part in gpus if each == name]) <= 1


def test_two_trials_share_a_gpu(here: Here) -> None:
    here.study("shared", OBJECTIVE, """direction: minimize
space: {n: {int: [1, 1]}, x: {float: [0, 1]}}
sampler: random
budget: {trials: 4}
trial: {gpus: 0.5}
""")  # fmt: skip
    here.run("run", "shared.yaml", *NODE, "--set", "pools.local.gpus_per_node=2")
    seen = [trial.user_attrs["gpus"] for trial in here.optuna("shared").trials]
    assert set(seen) <= {"GPU-a", "GPU-b"}
    assert here.optuna("shared").trials[0].user_attrs["resources"] == [1, 0.5]
