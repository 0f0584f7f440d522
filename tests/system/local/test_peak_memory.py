"""The peak memory of trials on a real worker: it is measured, kept in the study, and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ...support.local import Here

pytestmark = pytest.mark.real

HOLDS = """
def objective(trial):
    return float(len(b"x" * int(trial.params["megabytes"] * 1_000_000)))
"""


def test_a_trials_peak_memory_is_in_the_study(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.study(
        "holds",
        HOLDS,
        "direction: minimize\nspace: {megabytes: {int: [0, 500]}}\nsampler: random\nbudget: {trials: 2}\n"
        "start_from: {enqueue: [{megabytes: 200}, {megabytes: 0}]}\n",
    )
    here.run("run", "holds.yaml", "--set", "pools.local.workers_per_node=1")
    large, small = json.loads(here.run("trials", "holds", "--json").stdout)
    assert large["peak_memory"] >= 200_000_000
    assert 0 < small["peak_memory"] < large["peak_memory"] - 150_000_000
    assert here.optuna("holds").trials[0].user_attrs["pilotune:peak_memory"] == large["peak_memory"]
    head, first, *_ = here.run("trials", "holds").stdout.splitlines()
    assert "memory" in head
    assert " MB" in first
