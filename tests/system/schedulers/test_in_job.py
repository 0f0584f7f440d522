"""The driver as a chain of batch jobs, on a real Slurm and on emulated PBS and Cobalt; the cases run side by side."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ...support.campaigns import (
    ENDLESS,
    LONG,
    Case,
    Epoch,
    campaign,
    computed,
    computed_again,
    login,
    side_by_side,
    write_site,
)
from ...support.campaigns import write_study as write
from ...support.emulators.install import Emulated
from ...support.local import Here, end_of, ended, processes, until
from ...support.slurm import ACCOUNTS, Lab

pytestmark = [pytest.mark.real, pytest.mark.heavy]

QUICK = {
    "pbs": {"nodes": 4, "history": True, "late": 0.5, "kill_delay": 10.0, "exiting": 0.3, "starting": 0.2},
    "cobalt": {"nodes": 4, "system": "cray", "late": 0.5, "force_kill_delay": 10.0, "exiting": 0.3, "starting": 0.2},
}
SHORT = {"walltime": "2m"}
"""A driver's job submits its successor after two thirds of its walltime."""


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, slurm_lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Case, Future[Any]]]:
    with side_by_side(request, tmp_path_factory.mktemp("in-job"), 4, slurm_lab) as cases:
        yield cases


@pytest.fixture
def seen(request: pytest.FixtureRequest, running: Mapping[Case, Future[Any]]) -> Any:
    """The result of the test's case."""
    return running[request.function.case].result(3 * LONG)


# -- waiting ----------------------------------------------------------------------------------------------------------


def chain_of(here: Here) -> dict[str, Any]:
    """The file of the newest job chain; empty before there is one."""
    notes = sorted(here.runs.glob("epochs/in-job-*/relay.json"))
    return json.loads(notes[-1].read_text()) if notes else {}


