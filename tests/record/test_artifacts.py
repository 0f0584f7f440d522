"""A study's artifacts on disk: kept and deleted by renames, so that nothing half is ever seen."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import optuna
import pytest
from optuna.study import StudyDirection

from pilotune.pipeline.record import artifacts
from pilotune.pipeline.record.artifacts import artifacts_folder, forget, keep, kept_artifacts, sweep
from pilotune.pipeline.record.best_first import best_first


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return tmp_path / "digits"


def attempt(study: Path, number: int, text: str = "weights") -> Path:
    """What the first attempt of a trial has left."""
    folder = study / "c1" / "trials" / str(number) / "artifacts-1"
    (folder / "deep").mkdir(parents=True)
    (folder / "model.pt").write_text(text)
    (folder / "deep" / "config").write_text(text)
    return folder


def other_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let renames out of run directories fail, as to another file system."""
    rename = os.rename

    def renamed(source: Path, target: Path) -> None:
        if "artifacts-" in str(source):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(artifacts.os, "rename", renamed)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_trial_is_kept_once_and_forgotten(study: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool) -> None:
    if elsewhere:
        other_file_system(monkeypatch)
    home, source = artifacts_folder(study), attempt(study, 7)
    assert keep(source, home, 7, "c1")
    assert not source.exists()
    found = kept_artifacts(study)
    assert {number: sorted(files) for number, files in found.items()} == {7: ["deep/config", "model.pt"]}
    assert found[7]["model.pt"].read_text() == "weights"
    assert keep(source, home, 7, "c1"), "it is there"
    assert not keep(attempt(study, 8).with_name("artifacts-2"), home, 8), "that attempt has left nothing"
    forget(home, 7)
    forget(home, 7)
    assert kept_artifacts(study) == {}
    assert os.listdir(home) == []


def test_what_another_driver_has_kept_stays(study: Path) -> None:
    home = artifacts_folder(study)
    keep(attempt(study, 7, "first"), home, 7)
    again = attempt(study, 7, "second")
    assert keep(again, home, 7)
    assert not again.exists()
    assert kept_artifacts(study)[7]["model.pt"].read_text() == "first"


def test_a_disk_that_refuses_leaves_the_source(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other_file_system(monkeypatch)
    source, home = attempt(study, 7), artifacts_folder(study)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifacts.shutil, "copy2", full)
    with pytest.raises(OSError, match="No space left"):
        keep(source, home, 7, "c1")
    assert kept_artifacts(study) == {}
    assert os.listdir(home) == []
    assert (source / "model.pt").read_text() == "weights"


def test_only_trials_are_listed(study: Path) -> None:
    home = artifacts_folder(study)
    keep(attempt(study, 7), home, 7)
    for name in (".8.c1.part", ".9.0a1b2c3d.gone", "mine", "07", "²", "-1"):
        (home / name).mkdir()
    (home / "10").write_text("no folder")
    assert list(kept_artifacts(study)) == [7]
    assert kept_artifacts(study.with_name("none")) == {}


def test_what_killed_drivers_left_is_swept_and_what_others_are_copying_stays(study: Path) -> None:
    home = artifacts_folder(study)
    keep(attempt(study, 7), home, 7)
    for name in (".8.c1.part", ".8.c2.part", ".9.0a1b2c3d.gone", ".mine"):
        (home / name).mkdir()
    assert sweep(home, {"c2"}) == 2
    assert sorted(os.listdir(home)) == [".8.c2.part", ".mine", "7"]
    assert sweep(home.with_name("none")) == 0


def killed_after(seconds: float, source: Path, home: Path, elsewhere: bool) -> None:
    """Keep the artifacts in another process, which is killed so long after it began."""
    began, begin = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if elsewhere:
                other_file_system(pytest.MonkeyPatch())
            os.write(begin, b".")
            keep(source, home, 7, "c1")
        finally:
            os._exit(0)
    os.read(began, 1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(began)
    os.close(begin)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_kill_leaves_the_old_state_or_the_new(study: Path, elsewhere: bool) -> None:
    """A driver is killed at twelve moments of a move or a copy of twelve files; the next one does the rest."""
    home = artifacts_folder(study)
    for n in range(12):
        source = attempt(study, 7)
        for each in range(10):
            (source / f"{each}.bin").write_bytes(b"x" * 20_000)
        killed_after(n * 0.0006, source, home, elsewhere)
        left = kept_artifacts(study)
        assert not left or len(left[7]) == 12, "all of it, or nothing"
        assert left or sum(len(names) for _, _, names in os.walk(source)) == 12, "what is not kept is where it was"
        assert keep(source, home, 7, "c2")
        sweep(home)
        assert {path.name for path in home.iterdir()} == {"7"}
        assert len(kept_artifacts(study)[7]) == 12
        assert not source.exists()
        forget(home, 7)


def test_a_kill_while_artifacts_are_deleted_leaves_none_to_be_seen(study: Path) -> None:
    home = artifacts_folder(study)
    keep(attempt(study, 7), home, 7)

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    with pytest.raises(Killed):
        forget(home, 7, between=kill)
    assert kept_artifacts(study) == {}
    assert sweep(home) == 1
    assert os.listdir(home) == []


# -- which come first -------------------------------------------------------------------------------------------------


def trials(*values: list[float], broken: dict[int, float] | None = None) -> list[optuna.trial.FrozenTrial]:
    found = []
    for number, each in enumerate(values):
        constraint = {"constraints:c": (broken or {}).get(number, -1.0)}
        trial = optuna.create_trial(values=each, system_attrs=constraint)
        trial.number = number
        found.append(trial)
    return found


def order(given: list[optuna.trial.FrozenTrial], *directions: str) -> list[int]:
    return [trial.number for trial in best_first(given, [StudyDirection[each.upper()] for each in directions])]


def test_one_objective_is_sorted_by_value_and_then_by_number() -> None:
    given = trials([0.3], [0.1], [0.2], [0.1])
    assert order(given, "minimize") == [1, 3, 2, 0]
    assert order(given, "maximize") == [0, 2, 1, 3]
    assert order([], "minimize") == []


def test_what_breaks_a_constraint_comes_last() -> None:
    assert order(trials([0.3], [0.1], [0.2], broken={1: 2.0, 2: 0.5}), "minimize") == [0, 2, 1]


def test_several_objectives_are_sorted_by_fronts() -> None:
    given = trials([3.0, 3.0], [1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [1.0, 2.0])
    assert order(given, "minimize", "minimize") == [1, 2, 4, 3, 0]
    assert order(given, "minimize", "maximize") == [0, 1, 4, 3, 2]
    assert order([], "minimize", "minimize") == []


def test_the_order_stays_where_the_last_are_left_out() -> None:
    given = trials(*([(7 * n) % 11 / 3, (5 * n) % 13 / 3] for n in range(40)))
    whole = order(given, "minimize", "maximize")
    for most in (30, 12, 3):
        kept = [trial for trial in given if trial.number in whole[:most]]
        assert order(kept, "minimize", "maximize") == whole[:most]
