"""kill -9 of each kind of process below the driver, on real workers."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from .local import Attempt, Here, begun, done, end_of, ended, patient, processes, until

TWO = ("--set", "pools.local.workers_per_node=2")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def attempt(here: Here, number: int, nth: int) -> Attempt:
    def look() -> Attempt | None:
        return next((each for each in begun(here) if (each.number, each.attempt) == (number, nth)), None)

    return until(look, f"attempt {nth} of trial {number} has begun")


def only(here: Here, program: str, of: int | None = None) -> int:
    """The process that runs ``program``, as a child of ``of``."""
    named = [pid for pid, words in processes(here).items() if program in words and "bash" not in words]
    found = [pid for pid in named if of is None or parent(pid) == of]
    assert len(found) == 1, found
    return found[0]


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Here, subprocess.Popen[str]]]:
    """A campaign that lost a trial's process, a worker and its worker pool; the last takes long to be noticed."""
    here = Here(tmp_path_factory.mktemp("deaths"))
    patient(here, "deaths", ["silent", "reports", "silent"])
    with ended(here.start("run", "deaths.yaml", *TWO)) as process:
        os.kill(attempt(here, 0, 1).pid, signal.SIGKILL)
        victim = attempt(here, 2, 1)
        os.kill(parent(victim.parent), signal.SIGKILL)
        attempt(here, 2, 2)
        until(lambda: not Path(f"/proc/{victim.pid}").exists(), "the trial has ended with its worker")
        os.kill(only(here, "process_worker_pool.py"), signal.SIGKILL)
        yield here, process


@pytest.mark.usefixtures("deaths")
def test_an_executor_whose_interchange_died_is_replaced_and_its_trials_go_on(here: Here) -> None:
    patient(here, "cut", ["silent", "reports", "quick"])
    with ended(here.start("run", "cut.yaml", *TWO)) as process:
        until(lambda: len(begun(here)) == 2, "two trials run")
        os.kill(only(here, "HTEX interchange", of=process.pid), signal.SIGKILL)
        until(lambda: len(begun(here)) == 4, "both run again")
        here.write("go", "")
        assert "3: 3 complete" in end_of(process).stdout
    assert "Parsl's interchange died" in Path(here.status("cut")["run_dir"], "driver.log").read_text()
    assert [trial.user_attrs["pilotune:attempts"] for trial in here.optuna("cut").trials] == [2, 2, 1]
    until(lambda: not processes(here), "all processes have ended")


def test_each_death_costs_what_it_must_and_no_more(deaths: tuple[Here, subprocess.Popen[str]]) -> None:
    """A trial's process is the trial's failure; its worker and the worker pool are not."""
    here, process = deaths
    assert attempt(here, 1, 2).first > 1
    attempt(here, 2, 3)
    here.write("go", "")
    end_of(process)
    failed, moved, lost = here.optuna("deaths").trials
    assert (failed.state, failed.user_attrs["pilotune:exit"]) == (TrialState.FAIL, "signal")
    assert "SIGKILL" in failed.user_attrs["pilotune:reason"]
    assert (moved.value, moved.user_attrs["pilotune:attempts"]) == (1.0, 2)
    assert (lost.value, lost.user_attrs["pilotune:attempts"]) == (2.0, 3)
    assert "worker" in lost.user_attrs["pilotune:last_loss"]
    assert sorted(done(here)) == [(1, 2), (2, 3)], "an attempt that was given up went on to its end"
    until(lambda: not processes(here), "all processes have ended")
