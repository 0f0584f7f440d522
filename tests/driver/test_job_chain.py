"""A driver in batch jobs: when a job ends, which job follows, and what its script holds."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pilotune.errors import SiteError
from pilotune.pipeline.campaign.events import StopRequested
from pilotune.pipeline.driver import job_chain_start
from pilotune.pipeline.driver.control import Control
from pilotune.pipeline.driver.job_chain import MOST_JOBS, JobChain, JobSlot, chains_in, margin, read_chain
from pilotune.pipeline.driver.settings import RunSettings
from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.record import RunDirectory
from pilotune.pipeline.studyfile import load_study_file
from pilotune.providers.blocks import driver_job as driverjob
from pilotune.providers.blocks.driver_job import site_on_compute_node
from pilotune.providers.schedulers.jobs import SubmitRefused
from pilotune.providers.schedulers.network import own_addresses
from pilotune.providers.site import DriverJob, Network, PoolSpec, Site

from ..support.cli import Pilotune, alone, pilotune_  # noqa: F401

REASON = "its driver's job is about to reach its walltime"
WORDS = ("/opt/pilotune/bin/python", "-m", "pilotune.pipeline.cli.main", "run", "/home/me/study.yaml")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    pool = PoolSpec("cpu", walltime=3600.0)
    return Site("lab", "pbs", (pool,), tmp_path / "runs", driver=DriverJob(walltime=600.0), account="proj")


@pytest.fixture
def chain(tmp_path: Path) -> JobChain:
    folder = tmp_path / "runs" / "digits" / "in-job-20260101-120000-abc123"
    folder.mkdir(parents=True)
    return JobChain(folder, "digits", "sqlite:////x.db", "pbs", "lab", "digits-abc123", WORDS, job="7.server").saved()


class Scheduler:
    """Takes driver jobs, or refuses them with these words."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.refusals: list[SubmitRefused] = []
        self.taken: list[int] = []
        self.after = lambda: None
        monkeypatch.setattr(driverjob, "submit_driver", self.submit)
        monkeypatch.setattr(job_chain_start, "RETRY_PERIOD", 0.0)

    def submit(self, provider: object, generation: int, words: object) -> str:
        if self.refusals:
            raise self.refusals.pop(0)
        self.taken.append(generation)
        self.after()
        return f"{generation}0.server"


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    return Scheduler(monkeypatch)


def over(chain: JobChain) -> JobSlot:
    """A slot whose time is up."""
    slot = JobSlot(chain, time.time() + 30.0, 600.0)
    slot.stop_requests(time.time())
    assert slot.over
    return slot


def status_of(chain: JobChain, code: int = 130) -> Status:
    run = RunDirectory(chain.folder.parent / "20260101-120005-bbbbbb")
    run.create()
    return Status("digits", run.path.name, "ended", REASON, code, run_dir=str(run.path))


# -- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("walltime", "seconds"), [(60.0, 20.0), (600.0, 120.0), (3600.0, 180.0), (14_400.0, 720.0), (86_400.0, 900.0)]
)
def test_a_driver_stops_minutes_before_its_jobs_end(walltime: float, seconds: float) -> None:
    assert margin(walltime) == seconds


def test_trials_yield_first_and_are_killed_shortly_before_the_end(chain: JobChain) -> None:
    slot = JobSlot(chain, end=1000.0, walltime=600.0)
    assert slot.stop_requests(879.0) == []
    assert slot.stop_requests(881.0) == [StopRequested("yield", REASON)]
    assert slot.stop_requests(882.0) == []
    assert slot.stop_requests(961.0) == [StopRequested("now", REASON)]
    assert slot.stop_requests(999.0) == []


def test_a_request_of_the_user_reaches_the_campaign_and_is_its_reason(chain: JobChain) -> None:
    slot = JobSlot(chain, end=1000.0, walltime=600.0)
    chain.stop.write_text("finish")
    assert slot.stop_requests(0.0) == [StopRequested("finish")]
    assert slot.stop_requests(1.0) == []
    chain.stop.write_text("now")
    assert slot.stop_requests(2.0) == [StopRequested("now")]
    assert slot.stop_requests(900.0) == [StopRequested("yield")]
    assert slot.user_signal == "now"


def test_a_signal_to_a_driver_in_a_job_leaves_no_time_to_finish(chain: JobChain, tmp_path: Path) -> None:
    with Control(tmp_path / "stop", JobSlot(chain, time.time() + 600.0, 600.0)) as control:
        control.stop_requests()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert control.stop_requests() == [StopRequested("yield"), StopRequested("now")]


# -- the successor ----------------------------------------------------------------------------------------------------


