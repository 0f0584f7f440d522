"""Campaigns whose blocks are jobs of an emulated OpenPBS, with real workers on all its nodes; they run side by side."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from ...support.campaigns import (
    DEAF,
    ENDLESS,
    LONG,
    TOGETHER,
    Case,
    Result,
    campaign,
    check_nodes,
    check_ranks,
    check_walltime,
    computed,
    computed_again,
    login,
    running_jobs,
    side_by_side,
)
from ...support.local import until

QUICK = {"late": 0.5, "kill_delay": 10.0, "exiting": 0.3, "starting": 0.2, "node_fail_requeue": 2.0}
NODES = ["node1", "node2", "node3", "node4"]


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Case, Future[Any]]]:
    with side_by_side(request, tmp_path_factory.mktemp("pbs"), 7) as cases:
        yield cases


@pytest.fixture
def seen(request: pytest.FixtureRequest, running: Mapping[Case, Future[Any]]) -> Any:
    """What the test's campaign came to."""
    return running[request.function.case].result(2 * LONG)


def user(folder: Path, pool: Mapping[str, Any], site: Mapping[str, Any] | None = None, **machine: Any) -> Any:
    """A user of a machine with four nodes that keeps a history of jobs."""
    return login(folder, "pbs", pool, site, **{"nodes": 4, "history": True, **QUICK, **machine})


# -- over several blocks ----------------------------------------------------------------------------------------------


def walltime(folder: Path) -> Result:
    with user(folder, {"walltime": "1m", "blocks": {"init": 2, "max": 2}}) as desk:
        return desk.run_longer_than(60)


@campaign(walltime)
def test_trials_that_are_longer_than_a_walltime_go_on_from_their_checkpoints(seen: Result) -> None:
    check_walltime(seen)
    assert "exceeded resource walltime, Exit_status -29" in seen.log


# -- blocks that do not come up ---------------------------------------------------------------------------------------


def bad_environment(folder: Path) -> Result:
    with user(folder, {}, {"setup": "echo 'conda: command not found' >&2\nexit 1"}) as desk, desk.start({}) as process:
        return desk.finish(process)


@campaign(bad_environment)
def test_a_block_whose_setup_fails_shows_what_it_said_itself(seen: Result) -> None:
    assert seen.code == 3
    assert "ended before any worker could reach the driver" in seen.out
    assert "conda: command not found" in seen.out
    assert set(seen.ends.values()) == {"bad environment"}
    assert 1 < len(seen.ends) <= 3, "a run of bad blocks backs off and then stops"


def bad_queue(folder: Path) -> Result:
    with user(folder, {"queue": "nosuch"}) as desk, desk.start({}) as process:
        return desk.finish(process)


@campaign(bad_queue)
def test_a_bad_queue_is_told_in_pbs_own_words(seen: Result) -> None:
    assert seen.code == 3
    assert "pool cpu: the scheduler refused the block: qsub: Unknown queue" in seen.out
    assert set(seen.ends.values()) == {"refused"}


def bad_account(folder: Path) -> Result:
    with user(folder, {}, {"account": "nobody"}, accounts=["proj"]) as desk, desk.start({}) as process:
        return desk.finish(process)


@campaign(bad_account)
def test_a_bad_account_is_told_in_pbs_own_words(seen: Result) -> None:
    assert seen.code == 3
    assert "qsub: Request rejected.  Reason:  No active allocation found for project nobody" in seen.out


# -- blocks that are lost ---------------------------------------------------------------------------------------------


def cancelled(folder: Path) -> Result:
    """One of two blocks is ended by qdel while its trial runs."""
    with user(folder, {"blocks": {"init": 2, "max": 2}}) as desk, desk.start(ENDLESS, ENDLESS) as process:
        desk.await_epochs(2)
        desk.command("qdel", running_jobs(desk.here)[0])
        desk.await_epochs(1, attempt=2)
        desk.here.write("go", "")
        return desk.finish(process)


