"""Campaigns whose blocks are jobs of a real Slurm, with workers on all its nodes; they run side by side."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from ...support.campaigns import (
    LONG,
    Case,
    Desk,
    Result,
    campaign,
    check_nodes,
    computed_again,
    running_jobs,
    side_by_side,
    write_site,
)
from ...support.local import Here, processes, until
from ...support.slurm import ACCOUNTS, NODES, Lab

ENDLESS, DEAF = {"how": "until told"}, {"how": "deaf until told"}

NOT_ON_N4 = ["#SBATCH --exclude=n4"]
N4 = threading.Lock()
"""Held while a campaign uses node n4, or sets it down."""


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, slurm_lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Case, Future[Any]]]:
    with side_by_side(request, tmp_path_factory.mktemp("slurm"), 6, slurm_lab) as cases:
        yield cases


@pytest.fixture
def seen(request: pytest.FixtureRequest, running: Mapping[Case, Future[Any]]) -> Any:
    """What the test's campaign came to."""
    return running[request.function.case].result(3 * LONG)


class SlurmDesk(Desk):
    """On the login node of the tests' Slurm, with a site file of one pool."""

    def __init__(self, lab: Lab, folder: Path, **pool: Any):
        super().__init__(Here(folder, **lab.environment), lab)
        self.site(**pool)

    def site(self, site: Mapping[str, Any] | None = None, **pool: Any) -> None:
        """Blocks of one core, so that several lie on a node."""
        usual = {"walltime": "10m", "exclusive": False, "cores_per_node": 1, "options": NOT_ON_N4}
        write_site(self.here, "slurm", {**usual, **pool}, **{"account": ACCOUNTS[0], **(site or {})})

    def tell(self) -> None:
        """The trials may end."""
        self.here.write("go", "")

    def nothing_is_left(self) -> None:
        def jobs() -> set[str]:
            return set(running_jobs(self.here)) & set(self.machine.run("squeue", "-h", "-o", "%i").stdout.split())

        until(lambda: not jobs(), "no job is left", LONG)
        until(lambda: not processes(self.here), "no process of the user is left", LONG)


def run(folder: Path, lab: Lab, site: Mapping[str, Any] | None = None, **pool: Any) -> Result:
    """One short trial."""
    desk = SlurmDesk(lab, folder)
    desk.site(site, **pool)
    with desk.start({"epochs": 1}) as process:
        return desk.finish(process)


# -- a walltime that is too short -------------------------------------------------------------------------------------


def walltime(folder: Path, lab: Lab) -> Result:
    """Two trials longer than a block of 60 s; one reports, and so can yield. The other does neither, and is ended by
    Slurm, which looks every 30 s whose time is over."""
    trials = [{"epochs": 60, "seconds": 1.0}, {"epochs": 95, "seconds": 1.0, "how": "deaf", "every": 5}]
    desk = SlurmDesk(lab, folder, walltime="1m", blocks={"init": 2, "max": 2})
    with desk.start(*trials) as process:
        return desk.finish(process)


@campaign(walltime)
def test_trials_that_are_longer_than_a_walltime_go_on_from_their_checkpoints(seen: Result) -> None:
    assert seen.code == 0, seen.out + seen.err
    assert [trial.value for trial in seen.trials] == [0.0, 1.0]
    for number, every, epochs in ((0, 1, 60), (1, 5, 95)):
        own = [each for each in seen.epochs if each.number == number]
        assert {each.epoch for each in own} == set(range(1, epochs + 1))
        assert computed_again(own, every) == []
        assert seen.attempts(number) > 1
    assert len([each for each in seen.epochs if each.number == 0]) == 60, "one that yields computes nothing twice"


# -- blocks that do not come up ---------------------------------------------------------------------------------------


def bad_environment(folder: Path, lab: Lab) -> Result:
    return run(folder, lab, {"setup": "conda activate tuning || exit 1"})


@campaign(bad_environment)
def test_a_block_whose_setup_fails_shows_what_it_said_itself(seen: Result) -> None:
    assert seen.code == 3
    assert "ended before any worker could reach the driver (FAILED: NonZeroExitCode: exit code 1)" in seen.out
    assert "conda: command not found" in seen.out
    assert set(seen.ends.values()) == {"bad environment"}
    assert 1 < len(seen.ends) <= 3, "a run of bad blocks backs off and then stops"


def bad_partition(folder: Path, lab: Lab) -> Result:
    return run(folder, lab, queue="nowhere")


