"""``trial.artifact``: where files are written, what is copied, and what is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

import pilotune
from pilotune.pipeline.trial import artifacts
from pilotune.pipeline.trial.artifacts import ArtifactFolder, checked_name, sizes_in
from pilotune.pipeline.trial.offline import offline_trial


@pytest.fixture
def folder(tmp_path: Path) -> ArtifactFolder:
    return ArtifactFolder(tmp_path / "artifacts-1")


def test_a_plain_name_is_a_file_to_write_as_often_as_one_likes(folder: ArtifactFolder) -> None:
    for weights in ("bad", "better"):
        folder.place("model.pt").write_text(weights)
    assert folder.place("model.pt").read_text() == "better"
    assert folder.folder.stat().st_mode & 0o777 == 0o700
    assert sizes_in(folder.folder) == {"model.pt": 6}


@pytest.mark.parametrize("as_given", [str, Path])
def test_a_path_is_copied_as_it_is_now(folder: ArtifactFolder, tmp_path: Path, as_given: Any) -> None:
    source = tmp_path / "last.pt"
    source.write_text("epoch 1")
    kept = folder.place(as_given(source))
    source.write_text("epoch 2")
    assert kept == folder.folder / "last.pt"
    assert kept.read_text() == "epoch 1"
    assert folder.place(as_given(source)).read_text() == "epoch 2", "the same file again: its newest content"
    assert folder.place(kept) == kept, "it is an artifact already"
    assert os.listdir(folder.folder) == ["last.pt"]


def test_a_link_is_kept_as_the_file_that_it_leads_to(folder: ArtifactFolder, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("weights")
    (tmp_path / "link.pt").symlink_to(tmp_path / "real")
    kept = folder.place(tmp_path / "link.pt")
    assert not kept.is_symlink()
    assert kept.read_text() == "weights"


def test_names_with_blanks_and_of_other_scripts_are_names(folder: ArtifactFolder) -> None:
    for name in ("my model.pt", "Gewichte-ä.bin", "模型", "a,b;c'd\"e$f"):
        folder.place(name).write_text("")
    assert len(sizes_in(folder.folder)) == 4


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "at least one character"),
        (".", "does not begin with a dot"),
        ("..", "does not begin with a dot"),
        (".hidden", "does not begin with a dot"),
        ("two\nlines", "no character that cannot be printed"),
        ("nul\0", "no character that cannot be printed"),
        ("\udcff", "no character that cannot be printed"),
        ("x" * 201, "at most 200 bytes"),
        ("ä" * 101, "at most 200 bytes"),
    ],
)
def test_other_names_are_refused_in_a_sentence(folder: ArtifactFolder, name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        folder.place(name)
    assert str(raised.value).isprintable()
    assert not folder.folder.exists()


def test_a_slash_in_a_name_is_no_name() -> None:
    with pytest.raises(ValueError, match="no slash"):
        checked_name("a/b")


@pytest.mark.parametrize("given", ["no/such/model.pt", "../model.pt", Path("model.pt"), "a\0/b"])
def test_a_path_without_a_file_is_refused(
    folder: ArtifactFolder, given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(FileNotFoundError, match=r"there is no file .* give a name without a slash"):
        folder.place(given)


@pytest.mark.parametrize("given", [Path(), "./", "..", Path("..")])
def test_a_folder_is_refused(
    folder: ArtifactFolder, given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"is a folder, and an artifact is a file|begin with a dot"):
        folder.place(given)


@pytest.mark.parametrize("given", [None, 3, b"model.pt", ["model.pt"]])
def test_what_is_no_name_is_refused(folder: ArtifactFolder, given: Any) -> None:
    with pytest.raises(TypeError, match=r"an artifact is named by text or a path, got a"):
        folder.place(given)


def test_two_files_of_one_name_are_refused(folder: ArtifactFolder, tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "model.pt").write_text(place)
    kept = folder.place(tmp_path / "a" / "model.pt")
    with pytest.raises(ValueError, match=r"an artifact 'model.pt' already, from .*/a/model.pt; copy .*/b/model.pt"):
        folder.place(tmp_path / "b" / "model.pt")
    assert kept.read_text() == "a"


def test_a_file_written_under_a_name_is_not_replaced_by_another(folder: ArtifactFolder, tmp_path: Path) -> None:
    folder.place("model.pt").write_text("mine")
    (tmp_path / "model.pt").write_text("other")
    with pytest.raises(ValueError, match=r"an artifact 'model.pt' already"):
        folder.place(tmp_path / "model.pt")
    assert folder.place("model.pt").read_text() == "mine"


def test_a_copy_that_fails_leaves_nothing(
    folder: ArtifactFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.pt").write_text("new")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        folder.place(tmp_path / "model.pt")
    assert os.listdir(folder.folder) == []


def test_files_in_folders_below_are_artifacts_and_links_are_none(folder: ArtifactFolder) -> None:
    saved = folder.place("bert")
    saved.mkdir()  # as save_pretrained does
    (saved / "config.json").write_text("{}")
    (saved / "away").symlink_to("/etc/hostname")
    (folder.folder / ".model.pt.1.part").write_text("half")
    assert sizes_in(folder.folder) == {"bert/config.json": 2}


def test_at_most_so_many_files_are_listed(folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "MOST_LISTED", 3)
    for n in range(5):
        folder.place(f"{n}.bin").write_text("")
    assert list(sizes_in(folder.folder)) == ["0.bin", "1.bin", "2.bin"]


def test_other_ranks_than_the_first_copy_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("rank 1")
    trial = offline_trial({"x": 1}, checkpoint_dir=tmp_path / "7", rank=1, ranks=2, ranked=True)
    (tmp_path / "7").mkdir()
    assert trial.artifact(tmp_path / "model.pt") == tmp_path / "7" / "artifacts-1" / "model.pt"
    assert not (tmp_path / "7" / "artifacts-1").exists()


def test_a_fixed_trial_keeps_files_where_it_is_told(tmp_path: Path) -> None:
    trial = pilotune.FixedTrial({"x": 1}, artifact_dir=tmp_path / "deep" / "final")
    trial.artifact("model.pt").write_text("weights")
    assert (tmp_path / "deep" / "final" / "model.pt").read_text() == "weights"
    temporary = pilotune.FixedTrial({"x": 1})
    kept = temporary.artifact("model.pt")
    kept.write_text("weights")
    assert temporary.checkpoint_dir != kept.parent
    pickle.loads(pickle.dumps(temporary)).artifact("model.pt").write_text("from another process")
    assert kept.read_text() == "from another process"
    del temporary
    assert not kept.exists()
