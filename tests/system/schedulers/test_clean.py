"""``pilotune clean`` on a real Slurm and emulated PBS and Cobalt: it ends exactly the jobs that dead drivers left."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.record import RunDirectory, known_studies
from pilotune.providers.blocks.job_log import JobLog, read_job_log
from pilotune.providers.blocks.orphaned_jobs import end_orphaned_jobs
from pilotune.providers.schedulers.batch import BatchBlocks
from pilotune.providers.schedulers.jobs import Job, Phase
from pilotune.providers.schedulers.registry import provider_class
from pilotune.providers.site import PoolSpec, Site

from ...support.cli import Pilotune, alone, pilotune_  # noqa: F401
from ...support.emulators.install import install
from ...support.local import until

pytestmark = [pytest.mark.real, pytest.mark.heavy]

NOBODY = 2**22 + 1  # above the kernel's largest process id
QUICK = {"pbs": {"late": 0.2, "kill_delay": 1.0, "exiting": 0.2, "starting": 0.1}, "cobalt": {}}


@dataclass
class Machine:
    """A scheduler with the blocks of some campaigns."""

    scheduler: str
    runs: Path

    def provider(self, folder: Path, label: str) -> BatchBlocks:
        pool = PoolSpec("cpu", walltime=600.0, exclusive=False)
        provider = provider_class(self.scheduler).for_pool(Site("lab", self.scheduler, (pool,), self.runs), pool, "")
        provider.place(folder, label)
        return provider

    def campaign(self, name: str, blocks: int = 1, **status: Any) -> list[str]:
        """Start a campaign whose blocks sleep; its driver is dead unless ``status`` says otherwise."""
        run = RunDirectory(self.runs / "digits" / name)
        run.create()
        now = time.time()
        facts = {"state": "running", "host": socket.gethostname(), "pid": NOBODY, "started": now, "updated": now}
        run.status.write_text(Status("digits", name, **{**facts, **status}).to_json())
        known_studies.save(
            name="digits", study_file=self.runs / "s.yaml", storage="sqlite:////x.db", runs=self.runs, site="lab",
            run_dir=run.path,
        )  # fmt: skip
        return [self.block(run, str(number)) for number in range(blocks)]

    def block(self, run: RunDirectory, number: str) -> str:
        provider = self.provider(run.blocks, f"digits-{run.path.name[-6:]}")
        book, job_name = JobLog(run.jobs, self.scheduler, 1.0), provider.files(number).job_name
        book.submitting(job_name, "cpu", number)
        job = provider.submit("sleep 600", 1, number)
        book.submitted(job_name, "cpu", number, job, time.time())
        return job

    def record(self, name: str) -> Path:
        return RunDirectory(self.runs / "digits" / name).jobs

    def phases(self, jobs: list[str]) -> list[str]:
        """The phases of jobs; ``over`` for those that are ending or have ended."""
        states = self.provider(self.runs, "look").query(jobs)
        found = [states[job].phase if job in states else Phase.ENDED for job in jobs]
        return ["over" if phase in (Phase.ENDING, Phase.ENDED) else phase.value for phase in found]


@pytest.fixture(params=["slurm", "pbs", "cobalt"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    runs = tmp_path / "runs"
    runs.mkdir()
    machine = Machine(request.param, runs)
    if machine.scheduler == "slurm":
        request.getfixturevalue("slurm")
        yield machine
        end_orphaned_jobs(sorted(runs.glob("*/*/jobs.jsonl")), patience=0)
        return
    with install(tmp_path / "machine", machine.scheduler, nodes=2, cores=2, **QUICK[machine.scheduler]) as emulated:
        for name, value in emulated.env.items():
            monkeypatch.setenv(name, value)
        yield machine


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()[1:]]


def running(machine: Machine, jobs: list[str]) -> Callable[[], bool]:
    return lambda: set(machine.phases(jobs)) == {"running"}


def test_it_ends_what_a_dead_driver_left_and_nothing_else(pilotune: Pilotune, machine: Machine) -> None:
    """The blocks of a campaign that runs, and of another study, stay."""
    left = machine.campaign("20260101-120000-aaaaaa", blocks=2)
    kept = machine.campaign("20260101-130000-bbbbbb", pid=os.getpid())
    until(running(machine, left[:1]), "a block runs")

    looked = pilotune("clean", "digits", "--dry-run")
    assert (looked.code, [row[5].rstrip(":") for row in rows(looked.out)]) == (0, ["left", "left"])
    assert "no job was ended" in looked.err
    assert "over" not in machine.phases(left)

    cleaned = pilotune("clean", "digits")
    assert cleaned.code == 0
    assert [row[3] for row in rows(cleaned.out)] == left
    assert "campaign 20260101-130000-bbbbbb runs" in cleaned.err
    assert machine.phases(left) == ["over", "over"]
    assert "over" not in machine.phases(kept)

    again = json.loads(pilotune("clean", "digits", "--json").out)
    assert again["skipped"] == ["20260101-130000-bbbbbb"]
    assert {job["now"] for job in again["jobs"]} <= {"being ended", "gone already", "ended"}


def test_jobs_that_are_gone_are_reported_once(pilotune: Pilotune, machine: Machine) -> None:
    (job,) = machine.campaign("20260101-120000-aaaaaa")
    provider = machine.provider(machine.runs, "x")
    provider.cancel_one(job)
    gone = Job(job, Phase.ENDED)
    until(lambda: provider.query([job]).get(job, gone).phase == Phase.ENDED, "it is gone")
    assert rows(pilotune("clean", "digits").out) == [
        ["20260101-120000-aaaaaa", "cpu", "0", job, "-", "gone", "already"]
    ]
    assert pilotune("clean", "digits").out.startswith("nothing is left of 1 campaign of digits")


def test_a_job_that_has_taken_over_an_old_number_is_left_alone(machine: Machine) -> None:
    """Two clusters that share a file system may use the same numbers; only PBS's contain the server."""
    (other,) = machine.campaign("20260101-120000-aaaaaa")
    record = machine.record("20260101-130000-bbbbbb")
    record.parent.mkdir()
    job = other if machine.scheduler != "pbs" else other.replace(".", ".other-")
    JobLog(record, machine.scheduler, 1.0).submitted("digits-bbbbbb-cpu-0", "cpu", "0", job, 0.0)
    (left,) = end_orphaned_jobs([record])
    assert left.fate == "gone already"
    assert machine.phases([other]) != ["over"]
    assert machine.scheduler == "pbs" or "belongs to the job digits-aaaaaa-cpu-0" in left.words