@campaign(bad_partition)
def test_a_bad_partition_is_told_in_sbatchs_own_words(seen: Result) -> None:
    assert seen.code == 3
    assert "pool cpu: the scheduler refused the block: sbatch: error: invalid partition specified: nowhere" in seen.out
    assert set(seen.ends.values()) == {"refused"}


def bad_account(folder: Path, lab: Lab) -> Result:
    return run(folder, lab, {"account": "somebody"})


@campaign(bad_account)
def test_a_bad_account_is_told_in_sbatchs_own_words(seen: Result) -> None:
    assert seen.code == 3
    assert "Invalid account or account/partition combination specified" in seen.out


def impossible(folder: Path, lab: Lab) -> tuple[Result, str]:
    """Slurm takes the block and will never start it; the user looks, and gives up."""
    desk = SlurmDesk(lab, folder, queue="debug", walltime="1h")
    with desk.start(ENDLESS) as process:
        until(lambda: "PartitionTimeLimit" in str(desk.here.status("epochs")), "the reason is known", LONG)
        said = desk.here.run("status", "epochs").stdout
        desk.here.run("stop", "epochs", "--now")
        return desk.finish(process), said


@campaign(impossible)
def test_a_block_that_will_never_start_says_why(seen: tuple[Result, str]) -> None:
    result, said = seen
    assert result.code == 130
    assert "PartitionTimeLimit: it will never start: the walltime is longer than the partition allows" in result.err
    assert "PartitionTimeLimit" in said
    assert list(result.ends.values()) == ["cancelled"]


# -- blocks that are lost ---------------------------------------------------------------------------------------------


def cancelled(folder: Path, lab: Lab) -> Result:
    """One of two blocks is ended by scancel while its trial runs."""
    desk = SlurmDesk(lab, folder, blocks={"init": 2, "max": 2})
    with desk.start(ENDLESS, ENDLESS) as process:
        desk.await_epochs(2)
        lab.run("scancel", running_jobs(desk.here)[0])
        desk.await_epochs(1, attempt=2)
        desk.tell()
        return desk.finish(process)


@campaign(cancelled)
def test_a_block_that_is_ended_by_hand_costs_no_epoch(seen: Result) -> None:
    assert seen.code == 0, seen.out + seen.err
    assert [trial.value for trial in seen.trials] == [0.0, 1.0]
    assert computed_again(seen.epochs) == []
    first = next(name for name in seen.jobs if name.endswith("-cpu-0"))
    assert seen.ends[first] == "cancelled"
    assert f"job {seen.jobs[first]}, ended: cancelled (CANCELLED" in seen.log


def preempted(folder: Path, lab: Lab) -> Result:
    """A job of a partition that goes before needs what the block holds."""
    desk = SlurmDesk(lab, folder, queue="spare", options=["#SBATCH --gres=place:1 --nodelist=n3"])
    with desk.start(ENDLESS) as process:
        desk.await_epochs(1)
        lab.run("sbatch", "-A", ACCOUNTS[0], "-o", "/dev/null", "--gres=place:1", "-w", "n3", "--wrap", "sleep 2")
        desk.await_epochs(1, attempt=2)
        desk.tell()
        return desk.finish(process)


@campaign(preempted)
def test_a_block_that_is_preempted_costs_no_epoch(seen: Result) -> None:
    assert seen.code == 0, seen.out + seen.err
    assert computed_again(seen.epochs) == []
    assert next(iter(seen.ends.values())) == "preempted"


def requeued(folder: Path, lab: Lab) -> tuple[Result, str]:
    """Slurm puts the block back into the queue and runs it again, where the site file lets it."""
    desk = SlurmDesk(lab, folder, options=[*NOT_ON_N4, "#SBATCH --requeue"])
    with desk.start(DEAF) as process:
        desk.await_epochs(1)
        job = running_jobs(desk.here)[0]
        lab.run("scontrol", "requeue", job)
        desk.await_epochs(1, attempt=2)
        desk.tell()
        restarts = lab.job(job)["Restarts"]
        return desk.finish(process), restarts


@campaign(requeued)
def test_a_block_that_slurm_runs_again_goes_on_as_the_same_block(seen: tuple[Result, str]) -> None:
    result, restarts = seen
    assert result.code == 0, result.out + result.err
    assert restarts == "1"
    assert len(result.jobs) == 1
    assert computed_again(result.epochs) == []


