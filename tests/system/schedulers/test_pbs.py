"""Campaigns that only PBS can be tested with: its launcher pbsdsh, and GPUs that a job is given by its number."""

from __future__ import annotations

from pathlib import Path

import pytest

from ...support.campaigns import ENDLESS, LONG, TOGETHER, Result, campaign, check_nodes, finish
from ...support.local import until
from .lab import PBS, Lab

pytestmark = [pytest.mark.real, pytest.mark.heavy, pytest.mark.parametrize("lab", [PBS], ids=["pbs"])]


def pbsdsh(folder: Path, lab: Lab) -> Result:
    """Four trials on all four nodes of a machine that forgets jobs once they have ended."""
    pool = {"nodes_per_block": 2, "blocks": {"init": 1, "max": 2}, "launcher": "pbsdsh"}
    with lab.login(folder, pool, **lab.no_history) as user, user.start(*[TOGETHER] * 4) as process:
        return user.finish(process)


@campaign(pbsdsh)
def test_pbsdsh_starts_workers_on_all_nodes_of_two_blocks(result: Result, lab: Lab) -> None:
    check_nodes(result, lab.nodes, blocks=2)


def left_at_the_end(folder: Path, lab: Lab) -> tuple[Result, str]:
    """PBS does not end the block's job when the campaign is over; then ``pilotune clean`` tries again."""
    with lab.login(folder) as user, user.start(ENDLESS) as process:
        user.await_epochs(1)
        user.machine.set(failures={"qdel": {"code": 159, "err": "qdel: Unauthorized Request  1.pbshead"}})
        user.let_trials_end()
        result = finish(user.here, process)
        user.machine.set(failures={})
        cleaned = user.here.run("clean", "epochs").stdout
        user.nothing_is_left()
        return result, cleaned


@campaign(left_at_the_end)
def test_a_job_that_could_not_be_ended_is_in_the_summary(result: tuple[Result, str]) -> None:
    ended, cleaned = result
    assert ended.code == 3, ended.out + ended.err
    assert "job 1.pbshead is not ended and may hold nodes; pilotune clean epochs tries again" in ended.out
    assert "1.pbshead" in cleaned, "it is not taken for ended"


def gpus(folder: Path, lab: Lab) -> Result:
    """On a node where another user's job has the first GPU."""
    pool = {"gpus_per_node": 2, "cores_per_node": 2, "workers_per_node": 2}
    with lab.login(folder, pool, nodes=1, cores=3, gpus=3, gpu_variables=True) as user:
        user.command("qsub", "-l", "select=1:ncpus=1:ngpus=1", "--", "/bin/sleep", "1000")
        until(lambda: user.machine.jobs()[0].phase == "running", "the other job runs")
        with user.start({"epochs": 3}, {"epochs": 3}, trial={"gpus": 1}) as process:
            process.wait(LONG)
            user.cancel("1")
            return user.finish(process)


@campaign(gpus)
def test_each_trial_sees_one_gpu_of_those_that_the_job_was_given(result: Result) -> None:
    assert result.code == 0, result.out + result.err
    assert {each.gpus for each in result.epochs} <= {"1", "2"}
    assert len({(each.number, each.gpus) for each in result.epochs}) == 2