@campaign(cancelled)
def test_a_block_that_is_ended_by_hand_costs_no_epoch(seen: Result) -> None:
    assert seen.code == 0, seen.out + seen.err
    assert [trial.value for trial in seen.trials] == [0.0, 1.0]
    assert sorted(seen.attempts(number) for number in range(2)) == [1, 2]
    assert computed_again(seen.epochs) == []
    first = next(name for name in seen.jobs if name.endswith("-cpu-0"))
    assert seen.ends[first] == "cancelled"
    assert f"job {seen.jobs[first]}, ended: cancelled" in seen.log
    assert "and terminated" in seen.log


def node_down(folder: Path) -> tuple[Result, str]:
    with user(folder, {"blocks": {"init": 2, "max": 2}}) as desk, desk.start(ENDLESS, ENDLESS) as process:
        desk.await_epochs(2)
        lost = computed(desk.here)[0].host
        desk.machine.node_down(lost)
        desk.await_epochs(1, attempt=2)
        desk.here.write("go", "")
        return desk.finish(process), lost


@campaign(node_down)
def test_a_node_that_goes_down_costs_its_trial_an_attempt(seen: tuple[Result, str]) -> None:
    result, lost = seen
    assert result.code == 0, result.out + result.err
    assert computed_again(result.epochs) == []
    again = {each.number for each in result.epochs if each.attempt == 2}
    assert {each.host for each in result.epochs if each.number in again and each.attempt == 1} == {lost}
    assert all(each.host != lost for each in result.epochs if each.attempt == 2)
    assert "node failure" in result.ends.values()
    assert "ended: node failure" in result.log


def requeued(folder: Path) -> tuple[Result, int]:
    """PBS puts the block back into the queue and runs it again, where the site file lets it."""
    with user(folder, {"options": ["#PBS -r y"]}, requeue_wait=3.0) as desk, desk.start(DEAF) as process:
        desk.await_epochs(1)
        job = running_jobs(desk.here)[0]
        desk.machine.rerun(job)
        desk.await_epochs(1, attempt=2)
        desk.here.write("go", "")
        runs = desk.machine.job(job).runs
        return desk.finish(process), runs


@campaign(requeued)
def test_a_block_that_pbs_runs_again_goes_on_as_the_same_block(seen: tuple[Result, int]) -> None:
    result, runs = seen
    assert result.code == 0, result.out + result.err
    assert runs == 2
    assert len(result.jobs) == 1
    assert result.attempts(0) == 2
    assert computed_again(result.epochs) == []


def server_away(folder: Path) -> tuple[str, Result]:
    with user(folder, {}) as desk:
        return desk.run_without_server()


@campaign(server_away)
def test_while_the_scheduler_is_away_trials_run_on_and_the_user_is_told(seen: tuple[str, Result]) -> None:
    message, result = seen
    assert "the scheduler does not answer" in message
    assert "cannot connect to server pbshead" in message
    assert result.code == 0, result.out + result.err
    assert (result.attempts(0), len(result.jobs)) == (1, 1)


def limited(folder: Path) -> Result:
    """The queue takes one job of a user, and the site file has two."""
    queues = {"workq": {"max_user": 1}}
    pool = {"blocks": {"init": 2, "max": 2}}
    with user(folder, pool, queues=queues) as desk, desk.start({"epochs": 9}, {"epochs": 9}) as process:
        return desk.finish(process)


@campaign(limited)
def test_a_queues_limit_of_jobs_leaves_the_campaign_the_blocks_it_has(seen: Result) -> None:
    assert seen.code == 0, seen.out + seen.err
    assert "would exceed queue workq's per-user limit" in seen.log
    assert len(seen.jobs) == 1


def killed_driver(folder: Path) -> tuple[int, Result]:
    """kill -9 of the driver; then the study is run once more."""
    with user(folder, {"blocks": {"init": 2, "max": 2}}) as desk:
        with desk.start(ENDLESS, ENDLESS) as process:
            desk.await_epochs(2)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        desk.nothing_is_left()
        jobs = len(desk.machine.jobs())
        desk.here.write("go", "")
        with desk.start_again() as process:
            return jobs, desk.finish(process)