def test_the_successor_is_in_the_chain_and_in_the_status(chain: JobChain, site: Site, scheduler: Scheduler) -> None:
    status = job_chain_start.end_slot(over(chain), status_of(chain), site)
    assert scheduler.taken == [2]
    saved = read_chain(chain.folder)
    assert (saved.generation, saved.job, saved.state) == (2, "20.server", "waiting")
    assert status.reason == "its driver's job reached its walltime; job 20.server continues"
    written = Status.from_json(RunDirectory(Path(status.run_dir)).status.read_text())
    assert (written.reason, written.code) == (status.reason, 130)


@pytest.mark.parametrize("code", [0, 1, 3])
def test_a_study_that_ended_has_no_successor(chain: JobChain, site: Site, scheduler: Scheduler, code: int) -> None:
    job_chain_start.end_slot(over(chain), status_of(chain, code), site)
    assert (scheduler.taken, read_chain(chain.folder).state) == ([], "ended")


def test_a_signal_alone_causes_no_successor(chain: JobChain, site: Site, scheduler: Scheduler) -> None:
    job_chain_start.end_slot(JobSlot(chain, time.time() + 600.0, 600.0), status_of(chain), site)
    assert (scheduler.taken, read_chain(chain.folder).state) == ([], "ended")


def test_a_stop_at_the_last_moment_causes_none_either(chain: JobChain, site: Site, scheduler: Scheduler) -> None:
    slot = over(chain)
    chain.stop.write_text("finish")
    job_chain_start.end_slot(slot, status_of(chain), site)
    assert (scheduler.taken, read_chain(chain.folder).state) == ([], "ended")


def test_a_stop_while_the_successor_is_submitted_cancels_it(
    chain: JobChain, site: Site, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled: list[str] = []
    monkeypatch.setattr(
        "pilotune.providers.schedulers.pbs.PBSBlocks.cancel_one", lambda self, job: cancelled.append(job) or True
    )
    scheduler.after = lambda: chain.stop.write_text("now")
    job_chain_start.end_slot(over(chain), status_of(chain), site)
    assert cancelled == ["20.server"]
    assert (read_chain(chain.folder).state, read_chain(chain.folder).reason) == ("ended", "stopped by the user")


def test_a_refusal_that_may_pass_is_retried(chain: JobChain, site: Site, scheduler: Scheduler) -> None:
    scheduler.refusals = [SubmitRefused("too many jobs", transient=True)] * 2
    job_chain_start.end_slot(over(chain), status_of(chain), site)
    assert scheduler.taken == [2]


def test_a_lasting_refusal_is_reported_in_its_words(chain: JobChain, site: Site, scheduler: Scheduler) -> None:
    scheduler.refusals = [SubmitRefused("qsub: not from here", transient=False)]
    status = job_chain_start.end_slot(over(chain), status_of(chain), site)
    reason = "the scheduler refused the driver's next job (qsub: not from here)"
    assert (read_chain(chain.folder).state, read_chain(chain.folder).reason) == ("ended", reason)
    assert (status.reason, status.code) == (f"{reason}; pilotune resume digits --in-job continues", 130)


def test_a_chain_does_not_go_on_for_ever(chain: JobChain, site: Site, scheduler: Scheduler) -> None:
    job_chain_start.end_slot(over(replace(chain, generation=MOST_JOBS)), status_of(chain), site)
    assert (scheduler.taken, read_chain(chain.folder).state) == ([], "ended")


# -- in the job -------------------------------------------------------------------------------------------------------


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, chain: JobChain) -> Path:
    """The environment of a ten-minute job; returns the path of its script."""
    monkeypatch.setenv("PILOTUNE_WALLTIME", "600")
    monkeypatch.setenv("PILOTUNE_BLOCK_END", str(int(time.time() + 590)))
    monkeypatch.setattr(job_chain_start, "JOB_ID_WAIT", 0.0)
    return chain.folder / "driver-1.sh"


def test_a_job_notes_that_it_is_running(chain: JobChain, job: Path) -> None:
    slot = job_chain_start.begin_slot(job)
    assert (slot.chain.state, read_chain(chain.folder).state) == ("running", "running")


def test_a_job_whose_id_was_not_written_runs_all_the_same(chain: JobChain, job: Path) -> None:
    """Its predecessor died after it had submitted the job and before it had written the id."""
    assert job_chain_start.begin_slot(job.with_name("driver-2.sh")).chain.generation == 2


def test_a_job_that_was_stopped_while_it_waited_does_nothing(chain: JobChain, job: Path) -> None:
    chain.stop.write_text("finish")
    assert job_chain_start.begin_slot(job) is None
    assert read_chain(chain.folder).state == "ended"


