"""The same campaigns on every scheduler: a real Slurm, an emulated OpenPBS and an emulated Cobalt, with real workers.

What is expected of each scheduler stands in lab.py. All campaigns run side by side (see conftest.py), the longest
first. What only one scheduler has is tested in test_slurm.py, test_pbs.py and test_cobalt.py.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ...support.campaigns import (
    DEAF,
    ENDLESS,
    HELPED,
    LONG,
    TOGETHER,
    Result,
    campaign,
    check_nodes,
    computed,
    computed_again,
    running_jobs,
)
from ...support.local import until
from .lab import CLUSTER, CRAY, PBS, SLURM, Lab

pytestmark = [pytest.mark.real, pytest.mark.heavy]

STAYS_AT_MOST = 56.0
"""Seconds for which anything of a block may outlive its job."""

TWO_BLOCKS = {"blocks": {"init": 2, "max": 2}}


def on(*labs: Lab, also: Sequence[Lab] = ()) -> pytest.MarkDecorator:
    """Run the test on these schedulers, and in ``make test-all`` on those of ``also`` as well.

    ``also`` is for scenarios in which the scheduler does nothing that another test of it does not need already.
    """
    more = [pytest.param(lab, marks=pytest.mark.exhaustive) for lab in also]
    return pytest.mark.parametrize("lab", [*labs, *more], ids=[lab.name for lab in (*labs, *also)])


# -- without work ------------------------------------------------------------------------------------------------------


def used_up(folder: Path, lab: Lab) -> tuple[Result, str, list[str]]:
    """A campaign that uses its budget up, and what a second one prints and submits."""
    with lab.login(folder) as user:
        with user.start({"epochs": 1}) as process:
            first = user.finish(process)
        printed = user.here.run("resume", "epochs").stdout
        return first, printed, running_jobs(user.here)


@on(PBS, also=[SLURM, CRAY])
@campaign(used_up)
def test_a_study_with_nothing_left_to_do_submits_nothing(result: tuple[Result, str, list[str]], lab: Lab) -> None:
    first, printed, jobs = result
    assert first.code == 0, first.out + first.err
    assert "the budget of 1 trial is used up" in printed
    assert jobs == []


# -- over several blocks ----------------------------------------------------------------------------------------------


def walltime(folder: Path, lab: Lab) -> Result:
    """Two trials longer than a block. One reports, and so can yield; the other does neither, and saves seldom."""
    pool = {"walltime": "1m", **TWO_BLOCKS}
    with lab.login(folder, pool, **lab.minute) as user, user.start(*lab.long_trials) as process:
        return user.finish(process)


@on(SLURM, PBS, CRAY)
@campaign(walltime)
def test_trials_that_are_longer_than_a_walltime_go_on_from_their_checkpoints(result: Result, lab: Lab) -> None:
    assert result.code == 0, result.out + result.err
    assert [trial.value for trial in result.trials] == [0.0, 1.0]
    for number, trial in enumerate(lab.long_trials):
        own = [each for each in result.epochs if each.number == number]
        assert {each.epoch for each in own} == set(range(1, trial["epochs"] + 1))
        assert computed_again(own, trial.get("every", 1)) == []
        assert result.attempts(number) >= 2
    first = [each for each in result.epochs if each.number == 0]
    assert len(first) == lab.long_trials[0]["epochs"], "one that yields computes nothing twice"
    assert len(result.jobs) >= 3
    assert lab.words.walltime in result.log


# -- blocks that do not come up ---------------------------------------------------------------------------------------


def bad_setup(folder: Path, lab: Lab) -> Result:
    with lab.login(folder, site={"setup": lab.bad_setup}) as user, user.start({"epochs": 1}) as process:
        return user.finish(process)


@on(SLURM, also=[PBS, CRAY])
@campaign(bad_setup)
def test_a_block_whose_setup_fails_shows_what_it_printed(result: Result, lab: Lab) -> None:
    assert result.code == 3
    for words in lab.words.setup_failed:
        assert words in result.out
    assert set(result.ends.values()) == {"bad environment"}
    assert 1 < len(result.ends) <= 3, "a run of bad blocks backs off and then stops"


def bad_queue(folder: Path, lab: Lab) -> Result:
    with lab.login(folder, {"queue": lab.bad_queue}) as user, user.start({"epochs": 1}) as process:
        return user.finish(process)


@on(SLURM, PBS, CRAY)
@campaign(bad_queue)
def test_an_unknown_queue_is_reported_in_the_schedulers_words(result: Result, lab: Lab) -> None:
    assert result.code == 3
    assert lab.words.unknown_queue in result.out
    assert set(result.ends.values()) == {"refused"}


def bad_account(folder: Path, lab: Lab) -> Result:
    site = {"account": lab.bad_account}
    with lab.login(folder, site=site, **lab.accounts) as user, user.start({"epochs": 1}) as process:
        return user.finish(process)


@on(SLURM, PBS, CRAY)
@campaign(bad_account)
def test_an_unknown_account_is_reported_in_the_schedulers_words(result: Result, lab: Lab) -> None:
    assert result.code == 3
    assert lab.words.unknown_account in result.out


# -- blocks that are lost ---------------------------------------------------------------------------------------------


def cancelled(folder: Path, lab: Lab) -> Result:
    """One of two blocks is ended by hand while its trial runs."""
    with lab.login(folder, TWO_BLOCKS) as user, user.start(ENDLESS, ENDLESS) as process:
        user.await_epochs(2)
        user.cancel(running_jobs(user.here)[0])
        user.await_epochs(1, attempt=2)
        user.let_trials_end()
        return user.finish(process)


@on(SLURM, PBS, CRAY)
@campaign(cancelled)
def test_a_block_that_is_ended_by_hand_costs_no_epoch(result: Result, lab: Lab) -> None:
    assert result.code == 0, result.out + result.err
    assert [trial.value for trial in result.trials] == [0.0, 1.0]
    assert sorted(result.attempts(number) for number in range(2)) == [1, 2]
    assert computed_again(result.epochs) == []
    first = next(name for name in result.jobs if name.endswith("-cpu-0"))
    assert result.ends[first] == "cancelled"
    for words in lab.words.cancelled:
        assert words.format(job=result.jobs[first]) in result.log


def left(folder: Path, lab: Lab) -> tuple[Result, dict[str, int]]:
    """A block is ended by hand while its trial does not listen; what ran there, and in which sessions."""
    with lab.login(folder) as user, user.start(HELPED) as process:
        user.await_epochs(1)
        job = running_jobs(user.here)[0]
        pids = user.left_of(job)
        ran = {}
        for pid, words in pids.items():
            with suppress(ProcessLookupError):  # one that has ended meanwhile
                ran[words] = os.getsid(pid)
        user.cancel(job)
        user.await_epochs(1, attempt=2)
        until(lambda: not user.left_of(job), "nothing of the job is left", STAYS_AT_MOST)
        user.let_trials_end()
        return user.finish(process), ran


@on(SLURM, PBS, also=[CRAY])
@campaign(left)
def test_nothing_of_a_block_is_left_when_the_scheduler_has_killed_it(
    result: tuple[Result, dict[str, int]], lab: Lab
) -> None:
    ended, ran = result
    assert ended.code == 0, ended.out + ended.err
    assert any("sleep 3600" in words for words in ran), "a helper in a session of its own"
    assert any("providers.node.agent" in words for words in ran)
    alone = ("sleep 3600", "providers.node.agent")  # the latter are two, with the same words
    sessions = {session for words, session in ran.items() if not any(each in words for each in alone)}
    known = 2 if lab is CRAY else 1  # there the batch script is on another host than what aprun starts
    assert len(sessions) == known, f"the scheduler may know no other session: {ran}"


def suspended(folder: Path, lab: Lab) -> tuple[dict[str, Any], bool, Result]:
    """A block is suspended for longer than a silent node is waited for, and than its trial may run."""
    with lab.login(folder) as user, user.start(ENDLESS, trial={"timeout": "30s"}) as process:
        user.await_epochs(1)
        job = running_jobs(user.here)[0]
        user.suspend(job)
        status = user.here.await_status(
            "epochs",
            lambda status: [block["state"] for block in status["blocks"]] == ["suspended"] and status["waiting"],
            "the status says that the block is suspended",
        )
        before = len(computed(user.here))
        time.sleep(40.0)
        still = len(computed(user.here)) == before
        user.resume(job)
        until(lambda: len(computed(user.here)) > before, "the trial goes on", LONG)
        user.let_trials_end()
        return status, still, user.finish(process)


@on(SLURM, PBS)
@campaign(suspended)
def test_a_suspended_block_stops_and_goes_on_with_its_trial(result: tuple[dict[str, Any], bool, Result]) -> None:
    status, still, ended = result
    assert "1 block of pool cpu is suspended since" in status["waiting"]
    assert still, "its trial did not go on computing"
    assert ended.code == 0, ended.out + ended.err
    assert (ended.attempts(0), len(ended.jobs)) == (1, 1)
    assert computed_again(ended.epochs) == []


def node_down(folder: Path, lab: Lab) -> tuple[Result, str]:
    """The node of one of two blocks crashes."""
    with lab.login(folder, TWO_BLOCKS) as user, user.start(ENDLESS, ENDLESS) as process:
        user.await_epochs(2)
        lost = computed(user.here)[0].host
        user.machine.node_down(lost)
        user.await_epochs(1, attempt=2)
        user.let_trials_end()
        return user.finish(process), lost


@on(PBS, also=[CRAY])  # the Slurm's nodes are shared; test_slurm.py sets down one that no other campaign uses
@campaign(node_down)
def test_a_node_that_goes_down_costs_its_trial_an_attempt(result: tuple[Result, str], lab: Lab) -> None:
    ended, lost = result
    assert ended.code == 0, ended.out + ended.err
    assert computed_again(ended.epochs) == []
    again = {each.number for each in ended.epochs if each.attempt == 2}
    assert {each.host for each in ended.epochs if each.number in again and each.attempt == 1} == {lost}
    assert all(each.host != lost for each in ended.epochs if each.attempt == 2)
    if lab.words.node_failure:
        assert "node failure" in ended.ends.values()
        assert lab.words.node_failure in ended.log


def rerun(folder: Path, lab: Lab) -> tuple[Result, int]:
    """The scheduler puts the block back into its queue and runs it again, which the site file allows."""
    with lab.login(folder, {"options": [lab.rerun]}, **lab.rerun_wait) as user, user.start(DEAF) as process:
        user.await_epochs(1)
        job = running_jobs(user.here)[0]
        user.rerun(job)
        user.await_epochs(1, attempt=2)
        user.let_trials_end()
        runs = user.runs_of(job)
        return user.finish(process), runs


@on(SLURM, PBS)
@campaign(rerun)
def test_a_block_that_the_scheduler_runs_again_goes_on_as_the_same_block(result: tuple[Result, int], lab: Lab) -> None:
    ended, runs = result
    assert ended.code == 0, ended.out + ended.err
    assert runs == 2
    assert len(ended.jobs) == 1
    assert ended.attempts(0) == 2
    assert computed_again(ended.epochs) == []


def server_away(folder: Path, lab: Lab) -> tuple[str, Result]:
    """The scheduler does not answer for a while; what the user reads meanwhile."""
    with lab.login(folder) as user, user.start(ENDLESS) as process:
        user.await_epochs(1)
        user.machine.set(server_down=True)
        status = user.here.await_status(
            "epochs", lambda status: "not answer" in status["waiting"], "the status says that the scheduler is away"
        )
        user.machine.set(server_down=False)
        user.let_trials_end()
        return status["waiting"], user.finish(process)


@on(PBS, also=[CRAY])  # all campaigns share the Slurm; test_slurm_blocks.py ends its controller
@campaign(server_away)
def test_while_the_scheduler_is_away_trials_run_on_and_the_status_says_so(result: tuple[str, Result], lab: Lab) -> None:
    message, ended = result
    assert "the scheduler does not answer" in message
    assert lab.words.server_away in message
    assert ended.code == 0, ended.out + ended.err
    assert (ended.attempts(0), len(ended.jobs)) == (1, 1)


def server_late(folder: Path, lab: Lab) -> tuple[str, Result]:
    """The scheduler does not answer when the campaign begins; what the user reads meanwhile."""
    with lab.login(folder) as user:
        user.machine.set(server_down=True)
        with user.start(ENDLESS) as process:
            status = user.here.await_status(
                "epochs", lambda status: "asked again until" in status["waiting"], "the status says that it is away"
            )
            user.machine.set(server_down=False)
            user.await_epochs(1)
            user.let_trials_end()
            return status["waiting"], user.finish(process)


@on(PBS, also=[CRAY])
@campaign(server_late)
def test_a_scheduler_that_answers_in_time_gets_the_first_block(result: tuple[str, Result], lab: Lab) -> None:
    message, ended = result
    assert lab.words.server_away.rpartition(" ")[0] in message, "the last word is the part that was asked"
    assert "(patience in the site file)" in message
    assert ended.code == 0, ended.out + ended.err
    assert (ended.attempts(0), len(ended.jobs)) == (1, 1)


def job_limit(folder: Path, lab: Lab) -> Result:
    """The queue takes one job of a user, and the site file asks for two."""
    queues = {lab.queue: {"max_user": 1}}
    with (
        lab.login(folder, TWO_BLOCKS, queues=queues) as user,
        user.start({"epochs": 9}, {"epochs": 9}) as process,
    ):
        return user.finish(process)


@on(PBS, also=[CRAY])
@campaign(job_limit)
def test_a_queues_limit_of_jobs_leaves_the_campaign_the_blocks_it_has(result: Result, lab: Lab) -> None:
    assert result.code == 0, result.out + result.err
    assert lab.words.job_limit in result.log
    assert len(result.jobs) == 1


def killed_driver(folder: Path, lab: Lab) -> tuple[int, Result]:
    """kill -9 of the driver; then the study is run once more."""
    with lab.login(folder, TWO_BLOCKS) as user:
        with user.start(ENDLESS, ENDLESS) as process:
            user.await_epochs(2)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        user.nothing_is_left()
        jobs = user.submitted()
        user.let_trials_end()
        with user.start_again() as process:
            return jobs, user.finish(process)


@on(SLURM, also=[PBS, CRAY])
@campaign(killed_driver)
def test_after_a_killed_driver_no_job_is_left_and_the_study_goes_on(result: tuple[int, Result], lab: Lab) -> None:
    jobs, ended = result
    assert jobs == 2
    assert ended.code == 0, ended.out + ended.err
    assert [trial.value for trial in ended.trials] == [0.0, 1.0]
    assert [ended.attempts(number) for number in range(2)] == [2, 2]
    assert computed_again(ended.epochs) == []


def cleaned(folder: Path, lab: Lab) -> str:
    """Of three blocks two run and one is queued when the driver is killed; what ``pilotune clean`` prints then."""
    with lab.login(folder, {"blocks": {"init": 3, "max": 3}}, nodes=2) as user:
        with user.start(DEAF, DEAF, DEAF) as process:  # others would yield before the command has started
            user.await_epochs(2)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        printed = user.here.run("clean", "epochs").stdout
        user.nothing_is_left()
        return printed


@on(PBS, also=[CRAY])  # for Slurm: test_clean.py
@campaign(cleaned)
def test_after_a_killed_driver_running_and_queued_blocks_are_cleaned_up(result: str, lab: Lab) -> None:
    rows = [line.split()[-2:] for line in result.splitlines()[1:]]
    assert sorted(rows) == [["queued", "ended"], ["running", "ended"], ["running", "ended"]]


# -- several blocks, on all nodes -------------------------------------------------------------------------------------


def on_all_nodes(folder: Path, lab: Lab, network: str, **pool: Any) -> Result:
    """Four trials, each of which ends when epochs were computed on all four nodes."""
    pool = {**lab.spread, **pool}
    with (
        lab.all_nodes(folder, pool, lab.network(network), **lab.no_history) as user,
        user.start(*[TOGETHER] * 4) as process,
    ):
        return user.finish(process)


def blocks_of_two_nodes(folder: Path, lab: Lab) -> Result:
    blocks = {"init": lab.blocks_at_first, "max": 2}
    return on_all_nodes(folder, lab, "address", nodes_per_block=2, blocks=blocks, launcher=lab.launcher)


def blocks_of_one_node(folder: Path, lab: Lab) -> Result:
    return on_all_nodes(folder, lab, "interface", launcher="single", blocks={"init": 4, "max": 4})


@on(SLURM, PBS, CRAY)
@campaign(blocks_of_two_nodes)
def test_the_launcher_starts_workers_on_all_nodes_of_two_blocks(result: Result, lab: Lab) -> None:
    check_nodes(result, lab.nodes, blocks=2)


@on(SLURM, also=[PBS, CLUSTER])
@campaign(blocks_of_one_node)
def test_blocks_of_one_node_use_four_nodes(result: Result, lab: Lab) -> None:
    check_nodes(result, lab.nodes, blocks=4)


# -- hardware ---------------------------------------------------------------------------------------------------------


def gpus(folder: Path, lab: Lab) -> Result:
    pool = {"gpus_per_node": 2, "workers_per_node": 2, **lab.gpu_pool}
    with (
        lab.login(folder, pool, **lab.gpu_machine) as user,
        user.start({"epochs": 3}, {"epochs": 3}, trial={"gpus": 1}) as process,
    ):
        return user.finish(process)


@on(SLURM, CLUSTER)  # test_pbs.py has a node of which others use a GPU
@campaign(gpus)
def test_each_trial_sees_one_gpu_of_its_node(result: Result, lab: Lab) -> None:
    assert result.code == 0, result.out + result.err
    assert {each.gpus for each in result.epochs} <= {"0", "1"}
    assert len({(each.number, each.gpus) for each in result.epochs}) == 2


def sizes(folder: Path, lab: Lab) -> Result:
    """Trials of one and of two GPUs, and one of three, which no node has."""
    pool = {"gpus_per_node": 2, "workers_per_node": 2, **lab.gpu_pool, "blocks": {"init": 2, "max": 2}}
    trials = [{"epochs": 3, "hosts": gpus} for gpus in (1, 2, 1, 3, 2, 1, 1)]
    with (
        lab.login(folder, pool, **lab.gpu_machine) as user,
        user.start(*trials, trial={"gpus": "hosts"}) as process,
    ):
        return user.finish(process)


@on(SLURM, CLUSTER)
@campaign(sizes)
def test_trials_of_different_sizes_share_no_gpu(result: Result, lab: Lab) -> None:
    assert result.code == 0, result.out + result.err
    *_, failed = sorted(result.trials, key=lambda trial: trial.params["hosts"])
    assert failed.user_attrs["pilotune:reason"].startswith("trial.gpus: this trial needs 1 core and 3 GPUs; pool cpu")
    gpus = {each.number: (each.host, each.gpus.split(",")) for each in result.epochs}
    assert {number: len(names) for number, (_, names) in gpus.items()} == {
        trial.number: trial.params["hosts"] for trial in result.trials if trial is not failed
    }
    spans = []
    for trial in result.trials:
        if trial is not failed:
            began, (host, names) = trial.user_attrs["pilotune:began"], gpus[trial.number]
            assert set(names) <= {"0", "1"}
            spans.append((began, began + trial.user_attrs["pilotune:seconds_running"], host, names))
    for begin, end, host, names in spans:
        rivals = [other for other in spans if other[2] == host and other[0] < end and begin < other[1]]
        assert sum(not set(names).isdisjoint(other[3]) for other in rivals) == 1, "it has its GPUs to itself"


def sizes_by_cores(folder: Path, lab: Lab) -> Result:
    """Trials of one and of two cores, packed on the two nodes of a block."""
    pool = {"nodes_per_block": 2, "cores_per_node": 2, "workers_per_node": 2}
    trials = [{"epochs": 3, "hosts": cores} for cores in (1, 2, 1, 1, 2, 1)]
    with lab.login(folder, pool) as user, user.start(*trials, trial={"cores": "hosts"}) as process:
        return user.finish(process)


@pytest.mark.exhaustive
@on(CRAY)
@campaign(sizes_by_cores)
def test_trials_of_different_sizes_share_no_core_of_a_cray(result: Result, lab: Lab) -> None:
    assert result.code == 0, result.out + result.err
    assert "room for" in result.out
    assert [trial.state.name for trial in result.trials] == ["COMPLETE"] * 6
    hosts = {each.number: each.host for each in result.epochs}
    spans = []
    for trial in result.trials:
        began = trial.user_attrs["pilotune:began"]
        ended = began + trial.user_attrs["pilotune:seconds_running"]
        spans.append((began, ended, hosts[trial.number], trial.params["hosts"]))
    for moment, _, host, _ in spans:
        assert sum(cores for begin, end, on, cores in spans if on == host and begin <= moment < end) <= 2


def several_nodes(folder: Path, lab: Lab) -> tuple[Result, list[list[str]]]:
    """Two trials, each with two ranks on each of two nodes, and the host names that their ranks wrote."""
    with lab.all_nodes(folder, {"nodes_per_block": 4, **lab.ranks_pool}) as user:
        return user.run_ranks()


@on(SLURM, PBS, CRAY, also=[CLUSTER])
@campaign(several_nodes)
def test_trials_on_several_nodes_start_their_ranks_there(result: tuple[Result, list[list[str]]], lab: Lab) -> None:
    ended, ranks = result
    assert ended.code == 0, ended.out + ended.err
    assert [trial.value for trial in ended.trials] == [4.0, 4.0]
    assert [sorted(Counter(names).values()) for names in ranks] == [[2, 2], [2, 2]]
    assert set(ranks[0]) | set(ranks[1]) <= set(lab.nodes)
    if lab is not SLURM:  # its first trial may be over before the second one starts, on the same nodes
        assert_on_nodes_of_their_own(ranks, lab.nodes)


def python_ranks(folder: Path, lab: Lab) -> tuple[Result, list[list[str]]]:
    """Trials with a Python objective in two ranks on each of two nodes; what each rank noted."""
    with lab.all_nodes(folder, {"nodes_per_block": 4, **lab.ranks_pool}) as user:
        ended = user.run_python_ranks()
        return ended, [line.split(":") for line in user.here.lines("ranks")]


@on(SLURM, PBS, CRAY, also=[CLUSTER])
@campaign(python_ranks)
def test_a_python_objective_has_ranks_on_several_nodes(result: tuple[Result, list[list[str]]], lab: Lab) -> None:
    ended, noted = result
    assert ended.code == 0, ended.out + ended.err
    assert [trial.value for trial in ended.trials[:2]] == [6.0, 6.0], [trial.system_attrs for trial in ended.trials]
    assert ended.trials[2].state.name == "PRUNED"
    for number in range(3):
        ranks = sorted(each[1:] for each in noted if each[0] == str(number))
        assert [each[0] for each in ranks] == ["0", "1", "2", "3"]
        hosts = [each[1] for each in ranks]
        assert hosts[0] == hosts[1] != hosts[2] == hosts[3]
        assert set(hosts) <= set(lab.nodes)
        assert [each[2:6] for each in ranks] == [[local, node, "4", "6"] for node in "01" for local in "01"]
        heard = {tuple(each[6:]) for each in ranks}
        assert heard == {("2", "TrialPruned") if number == 2 else ("3", "complete")}


def python_ranks_on_a_node(folder: Path, lab: Lab) -> tuple[Result, list[list[str]]]:
    """Trials whose two ranks the launcher starts on the node of their worker, in a block of two nodes."""
    pool = {**lab.ranks_pool, "nodes_per_block": 2, "launcher": lab.launcher}
    with lab.login(folder, pool) as user:
        ended = user.run_python_ranks(f"{{ranks: 2, launcher: {lab.launcher}}}")
        return ended, [line.split(":") for line in user.here.lines("ranks")]


@on(SLURM, also=[PBS])
@campaign(python_ranks_on_a_node)
def test_a_launcher_starts_ranks_on_the_node_of_their_worker(result: tuple[Result, list[list[str]]], lab: Lab) -> None:
    ended, noted = result
    assert ended.code == 0, ended.out + ended.err
    assert [trial.value for trial in ended.trials[:2]] == [1.0, 1.0]
    hosts = [{each[2] for each in noted if each[0] == str(number)} for number in range(3)]
    assert [len(each) for each in hosts] == [1, 1, 1]
    assert set().union(*hosts) <= set(lab.nodes)


def assert_on_nodes_of_their_own(ranks: Sequence[list[str]], nodes: Sequence[str]) -> None:
    assert sorted(ranks[0] + ranks[1]) == sorted([*nodes, *nodes])
    assert not set(ranks[0]) & set(ranks[1])
