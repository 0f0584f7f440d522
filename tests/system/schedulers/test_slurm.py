"""Campaigns that only a Slurm can be tested with: preemption, limits of a partition, a node that comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from ...support import slurm
from ...support.campaigns import ENDLESS, LONG, Result, campaign, computed_again, running_jobs
from ...support.local import until
from .lab import N4, SLURM, SlurmLab, SlurmLogin

pytestmark = [pytest.mark.real, pytest.mark.heavy, pytest.mark.parametrize("lab", [SLURM], ids=["slurm"])]


def machine(lab: SlurmLab) -> slurm.Lab:
    assert lab.slurm is not None
    return lab.slurm


def impossible(folder: Path, lab: SlurmLab) -> tuple[Result, str]:
    """Slurm takes the block and will never start it; the user reads why, and gives up."""
    with lab.login(folder, {"queue": "debug", "walltime": "1h"}) as user, user.start(ENDLESS) as process:
        until(lambda: "PartitionTimeLimit" in str(user.here.status("epochs")), "the reason is known", LONG)
        printed = user.here.run("status", "epochs").stdout
        user.here.run("stop", "epochs", "--now")
        return user.finish(process), printed


@campaign(impossible)
def test_a_block_that_will_never_start_says_why(result: tuple[Result, str]) -> None:
    ended, printed = result
    assert ended.code == 130
    assert "PartitionTimeLimit: it will never start: the walltime is longer than the partition allows" in ended.err
    assert "PartitionTimeLimit" in printed
    assert list(ended.ends.values()) == ["cancelled"]


def preempted(folder: Path, lab: SlurmLab) -> Result:
    """A job of a partition with a higher priority needs what the block holds."""
    place = ("--gres=place:1", "--nodelist=n3")
    user = SlurmLogin(machine(lab), folder, {"queue": "spare", "options": [f"#SBATCH {' '.join(place)}"]})
    with user.start(ENDLESS) as process:
        user.await_epochs(1)
        user.machine.run("sbatch", "-A", slurm.ACCOUNTS[0], "-o", "/dev/null", *place, "--wrap", "sleep 2")
        user.await_epochs(1, attempt=2)
        user.let_trials_end()
        return user.finish(process)


@campaign(preempted)
def test_a_block_that_is_preempted_costs_no_epoch(result: Result) -> None:
    assert result.code == 0, result.out + result.err
    assert computed_again(result.epochs) == []
    assert next(iter(result.ends.values())) == "preempted"


def node_down(folder: Path, lab: SlurmLab) -> Result:
    """The only node that the blocks may use goes down, and comes back."""
    user = SlurmLogin(machine(lab), folder, {"options": ["#SBATCH --nodelist=n4"]})
    with N4, user.start(ENDLESS) as process:
        user.await_epochs(1)
        user.machine.set_down("n4")
        try:
            until(lambda: len(running_jobs(user.here)) > 1, "there is another block", LONG)
        finally:
            user.machine.set_up("n4")
        user.await_epochs(1, attempt=2)
        user.let_trials_end()
        return user.finish(process)


@campaign(node_down)
def test_a_node_that_goes_down_costs_no_epoch(result: Result) -> None:
    assert result.code == 0, result.out + result.err
    assert computed_again(result.epochs) == []
    assert next(iter(result.ends.values())) == "node failure"
    assert "ended: node failure (NODE_FAIL: NodeDown)" in result.log
    assert result.hosts == {"n4"}
