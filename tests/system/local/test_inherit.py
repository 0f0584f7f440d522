"""Children that start from their parents' checkpoints, on real workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState

from pilotune.pipeline.attributes import PARENT

from ...support.local import Here

pytestmark = pytest.mark.real

TRAINING = """
def objective(trial):
    from_parent = None
    if trial.parent_checkpoint_dir is not None:
        from_parent = int((trial.parent_checkpoint_dir / "number").read_text())
    if trial.number % 4:
        (trial.checkpoint_dir / "number").write_text(str(trial.number))
    trial.set_user_attr("from", from_parent)
    return trial.params["a"] + trial.params["b"]
"""

STUDY = """
direction: minimize
space: {a: {int: [0, 9]}, b: {int: [0, 9]}}
sampler: {name: ageing, population: 4, sample: 2, inherit: true, seed: 1}
budget: {trials: 16}
"""


def test_a_child_finds_the_checkpoint_of_its_parent(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.study("training", TRAINING, STUDY)
    here.run("run", "training.yaml", "--trials", "10", "--set", "pools.local.workers_per_node=2")
    here.run("run", "training.yaml", "--set", "pools.local.workers_per_node=2")  # parents of another campaign, too
    trials = here.optuna("training").trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 16
    children = [trial for trial in trials if PARENT in trial.system_attrs]
    assert len(children) >= 8
    for trial in trials:
        parent = trial.system_attrs.get(PARENT)
        assert trial.user_attrs["from"] == (parent if parent is not None and parent % 4 else None)
