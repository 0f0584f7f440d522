"""The command ``artifacts``, and what the commands on whole studies do with artifacts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import optuna
import pytest

from pilotune.pipeline.attributes import ARTIFACTS
from pilotune.pipeline.record import known_studies
from pilotune.pipeline.record.artifacts import kept_artifacts

from ..support.cli import Pilotune, alone, of_pilotune, pilotune_  # noqa: F401

RUN = "20260101-000000-abcdef"


class Here:
    """A study ``digits`` that has run here. Its trials 0, 1 and 6 are complete and have kept files; 6 is the best."""

    def __init__(self, folder: Path, database: Path):
        self.runs = folder / "runs"
        self.folder = self.runs / "digits"
        (self.folder / RUN).mkdir(parents=True)
        self.runs.chmod(0o700)
        shutil.copy(database, self.folder / "study.db")
        (folder / "study.yaml").write_text("name: digits\n")
        known_studies.save(
            name="digits", study_file=folder / "study.yaml", storage=f"sqlite:///{self.folder}/study.db",
            runs=self.runs, site="local", run_dir=self.folder / RUN,
        )  # fmt: skip
        for number, size in ((0, 1000), (1, 2000), (6, 3000)):
            put(self, number, size)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "study.db"
    study = of_pilotune(f"sqlite:///{path}")
    study.add_trial(optuna.create_trial(value=1.9, system_attrs={ARTIFACTS: {"model.pt": 3000}}))
    return path


@pytest.fixture(name="here")
def here_(tmp_path: Path, database: Path) -> Here:
    return Here(tmp_path, database)


def put(here: Here, number: int, size: int) -> None:
    folder = here.folder / "artifacts" / str(number)
    folder.mkdir(parents=True)
    (folder / "model.pt").write_bytes(b"x" * size)


def test_they_are_listed_best_first(pilotune: Pilotune, here: Here) -> None:
    result = pilotune("artifacts", "digits")
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0] == ["trial", "value", "size", "file"]
    assert [line[0] for line in lines[1:]] == ["6", "1", "0"]
    assert lines[1][2:] == ["3", "kB", "model.pt"]
    assert f"3 artifacts of 3 trials, 6 kB, in {here.folder}/artifacts" in result.err


def test_as_json_and_only_some(pilotune: Pilotune, here: Here) -> None:
    found = json.loads(pilotune("artifacts", "digits", "--limit", "1", "--json").out)
    assert found["bytes"] == 3000
    (trial,) = found["trials"]
    path = str(here.folder / "artifacts" / "6" / "model.pt")
    assert (trial["number"], trial["files"]) == (6, [{"name": "model.pt", "bytes": 3000, "path": path}])
    chosen = json.loads(pilotune("artifacts", "digits", "--trial", "0", "--trial", "1", "--json").out)["trials"]
    assert sorted(each["number"] for each in chosen) == [0, 1]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        ("2", "trial 2 of 'digits' has no artifacts: it is not complete"),
        ("99", "'digits' has no trial 99"),
    ],
)
def test_a_trial_without_any_is_told(pilotune: Pilotune, here: Here, number: str, sentence: str) -> None:
    result = pilotune("artifacts", "digits", "--trial", number)
    assert (result.code, result.err) == (2, f"error: {sentence}\n")


def test_a_study_without_any_says_how(pilotune: Pilotune, here: Here) -> None:
    pilotune("artifacts", "digits", "--prune", "1", "--yes")
    (here.folder / "artifacts" / "6" / "model.pt").unlink()
    result = pilotune("artifacts", "digits")
    assert (result.code, result.out) == (0, "")
    assert result.err == "digits has no artifacts; an objective keeps a file with trial.artifact\n"
    assert json.loads(pilotune("artifacts", "digits", "--json").out)["trials"] == []


def test_those_of_no_complete_trial_are_not_listed(pilotune: Pilotune, here: Here) -> None:
    put(here, 2, 10)
    result = pilotune("artifacts", "digits")
    assert f"{here.folder}/artifacts/2 is not listed: the study has no complete trial 2" in result.err
    assert len(result.out.splitlines()) == 4


def test_they_are_fetched_once(pilotune: Pilotune, here: Here, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "models"
    result = pilotune("artifacts", "digits", "--limit", "2", "--fetch", str(target))
    assert result.out == f"copied artifacts of 2 trials (5 kB) to {target}\n"
    assert (target / "6" / "model.pt").stat().st_size == 3000
    (here.folder / "artifacts" / "6" / "model.pt").write_text("")
    assert (target / "6" / "model.pt").stat().st_size == 3000, "it is a copy"
    again = pilotune("artifacts", "digits", "--fetch", str(target))
    assert (again.code, again.err) == (
        2, f"error: {target}/6 exists already; name another folder, or delete it first\n",
    )  # fmt: skip
    (tmp_path / "file").write_text("")
    assert pilotune("artifacts", "digits", "--fetch", str(tmp_path / "file" / "in")).code == 2


def test_pruning_asks_first_and_leaves_the_best(pilotune: Pilotune, here: Here) -> None:
    asked = pilotune("artifacts", "digits", "--prune", "1")
    assert (asked.code, "delete the artifacts of 2 trials of digits (3 kB)?" in asked.err) == (2, True)
    assert len(kept_artifacts(here.folder)) == 3
    done = pilotune("artifacts", "digits", "--prune", "1", "--yes")
    assert done.out == "deleted the artifacts of 2 trials of digits (3 kB); those of 1 trial are left\n"
    assert list(kept_artifacts(here.folder)) == [6]
    assert "nothing was deleted" in pilotune("artifacts", "digits", "--prune", "1").out
    assert json.loads(pilotune("artifacts", "digits", "--prune", "1", "--json").out) == {
        "study": "digits", "deleted": [], "bytes": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--prune", "0"], "0 is not in the range x>=1"),
        (["--prune", "some"], "'some' is not a valid integer"),
        (["--prune", "1", "--limit", "2"], "--prune deletes artifacts of all but the best trials"),
        (["--storage", "sqlite:///{}"], "the run directories of 'digits' are not known here"),
    ],
)
def test_what_cannot_be_meant_is_refused(pilotune: Pilotune, here: Here, words: list[str], sentence: str) -> None:
    name = [] if words[0] == "--storage" else ["digits"]
    result = pilotune("artifacts", *name, *(word.format(here.folder / "study.db") for word in words))
    assert (result.code, sentence in result.err) == (2, True), result.err


# -- whole studies ----------------------------------------------------------------------------------------------------


def test_delete_says_how_many_there_are_and_deletes_them(pilotune: Pilotune, here: Here) -> None:
    assert "MB, with the artifacts of 3 trials)" in pilotune("delete", "digits").err
    assert pilotune("delete", "digits", "--yes").code == 0
    assert not here.folder.exists()


def test_delete_keeps_files_where_it_is_told(pilotune: Pilotune, here: Here) -> None:
    assert pilotune("delete", "digits", "--yes", "--keep-files").code == 0
    assert len(kept_artifacts(here.folder)) == 3


def test_rename_takes_them_along(pilotune: Pilotune, here: Here) -> None:
    assert pilotune("rename", "digits", "new").code == 0
    assert len(json.loads(pilotune("artifacts", "new", "--json").out)["trials"]) == 3


def test_a_copy_has_them_too(pilotune: Pilotune, here: Here) -> None:
    assert pilotune("copy", "digits", "new").code == 0
    assert len(json.loads(pilotune("artifacts", "new", "--json").out)["trials"]) == 3
    assert pilotune("artifacts", "new", "--prune", "1", "--yes").code == 0
    assert len(kept_artifacts(here.folder)) == 3


def test_a_copy_refuses_a_folder_with_others(pilotune: Pilotune, here: Here) -> None:
    left = here.runs / "new" / "artifacts" / "0"
    left.mkdir(parents=True)
    (left / "model.pt").write_text("of an earlier study")
    result = pilotune("copy", "digits", "new")
    assert (result.code, "an earlier study has left artifacts in this folder; move it away first" in result.err) == (
        2, True,
    )  # fmt: skip
    (left / "model.pt").write_bytes(b"x" * 1000)  # as an interrupted copy leaves it
    assert pilotune("copy", "digits", "new").code == 0


def test_clean_removes_what_is_half_made(pilotune: Pilotune, here: Here) -> None:
    (here.folder / "artifacts" / f".9.{RUN}.part").mkdir()
    assert pilotune("clean", "digits", "--dry-run").code == 0
    assert (here.folder / "artifacts" / f".9.{RUN}.part").exists()
    assert pilotune("clean", "digits").code == 0
    assert sorted(path.name for path in (here.folder / "artifacts").iterdir()) == ["0", "1", "6"]


def test_one_trial_is_shown_with_its_artifacts(pilotune: Pilotune, here: Here) -> None:
    home = here.folder / "artifacts/1"
    (home / "held\n.npz").write_bytes(b"x" * 10)
    result = pilotune("trials", "digits", "--traceback", "1")
    assert f"artifacts  held\\x0a.npz (10 B), model.pt (2 kB)\n           in {home}\n" in result.out
    found = json.loads(pilotune("trials", "digits", "--traceback", "1", "--json").out)["artifacts"]
    assert found[1] == {"name": "model.pt", "bytes": 2000, "path": str(home / "model.pt")}
    for number in range(30):
        (home / f"part{number}").write_bytes(b"")
    assert " (0 B), 12 more\n" in pilotune("trials", "digits", "--traceback", "1").out


def test_one_trial_says_what_is_left_of_its_artifacts(pilotune: Pilotune, here: Here) -> None:
    shutil.rmtree(here.folder / "artifacts/6")
    said = f"artifacts  none in {here.folder}/artifacts/6; the trial had left 1 file (3 kB)\n"
    assert said in pilotune("trials", "digits", "--traceback", "6").out
    put(here, 3, 10)  # trial 3 is not complete: what lies under its number is another study's
    assert "artifacts" not in pilotune("trials", "digits", "--traceback", "3").out


def test_what_a_killed_fetch_has_left_is_swept(pilotune: Pilotune, here: Here, tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    host = os.uname().nodename
    for name in (f".1.{host}-{child.pid}.part", f".0.{host}-{os.getppid()}.part", ".mine.part"):
        (tmp_path / "models" / name).mkdir(parents=True)
    assert pilotune("artifacts", "digits", "--fetch", tmp_path / "models").code == 0
    left = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert left == [f".0.{host}-{os.getppid()}.part", ".mine.part", "0", "1", "6"]
