"""The commands ``delete``, ``rename`` and ``copy``, and what ``run`` says to what is no study file."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import optuna
import pytest

from pilotune.pipeline.cli import study_files
from pilotune.pipeline.record import known_studies
from pilotune.pipeline.record.known_studies import Entry

from ..support.cli import Pilotune, alone, of_pilotune, pilotune_, random_study  # noqa: F401

RUN = "20260101-000000-abcdef"


class Here:
    """A study ``digits`` that has run here, as ``pilotune run`` leaves it."""

    def __init__(self, folder: Path, storage: str = ""):
        self.runs = folder / "runs"
        self.folder = self.runs / "digits"
        self.run = self.folder / RUN
        (self.run / "trials" / "1" / "checkpoint").mkdir(parents=True)
        self.runs.chmod(0o700)
        (self.run / "trials" / "1" / "checkpoint" / "weights").write_text("w" * 1000)
        self.storage = storage or f"sqlite:///{self.folder}/study.db"
        of_pilotune(self.storage)
        self.write_status("ended")
        (self.folder / "command.json").write_text('{"site": null, "trials": 40, "overrides": []}')
        self.study_file = folder / "study.yaml"
        self.study_file.write_text("name: digits\n")
        self.save("digits", self.storage)

    def save(self, name: str, storage: str) -> None:
        """List a study among those that have run here."""
        known_studies.save(
            name=name, study_file=self.study_file, storage=storage, runs=self.runs, site="local", run_dir=self.run
        )

    def write_status(self, state: str) -> None:
        status = {
            "study": "digits", "campaign": RUN, "state": state, "host": socket.gethostname(), "pid": os.getpid(),
            "started": time.time(), "updated": time.time(), "storage": self.storage, "run_dir": str(self.run),
        }  # fmt: skip
        (self.run / "status.json").write_text(json.dumps(status))

    def names(self, url: str = "") -> list[str]:
        return list(optuna.get_all_study_names(url or self.storage))


@pytest.fixture(name="here")
def here_(tmp_path: Path) -> Here:
    return Here(tmp_path)


def entry(name: str) -> Entry:
    found = known_studies.find(name)
    assert found is not None
    return found


# -- delete -----------------------------------------------------------------------------------------------------------


def test_delete_asks_first_and_says_what_it_would_delete(pilotune: Pilotune, here: Here) -> None:
    result = pilotune("delete", "digits")
    assert result.code == 2
    assert f"'digits': 6 trials in {here.storage} and 1 run directory in {here.folder} (0." in result.err
    assert "give --yes" in result.err
    assert here.names() == ["digits"]
    assert here.run.is_dir()
    assert known_studies.find("digits") is not None


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_delete_takes_the_answer(
    pilotune: Pilotune, here: Here, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda question, **options: answer == "y\n")
    assert pilotune("delete", "digits").code == code
    assert here.folder.exists() == (code == 1)


def test_delete_removes_the_study_its_files_and_its_name(pilotune: Pilotune, here: Here) -> None:
    assert pilotune("delete", "digits", "--yes").out == "deleted digits\n"
    assert not here.folder.exists()
    assert here.study_file.exists()
    assert known_studies.find("digits") is None
    again = pilotune("delete", "digits", "--yes")
    assert (again.code, "you have run no study 'digits' here" in again.err) == (2, True)


def test_delete_leaves_other_studies_in_the_database_and_other_files(pilotune: Pilotune, here: Here) -> None:
    random_study(here.storage, 2, "other")
    (here.folder / "notes.txt").write_text("mine")
    result = pilotune("delete", "digits", "--yes", "--json")
    assert json.loads(result.out) == {"study": "digits", "trials": 6, "left": [str(here.folder / "notes.txt")]}
    assert here.names() == ["other"]
    assert sorted(file.name for file in here.folder.iterdir() if not file.name.startswith("study.db-")) == [
        "notes.txt", "study.db",
    ]  # fmt: skip


def test_delete_keeps_the_files_when_asked_to(pilotune: Pilotune, here: Here) -> None:
    assert pilotune("delete", "digits", "--yes", "--keep-files").code == 0
    assert here.names() == []
    assert (here.run / "trials" / "1" / "checkpoint" / "weights").exists()


def test_a_database_elsewhere_stays(pilotune: Pilotune, tmp_path: Path) -> None:
    here = Here(tmp_path, f"sqlite:///{tmp_path}/shared.db")
    random_study(here.storage, 2, "other")
    assert pilotune("delete", "digits", "--yes").code == 0
    assert here.names() == ["other"]
    assert not here.folder.exists()


def test_delete_completes_what_an_interrupted_one_began(pilotune: Pilotune, here: Here) -> None:
    optuna.delete_study(study_name="digits", storage=here.storage)
    assert pilotune("delete", "digits", "--yes").code == 0
    assert not here.folder.exists()
    assert known_studies.find("digits") is None


def test_delete_of_a_study_that_is_not_in_the_database_is_refused(pilotune: Pilotune, here: Here) -> None:
    result = pilotune("delete", "digit", "--storage", here.storage, "--yes")
    assert (result.code, "there is no study 'digit'" in result.err) == (2, True)
    assert here.names() == ["digits"]


@pytest.mark.parametrize("words", [("delete", "digits", "--yes"), ("rename", "digits", "new")])
def test_a_study_with_a_driver_is_left_alone(pilotune: Pilotune, here: Here, words: tuple[str, ...]) -> None:
    here.write_status("running")
    result = pilotune(*words)
    assert result.code == 2
    assert f"campaign {RUN} of 'digits' is running (process {os.getpid()}" in result.err
    assert "stop it first: pilotune stop digits" in result.err
    assert here.names() == ["digits"]
    assert here.run.is_dir()


# -- rename -----------------------------------------------------------------------------------------------------------


def renamed(here: Here) -> None:
    """The study ``digits`` is now ``new``, with all that belongs to it."""
    url = f"sqlite:///{here.runs}/new/study.db"
    assert here.names(url) == ["new"]
    assert not here.folder.exists()
    assert (here.runs / "new" / RUN / "trials" / "1" / "checkpoint" / "weights").exists()
    assert (entry("new").storage, entry("new").run_dir) == (url, here.runs / "new" / RUN)
    assert known_studies.find("digits") is None
    status = json.loads((here.runs / "new" / RUN / "status.json").read_text())
    assert (status["study"], status["storage"], status["run_dir"]) == ("new", url, str(here.runs / "new" / RUN))


def test_rename_moves_database_folder_and_entry(pilotune: Pilotune, here: Here) -> None:
    result = pilotune("rename", "digits", "new")
    assert (result.code, result.out) == (0, "renamed digits to new\n")
    assert f"change its name to new in {here.study_file} too" in result.err
    renamed(here)
    shown = pilotune("status", "new")
    assert (shown.code, "study     new" in shown.out) == (0, True)
    assert pilotune("best", "new").code == 0


def test_after_renaming_a_copy_the_study_file_of_its_original_is_left_alone(pilotune: Pilotune, here: Here) -> None:
    here.study_file.write_text("name: original\n")
    result = pilotune("rename", "digits", "new")
    assert result.err == "pilotune resume new --trials N continues it\n"


@pytest.mark.parametrize("step", ["Move.folder", "save_entry", "known_studies.forget"])
def test_an_interrupted_rename_is_completed_by_the_same_command(
    pilotune: Pilotune, here: Here, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    target = known_studies if step.startswith("known") else study_files.Move if "." in step else study_files
    with monkeypatch.context() as patch:
        patch.setattr(target, step.split(".")[-1], killed)
        assert pilotune("rename", "digits", "new").code == 130
    assert pilotune("rename", "digits", "new").code == 0
    renamed(here)


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        ("digits", "is named 'digits' already"),
        ("a b", "cannot be a study's name"),
        ("../x", "cannot be a study's name"),
        ("other", "you have a study named 'other' already"),
        ("taken", "this folder exists already"),
    ],
)
def test_a_name_that_cannot_be_is_refused(pilotune: Pilotune, here: Here, new: str, sentence: str) -> None:
    (here.runs / "taken").mkdir()
    here.save("other", "sqlite:////x/o.db")
    result = pilotune("rename", "digits", new)
    assert (result.code, sentence in result.err) == (2, True)
    assert here.names() == ["digits"]
    assert here.run.is_dir()


def test_a_name_in_the_same_database_is_refused(pilotune: Pilotune, tmp_path: Path) -> None:
    here = Here(tmp_path, f"sqlite:///{tmp_path}/shared.db")
    random_study(here.storage, 1, "other")
    for command in ("rename", "copy"):
        result = pilotune(command, "digits", "other")
        assert (result.code, "'other' in this database already" in result.err) == (2, True)
    assert sorted(here.names()) == ["digits", "other"]
    assert here.run.is_dir()


def test_a_database_with_other_studies_is_not_moved(pilotune: Pilotune, here: Here) -> None:
    assert pilotune("copy", "digits", "guest", "--to", here.storage).code == 0
    result = pilotune("rename", "digits", "new")
    assert (result.code, "has other studies (guest); copy the study instead" in result.err) == (2, True)
    assert pilotune("best", "guest").code == 0


def test_a_copy_makes_no_folder_for_a_mistyped_path(pilotune: Pilotune, here: Here, tmp_path: Path) -> None:
    result = pilotune("copy", "digits", "new", "--to", f"sqlite:///{tmp_path}/dta/x.db")
    assert (result.code, f"there is no folder {tmp_path}/dta" in result.err) == (2, True)
    assert not (tmp_path / "dta").exists()


def test_hyperband_needs_a_decision(pilotune: Pilotune, here: Here) -> None:
    study = optuna.load_study(study_name="digits", storage=here.storage)
    study.add_trial(optuna.create_trial(value=1.0, system_attrs={"pilotune:details": {"bracket": 0}}))
    result = pilotune("rename", "digits", "new")
    assert (result.code, "Hyperband assigns the trials of 'digits'" in result.err) == (2, True)
    assert pilotune("rename", "digits", "new", "--yes").code == 0
    renamed(here)


# -- copy -------------------------------------------------------------------------------------------------------------


def test_a_copy_is_where_a_study_of_its_name_would_be(pilotune: Pilotune, here: Here) -> None:
    result = pilotune("copy", "digits", "new")
    url = f"sqlite:///{here.runs}/new/study.db"
    assert (result.code, result.out) == (0, f"copied 6 trials of digits to new in {url}\n")
    assert "1 trial had not ended, and will start anew" in result.err
    assert (here.names(), here.names(url)) == (["digits"], ["new"])
    assert (entry("new").storage, entry("new").study_file) == (url, here.study_file)
    assert json.loads((here.runs / "new" / "command.json").read_text())["trials"] == 40
    assert [row["state"] for row in json.loads(pilotune("trials", "new", "--json").out)] == [
        "complete", "complete", "pruned", "failed", "waiting", "waiting",
    ]  # fmt: skip
    assert pilotune("verify", "new").code == 0
    assert pilotune("copy", "digits", "new").code == 2


def test_a_copy_in_a_shared_or_another_database(pilotune: Pilotune, tmp_path: Path) -> None:
    here = Here(tmp_path, f"sqlite:///{tmp_path}/shared.db")
    assert pilotune("copy", "digits", "new").code == 0
    assert sorted(here.names()) == ["digits", "new"]
    other = f"sqlite:///{tmp_path}/other.db"
    result = pilotune("copy", "digits", "third", "--to", other, "--json")
    assert json.loads(result.out) == {
        "study": "third", "from": "digits", "storage": other, "trials": 6, "unfinished": 1,
    }  # fmt: skip
    assert here.names(other) == ["third"]
    assert pilotune("delete", "new", "--yes").code == 0
    assert here.names() == ["digits"]


# -- run --------------------------------------------------------------------------------------------------------------


def test_run_offers_resume_for_a_study_that_has_run(pilotune: Pilotune, here: Here) -> None:
    result = pilotune("run", "digits")
    assert (result.code, "continue it with pilotune resume digits" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "kind"), [("train.py", "Python code"), ("a.ipynb", "a notebook"), ("study.db", "a database")]
)
def test_run_wants_the_study_file(pilotune: Pilotune, name: str, kind: str) -> None:
    Path(name).write_text("def train(trial): ...\n")
    result = pilotune("run", name)
    assert (result.code, f"{name}: this is {kind}; give the study file" in result.err) == (2, True)
    assert "`pilotune init` writes" in result.err
    Path("mine.yaml").write_text("name: x\n")
    assert "such as mine.yaml" in pilotune("check", name).err


@pytest.mark.parametrize("words", [(), ("site",)])
def test_a_group_alone_prints_its_help(pilotune: Pilotune, words: tuple[str, ...]) -> None:
    bare = pilotune(*words)
    assert (bare.code, bare.err) == (0, "")
    assert bare.out == pilotune(*words, "--help").out