def killed_driver(folder: Path, lab: Lab) -> tuple[int, Result]:
    """kill -9 of the driver; then the study is run once more."""
    desk = SlurmDesk(lab, folder, blocks={"init": 2, "max": 2})
    with desk.start(ENDLESS, ENDLESS) as process:
        desk.await_epochs(2)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    desk.nothing_is_left()
    jobs = len(running_jobs(desk.here))
    desk.tell()
    with desk.start_again() as process:
        return jobs, desk.finish(process)


@campaign(killed_driver)
def test_after_a_killed_driver_no_job_is_left_and_the_study_goes_on(seen: tuple[int, Result]) -> None:
    jobs, result = seen
    assert jobs == 2
    assert result.code == 0, result.out + result.err
    assert [trial.value for trial in result.trials] == [0.0, 1.0]
    assert computed_again(result.epochs) == []


# -- several blocks, on all nodes -------------------------------------------------------------------------------------


def together(folder: Path, lab: Lab, site: Mapping[str, Any], **pool: Any) -> Result:
    """Four trials, each of which ends when there are traces of all four nodes."""
    desk = SlurmDesk(lab, folder)
    desk.site(site, **pool)
    with N4, desk.start(*[{"how": "together", "hosts": 4}] * 4) as process:
        return desk.finish(process)


def srun(folder: Path, lab: Lab) -> Result:
    pool = {"nodes_per_block": 2, "launcher": "srun", "options": ["#SBATCH --gres=place:1"]}
    return together(folder, lab, {"network": {"address": lab.head}}, blocks={"init": 2, "max": 2}, **pool)


def single(folder: Path, lab: Lab) -> Result:
    pool = {"launcher": "single", "options": ["#SBATCH --gres=place:1"]}
    return together(folder, lab, {"network": {"interface": lab.network.bridge}}, blocks={"init": 4, "max": 4}, **pool)


@campaign(srun)
def test_srun_starts_workers_on_all_nodes_of_two_blocks(seen: Result) -> None:
    check_nodes(seen, NODES, blocks=2)


@campaign(single)
def test_blocks_of_one_node_come_to_lie_on_four(seen: Result) -> None:
    check_nodes(seen, NODES, blocks=4)


def node_down(folder: Path, lab: Lab) -> Result:
    """The only node that the blocks may use goes down, and comes back."""
    desk = SlurmDesk(lab, folder, options=["#SBATCH --nodelist=n4"])
    with N4, desk.start(ENDLESS) as process:
        desk.await_epochs(1)
        lab.set_down("n4")
        try:
            until(lambda: len(running_jobs(desk.here)) > 1, "there is another block", LONG)
        finally:
            lab.set_up("n4")
        desk.await_epochs(1, attempt=2)
        desk.tell()
        return desk.finish(process)


@campaign(node_down)
def test_a_node_that_goes_down_costs_no_epoch(seen: Result) -> None:
    assert seen.code == 0, seen.out + seen.err
    assert computed_again(seen.epochs) == []
    assert next(iter(seen.ends.values())) == "node failure"
    assert "ended: node failure (NODE_FAIL: NodeDown)" in seen.log
    assert seen.hosts == {"n4"}


# -- hardware ---------------------------------------------------------------------------------------------------------


def gpus(folder: Path, lab: Lab) -> Result:
    desk = SlurmDesk(lab, folder, gpus_per_node=2, workers_per_node=2, cores_per_node=2, launcher="srun")
    with desk.start({"epochs": 3}, {"epochs": 3}, trial={"gpus": 1}) as process:
        return desk.finish(process)


@campaign(gpus)
def test_each_trial_sees_the_one_gpu_that_is_its_own(seen: Result) -> None:
    assert seen.code == 0, seen.out + seen.err
    assert {each.gpus for each in seen.epochs} <= {"0", "1"}
    assert len({(each.number, each.gpus) for each in seen.epochs}) == 2


def several_nodes(folder: Path, lab: Lab) -> tuple[Result, list[list[str]]]:
    desk = SlurmDesk(lab, folder, nodes_per_block=4, launcher="srun", cores_per_node=2, options=[])
    with N4:
        return desk.run_ranks()


@campaign(several_nodes)
def test_trials_on_several_nodes_start_their_ranks_there(seen: tuple[Result, list[list[str]]]) -> None:
    result, ranks = seen
    assert result.code == 0, result.out + result.err
    assert [trial.value for trial in result.trials] == [4.0, 4.0]
    assert [sorted(Counter(lines).values()) for lines in ranks] == [[2, 2]] * 2
    assert set(ranks[0]) | set(ranks[1]) <= set(NODES)
