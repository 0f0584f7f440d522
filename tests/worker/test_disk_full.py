"""Attempts whose trial directory is full, or is deleted while they run; on real processes."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import ObjectiveSpec, Outcome
from pilotune.pipeline.worker import disk_failures as room
from pilotune.pipeline.worker.objective.ending import Ending
from pilotune.pipeline.worker.run_attempt import run_attempt

from ..support.small_disks import fill, small_disk
from ..support.trial_driver import make_spec

OBJECTIVE = """
    import errno, os, shutil
    from pathlib import Path

    def prints(trial):
        fill(trial)
        for line in range(1000):
            print("x" * 100)
        return trial.params["x"]

    def fill(trial):
        with open(trial.checkpoint_dir / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass

    def saves(trial):
        (trial.checkpoint_dir / "model").write_bytes(b"x" * 4_000_000)
        return 1.0

    def saves_and_tidies_up(trial):
        try:
            saves(trial)
        except OSError as error:
            (trial.checkpoint_dir / "model").unlink()
            raise RuntimeError(f"the writer failed: {error}")

    def elsewhere(trial):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def quota(trial):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    def deletes(trial):
        shutil.rmtree(trial.checkpoint_dir.parent)
        (trial.checkpoint_dir / "model").write_bytes(b"x")

    def raises(trial):
        raise RuntimeError("the data are gone")
"""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with small_disk(tmp_path_factory.mktemp("trials") / "disk", "2m") as folder:
        yield folder


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "train.py"
    path.write_text(textwrap.dedent(OBJECTIVE))
    return path


@pytest.fixture
def attempt(disk: Path, objective: Path) -> Iterator[Any]:
    def run(name: str, folder: Path = disk, **changes: Any) -> Outcome:
        told = ObjectiveSpec(file=str(objective), function=name, folder=str(objective.parent))
        return Outcome.from_dict(run_attempt(make_spec(folder, changes.pop("objective", told), **changes)))

    yield run
    for path in disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("isolate", [True, False])
def test_what_a_trial_prints_onto_a_full_disk_is_lost_and_its_result_is_not(
    attempt: Any, disk: Path, isolate: bool
) -> None:
    outcome = attempt("prints", isolate=isolate)
    assert (outcome.kind, outcome.values) == ("complete", [1.5])
    assert TrialFiles(disk / "trials" / "7").stdout(1).stat().st_size < 100_000


def test_a_trial_that_finds_no_room_for_its_checkpoint_is_the_disks_failure(attempt: Any, disk: Path) -> None:
    outcome = attempt("saves")
    assert (outcome.kind, outcome.failure) == ("failed", "disk")
    assert outcome.reason.startswith(f"the file system {disk} (tmpfs) is full (")
    assert "OSError: [Errno 28] No space left on device" in outcome.reason


def test_also_where_it_freed_what_it_had_written_in_vain(attempt: Any, disk: Path) -> None:
    outcome = attempt("saves_and_tidies_up")
    assert outcome.failure == "disk"
    assert outcome.reason.startswith(f"the file system {disk} (tmpfs) has no room for what it writes (")


def test_a_command_that_cannot_write_is_the_disks_failure_too(attempt: Any, disk: Path) -> None:
    fill(disk, leave=8192)
    outcome = attempt("", objective=ObjectiveSpec(command="head -c 4000000 /dev/zero > model", shell=True))
    assert outcome.failure == "disk", outcome


def test_a_trial_whose_folder_cannot_even_be_made_waits_for_room(attempt: Any, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", nr_inodes="2") as other:
        outcome = attempt("raises", folder=other)
    assert outcome.failure == "disk", outcome
    assert outcome.reason.startswith(f"the file system {other} (tmpfs) is full (no inodes left)")


def test_a_trial_whose_directory_is_deleted_is_not_failed_for_it(attempt: Any, disk: Path) -> None:
    outcome = attempt("deletes")
    assert outcome.failure == "disk", outcome
    assert outcome.reason.startswith(f"the folder {disk}/trials/7 no longer exists")


def test_nor_is_one_whose_directory_is_deleted_before_its_objective_is_called(disk: Path) -> None:
    folder = disk / "trials" / "7"
    folder.mkdir(parents=True)
    missing = FileNotFoundError(2, "No such file or directory", str(folder / "work-1"))
    reason = f"the trial's process could not be set up: FileNotFoundError: {missing}"
    ending = room.blame_disk(Ending("failed", failure="setup", reason=reason), str(folder))
    assert (ending.failure, ending.reason) == ("disk", f"{folder} was deleted while the trial began: {reason}")
    own = Ending("failed", failure="setup", reason="FileNotFoundError: [Errno 2] No such file or directory: 'run.sh'")
    assert room.blame_disk(own, str(folder)) == own


def test_a_disk_of_the_nodes_own_that_is_full_is_an_exception_of_the_trials(
    attempt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LITTLE", 0.0)
    outcome = attempt("elsewhere", folder=tmp_path)
    assert (outcome.failure, outcome.reason) == ("exception", "OSError: [Errno 28] No space left on device")


def test_a_quota_is_of_the_shared_file_system(attempt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LITTLE", 0.0)
    outcome = attempt("quota", folder=tmp_path)
    assert outcome.failure == "disk"
    assert "has no room for what it writes" in outcome.reason


def test_other_failures_stay_what_they_are(attempt: Any, tmp_path: Path) -> None:
    outcome = attempt("raises", folder=tmp_path)
    assert (outcome.failure, outcome.reason) == ("exception", "RuntimeError: the data are gone")
    assert TrialFiles(tmp_path / "trials" / "7").outcome(1).exists()
    assert not list((tmp_path / "trials" / "7").glob(".room*"))
