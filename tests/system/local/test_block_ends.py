"""Blocks that end while trials run on real workers: the trials yield and go on in another, and no process is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pilotune.pipeline.attributes import details_of
from pilotune.pipeline.worker.node.posix import parents

from ...support.local import Here, begun, end_of, ended, patient, processes, until

pytestmark = pytest.mark.real

TWO = ("--set", "pools.local.workers_per_node=2")
NODE = "pilotune.providers.node.agent"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def node_programs(here: Here) -> list[int]:
    """The programs that the blocks have started on their nodes, without their guardians."""
    found = [pid for pid, words in processes(here).items() if NODE in words and "bash" not in words]
    return [pid for pid in found if parents().get(pid) not in found]


def test_trials_of_a_block_that_is_ended_yield_and_go_on_in_another(here: Here) -> None:
    patient(here, "moved", ["reports", "reports"])
    with ended(here.start("run", "moved.yaml", *TWO)) as process:
        until(lambda: len(begun(here)) == 2, "both trials run")
        (first,) = node_programs(here)
        os.kill(first, signal.SIGTERM)
        until(lambda: len(begun(here)) == 4, "both trials run again")
        here.write("go", "")
        end_of(process)
    for trial in here.optuna("moved").trials:
        assert trial.user_attrs["pilotune:attempts"] == 2
        assert "last_loss" not in details_of(trial)  # the outcomes came before the pool went
    for number in (0, 1):
        before, after = sorted(each for each in begun(here) if each.number == number)
        reported = len(here.optuna("moved").trials[number].intermediate_values)
        assert before.first < after.first <= reported + 1
    until(lambda: not processes(here), "all processes have ended")
