"""Campaigns whose disk fills up or whose files are deleted: no result is lost, and resume completes the study."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pytest
from optuna.trial import TrialState

from ...support.local import Here, end_of, ended, processes
from ...support.small_disks import fill, kept_full, small_disk, start_hurried

pytestmark = pytest.mark.real

OBJECTIVE = """
import os, time
from pathlib import Path

STUDY = Path(__file__).parent

def note(name, number):
    descriptor = os.open(STUDY / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{number}\\n".encode())
    os.close(descriptor)

def objective(trial):
    note("begun", trial.number)
    while trial.number >= 8 and not (STUDY / "happened").exists():
        time.sleep(0.05)
    for step in range(3):
        time.sleep(0.1)
        trial.report(trial.params["x"] + step, step=step)
    if (STUDY / "save").exists():
        (trial.checkpoint_dir / "model").write_bytes(b"x" * 2_000_000)
    note("done", trial.number)
    return trial.params["x"]
"""
"""Trials from number 8 on wait for the file ``happened``, so that the campaign cannot end before its disk is full."""

STUDY = """
direction: minimize
space: {x: {float: [0.0, 1.0]}}
sampler: random
budget: {trials: 16}
"""

TWO = ("--set", "pools.local.workers_per_node=2")


class Story(NamedTuple):
    """The results of a campaign with a full disk or deleted files, and of the one that resumed it."""

    here: Here
    ended: subprocess.CompletedProcess[str]
    status: dict[str, Any]  # the first one's last
    then: list[optuna.trial.FrozenTrial]
    resumed: subprocess.CompletedProcess[str]
    trials: list[optuna.trial.FrozenTrial]
    left: dict[int, str]
    verified: list[dict[str, Any]]  # what the auditor says before and after


@contextmanager
def running(here: Here, *words: object) -> Iterator[subprocess.Popen[str]]:
    """A running campaign with three complete trials."""
    here.study("s", OBJECTIVE, STUDY)
    with ended(start_hurried(here, "run", "s.yaml", *TWO, *words)) as process:
        here.await_status(
            "s", lambda status: status["complete"] >= 3 or process.poll() is not None, "some trials are complete"
        )
        assert process.poll() is None, end_of(process)
        yield process


def story(here: Here, process: subprocess.Popen[str], mend: Any, storage: str) -> Story:
    """Wait for the campaign's end, repair the disk with ``mend``, and resume."""

    def trials() -> list[optuna.trial.FrozenTrial]:
        return optuna.load_study(study_name="s", storage=storage).trials

    here.write("happened", "")
    first = end_of(process, 3)
    status, left, then = here.status("s"), processes(here), trials()
    mend()
    before = here.json("verify", "s")
    resumed = here.run("resume", "s", *TWO)
    return Story(here, first, status, then, resumed, trials(), left, [before, here.json("verify", "s")])


def full_disk(folder: Path) -> Story:
    """The file system of run directory and database is full."""
    with small_disk(folder / "disk", "32m") as disk:
        here = Here(folder, PILOTUNE_RUNS=str(disk / "runs"))
        here.runs = disk / "runs"
        with running(here) as process:
            study = disk / "runs" / "s" / "study.db"
            with kept_full(disk, study.with_name("study.db-reserve-s")) as filler:
                return story(here, process, filler.unlink, f"sqlite:///{study}")


def full_run_directory(folder: Path) -> Story:
    """Only the file system of the run directory is full; trials begin to write large files to it."""
    storage = f"sqlite:///{folder}/study.db"
    with small_disk(folder / "disk", "64m") as disk:
        here = Here(folder, PILOTUNE_RUNS=str(disk / "runs"))
        here.runs = disk / "runs"
        with running(here, "--storage", storage) as process:
            filler = fill(disk, leave=500_000)
            here.write("save", "")
            return story(here, process, filler.unlink, storage)


def deleted(folder: Path) -> Story:
    """The run directory is deleted, with the database in it."""
    here = Here(folder)
    with running(here) as process:
        shutil.rmtree(here.runs, ignore_errors=True)  # workers make new folders in it meanwhile
        return story(here, process, lambda: None, f"sqlite:///{here.runs}/s/study.db")


CASES = (full_disk, full_run_directory, deleted)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Story]:
    folder = tmp_path_factory.mktemp("disks")
    with ThreadPoolExecutor(len(CASES)) as threads:
        futures = {case.__name__: threads.submit(case, folder / case.__name__) for case in CASES}
        return {name: future.result() for name, future in futures.items()}


