"""Blocks as jobs of a real Slurm, side by side: the states and ends that are reported are the real ones."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from pilotune.providers.schedulers.jobs import End, Job, Phase, SchedulerUnreachable, SubmitRefused
from pilotune.providers.schedulers.slurm import SlurmBlocks
from pilotune.providers.site import PoolSpec, Site

from ...support.slurm import ACCOUNTS, Lab

pytestmark = [pytest.mark.real, pytest.mark.heavy]

PATIENCE = 240.0
FOR_LONG = "sleep 300"
ON_N1 = ("#SBATCH --nodelist=n1",)


def blocks(folder: Path, account: str = ACCOUNTS[0], **pool: Any) -> SlurmBlocks:
    """A pool of shared nodes."""
    spec = PoolSpec("cpu", **{"walltime": 120.0, "queue": "batch", "exclusive": False, "options": ON_N1, **pool})
    provider = SlurmBlocks.for_pool(Site("lab", "slurm", (spec,), folder, account=account), spec, "")
    folder.mkdir(exist_ok=True)
    provider.place(folder, "test")
    return provider


class Cases:
    """Jobs by name, and the history of each: one query a second for all of them, of which changes are kept."""

    def __init__(self, lab: Lab, folder: Path):
        self.lab, self.folder = lab, folder
        self.ids: dict[str, str] = {}
        self.history: dict[str, list[Job]] = {}
        self.asker = blocks(folder)

    def submit(self, name: str, command: str, **pool: Any) -> None:
        provider = blocks(self.folder / name, **pool)
        self.ids[name] = provider.submit(f"/bin/bash -c {shlex.quote(command)}", 1, "0")
        self.history[name] = []

    def look(self) -> None:
        found = self.asker.query(list(self.ids.values()))
        for name, number in self.ids.items():
            job = found.get(number)
            if job is not None and self.history[name][-1:] != [job]:
                self.history[name].append(job)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain until {what}: {self.history}"
            time.sleep(1.0)
            self.look()

    def phase(self, name: str) -> Phase | None:
        return self.history[name][-1].phase if self.history[name] else None

    def end(self, name: str) -> Job:
        return self.history[name][-1]

    def phases(self, name: str) -> list[Phase]:
        """The phases in order, each once: of a job that waits, what Slurm expects may change."""
        return [phase for phase, _ in groupby(job.phase for job in self.history[name])]

    def files(self, name: str) -> str:
        folder = self.folder / name
        return (folder / "cpu-0.out").read_text() + (folder / "cpu-0.err").read_text()


@pytest.fixture(scope="module")
def cases(slurm_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in slurm_lab.environment.items():
            patch.setenv(name, value)
        cases = Cases(slurm_lab, tmp_path_factory.mktemp("jobs"))
        _submit_all(cases)
        _let_all_happen(cases)
        yield cases
        for name, job in cases.ids.items():
            if cases.phase(name) != Phase.ENDED:
                cases.asker.cancel_one(job)


def _submit_all(cases: Cases) -> None:
    cases.submit("preempted", FOR_LONG, queue="spare", exclusive=True, options=("#SBATCH --nodelist=n2",))
    cases.submit("finished", "sleep 2")
    cases.submit("failed", "exit 3")
    cases.submit("missing", "no-such-program")
    cases.submit("memory", "python3 -c 'bytearray(10**9)'", memory_per_node=64 * 2**20)
    cases.submit("wide", "hostname", nodes_per_block=3, launcher="srun", options=("#SBATCH --exclude=n2",))
    cases.submit("walltime", FOR_LONG, walltime=60.0)
    cases.submit("cancelled", FOR_LONG)
    cases.submit("down", FOR_LONG, options=("#SBATCH --nodelist=n4",))
    cases.submit("requeued", FOR_LONG, options=("#SBATCH --nodelist=n3 --requeue",))
    cases.submit("held", FOR_LONG, options=("#SBATCH --hold",))
    cases.submit("unlimited", FOR_LONG, queue="debug", walltime=3600.0)


def _let_all_happen(cases: Cases) -> None:
    run, ids = cases.lab.run, cases.ids
    running = ("walltime", "cancelled", "down", "requeued", "preempted")
    cases.until(lambda: all(cases.phase(name) == Phase.RUNNING for name in running), "all run")
    cases.until(lambda: cases.phase("wide") == Phase.ENDED, "n4 is free of it")
    run("scontrol", "update", f"JobId={ids['walltime']}", "EndTime=now+5")  # a minute is the least that sbatch takes
    assert cases.asker.cancel([ids["cancelled"], ids["held"]]) == [True, True]
    cases.lab.set_down("n4")
    run("scontrol", "requeue", ids["requeued"])
    cases.submit("urgent", "sleep 1", queue="batch", exclusive=True, options=("#SBATCH --nodelist=n2",))
    alive = ("requeued", "unlimited")
    cases.until(lambda: all(cases.phase(name) == Phase.ENDED for name in ids if name not in alive), "the others ended")
    cases.until(lambda: cases.phase("requeued") == Phase.RUNNING, "it runs again")
    cases.lab.set_up("n4")


@pytest.mark.parametrize(
    ("name", "end", "words"),
    [
        ("finished", End.FINISHED, "COMPLETED"),
        ("failed", End.FAILED, "FAILED: NonZeroExitCode: exit code 3"),
        ("missing", End.FAILED, "FAILED: NonZeroExitCode: exit code 127"),
        ("walltime", End.WALLTIME, "TIMEOUT: TimeLimit"),
        ("cancelled", End.CANCELLED, "CANCELLED"),
        ("held", End.CANCELLED, "CANCELLED: JobHeldUser"),
        ("down", End.NODE_FAILURE, "NODE_FAIL: NodeDown"),
        ("preempted", End.PREEMPTED, "PREEMPTED"),
    ],
)
def test_how_a_job_ended_is_reported(cases: Cases, name: str, end: End, words: str) -> None:
    assert (cases.end(name).end, cases.end(name).reason) == (end, words)


def test_a_job_that_exceeds_its_memory_is_reported_as_such(cases: Cases) -> None:
    taken = (End.OUT_OF_MEMORY, "OUT_OF_MEMORY: OutOfMemory")
    expected = taken if cases.lab.cgroups else (End.FINISHED, "COMPLETED")
    assert (cases.end("memory").end, cases.end("memory").reason) == expected


def test_a_job_is_reported_as_running_before_it_ends(cases: Cases) -> None:
    assert Phase.RUNNING in cases.phases("finished")
    assert cases.phases("cancelled")[-1] == Phase.ENDED


def test_a_missing_program_is_named_with_the_output_of_the_block(cases: Cases) -> None:
    assert "no-such-program: command not found" in cases.files("missing")


def test_srun_starts_one_process_on_each_node(cases: Cases) -> None:
    assert sorted(cases.files("wide").split()) == ["n1", "n3", "n4"]


def test_a_requeued_job_waits_and_runs_again(cases: Cases) -> None:
    phases = [phase for phase, _ in groupby(each for each in cases.phases("requeued") if each != Phase.ENDING)]
    assert phases[-3:] == [Phase.RUNNING, Phase.QUEUED, Phase.RUNNING]


def test_jobs_that_cannot_start_say_why(cases: Cases) -> None:
    assert "held by its owner" in cases.history["held"][0].reason
    assert cases.end("unlimited").phase == Phase.QUEUED
    assert "PartitionTimeLimit: it will never start: the walltime is longer" in cases.end("unlimited").reason


def test_blocks_know_when_they_end(cases: Cases) -> None:
    started = time.mktime(time.strptime(cases.lab.job(cases.ids["finished"])["StartTime"], "%Y-%m-%dT%H:%M:%S"))
    written = int((cases.folder / "finished" / "cpu-0.end").read_text())
    assert 0 <= written - 120 - started < 20


def test_a_job_that_has_ended_can_be_cancelled_again(cases: Cases) -> None:
    assert cases.asker.cancel([cases.ids["finished"], "9999999"]) == [True, True]


def test_accounting_knows_jobs_that_the_controller_has_forgotten(cases: Cases) -> None:
    found = cases.asker._accounted([*cases.ids.values(), "9999999"])
    names = {name: found[number].end for name, number in cases.ids.items() if number in found}
    expected = {name: cases.end(name).end for name in cases.ids if cases.phase(name) == Phase.ENDED}
    assert names == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"queue": "nowhere"}, "Invalid partition name specified"),
        ({"account": "somebody"}, "Invalid account or account/partition combination specified"),
        ({"nodes_per_block": 9, "launcher": "srun", "options": ("#SBATCH -w n9",)}, "Invalid node name specified"),
        ({"gpus_per_node": 3}, "Requested node configuration is not available"),
        ({"memory_per_node": 10**15}, "Memory specification can not be satisfied"),
    ],
)
def test_permanent_refusals(slurm: Lab, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SubmitRefused, match=words) as refused:
        blocks(tmp_path, **changes).submit("true", 1, "0")
    assert not refused.value.transient


def test_the_limit_of_queued_jobs_is_a_temporary_refusal(slurm: Lab, tmp_path: Path) -> None:
    provider = blocks(tmp_path, options=("#SBATCH --qos=two --hold",))
    jobs = [provider.submit("true", 1, block) for block in "01"]
    with pytest.raises(SubmitRefused, match="QOSMaxSubmitJobPerUserLimit") as refused:
        provider.submit("true", 1, "2")
    assert refused.value.transient
    assert provider.cancel(jobs) == [True, True]


def test_while_the_controller_is_away_no_job_is_taken_for_ended(slurm: Lab, tmp_path: Path) -> None:
    provider = blocks(tmp_path)
    job = provider.submit(FOR_LONG, 1, "0")
    with slurm.controller_away(), ThreadPoolExecutor(3) as threads:
        asked = threads.submit(provider.query, [job])
        cancelled = threads.submit(provider.cancel, [job])
        submitted = threads.submit(provider.submit, "true", 1, "1")
        with pytest.raises(SchedulerUnreachable, match="Unable to contact slurm controller"):
            asked.result()
        assert cancelled.result() == [False]
        with pytest.raises(SubmitRefused, match="Unable to contact slurm controller") as refused:
            submitted.result()
        assert refused.value.transient
    assert provider.query([job])[job].phase in (Phase.QUEUED, Phase.RUNNING)
    assert provider.cancel([job]) == [True]


def test_slurm_says_when_a_block_would_start_and_does_not_take_it(slurm: Lab, tmp_path: Path) -> None:
    """A node of which another job has what the block needs, and one that is free of such jobs."""
    needs = "#SBATCH --gres=place:1 --nodelist="
    holder = blocks(tmp_path / "holder", walltime=600.0, options=(f"{needs}n1",))
    job = holder.submit(FOR_LONG, 1, "0")
    try:
        deadline = time.monotonic() + PATIENCE
        while holder.query([job])[job].phase != Phase.RUNNING:
            assert time.monotonic() < deadline, "the job does not start"
            time.sleep(0.5)
        after, now = (blocks(tmp_path / name, options=(f"{needs}{name}",)).starts("true", "0") for name in ("n1", "n2"))
        assert after is not None
        assert now is not None
        assert after - now > 240.0
        assert blocks(tmp_path / "n9", options=(f"{needs}n9",)).starts("true", "0") is None
        jobs = [line.split("|") for line in slurm.run("squeue", "-h", "-o", "%i|%o").stdout.splitlines()]
        assert [number for number, script in jobs if str(tmp_path) in script] == [job]
    finally:
        holder.cancel([job])
