"""A budget in node-hours on real workers: what a killed driver has used counts, and nothing is begun beyond it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pilotune.pipeline.analysis import read_study
from pilotune.pipeline.attributes import HOURS, NODE_HOURS
from pilotune.pipeline.hours import Account
from pilotune.pipeline.record.hours import Ledger

from ...support.local import Here, ended

pytestmark = pytest.mark.real

TRAINING = """
import os, time
from pathlib import Path

def objective(trial):
    while trial.number == 2 and not Path(os.environ["PILOTUNE_STUDY_DIR"], "go").exists():
        time.sleep(0.05)
    time.sleep(0.2)
    return trial.params["x"]
"""

STUDY = """
direction: maximize
space: {x: {int: [0, 1000000]}}
sampler: {name: random, seed: 1}
budget: {trials: 4, node_hours: 1}
"""


def test_a_killed_driver_and_the_next_one_share_the_budget(tmp_path: Path) -> None:
    here, account = Here(tmp_path), Account("node_hours", 1.0)

    def ledgers() -> list[Ledger]:
        attrs = read_study(f"sqlite:///{here.runs}/training/study.db", "training", parts=()).system_attrs
        return [Ledger.from_json(attrs[key]) for key in sorted(attrs) if key.startswith(HOURS)]

    here.study("training", TRAINING, STUDY)
    assert "1 node-hour at most, over all campaigns" in here.run("check", "training.yaml").stdout
    began = time.time()
    two = ("--set", "pools.local.workers_per_node=2")
    with ended(here.start("run", "training.yaml", *two)) as driver:
        here.await_status("training", lambda status: status["complete"] >= 2, "two trials have ended")
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    (dead,) = ledgers()
    assert dead.total(account, most=True) >= 0.98, "all of the budget is reserved for the only block"
    assert not dead.over
    (tmp_path / "go").touch()
    here.run("run", "training.yaml", *two)
    first, second = ledgers()
    assert first.over
    assert second.over
    used = first.total(account) + second.total(account)
    assert 0.0 < used <= (time.time() - began + 120.0) / 3600.0
    cost = [trial.user_attrs[NODE_HOURS] for trial in here.optuna("training").trials]
    assert all(0.2 / 2 / 3600 * 0.9 <= hours < used for hours in cost), "half of the node for its seconds"
    assert "1 node-hour" in here.run("status", "training").stdout
    best = here.json("best", "training")
    assert best["cost"]["node_hours"] == pytest.approx(used, abs=1e-4)
    assert "the study used " in here.run("best", "training").stdout
    more = ("--set", "budget.trials=9", "--set", f"budget.node_hours={max(used + 0.001, 0.0167)}")
    done = here.run("run", "training.yaml", *two, *more)
    assert "pays for no further block" in done.stdout
    assert "--set budget.node_hours=" in done.stdout
    assert len(here.optuna("training").trials) == 4