def await_chain(here: Here, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
    def find() -> dict[str, Any] | None:
        chain = chain_of(here)
        return chain if chain and condition(chain) else None

    return until(find, what, LONG)


def await_epochs(here: Here, attempt: int) -> None:
    def reached() -> bool:
        return any(each.attempt >= attempt and each.epoch >= 3 for each in computed(here))

    until(reached, f"epochs are computed in attempt {attempt}", LONG)


def submit(here: Here, *words: object) -> dict[str, Any]:
    return dict(here.json("run", "epochs.yaml", "--site", "lab", "--in-job", *words))


# -- a successor ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChainResult:
    """A study that took several driver jobs.

    Attributes:
        first: What ``run --in-job`` printed of the first job.
        note: The file of the job chain, at the end.
        watched: What ``watch`` printed, from the first job's submission on.
        jobs: Names of the driver jobs that were submitted.
        during: What ``status`` printed while the second job ran.
    """

    first: dict[str, Any]
    note: dict[str, Any]
    watched: str
    jobs: list[str]
    epochs: list[Epoch]
    during: str
    best: dict[str, Any]


def run_chain(here: Here, job_names: Callable[[], list[str]]) -> ChainResult:
    """Run two trials on one worker, which end once the second job of the driver runs."""
    write(here, ENDLESS, ENDLESS)
    first = submit(here)
    with ended(here.start("watch", "epochs")) as watching:
        await_epochs(here, attempt=2)
        during = here.run("status", "epochs").stdout
        here.write("go", "")
        watched = end_of(watching).stdout
    note = await_chain(here, lambda chain: chain["state"] == "ended", "the job chain has ended")
    until(lambda: not processes(here), "no process of the user is left", LONG)
    best = here.json("status", "epochs")["campaigns"][0]
    return ChainResult(first, note, watched, job_names(), computed(here), during, best)


def emulated(folder: Path, scheduler: str) -> ChainResult:
    with login(folder, scheduler, {}, {"driver": SHORT}, **QUICK[scheduler]) as desk:
        seen = run_chain(desk.here, lambda: driver_jobs(desk.machine))
        desk.nothing_is_left()
        return seen


def driver_jobs(machine: Emulated) -> list[str]:
    """The driver jobs ever submitted, from PBS's history or the log of Cobalt's commands."""
    remembered = [job.name for job in machine.jobs() if "-driver-" in job.name]
    calls = [" ".join(call["words"]) for call in machine.commands("qsub")]
    return remembered or [word for word in calls if "/driver-" in word]


def pbs(folder: Path, lab: Lab) -> ChainResult:
    return emulated(folder, "pbs")


def cobalt(folder: Path, lab: Lab) -> ChainResult:
    return emulated(folder, "cobalt")


def slurm(folder: Path, lab: Lab) -> ChainResult:
    here = Here(folder, **lab.environment)
    pool = {"walltime": "10m", "exclusive": False, "cores_per_node": 1}
    write_site(here, "slurm", pool, account=ACCOUNTS[0], driver={**SHORT, "memory": "500MB"})

    def jobs() -> list[str]:
        names = lab.run("sacct", "-X", "-n", "-P", "-o", "JobName").stdout.split()
        label = chain_of(here)["label"]
        return [name for name in names if name.startswith(f"{label}-driver-")]

    return run_chain(here, jobs)


def check(seen: ChainResult) -> None:
    assert (seen.note["state"], seen.note["reason"]) == ("ended", "the budget of 2 trials is used up")
    assert seen.note["generation"] >= 2
    assert len(seen.jobs) == seen.note["generation"], "one job at a time, and none after the end"
    assert (seen.best["complete"], seen.best["code"], seen.best["failed"]) == (2, 0, 0)
    assert computed_again(seen.epochs) == []
    assert {each.attempt for each in seen.epochs if each.number == 0} >= {1, 2}
    assert re.search("driver's job (is about to reach|reached) its walltime", seen.watched)
    assert "the budget of 2 trials is used up" in seen.watched
    assert (
        f"job {seen.note['job']} at lab ({seen.note['scheduler']}), the 2nd of its driver, is running" in seen.during
        or (seen.note["generation"] > 2)
    )


@campaign(pbs)
def test_on_pbs_the_study_goes_on_in_a_successor_from_its_checkpoints(seen: ChainResult) -> None:
    check(seen)


@pytest.mark.exhaustive
@campaign(cobalt)
def test_on_cobalt_the_study_goes_on_in_a_successor_from_its_checkpoints(seen: ChainResult) -> None:
    check(seen)


@campaign(slurm)
def test_on_slurm_the_study_goes_on_in_a_successor_from_its_checkpoints(seen: ChainResult) -> None:
    check(seen)


# -- stopping ---------------------------------------------------------------------------------------------------------


def stopped(folder: Path, lab: Lab) -> Any:
    """Stopped while the first job runs, then resumed by name."""
    with login(folder, "pbs", {}, {"driver": {"walltime": "10m"}}, **QUICK["pbs"]) as desk:
        here = desk.here
        write(here, ENDLESS)
        submit(here)
        await_epochs(here, attempt=1)
        said = here.run("stop", "epochs", "--yield").stdout
        note = await_chain(here, lambda chain: chain["state"] == "ended", "the job chain has ended")
        desk.nothing_is_left()
        again = here.json("resume", "epochs", "--in-job")
        await_epochs(here, attempt=2)
        here.write("go", "")
        end = await_chain(here, lambda chain: chain["state"] == "ended", "the second job chain has ended")
        desk.nothing_is_left()
        return said, note, again, end, driver_jobs(desk.machine), computed(here)


@campaign(stopped)
def test_a_stopped_driver_has_no_successor_and_can_be_resumed(seen: Any) -> None:
    said, note, again, end, jobs, epochs = seen
    assert "stopped by the user; it can be resumed" in said
    assert (note["generation"], note["reason"]) == (1, "stopped by the user; it can be resumed")
    assert again["folder"] != note["folder"]
    assert end["reason"] == "the budget of 1 trial is used up"
    assert len(jobs) == 2
    assert computed_again(epochs) == []


def waiting(folder: Path, lab: Lab) -> Any:
    """The driver's job waits in a queue that is not started."""
    queues = {"workq": {}, "later": {"started": False}}
    with login(folder, "pbs", {}, {"driver": {"queue": "later"}}, queues=queues, **QUICK["pbs"]) as desk:
        here = desk.here
        write(here, ENDLESS)
        submit(here)
        with ended(here.start("watch", "epochs")) as watching:
            second = here.run("run", "epochs.yaml", "--site", "lab", "--in-job", code=2).stderr
            overview, detail = here.run("status").stdout, here.run("status", "epochs").stdout
            left_alone = here.run("clean", "epochs").stderr
            said = here.run("stop", "epochs").stdout
            watched = end_of(watching, 130).stderr
        desk.nothing_is_left()
        return second, overview, detail, left_alone, said, watched, here.run("stop", "epochs", code=1).stderr


@campaign(waiting)
def test_a_queued_job_of_the_driver_is_shown_and_can_be_cancelled(seen: Any) -> None:
    second, overview, detail, left_alone, said, watched, again = seen
    assert "job 1.pbshead for the driver of 'epochs' is already waiting" in second
    assert overview.splitlines()[1].split()[:2] == ["epochs", "queued"]
    assert "job 1.pbshead at lab (pbs) is queued" in detail
    assert "is queued (Not Running: Queue not started.); pilotune stop epochs ends it" in left_alone
    assert said == "the driver's job 1.pbshead was queued and is cancelled\n"
    assert "the driver's job has ended: stopped while its job waited" in watched
    assert "no campaign of 'epochs' is running" in again


def watched(folder: Path, lab: Lab) -> Any:
    """Watched by lines and as JSON, from the driver's job, which is held in the queue, to the end of its campaign."""
    here = Here(folder, **lab.environment)
    pool = {"walltime": "10m", "exclusive": False, "cores_per_node": 1}
    driver = {"walltime": "10m", "memory": "500MB", "options": ["#SBATCH --hold"]}
    write_site(here, "slurm", pool, account=ACCOUNTS[0], driver=driver)
    write(here, ENDLESS, ENDLESS)
    here.write("go", "")
    job = submit(here)["job"]
    with ended(here.start("watch", "epochs")) as lines, ended(here.start("watch", "epochs", "--json")) as numbers:
        queued = [watch.stderr.readline() for watch in (lines, numbers) if watch.stderr]
        lab.run("scontrol", "release", job)
        seen = [end_of(watch) for watch in (lines, numbers)]
    until(lambda: not processes(here), "no process of the user is left", LONG)
    return job, queued, *seen


@campaign(watched)
def test_a_campaign_on_slurm_is_watched_from_the_queue_to_its_end(seen: Any) -> None:
    job, queued, lines, numbers = seen
    place, end = f"job {job} at lab (slurm)", "the budget of 2 trials is used up"
    assert queued == [f"{place} is queued (JobHeldUser: held by its owner; scontrol release starts it)\n"] * 2
    told = lines.stderr.splitlines()
    assert [line for line in told if "2 complete" in line], told
    assert all(line.startswith(place) for line in told if place in line), told
    (last,) = lines.stdout.splitlines()
    assert "ended; 2/2 trials: 2 complete" in last
    assert last.endswith(end)
    found = [json.loads(line) for line in numbers.stdout.splitlines()]
    states = [each["state"] for each in found]
    assert states == sorted(states, key=["starting", "running", "stopping", "ended"].index)
    assert [(each["reason"], each["code"], each["complete"]) for each in found if each["state"] == "ended"] == [
        (end, 0, 2)
    ]
    assert "complete" not in numbers.stderr, "progress is on stdout only"


# -- what goes wrong --------------------------------------------------------------------------------------------------


def refused(folder: Path, lab: Lab) -> Any:
    """The scheduler refuses the successor of the first job."""
    with login(folder, "pbs", {}, {"driver": {"walltime": "1m"}}, **QUICK["pbs"]) as desk:
        here = desk.here
        write(here, ENDLESS)
        submit(here)
        until(lambda: len(desk.machine.jobs()) == 2, "its block is submitted", LONG)
        desk.machine.set(queues={"workq": {"enabled": False}})
        note = await_chain(here, lambda chain: chain["state"] == "ended", "the job chain has ended")
        desk.nothing_is_left()
        return note, here.json("status", "epochs")["campaigns"][0], here.run("status", "epochs").stdout


@campaign(refused)
def test_a_refused_successor_is_reported_in_the_schedulers_words_and_the_study_can_be_resumed(seen: Any) -> None:
    note, status, text = seen
    assert note["reason"].startswith("the scheduler refused the driver's next job (qsub: ")
    assert (status["state"], status["code"]) == ("ended", 130)
    assert f"{note['reason']}; pilotune resume epochs --in-job continues" in text


def killed(folder: Path, lab: Lab) -> Any:
    """The driver is killed, as if its node had failed."""
    with login(folder, "pbs", {}, {}, **QUICK["pbs"]) as desk:
        here = desk.here
        write(here, ENDLESS)
        submit(here)
        await_epochs(here, attempt=1)
        os.kill(here.status("epochs")["pid"], signal.SIGKILL)
        until(lambda: desk.machine.jobs()[0].phase == "ended", "its job has ended", LONG)
        text = here.run("status", "epochs").stdout
        cleaned = here.run("clean", "epochs").stderr
        desk.nothing_is_left()
        return chain_of(here), text, cleaned, driver_jobs(desk.machine)


@campaign(killed)
def test_a_killed_driver_has_no_successor_and_its_chain_is_ended(seen: Any) -> None:
    note, text, cleaned, jobs = seen
    assert note["state"] == "ended"
    assert note["reason"].startswith("job 1.pbshead is gone and left no message")
    assert "is queued" not in text
    assert "last status" in cleaned, "on another host its silence tells, after a while"
    assert len(jobs) == 1