@pytest.mark.parametrize("changes", [{"generation": 2}, {"state": "ended"}])
def test_a_job_that_has_a_successor_does_nothing(chain: JobChain, job: Path, changes: dict[str, object]) -> None:
    """The scheduler ran it again."""
    chain.saved(**changes)
    with pytest.raises(SiteError, match="no longer belongs to its job chain"):
        job_chain_start.begin_slot(job)


def test_a_job_without_time_submits_no_successor(chain: JobChain, job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise jobs would follow one another for ever."""
    monkeypatch.setenv("PILOTUNE_BLOCK_END", str(int(time.time() + 60)))
    with pytest.raises(SiteError, match="too little to run anything"):
        job_chain_start.begin_slot(job)
    assert read_chain(chain.folder).state == "ended"


def test_the_time_budget_counts_over_all_jobs(
    chain: JobChain, site: Site, tmp_path: Path, scheduler: Scheduler
) -> None:
    (tmp_path / "train.py").write_text("def train(trial): ...\n")
    text = "name: digits\nobjective: train.py:train\ndirection: minimize\nspace: {x: {float: [0, 1]}}\n"
    (tmp_path / "study.yaml").write_text(f"{text}budget: {{time: 1h}}\n")
    settings = RunSettings(load_study_file(tmp_path / "study.yaml"), site, chain.storage, tmp_path)
    slot = over(replace(chain, used=1000.0))
    assert job_chain_start.settings_in_job(settings, slot).study_file.budget.time == 2600.0
    slot.began -= 500.0
    job_chain_start.end_slot(slot, status_of(chain), site)
    assert 1500.0 <= read_chain(chain.folder).used < 1600.0


def test_addresses_of_the_login_node_are_not_used_on_another_node(site: Site) -> None:
    """Addresses that the node has too are kept."""
    own = own_addresses()
    name, address = next(iter(own.items()))
    for network in (Network(address=address), Network(interface=f"ib7 {name}"), Network()):
        assert site_on_compute_node(replace(site, network=network)).network == network
    for network in (Network(address="203.0.113.9"), Network(interface="ib7")):
        assert site_on_compute_node(replace(site, network=network)).network == Network()


# -- the script and relay.json ----------------------------------------------------------------------------------------


def test_the_script_holds_what_the_driver_needs_and_no_password(
    chain: JobChain, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("PGSERVICE", "tuning")
    chain = replace(chain, environment=driverjob.passed_on())
    text = driverjob.driver_script(job_chain_start.blocks_of(chain, site), 3, chain.words)
    lines = text.splitlines()
    assert "#PBS -N digits-abc123-driver-3" in lines
    assert "#PBS -A proj" in lines
    assert "export PGSERVICE=tuning" in lines
    assert f"exec env PILOTUNE_DRIVER_SCRIPT={chain.folder}/driver-3.sh {' '.join(WORDS)}" in lines
    assert "secret" not in text + json.dumps(dict(chain.environment))
    first = driverjob.driver_script(job_chain_start.blocks_of(chain, site), 1, chain.words)
    assert first.replace("driver-1", "driver-3") == text, "only the number changes from one job to the next"


def test_a_broken_chain_file_is_skipped(chain: JobChain) -> None:
    study = chain.folder.parent
    assert [each.folder for each in chains_in(study)] == [chain.folder]
    chain.state_file.write_text('{"study": ')
    assert (chains_in(study), chains_in(None)) == ([], [])


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--in-job"], "site local has no scheduler to submit the driver's job to"),
        (["--in-job", "--dry-run"], "site local has no scheduler to submit the driver's job to"),
        (["--in-job", "--detach"], "--detach keeps the driver on this host, --in-job submits it to a scheduler"),
    ],
)
def test_impossible_options_are_refused(pilotune: Pilotune, words: list[str], message: str) -> None:
    pilotune("init", "rings")
    result = pilotune("run", "rings", *words)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_a_refused_driver_job_leaves_nothing_behind(pilotune: Pilotune, scheduler: Scheduler) -> None:
    pilotune("init", "rings")
    Path("lab.yaml").write_text("scheduler: pbs\nruns: runs\npools: {cpu: {walltime: 1h}}\n")
    scheduler.refusals = [SubmitRefused("qsub: Unknown queue", transient=False)]
    result = pilotune("run", "rings", "--site", "lab", "--in-job")
    assert result.code == 3
    assert "the scheduler refused the driver's job (qsub: Unknown queue); see driver in the site file" in result.err
    assert list(Path("runs").glob("rings/in-job-*")) == []
    dry = pilotune("run", "rings", "--site", "lab", "--in-job", "--dry-run", "--json")
    assert json.loads(dry.out)["scripts"][0]["name"] == "driver"
    assert list(Path("runs").glob("rings/in-job-*")) == []
