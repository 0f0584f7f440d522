"""Campaigns that only a Slurm can be tested with: preemption, limits of a partition, a node that comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.pipeline.analysis import read_study
from pilotune.pipeline.attributes import HOURS
from pilotune.pipeline.record.hours import Ledger

from ...support import slurm
from ...support.campaigns import ENDLESS, LONG, TOGETHER, Result, campaign, computed_again, records, running_jobs
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


HALF_A_BLOCK = {"trials": 1000, "node_hours": {"cpu": 2 * 2 / 60 + 0.01}}
"""Two blocks of two nodes and one minute, and a little more."""


def accounts(lab: SlurmLab, jobs: list[str]) -> list[tuple[float, int, str]]:
    """Seconds, nodes and end of each of these jobs in Slurm's accounts, once all of them are over."""

    def found() -> list[tuple[float, int, str]] | None:
        words = machine(lab).run("sacct", "-X", "-n", "-P", "-j", ",".join(jobs), "-o", "End,ElapsedRaw,NNodes")
        rows = [line.split("|") for line in words.stdout.splitlines()]
        over = len(rows) == len(jobs) and all(end[:1].isdigit() for end, _, _ in rows)
        return [(float(seconds), int(nodes), end) for end, seconds, nodes in rows] if over else None

    return until(found, "Slurm's accounts have the jobs", LONG)


def charged(folder: Path, lab: SlurmLab) -> tuple[Result, list[float], Ledger]:
    """A budget pays for two blocks of two nodes; what Slurm's accounts say that they took, and what Pilotune says."""
    pool = {"walltime": "1m", "nodes_per_block": 2, "launcher": "srun", "blocks": {"init": 1, "max": 1}}
    with lab.login(folder, pool) as user, user.start(ENDLESS, ENDLESS, budget=HALF_A_BLOCK) as process:
        result = user.finish(process)
        taken = [seconds * nodes for seconds, nodes, _ in accounts(lab, running_jobs(user.here))]
        attrs = read_study(f"sqlite:///{user.here.runs}/epochs/study.db", "epochs", parts=()).system_attrs
        kept = {key: value for key, value in attrs.items() if key.startswith(HOURS)}
    return result, taken, Ledger.from_json(*kept.values())


@campaign(charged)
def test_node_hours_are_those_of_slurms_accounts(result: tuple[Result, list[float], Ledger]) -> None:
    """Within 1 % or a second of each node, since Slurm's accounts have whole seconds."""
    ended, taken, ledger = result
    assert "the budget of 0.07667 node-hours in pool cpu pays for no further block" in ended.out
    assert len(taken) == 2
    spent = ledger.pools["cpu"].nodes
    assert ledger.over
    assert abs(spent - sum(taken)) <= max(0.01 * sum(taken), 2.0 * len(taken)), (spent, taken)


def shaped(folder: Path, lab: SlurmLab) -> tuple[Result, list[str]]:
    """Blocks of one node start, those of four cannot: there are three for them."""
    shapes = [{"nodes": 1, "walltime": "5m"}, {"nodes": 4, "walltime": "10m"}]
    with lab.login(folder, {"shapes": shapes, "blocks": {"max": 2}}) as user, user.start(*[ENDLESS] * 8) as process:
        user.await_epochs(1)
        until(lambda: len(running_jobs(user.here)) > 1, "there is another block", LONG)
        sizes = [machine(lab).job(job)["NumNodes"] for job in running_jobs(user.here)]
        user.let_trials_end()
        return user.finish(process), sizes


@campaign(shaped)
def test_a_shape_that_slurm_does_not_take_leaves_the_others(result: tuple[Result, list[str]]) -> None:
    ended, sizes = result
    assert ended.code == 0, ended.out + ended.err
    assert set(sizes) <= {"1", "1-1"}, "one node, and of a job that waits as a range"
    assert "blocks of 4 nodes for 10m are not submitted: " in ended.log


def moved(folder: Path, lab: SlurmLab) -> tuple[Result, list[tuple[float, int, str]]]:
    """The last trials are one in a block of one node, and one in a block of three nodes whose others have ended.

    The trials are expected to run for much longer than jobs of other tests hold the nodes: neither the choice of the
    large block nor the departure from it may depend on how long blocks wait. Its workers start once the first trial
    runs, which is thus in the small one.
    """
    large_waits = f'while [ "$SLURM_JOB_NUM_NODES" = 3 ] && [ ! -s "{folder}/notes" ]; do sleep 0.1; done'
    shapes = [{"nodes": 1, "walltime": "120m"}, {"nodes": 3, "walltime": "120m"}]
    pool = {"shapes": shapes, "launcher": "srun", "blocks": {"max": 3}}
    trials = [ENDLESS, {**TOGETHER, "hosts": 3}, {**TOGETHER, "hosts": 3}, ENDLESS]
    site = {"setup": large_waits}
    with lab.login(folder, pool, site) as user, user.start(*trials, trial={"expected": "60m"}) as process:
        user.await_epochs(4, epochs=1)
        user.await_epochs(1, attempt=2)
        until(lambda: [each for each in records(user.here) if each["event"] == "ended"], "the large block ends", LONG)
        user.let_trials_end()
        return user.finish(process), accounts(lab, running_jobs(user.here))


@campaign(moved)
def test_the_last_trial_leaves_a_large_block_for_a_small_one(
    result: tuple[Result, list[tuple[float, int, str]]],
) -> None:
    ended, jobs = result
    assert ended.code == 0, ended.out + ended.err
    assert "trial 3 leaves block 1 (3 nodes) for block 2 (1 node)" in ended.log
    assert [nodes for _, nodes, _ in jobs] == [1, 3, 1]
    assert jobs[1][2] < min(jobs[0][2], jobs[2][2]), "the large one has ended before the others"
    assert computed_again(ended.epochs) == []
    assert (ended.attempts(0), ended.attempts(3)) == (1, 2)
    assert sorted(trial.value for trial in ended.trials) == [0.0, 1.0, 2.0, 3.0]