@campaign(killed_driver)
def test_after_a_killed_driver_no_job_is_left_and_the_study_goes_on(seen: tuple[int, Result]) -> None:
    jobs, result = seen
    assert jobs == 2
    assert result.code == 0, result.out + result.err
    assert [trial.value for trial in result.trials] == [0.0, 1.0]
    assert [result.attempts(number) for number in range(2)] == [2, 2]
    assert computed_again(result.epochs) == []


def cleaned(folder: Path) -> str:
    with user(folder, {"blocks": {"init": 3, "max": 3}}, nodes=2) as desk:
        return desk.kill_and_clean()


@campaign(cleaned)
def test_after_a_killed_driver_running_and_queued_blocks_are_cleaned_up(seen: str) -> None:
    rows = [line.split()[-2:] for line in seen.splitlines()[1:]]
    assert sorted(rows) == [["queued", "ended"], ["running", "ended"], ["running", "ended"]]


# -- several blocks, on all nodes -------------------------------------------------------------------------------------


def together(folder: Path, **pool: Any) -> Result:
    """Four trials, each of which ends when there are traces of all four nodes."""
    with user(folder, pool, history=False) as desk, desk.start(*[TOGETHER] * 4) as process:
        return desk.finish(process)


def mpiexec(folder: Path) -> Result:
    return together(folder, nodes_per_block=2, blocks={"init": 2, "max": 2}, launcher="mpiexec")


def pbsdsh(folder: Path) -> Result:
    return together(folder, nodes_per_block=2, blocks={"init": 1, "max": 2}, launcher="pbsdsh")


def single(folder: Path) -> Result:
    return together(folder, blocks={"init": 4, "max": 4})


@campaign(mpiexec)
def test_mpiexec_starts_workers_on_all_nodes_of_two_blocks(seen: Result) -> None:
    check_nodes(seen, NODES, blocks=2)


@campaign(pbsdsh)
def test_pbsdsh_starts_workers_on_all_nodes_of_two_blocks(seen: Result) -> None:
    check_nodes(seen, NODES, blocks=2)


@campaign(single)
def test_blocks_of_one_node_come_to_lie_on_four(seen: Result) -> None:
    check_nodes(seen, NODES, blocks=4)


# -- hardware ---------------------------------------------------------------------------------------------------------


def gpus(folder: Path) -> Result:
    """On a node where somebody else's job has the first GPU."""
    pool = {"gpus_per_node": 2, "cores_per_node": 2, "workers_per_node": 2}
    with user(folder, pool, nodes=1, cores=3, gpus=3, gpu_variables=True) as desk:
        desk.command("qsub", "-l", "select=1:ncpus=1:ngpus=1", "--", "/bin/sleep", "1000")
        until(lambda: desk.machine.jobs()[0].phase == "running", "the other job runs")
        with desk.start({"epochs": 3}, {"epochs": 3}, trial={"gpus": 1}) as process:
            process.wait(LONG)
            desk.command("qdel", "1")
            return desk.finish(process)


@campaign(gpus)
def test_each_trial_sees_one_gpu_of_those_that_the_job_was_given(seen: Result) -> None:
    assert seen.code == 0, seen.out + seen.err
    assert {each.gpus for each in seen.epochs} <= {"1", "2"}
    assert len({(each.number, each.gpus) for each in seen.epochs}) == 2


def several_nodes(folder: Path) -> tuple[Result, list[list[str]]]:
    """Two trials side by side, each with two ranks on each of two nodes."""
    with user(folder, {"nodes_per_block": 4, "launcher": "mpiexec"}) as desk:
        return desk.run_ranks()


@campaign(several_nodes)
def test_trials_on_several_nodes_start_their_ranks_there(seen: tuple[Result, list[list[str]]]) -> None:
    check_ranks(*seen, NODES)
