"""Copies of checkpoints by hard links, and what a trial that starts from one finds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pilotune.pipeline.driver.checkpoints import copy_parent, inherit, take_snapshot
from pilotune.pipeline.fidelity import Origin
from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.worker.node.fencing import enter


@pytest.fixture
def parent(tmp_path: Path) -> TrialFiles:
    files = TrialFiles(tmp_path / "0")
    files.create(1)
    enter(files, 1)
    (files.checkpoint_of(1) / "deep").mkdir()
    (files.checkpoint_of(1) / "model").write_text("weights of 0")
    (files.checkpoint_of(1) / "deep" / "state").write_text("state of 0")
    return files


def origin(parent: TrialFiles, step: int = 2) -> Origin:
    return Origin(0, step, take_snapshot(parent, step))


def test_a_copy_shares_the_files_until_someone_goes_on_with_them(parent: TrialFiles, tmp_path: Path) -> None:
    child = TrialFiles(tmp_path / "1")
    assert inherit(child, origin(parent)) == 2
    for name in ("model", "deep/state"):
        assert (parent.checkpoint_of(1) / name).samefile(child.checkpoint_of(0) / name)
    child.create(1)
    enter(child, 1)
    with (child.checkpoint_of(1) / "model").open("r+") as file:  # in its place, as torch.save does
        file.write("WEIGHTS of 1")
    enter(parent, 2)
    with (parent.checkpoint_of(2) / "deep" / "state").open("r+") as file:
        file.write("STATE")
    copy = Path(take_snapshot(parent, 4))
    assert (copy / "model").read_text() == "weights of 0"
    assert (child.checkpoint_of(1) / "deep" / "state").read_text() == "state of 0"
    assert [path.name for path in parent.snapshots()] == ["snapshot-4"]


def test_a_trial_inherits_once(parent: TrialFiles, tmp_path: Path) -> None:
    child, start = TrialFiles(tmp_path / "1"), origin(parent)
    assert inherit(child, start) == 2
    assert inherit(child, start) is None
    child.create(1)
    enter(child, 1)
    (child.checkpoint_of(1) / "model").unlink()
    assert inherit(child, start) is None, "what it has done since is its own"


def test_where_the_copy_is_gone_the_newest_one_is_taken(parent: TrialFiles, tmp_path: Path) -> None:
    start = origin(parent)
    take_snapshot(parent, 6)
    assert inherit(TrialFiles(tmp_path / "1"), start) == 6


@pytest.mark.parametrize("folder", ["", "gone/snapshot-2"])
def test_where_nothing_is_left_the_trial_starts_from_nothing(tmp_path: Path, folder: str) -> None:
    (tmp_path / "gone").mkdir()
    assert inherit(TrialFiles(tmp_path / "1"), Origin(0, 2, folder and str(tmp_path / folder))) == 0


def test_without_hard_links_files_are_copied(
    parent: TrialFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    child = TrialFiles(tmp_path / "1")
    assert inherit(child, origin(parent)) == 2
    assert (child.checkpoint_of(0) / "deep" / "state").read_text() == "state of 0"
    assert not (child.checkpoint_of(0) / "model").samefile(parent.checkpoint_of(1) / "model")


def test_half_a_copy_that_a_dead_driver_left_is_made_anew(parent: TrialFiles) -> None:
    half = parent.directory / ".snapshot-2.part"
    half.mkdir()
    (half / "rubbish").write_text("")
    assert sorted(os.listdir(take_snapshot(parent, 2))) == ["deep", "model"]
    assert not half.exists()


def test_nothing_is_copied_where_nothing_was_saved(tmp_path: Path) -> None:
    files = TrialFiles(tmp_path / "0")
    assert take_snapshot(files, 1) == ""
    files.create(1)
    enter(files, 1)
    assert take_snapshot(files, 1) == ""


def test_links_within_a_checkpoint_stay_what_they_point_at(parent: TrialFiles, tmp_path: Path) -> None:
    (parent.checkpoint_of(1) / "best").symlink_to("model")
    child = TrialFiles(tmp_path / "1")
    inherit(child, origin(parent))
    child.create(1)
    enter(child, 1)
    assert (child.checkpoint_of(1) / "best").is_symlink()
    assert (child.checkpoint_of(1) / "best").read_text() == "weights of 0"


def test_a_child_gets_a_copy_of_its_parents_checkpoint_once(tmp_path):
    parent, child = TrialFiles(tmp_path / "1"), TrialFiles(tmp_path / "2")
    assert copy_parent(child, parent.directory) == ""
    parent.checkpoint_of(1).mkdir(parents=True)
    assert copy_parent(child, parent.directory) == ""
    (parent.checkpoint_of(1) / "net.pt").write_text("first")
    folder = copy_parent(child, parent.directory)
    assert Path(folder) == child.parent_checkpoint
    assert (Path(folder) / "net.pt").read_text() == "first"
    parent.checkpoint_of(1).rename(parent.checkpoint_of(2))
    assert copy_parent(child, parent.directory) == folder
    assert child.newest_checkpoint() == (-1, None)
