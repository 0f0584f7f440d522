"""Campaigns whose blocks are jobs of an emulated Cobalt, with real workers on all nodes; they run side by side.

On the Cray a block's script runs on a node of its own, and aprun starts the workers on the block's nodes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from ...support.campaigns import (
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

QUICK = {"late": 0.5, "force_kill_delay": 10.0, "exiting": 0.3, "starting": 0.2}
CRAY = ["nid00001", "nid00002", "nid00003", "nid00004"]
CLUSTER = ["node1", "node2", "node3", "node4"]


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Case, Future[Any]]]:
    with side_by_side(request, tmp_path_factory.mktemp("cobalt"), 7) as cases:
        yield cases


@pytest.fixture
def seen(request: pytest.FixtureRequest, running: Mapping[Case, Future[Any]]) -> Any:
    """What the test's campaign came to."""
    return running[request.function.case].result(2 * LONG)


def user(folder: Path, pool: Mapping[str, Any], site: Mapping[str, Any] | None = None, **machine: Any) -> Any:
    """A user of a Cray with four nodes."""
    settings = {"nodes": 4, "system": "cray", **QUICK, **machine}
    return login(folder, "cobalt", {"launcher": "aprun", **pool}, site, **settings)


# -- over several blocks ----------------------------------------------------------------------------------------------


def walltime(folder: Path) -> Result:
    """Blocks of a minute, which takes three quarters of one here: workers know their end from Cobalt."""
    with user(folder, {"walltime": "1m", "blocks": {"init": 2, "max": 2}}, minute=45.0) as desk:
        return desk.run_longer_than(45)


@campaign(walltime)
def test_trials_that_are_longer_than_a_walltime_go_on_from_their_checkpoints(seen: Result) -> None:
    check_walltime(seen)
    assert "maximum execution time exceeded; initiating job termination" in seen.log


# -- blocks that do not come up ---------------------------------------------------------------------------------------


def bad_environment(folder: Path) -> Result:
    with user(folder, {}, {"setup": "echo 'conda: command not found' >&2\nexit 1"}) as desk, desk.start({}) as process:
        return desk.finish(process)


@campaign(bad_environment)
def test_a_block_whose_setup_fails_shows_what_it_said_itself(seen: Result) -> None:
    assert seen.code == 3
    assert "ended before any worker could reach the driver (exit code 1)" in seen.out
    assert "Its last words: conda: command not found" in seen.out
    assert set(seen.ends.values()) == {"bad environment"}
    assert 1 < len(seen.ends) <= 3, "a run of bad blocks backs off and then stops"


def bad_queue(folder: Path) -> Result:
    with user(folder, {"queue": "nosuch"}) as desk, desk.start({}) as process:
        return desk.finish(process)


@campaign(bad_queue)
def test_a_bad_queue_is_told_in_cobalts_own_words(seen: Result) -> None:
    assert seen.code == 3
    assert (
        "the scheduler refused the block: <Fault 1001: \"trying to add job to non-existent queue 'nosuch'" in seen.out
    )
    assert set(seen.ends.values()) == {"refused"}


def bad_account(folder: Path) -> Result:
    with user(folder, {}, {"account": "nobody"}, accounts=["proj"]) as desk, desk.start({}) as process:
        return desk.finish(process)


@campaign(bad_account)
def test_a_bad_account_is_told_in_cobalts_own_words(seen: Result) -> None:
    assert seen.code == 3
    assert "<Fault 1001: 'Project nobody does not exist or has no allocation'>" in seen.out


def too_short(folder: Path) -> Result:
    with user(folder, {"walltime": "1m", "launcher": "single"}, system="cluster") as desk, desk.start({}) as process:
        return desk.finish(process)


@campaign(too_short)
def test_a_walltime_that_a_cluster_finds_too_short_is_told_in_cobalts_own_words(seen: Result) -> None:
    assert seen.code == 3
    assert "'Walltime less than minimum'" in seen.out


def held(folder: Path) -> tuple[str, Result]:
    """The block is held in the queue, and let go after a while."""
    with user(folder, {}, queue_wait=5.0) as desk, desk.start({"epochs": 3}) as process:
        until(lambda: desk.machine.jobs(), "the block is in the queue")
        job = desk.machine.jobs()[0].number
        desk.machine.hold(job)

        def reason() -> str:
            blocks = desk.here.status("epochs").get("blocks", [])
            return next((block["reason"] for block in blocks if block["reason"]), "")

        said = until(reason, "the user is told why the block waits")
        desk.machine.hold(job, "")
        return said, desk.finish(process)