@pytest.mark.parametrize("name", [case.__name__ for case in CASES])
def test_every_trial_counts_once_and_no_process_is_left(stories: dict[str, Story], name: str) -> None:
    found = stories[name]
    assert found.left == {}
    assert found.ended.stderr.count("Traceback") == 0, found.ended.stderr
    assert "pilotune resume s" in found.ended.stdout
    assert {trial.state for trial in found.then} <= {TrialState.COMPLETE, TrialState.RUNNING}
    before = {trial.number: trial.value for trial in found.then if trial.state == TrialState.COMPLETE}
    assert len(before) >= 3
    assert "16: 16 complete" in found.resumed.stdout
    assert [trial.number for trial in found.trials] == list(range(16))
    assert {trial.state for trial in found.trials} == {TrialState.COMPLETE}
    assert before.items() <= {trial.number: trial.value for trial in found.trials}.items()
    assert all(trial.value == trial.params["x"] for trial in found.trials)
    assert [each["ok"] for each in found.verified] == [True, True], found.verified
    finished = [int(number) for number in found.here.lines("done")]
    assert [number for number in before if finished.count(number) != 1] == [], "no complete trial runs again"


def test_a_full_disk_of_the_database_is_named_at_once_and_ends_the_campaign_with_advice(
    stories: dict[str, Story],
) -> None:
    found = stories["full_disk"]
    disk = found.here.folder / "disk"
    full = rf"the file system {disk} \(tmpfs\) is full \(.* left\)"
    sentence = rf"the database {disk}/runs/s/study\.db cannot be written: {full}"
    assert re.search(rf"{sentence}; retrying for", found.ended.stderr)
    assert re.search(rf"{sentence}; fix this, then run pilotune resume", found.ended.stdout)
    assert not list(disk.glob("runs/s/*reserve*"))


def test_trials_that_had_ended_are_in_the_database_thanks_to_the_disk_reserve(stories: dict[str, Story]) -> None:
    found = stories["full_disk"]
    complete = {trial.number for trial in found.then if trial.state == TrialState.COMPLETE}
    open_ones = {trial.number for trial in found.then if trial.state == TrialState.RUNNING}
    ran_twice = {number for number in found.here.lines("begun") if found.here.lines("done").count(number) > 1}
    assert not ran_twice, "a result that was there was computed again"
    assert complete | open_ones == set(range(len(found.then)))


def test_trials_without_disk_space_are_interrupted_and_do_not_fail(stories: dict[str, Story]) -> None:
    found = stories["full_run_directory"]
    assert found.status == {} or found.status["failed"] == 0
    assert [trial.state for trial in found.then].count(TrialState.FAIL) == 0
    assert "No space left on device; " in found.ended.stdout
    assert "free disk space, then run pilotune resume" in found.ended.stdout
    assert "(tmpfs) is full" in found.ended.stdout or "(tmpfs) has no room for what it writes" in found.ended.stdout


def test_a_campaign_whose_files_are_deleted_says_so_and_ends_by_itself(stories: dict[str, Story]) -> None:
    how = r"was deleted; |was deleted or replaced while the campaign ran; its content has been written there again; "
    assert re.search(how, stories["deleted"].ended.stdout)


def test_a_study_whose_database_was_destroyed_goes_on_from_the_salvaged_copy(tmp_path: Path) -> None:
    here = Here(tmp_path)
    study = here.runs / "s" / "study.db"
    with running(here) as process:
        os.truncate(study, 100)
        here.write("happened", "")
        first = end_of(process, 3)
    assert f"the database {study} is corrupt (" in first.stdout
    (saved,) = study.parent.glob("study.db.*-saved")
    for log in ("-wal", "-shm"):
        study.with_name(study.name + log).unlink(missing_ok=True)
    saved.replace(study)
    assert "16: 16 complete" in here.run("resume", "s", *TWO).stdout
    assert here.json("verify", "s")["ok"]
    done = [int(number) for number in here.lines("done")]
    assert sorted(set(done)) == list(range(16))
    trials = here.optuna("s").trials
    assert [trial.value for trial in trials] == [trial.params["x"] for trial in trials]


def test_a_campaign_that_finds_a_full_disk_at_its_start_leaves_nothing_and_says_what_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        here = Here(tmp_path)
        here.study("s", OBJECTIVE, STUDY)
        fill(disk)
        refused = here.run("run", "s.yaml", "--storage", f"sqlite:///{disk}/study.db", code=3)
        assert (
            f"error: the database {disk}/study.db cannot be written: the file system {disk} (tmpfs)" in refused.stderr
        )
        assert not list(here.runs.glob("s/2*"))
        refused = here.run("run", "s.yaml", "--runs", disk / "runs", "--storage", f"sqlite:///{tmp_path}/s.db", code=3)
        assert refused.stderr == f"error: {disk}/runs/s/command.json: No space left on device\n"
        assert [path.name for path in (disk / "runs" / "s").iterdir()] == []