def test_a_job_whose_number_was_never_recorded_is_found_by_name(pilotune: Pilotune, machine: Machine) -> None:
    machine.campaign("20260101-120000-aaaaaa", blocks=0)
    record = machine.record("20260101-120000-aaaaaa")
    JobLog(record, machine.scheduler, 1.0).submitting("digits-aaaaaa-cpu-7", "cpu", "7")
    result = pilotune("clean", "digits")
    assert result.code == 3
    assert "look for a job named digits-aaaaaa-cpu-7" in result.out


def test_a_scheduler_that_does_not_answer_is_reported_and_asked_again(
    pilotune: Pilotune, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = machine.campaign("20260101-120000-aaaaaa")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("PATH", "/nowhere")
        result = pilotune("clean", "digits")
    assert result.code == 3
    assert "is not on PATH" in result.out
    assert "1 job may still exist; run pilotune clean digits again" in result.err
    assert [job.ended for job in read_job_log(machine.record("20260101-120000-aaaaaa"))] == [""]
    assert pilotune("clean", "digits").code == 0
    assert machine.phases(left) == ["over"]


def test_a_study_on_this_machine_has_nothing_to_clean(pilotune: Pilotune, tmp_path: Path) -> None:
    Machine("local", tmp_path / "runs").campaign("20260101-120000-aaaaaa", blocks=0)
    result = pilotune("clean", "digits")
    assert (result.code, result.out.startswith("nothing is left of 1 campaign of digits")) == (0, True)


def test_a_campaign_whose_status_is_lost_is_dead_when_its_record_is_silent(pilotune: Pilotune, tmp_path: Path) -> None:
    machine = Machine("pbs", tmp_path / "runs")
    machine.campaign("20260101-120000-aaaaaa", blocks=0)
    record = machine.record("20260101-120000-aaaaaa")
    JobLog(record, "pbs", 1.0).submitting("digits-aaaaaa-cpu-7", "cpu", "7")
    (record.parent / "status.json").write_text("{")
    assert json.loads(pilotune("clean", "digits", "--json").out)["jobs"] == []
    os.utime(record, (0, 0))
    assert [job["now"] for job in json.loads(pilotune("clean", "digits", "--json").out)["jobs"]] == ["not known"]