@campaign(held)
def test_a_held_block_says_so_and_runs_once_it_is_let_go(seen: tuple[str, Result]) -> None:
    reason, result = seen
    assert reason == "user_hold: held by its owner; qrls lets it go"
    assert result.code == 0, result.out + result.err
    assert len(result.jobs) == 1


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
    assert f"job {seen.jobs[first]}, ended: cancelled (user delete requested with signal SIGTERM" in seen.log


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


def server_away(folder: Path) -> tuple[str, Result]:
    with user(folder, {}) as desk:
        return desk.run_without_server()


@campaign(server_away)
def test_while_the_scheduler_is_away_trials_run_on_and_the_user_is_told(seen: tuple[str, Result]) -> None:
    message, result = seen
    assert "the scheduler does not answer" in message
    assert "component error: Failed to connect to queue-manager" in message
    assert result.code == 0, result.out + result.err
    assert (result.attempts(0), len(result.jobs)) == (1, 1)


def limited(folder: Path) -> Result:
    """The queue takes one job of a user, and the site file has two."""
    queues = {"default": {"max_user": 1}}
    pool = {"blocks": {"init": 2, "max": 2}}
    with user(folder, pool, queues=queues) as desk, desk.start({"epochs": 9}, {"epochs": 9}) as process:
        return desk.finish(process)


@campaign(limited)
def test_a_queues_limit_of_jobs_leaves_the_campaign_the_blocks_it_has(seen: Result) -> None:
    assert seen.code == 0, seen.out + seen.err
    assert "The limit of 1 jobs per user in the 'default' queue has been reached" in seen.log
    assert len(seen.jobs) == 1


def killed_driver(folder: Path) -> tuple[int, Result]:
    """kill -9 of the driver; then the study is run once more."""
    with user(folder, {"blocks": {"init": 2, "max": 2}}) as desk:
        with desk.start(ENDLESS, ENDLESS) as process:
            desk.await_epochs(2)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        desk.nothing_is_left()
        jobs = len(running_jobs(desk.here))
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


def aprun(folder: Path) -> Result:
    pool = {"nodes_per_block": 2, "blocks": {"init": 1, "max": 2}}
    with user(folder, pool) as desk, desk.start(*[TOGETHER] * 4) as process:
        return desk.finish(process)


@campaign(aprun)
def test_aprun_starts_workers_on_all_nodes_of_two_blocks(seen: Result) -> None:
    check_nodes(seen, CRAY, blocks=2)


def single(folder: Path) -> Result:
    pool = {"launcher": "single", "blocks": {"init": 4, "max": 4}}
    with user(folder, pool, system="cluster") as desk, desk.start(*[TOGETHER] * 4) as process:
        return desk.finish(process)


@campaign(single)
def test_blocks_of_one_node_come_to_lie_on_four_nodes_of_a_cluster(seen: Result) -> None:
    check_nodes(seen, CLUSTER, blocks=4)


# -- hardware ---------------------------------------------------------------------------------------------------------


def gpus(folder: Path) -> Result:
    pool = {"gpus_per_node": 2, "workers_per_node": 2, "launcher": "single"}
    with (
        user(folder, pool, nodes=1, gpus=2, system="cluster") as desk,
        desk.start({"epochs": 3}, {"epochs": 3}, trial={"gpus": 1}) as process,
    ):
        return desk.finish(process)


@campaign(gpus)
def test_each_trial_sees_one_gpu_of_its_node(seen: Result) -> None:
    assert seen.code == 0, seen.out + seen.err
    assert {each.gpus for each in seen.epochs} <= {"0", "1"}
    assert len({(each.number, each.gpus) for each in seen.epochs}) == 2


def several_nodes(folder: Path) -> tuple[Result, list[list[str]]]:
    with user(folder, {"nodes_per_block": 4}) as desk:
        return desk.run_ranks()


@campaign(several_nodes)
def test_trials_on_several_nodes_start_their_ranks_there(seen: tuple[Result, list[list[str]]]) -> None:
    check_ranks(*seen, CRAY)


def several_nodes_of_a_cluster(folder: Path) -> tuple[Result, list[list[str]]]:
    with user(folder, {"nodes_per_block": 4}, system="cluster") as desk:
        return desk.run_ranks()


@campaign(several_nodes_of_a_cluster)
def test_trials_on_several_nodes_of_a_cluster_start_their_ranks_there(seen: tuple[Result, list[list[str]]]) -> None:
    check_ranks(*seen, CLUSTER)
