"""Optuna's ``upload_artifact`` in a trial: its files are the trial's artifacts, and are found by Optuna's id."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from optuna.artifacts import download_artifact, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound

import pilotune
from pilotune.pipeline.trial.artifacts import sizes_in
from pilotune.pipeline.trial.offline import offline_trial


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the running trial's artifacts."""
    place = tmp_path / "c1" / "trials" / "7" / "artifacts-1"
    place.parent.mkdir(parents=True)
    monkeypatch.setenv("PILOTUNE_ARTIFACTS", str(place))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return place


def upload(name: str) -> str:
    found: str = upload_artifact(
        artifact_store=pilotune.ArtifactStore(),
        file_path=name,
        study_or_trial=offline_trial({"x": 1}),  # type: ignore[arg-type]
    )
    return found


def test_what_is_uploaded_is_an_artifact_of_its_name(folder: Path, tmp_path: Path) -> None:
    for name in ("model.pt", "held.npz"):
        Path(name).write_text(name)
    ids = [upload(name) for name in ("model.pt", "held.npz")]
    assert sizes_in(folder) == {"held.npz": 8, "model.pt": 8}
    with pilotune.ArtifactStore().open_reader(ids[0]) as file:
        assert file.read() == b"model.pt"
    shutil.move(folder, tmp_path / "artifacts" / "7")  # as the driver keeps it
    store = pilotune.ArtifactStore(tmp_path)
    download_artifact(artifact_store=store, artifact_id=ids[1], file_path="copy")
    assert Path("copy").read_text() == "held.npz"
    with pytest.raises(ArtifactNotFound, match="those of trials that the study does not keep are deleted"):
        store.open_reader("nothing")
    with pytest.raises(ValueError, match="only there"):
        store.write("id", io.BytesIO(b"x"))


def test_a_later_file_of_the_same_name_has_the_name(folder: Path) -> None:
    ids = []
    for epoch in ("one", "two"):
        Path("model.pt").write_text(epoch)
        ids.append(upload("model.pt"))
    assert sizes_in(folder) == {"model.pt": 3, f"{ids[0]}.model.pt": 3}
    read = [pilotune.ArtifactStore().open_reader(each).read() for each in ids]
    assert read == [b"one", b"two"]
    (folder / "mine").write_text("by trial.artifact")
    Path("mine").write_text("other")
    with pytest.raises(ValueError, match=r"has an artifact 'mine' already"):
        upload("mine")


def test_what_has_no_name_has_its_id(folder: Path) -> None:
    store = pilotune.ArtifactStore()
    store.write("0-1-2", io.BytesIO(b"bytes"))
    assert sizes_in(folder) == {"0-1-2": 5}
    store.remove("0-1-2")
    store.remove("0-1-2")
    assert sizes_in(folder) == {}


def test_outside_of_a_trial_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PILOTUNE_ARTIFACTS", raising=False)
    with pytest.raises(ValueError, match="writes in an objective that Pilotune runs"):
        pilotune.ArtifactStore().write("id", io.BytesIO(b"x"))
