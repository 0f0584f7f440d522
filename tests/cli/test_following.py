"""How ``pilotune watch`` waits for the campaign of a queued driver's job, with the notes of its chain written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.pipeline.cli.commands.watch import await_driver
from pilotune.pipeline.cli.following import JOB_QUERY_INTERVAL, DriverWait
from pilotune.pipeline.driver.job_chain import JobChain
from pilotune.providers.schedulers.jobs import Job, Phase


class Queries:
    """Counts the questions to the scheduler, and answers them."""

    def __init__(self) -> None:
        self.asked, self.phase, self.reason = 0, Phase.QUEUED, "Priority"

    def __call__(self, chain: JobChain) -> Job:
        self.asked += 1
        return Job(chain.job, self.phase, reason=self.reason)


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> Queries:
    made = Queries()
    monkeypatch.setattr("pilotune.pipeline.studies.driver_jobs.query_job", made)
    return made


@pytest.fixture
def chain(tmp_path: Path) -> JobChain:
    folder = tmp_path / "digits" / "in-job-20260101-120000"
    folder.mkdir(parents=True, mode=0o700)
    made = JobChain(folder, "digits", "sqlite:////x/study.db", "slurm", "lab", "digits", ("run",), job="7")
    return made.saved()


def test_the_scheduler_is_asked_once_a_minute_while_nothing_changes(chain: JobChain, queries: Queries) -> None:
    now = 0.0
    wait = DriverWait(chain, 0.0, clock=lambda: now)
    assert (wait.sentence, queries.asked) == ("job 7 at lab (slurm) is queued (Priority)", 1)
    queries.reason = "Resources"
    for _ in range(9):
        assert wait.look() is None
    assert (wait.sentence, queries.asked) == ("job 7 at lab (slurm) is queued (Priority)", 1)
    now += JOB_QUERY_INTERVAL + 1.0
    assert wait.look() is None
    assert wait.sentence == "job 7 at lab (slurm) is queued (Resources)"


def test_that_the_job_began_and_that_a_successor_waits_is_said_at_once(chain: JobChain, queries: Queries) -> None:
    wait = DriverWait(chain, 0.0, clock=lambda: 0.0)
    queries.phase, queries.reason = Phase.RUNNING, ""
    chain = chain.saved(state="running")
    assert wait.look() is None
    assert wait.sentence == "job 7 at lab (slurm) is running"
    queries.phase, queries.reason = Phase.QUEUED, "Priority"
    chain.saved(state="waiting", job="8", generation=2)
    assert wait.look() is None
    assert wait.sentence == "job 8 at lab (slurm), the 2nd of its driver, is queued (Priority)"


def test_by_lines_each_sentence_is_said_once_and_at_last_why_it_ended(
    chain: JobChain, queries: Queries, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    running, over = {"state": "running"}, {"state": "ended", "reason": "stopped by the user"}
    changes = iter([{}, running, running, over, over])
    monkeypatch.setattr("time.sleep", lambda seconds: chain.saved(**next(changes)))
    queries.reason = ""
    assert await_driver(chain, 0.0) is None
    assert capsys.readouterr().err.splitlines() == [
        "job 7 at lab (slurm) is queued",
        "job 7 at lab (slurm) is running",
        "the driver's job has ended: stopped by the user",
    ]
