"""Blocks as running Cobalt jobs, on an emulated Cray and an emulated cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotune.providers.schedulers.cobalt import CobaltBlocks
from pilotune.providers.schedulers.jobs import End, Job, Phase, SchedulerUnreachable, SubmitRefused
from pilotune.providers.site import PoolSpec, Site

from ...support.emulators.install import Emulated, install
from ...support.local import until

pytestmark = pytest.mark.real

QUICK = {"minute": 3.0, "late": 0.1, "force_kill_delay": 1.0, "exiting": 0.2, "starting": 0.2, "qdel_sleep": 0.1}
QUEUES: dict[str, dict[str, Any]] = {
    "default": {"max_time": 60},
    "stopped": {"started": False},
    "small": {"max_user": 1},
    "long": {"min_time": 30},
    "closed": {"state": "draining"},
}


@pytest.fixture(params=["cray"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    with install(
        tmp_path / "cobalt", "cobalt", nodes=4, queues=QUEUES, accounts=["", "proj"], system=request.param, **QUICK
    ) as machine:
        for name, value in machine.env.items():
            monkeypatch.setenv(name, value)
        yield machine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my blocks"
    folder.mkdir()
    return folder


def blocks(folder: Path, account: str = "", **pool: Any) -> CobaltBlocks:
    spec = PoolSpec("knl", **{"walltime": 600.0, "launcher": "aprun", **pool})
    provider = CobaltBlocks.for_pool(Site("lab", "cobalt", (spec,), folder, account=account), spec, "")
    provider.place(folder, "digits")
    return provider


def awaited(provider: CobaltBlocks, job: str, *phases: Phase) -> Job:
    """Wait until the job is in one of these phases, and return it; an unknown job has ended."""

    def look() -> Job | None:
        found = provider.query([job]).get(job, Job(job, Phase.ENDED))
        return found if found.phase in phases else None

    return until(look, f"{job} is {phases}", 20)


def test_a_block_runs_on_its_nodes_with_output_and_log_beside_its_script(machine: Emulated, folder: Path) -> None:
    provider = blocks(folder, account="proj", queue="default", nodes_per_block=2)
    job = provider.submit("sh -c 'echo $EMULATED_NODE $PWD; echo no harm >&2'", 1, "0")
    assert awaited(provider, job, Phase.ENDED) == Job(job, Phase.ENDED, End.FINISHED, "", 0)
    said = (folder / "knl-0.out").read_text()
    assert {f"nid0000{node} {folder}" for node in (1, 2)} <= set(said.splitlines())
    assert (folder / "knl-0.err").read_text() == "no harm\nno harm\n"
    assert (folder / f"{job}.cobaltlog").read_text().startswith(f"Jobid: {job}\n")
    until(lambda: not machine.processes(), "nothing of the job is left")


def test_cobalt_gets_the_resources_of_the_pool(machine: Emulated, folder: Path) -> None:
    provider = blocks(
        folder, "proj", queue="stopped", nodes_per_block=3, walltime=61.0, options=("#COBALT --attrs mcdram=flat:x",)
    )
    job = machine.job(provider.submit("true", 1, "7"))
    assert (job.name, job.queue, job.account, len(job.chunks)) == ("digits-knl-7", "stopped", "proj", 3)
    assert (job.details["minutes"], job.details["mode"]) == (2, "script")
    assert job.details["attrs"] == {"mcdram": "flat", "x": "true"}
    assert (job.cwd, job.script) == (str(folder), f"{folder}/knl-7.sh")


@pytest.mark.usefixtures("machine")
def test_the_blocks_end_is_the_one_that_cobalt_keeps(folder: Path) -> None:
    provider = blocks(folder, walltime=600.0)
    job = provider.submit("sh -c 'echo $COBALT_ENDTIME'", 1, "0")
    awaited(provider, job, Phase.ENDED)
    end = (folder / "knl-0.end").read_text().strip()
    assert end.isdigit()
    assert end in (folder / "knl-0.out").read_text().split()


@pytest.mark.parametrize("machine", ["cluster"], indirect=True)
def test_on_a_cluster_a_block_of_one_node_needs_no_launcher(machine: Emulated, folder: Path) -> None:
    provider = blocks(folder, launcher="single")
    job = provider.submit("sh -c 'echo $EMULATED_NODE'", 1, "0")
    assert awaited(provider, job, Phase.ENDED).end == End.FINISHED
    assert (folder / "knl-0.out").read_text() == "node1\n"


@pytest.mark.parametrize("machine", ["cluster"], indirect=True)
@pytest.mark.usefixtures("machine")
def test_a_walltime_that_is_too_short_is_refused_with_cobalts_words(folder: Path) -> None:
    with pytest.raises(SubmitRefused, match="Fault 1004: 'Walltime less than minimum'") as refused:
        blocks(folder, walltime=60.0).submit("true", 1, "0")
    assert not refused.value.transient


@pytest.mark.usefixtures("machine")
def test_a_failing_block_shows_its_exit_code_and_its_stderr(folder: Path) -> None:
    provider = blocks(folder)
    job = provider.submit("sh -c 'echo no such module >&2; exit 3'", 1, "0")
    assert awaited(provider, job, Phase.ENDED) == Job(job, Phase.ENDED, End.FAILED, "exit code 3", 3)
    assert "no such module" in (folder / "knl-0.err").read_text()


@pytest.mark.usefixtures("machine")
def test_the_state_of_every_block_is_reported_correctly(folder: Path) -> None:
    """One query for a running, a queued, a held, an ended and an unknown job."""
    provider, stopped = blocks(folder), blocks(folder, queue="stopped")
    ended, running = provider.submit("true", 1, "0"), provider.submit("sleep 60", 1, "1")
    waiting = stopped.submit("true", 1, "2")
    held = blocks(folder, options=("#COBALT -h",)).submit("true", 1, "3")
    awaited(provider, ended, Phase.ENDED)
    awaited(provider, running, Phase.RUNNING)
    jobs = provider.query([ended, running, waiting, held, "999"])
    assert {job: state.phase for job, state in jobs.items()} == {
        ended: Phase.ENDED,
        running: Phase.RUNNING,
        waiting: Phase.QUEUED,
        held: Phase.QUEUED,
    }
    assert jobs[held].reason == "user_hold: held by its owner; qrls releases it"


def test_columns_chosen_by_the_user_do_no_harm(
    machine: Emulated, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.set(qstat_header="Score:Location:JobID")
    monkeypatch.setenv("QSTAT_HEADER", "Command:StartTime:State:JobID")
    monkeypatch.setenv("CQSTAT_HEADER", "StartTime:JobID")
    provider = blocks(folder)
    job = provider.submit("sleep 60", 1, "0")
    assert awaited(provider, job, Phase.RUNNING) == Job(job, Phase.RUNNING)


@pytest.mark.usefixtures("machine")
def test_a_block_that_used_up_its_walltime_says_so(folder: Path) -> None:
    provider = blocks(folder, walltime=60.0)
    job = provider.submit("sh -c 'trap : TERM; while :; do sleep 0.1; done'", 1, "0")
    ending = awaited(provider, job, Phase.ENDING)
    assert ending.reason in ("killing: is being ended", "exiting: its nodes are being cleaned up")
    ended = awaited(provider, job, Phase.ENDED)
    words = "maximum execution time exceeded; initiating job termination"
    assert (ended.end, ended.reason) == (End.WALLTIME, words)


@pytest.mark.usefixtures("machine")
def test_a_block_is_cancelled_running_queued_or_gone(folder: Path) -> None:
    provider, stopped = blocks(folder), blocks(folder, queue="stopped")
    running, queued = provider.submit("sleep 60", 1, "0"), stopped.submit("true", 1, "1")
    awaited(provider, running, Phase.RUNNING)
    assert provider.cancel(["999", running, queued]) == [True, True, True]
    assert {awaited(provider, job, Phase.ENDED).end for job in (running, queued)} == {End.CANCELLED}
    assert provider.cancel([running]) == [True]


def test_an_absent_server_raises_and_comes_back(machine: Emulated, folder: Path) -> None:
    provider = blocks(folder)
    job = provider.submit("sleep 60", 1, "0")
    awaited(provider, job, Phase.RUNNING)
    machine.set(server_down=True)
    with pytest.raises(SchedulerUnreachable, match="Failed to connect"):
        provider.query([job])
    with pytest.raises(SchedulerUnreachable, match="Failed to connect"):
        provider.cancel_one(job)
    with pytest.raises(SubmitRefused, match="Failed to connect") as refused:
        provider.submit("true", 1, "1")
    assert refused.value.transient
    machine.set(server_down=False)
    assert provider.query([job])[job].phase == Phase.RUNNING


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("pool", "account", "words"),
    [
        ({"queue": "nosuch"}, "", "<Fault 1001: \"trying to add job to non-existent queue 'nosuch'\">"),
        ({}, "nobody", "<Fault 1001: 'Project nobody does not exist or has no allocation'>"),
        ({"walltime": 7200.0}, "", "<Fault 1001: \"Walltime greater than the 'default' queue "
                                   "max walltime of 01:00:00\">"),
        ({"queue": "long"}, "", "<Fault 1001: \"Walltime less than the 'long' queue min walltime of 00:30:00\">"),
        ({"queue": "closed"}, "", "<Fault 1001: \"The 'closed' queue is draining\">"),
        ({"nodes_per_block": 5000}, "", "node count out of realistic range"),
    ],
)  # fmt: skip
def test_a_refusal_shows_what_cobalt_said(folder: Path, pool: dict[str, Any], account: str, words: str) -> None:
    with pytest.raises(SubmitRefused) as refused:
        blocks(folder, account, **pool).submit("true", 1, "0")
    assert refused.value.words == words
    assert not refused.value.transient


@pytest.mark.usefixtures("machine")
def test_a_queues_limit_of_jobs_is_a_temporary_refusal(folder: Path) -> None:
    provider = blocks(folder, queue="small")
    provider.submit("sleep 60", 1, "0")
    with pytest.raises(SubmitRefused, match="The limit of 1 jobs per user in the 'small' queue") as refused:
        provider.submit("sleep 60", 1, "1")
    assert refused.value.transient


def test_output_of_the_sites_filter_is_logged_and_the_id_is_found(
    machine: Emulated, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine.set(
        routes={"default": "debug"},
        queues={"debug": {}},
        filter_lines=["WARNING: Filesystem attribute not set for this job submission."],
        id_message="the queue is long today",
    )
    provider = blocks(folder)
    with caplog.at_level(logging.INFO, "pilotune"):
        job = provider.submit("true", 1, "0")
    assert awaited(provider, job, Phase.ENDED).end == End.FINISHED
    assert f"job {job}: Cobalt says: WARNING: Filesystem attribute not set" in caplog.text
    assert 'Job routed to queue "debug".' in caplog.text
