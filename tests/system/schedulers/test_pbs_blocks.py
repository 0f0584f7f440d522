"""Blocks as running PBS jobs, on an emulated OpenPBS with and without a history of jobs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotune.providers.schedulers.jobs import End, Job, Phase, SchedulerUnreachable, SubmitRefused
from pilotune.providers.schedulers.pbs import PBSBlocks
from pilotune.providers.site import PoolSpec, Site

from ...support.emulators.install import Emulated, install
from ...support.local import until

pytestmark = pytest.mark.real

QUICK = {"late": 0.2, "kill_delay": 1.0, "exiting": 0.2, "starting": 0.1, "node_fail_requeue": 0.5}


BOTH_WAYS = pytest.mark.parametrize("history", [True, False], indirect=True, ids=["history", "no history"])


@pytest.fixture
def history(request: pytest.FixtureRequest) -> bool:
    """Whether PBS keeps a history of jobs. By default it does not, and then nothing says how a job ended."""
    return bool(getattr(request, "param", True))


@pytest.fixture
def machine(tmp_path: Path, history: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    queues: dict[str, dict[str, Any]] = {"workq": {}, "stopped": {"started": False}, "small": {"max_user": 1}}
    with install(
        tmp_path / "pbs", "pbs", nodes=4, cores=2, queues=queues, accounts=["", "proj"], history=history, **QUICK
    ) as machine:
        for name, value in machine.env.items():
            monkeypatch.setenv(name, value)
        yield machine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "blocks"
    folder.mkdir()
    return folder


def blocks(folder: Path, account: str = "", **pool: Any) -> PBSBlocks:
    spec = PoolSpec("cpu", **{"walltime": 60.0, "cores_per_node": 2, **pool})
    provider = PBSBlocks.for_pool(Site("lab", "pbs", (spec,), folder, account=account), spec, "")
    provider.place(folder, "digits")
    return provider


def awaited(provider: PBSBlocks, job: str, phase: Phase) -> Job:
    """Wait until the job is in one of these phases, and return it; a job that PBS does not know has ended."""
    gone = Job(job, Phase.ENDED, reason="unknown")

    def look() -> Job | None:
        found = provider.query([job]).get(job, gone)
        return found if found.phase == phase else None

    return until(look, f"{job} is {phase}", 20)


def command(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@BOTH_WAYS
def test_a_block_runs_on_its_nodes_and_says_when_it_ends(machine: Emulated, folder: Path, history: bool) -> None:
    provider = blocks(folder, account="proj", queue="workq", nodes_per_block=2, launcher="mpiexec")
    job = provider.submit(f"sh -c 'echo \"$EMULATED_NODE\" >> {folder}/nodes; pwd >> {folder}/pwd'", 1, "0")
    assert awaited(provider, job, Phase.ENDED) == (
        Job(job, Phase.ENDED, End.FINISHED, f"{machine.job(job).comment}", 0)
        if history
        else Job(job, Phase.ENDED, reason="PBS no longer knows it")
    )
    assert sorted((folder / "nodes").read_text().split()) == ["node1", "node2"]
    assert set((folder / "pwd").read_text().split()) == {str(folder)}
    assert (folder / "cpu-0.end").read_text().strip().isdigit()


def test_pbs_gets_the_resources_of_the_pool(machine: Emulated, folder: Path) -> None:
    provider = blocks(folder, account="proj", queue="stopped", nodes_per_block=2, launcher="mpiexec", walltime=90_061.5)
    job = machine.job(provider.submit("true", 1, "7"))
    assert (job.name, job.queue, job.account, job.walltime) == ("digits-cpu-7", "stopped", "proj", 90_062.0)
    assert (job.chunks, job.spread, job.details["rerunnable"]) == ([[2, 0], [2, 0]], True, False)
    assert (job.out, job.err) == (f"{folder}/cpu-7.out", f"{folder}/cpu-7.err")


def test_pbsdsh_starts_on_every_node_with_the_blocks_environment(machine: Emulated, folder: Path) -> None:
    provider = blocks(folder, nodes_per_block=2, launcher="pbsdsh")
    job = provider.submit(f"sh -c 'echo \"$PBS_JOBID-$PILOTUNE_WALLTIME\" >> {folder}/seen'", 1, "0")
    assert awaited(provider, job, Phase.ENDED).end == End.FINISHED
    assert (folder / "seen").read_text().split() == [f"{job}-60"] * 2


@pytest.mark.usefixtures("machine")
def test_a_failing_block_shows_its_exit_code_and_its_stderr(folder: Path) -> None:
    provider = blocks(folder)
    job = provider.submit("sh -c 'echo no such module >&2; exit 3'", 1, "0")
    ended = awaited(provider, job, Phase.ENDED)
    assert (ended.end, ended.exit_code) == (End.FAILED, 3)
    assert "and failed, Exit_status 3" in ended.reason
    assert "no such module" in (folder / "cpu-0.err").read_text()


@BOTH_WAYS
def test_the_state_of_every_block_is_reported_with_and_without_history(machine: Emulated, folder: Path) -> None:
    """One query for a running, a queued, a held, an ended and an unknown job."""
    provider = blocks(folder)
    ended = provider.submit("true", 1, "0")
    awaited(provider, ended, Phase.ENDED)
    running = provider.submit("sleep 60", 1, "1")
    waiting = blocks(folder, queue="stopped").submit("true", 1, "2")
    held = blocks(folder, options=("#PBS -h",)).submit("true", 1, "3")
    awaited(provider, running, Phase.RUNNING)
    jobs = provider.query([ended, running, waiting, held, "999.pbshead"])
    phases = {job: state.phase for job, state in jobs.items()}
    assert phases.pop(ended, Phase.ENDED) == phases.pop("999.pbshead", Phase.ENDED) == Phase.ENDED
    assert phases == {running: Phase.RUNNING, waiting: Phase.QUEUED, held: Phase.QUEUED}
    assert jobs[waiting].reason == "Not Running: Queue not started."
    assert jobs[held].reason.startswith("held")


@pytest.mark.usefixtures("machine")
def test_a_block_that_can_never_run_says_so(folder: Path) -> None:
    provider = blocks(folder, nodes_per_block=9, launcher="mpiexec")
    job = provider.submit("true", 1, "0")
    reason = provider.query([job])[job].reason
    assert reason.startswith("Can Never Run: Not enough total nodes available: it will never start")


@pytest.mark.usefixtures("machine")
def test_a_block_that_is_too_large_for_any_node_says_so(folder: Path) -> None:
    provider = blocks(folder, cores_per_node=3)
    job = provider.submit("true", 1, "0")
    reason = provider.query([job])[job].reason
    assert reason.startswith("Not Running: Insufficient amount of resource: ncpus: it will never start on the nodes")


def test_a_suspended_block_waits_with_its_nodes(machine: Emulated, folder: Path) -> None:
    provider = blocks(folder)
    job = provider.submit("sleep 60", 1, "0")
    until((folder / "cpu-0.end").exists, "the block has begun")
    command("qsig", "-s", "suspend", job)
    assert awaited(provider, job, Phase.SUSPENDED).reason.startswith("suspended")
    command("qsig", "-s", "resume", job)
    awaited(provider, job, Phase.RUNNING)


@pytest.mark.usefixtures("machine")
def test_a_block_that_used_up_its_walltime_says_so(folder: Path) -> None:
    provider = blocks(folder, walltime=1.0)
    job = provider.submit("sleep 60", 1, "0")
    ended = awaited(provider, job, Phase.ENDED)
    assert ended.end == End.WALLTIME
    assert "exceeded resource walltime, Exit_status -29" in ended.reason
    assert "exceeded limit 1" in (folder / "cpu-0.err").read_text()


@pytest.mark.usefixtures("machine")
def test_a_block_is_cancelled_running_queued_or_gone(folder: Path) -> None:
    provider, stopped = blocks(folder), blocks(folder, queue="stopped")
    running, queued, ended = provider.submit("sleep 60", 1, "0"), stopped.submit("true", 1, "1"), "999.pbshead"
    awaited(provider, running, Phase.RUNNING)
    assert provider.cancel([ended, running, queued]) == [True, True, True]
    assert {awaited(provider, job, Phase.ENDED).end for job in (running, queued)} == {End.CANCELLED}
    assert provider.cancel([running]) == [True]


@BOTH_WAYS
@pytest.mark.usefixtures("machine")
def test_a_cancelled_block_that_ignores_sigterm_is_cancelled_all_the_same(folder: Path, history: bool) -> None:
    provider = blocks(folder)
    job = provider.submit(f"sh -c 'trap : TERM; touch {folder}/deaf; while :; do sleep 0.1; done'", 1, "0")
    until((folder / "deaf").exists, "the block is deaf")
    provider.cancel([job])
    ended = awaited(provider, job, Phase.ENDED)
    assert ended.end == (End.CANCELLED if history else None)


@BOTH_WAYS
def test_a_block_on_a_lost_node_is_ended_by_force(machine: Emulated, folder: Path, history: bool) -> None:
    machine.set(node_fail_requeue=1000.0)
    provider = blocks(folder)
    job = provider.submit("sleep 60", 1, "0")
    awaited(provider, job, Phase.RUNNING)
    machine.node_down("node1")
    assert provider.cancel([job]) == [True]
    assert provider.query([job])[job].phase == Phase.ENDED
    assert [call["code"] for call in machine.commands("qdel")] == [222, 0]


@BOTH_WAYS
def test_an_absent_server_raises_and_comes_back(machine: Emulated, folder: Path) -> None:
    provider = blocks(folder)
    job = provider.submit("sleep 60", 1, "0")
    awaited(provider, job, Phase.RUNNING)
    machine.set(server_down=True)
    with pytest.raises(SchedulerUnreachable, match="cannot connect to server pbshead"):
        provider.query([job])
    with pytest.raises(SchedulerUnreachable):
        provider.cancel_one(job)
    with pytest.raises(SubmitRefused, match="cannot connect to server") as refused:
        provider.submit("true", 1, "1")
    assert refused.value.transient
    machine.set(server_down=False)
    assert provider.query([job])[job].phase == Phase.RUNNING


@pytest.mark.usefixtures("machine")
def test_pbs_does_not_rerun_a_block_on_its_own(folder: Path) -> None:
    provider = blocks(folder)
    job = provider.submit("sleep 60", 1, "0")
    awaited(provider, job, Phase.RUNNING)
    refused = subprocess.run(["qrerun", job], capture_output=True, text=True, check=False)
    assert "not rerunnable" in refused.stderr
    assert provider.query([job])[job].phase == Phase.RUNNING


def test_a_block_that_the_site_lets_be_requeued_is_queued_again_and_runs(machine: Emulated, folder: Path) -> None:
    provider = blocks(folder, options=("#PBS -r y",))
    job = provider.submit("sleep 60", 1, "0")
    awaited(provider, job, Phase.RUNNING)
    machine.set(requeue_wait=1.0)
    command("qrerun", job)
    assert awaited(provider, job, Phase.QUEUED).end is None
    awaited(provider, job, Phase.RUNNING)


def test_a_block_whose_node_goes_down_ends(machine: Emulated, folder: Path) -> None:
    provider = blocks(folder)
    job = provider.submit("sleep 60", 1, "0")
    awaited(provider, job, Phase.RUNNING)
    machine.node_down("node1")
    assert awaited(provider, job, Phase.ENDED).phase == Phase.ENDED


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("pool", "account", "words"),
    [
        ({"queue": "nosuch"}, "", "qsub: Unknown queue"),
        ({}, "nobody", "qsub: Request rejected.  Reason:  No active allocation found for project nobody"),
        ({"options": ("#PBS -l foo=bar",)}, "", "qsub: Unknown resource Resource_List.foo"),
    ],
)
def test_a_refusal_shows_what_pbs_said(folder: Path, pool: dict[str, Any], account: str, words: str) -> None:
    with pytest.raises(SubmitRefused) as refused:
        blocks(folder, account, **pool).submit("true", 1, "0")
    assert refused.value.words == words
    assert not refused.value.transient


@pytest.mark.usefixtures("machine")
def test_a_queues_limit_of_jobs_is_a_temporary_refusal(folder: Path) -> None:
    provider = blocks(folder, queue="small")
    provider.submit("sleep 60", 1, "0")
    with pytest.raises(SubmitRefused, match="would exceed queue small's per-user limit") as refused:
        provider.submit("sleep 60", 1, "1")
    assert refused.value.transient


def test_a_bug_of_qstats_json_with_several_jobs_is_avoided(machine: Emulated, folder: Path) -> None:
    machine.set(json_first_only=True)
    provider = blocks(folder)
    jobs = [provider.submit("sleep 60", 1, str(block)) for block in range(3)]
    for job in jobs:
        awaited(provider, job, Phase.RUNNING)
    assert set(provider.query(jobs)) == set(jobs)
