"""A campaign puts its files only where no other user can read, change or replace them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.cli.commands.clean import campaigns_of
from pilotune.pipeline.cli.commands.detach import start_detached
from pilotune.pipeline.driver.job_chain import chains_in
from pilotune.pipeline.record import RunDirectory, known_studies, open_storage
from pilotune.pipeline.record.rundir import why_untrusted
from pilotune.pipeline.studies.request import Request, load_options
from pilotune.pipeline.studies.resolve import StudyLocation, prepare_run
from pilotune.pipeline.trial.files import write_atomically

from ...support.adversary import NOBODY

STUDY = "name: s\ndirection: minimize\nobjective: f.py:f\nspace: {x: {int: [0, 9]}}\nbudget: {trials: 1}\n"


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Gives a path to another user. Where the tests do not run as root, it makes the user of the tests another one."""

    def give(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: NOBODY)

    return give


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def run_directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "runs" / "s" / "20261121-120000-abcdef")


def test_a_run_directory_is_its_user_s_whatever_the_umask(tmp_path: Path) -> None:
    os.umask(0)
    run = run_directory(tmp_path)
    run.create()
    for folder in (run.path.parent.parent, run.path.parent, run.path, run.trials, run.blocks):
        assert folder.stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize("place", ["study", "campaign"])
def test_a_folder_that_belongs_to_another_user_is_refused(place: str, tmp_path: Path, theirs: Callable) -> None:
    run = run_directory(tmp_path)
    folder = run.path if place == "campaign" else run.path.parent
    folder.mkdir(mode=0o777, parents=True)
    theirs(folder)
    with pytest.raises(UserError, match=r"this folder belongs to .*choose another folder with --runs"):
        run.create()
    assert not run.trials.exists()


def test_a_link_that_another_user_made_is_refused(tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    (tmp_path / "home").mkdir()
    run.path.parent.parent.mkdir()
    run.path.parent.symlink_to(tmp_path / "home")
    run.create()  # one's own is as good as a folder
    if os.geteuid() == 0:
        os.chown(run.path.parent, NOBODY, NOBODY, follow_symlinks=False)
        assert "belongs to" in why_untrusted(run.path.parent)


def test_folders_that_everybody_may_write_to_are_refused(tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    run.path.parent.mkdir(parents=True)
    run.path.parent.chmod(0o777)
    with pytest.raises(UserError, match="all users may write to this folder"):
        run.create()
    run.path.parent.chmod(0o700)
    run.path.parent.parent.chmod(0o777)
    with pytest.raises(UserError, match=r"all users may write to .*runs and replace what is in it"):
        run.create()
    run.path.parent.parent.chmod(0o1777)  # as /tmp is: nobody replaces what is not theirs
    run.create()


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "back\\slash", "a*", "a?", "[a]", "a\x7f", "a\u2028b", "\udcff"])
def test_a_path_that_no_batch_script_can_name_is_refused(name: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / name / "s" / "c")
    with pytest.raises(UserError, match="must not contain") as refused:
        run.create()
    assert str(refused.value).isprintable()
    assert not list(tmp_path.iterdir())


def test_what_another_user_left_in_a_study_s_folder_is_not_read(tmp_path: Path, theirs: Callable) -> None:
    """Such as options that name a site file, whose setup would run, and a list of jobs to cancel."""
    folder = tmp_path / "s"
    (folder / "in-job-x").mkdir(parents=True)
    write_atomically(folder / "command.json", '{"site": "/tmp/evil.yaml", "trials": 5, "overrides": []}')
    found = StudyLocation("s", "sqlite:///x.db", tmp_path)
    assert load_options(folder).trials == 5
    assert campaigns_of(found) == ([], [])
    theirs(folder)
    assert load_options(folder).site is None
    assert chains_in(folder) == []
    with pytest.raises(UserError, match="only its owner can clean up here"):
        campaigns_of(found)


def test_a_detached_driver_writes_no_log_into_another_user_s_folder(tmp_path: Path, theirs: Callable) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "f.py").write_text("def f(x): return x\n")
    prepared = prepare_run(tmp_path / "study.yaml", runs=tmp_path / "runs")
    folder = tmp_path / "runs" / "s"
    folder.mkdir(parents=True)
    theirs(folder)
    with pytest.raises(UserError, match="belongs to"):
        start_detached(Request(str(tmp_path / "study.yaml")), prepared)
    assert not list(folder.iterdir())


def test_a_database_that_others_can_write_to_is_refused(tmp_path: Path, theirs: Callable) -> None:
    path = tmp_path / "study.db"
    path.touch()
    path.chmod(0o666)
    with pytest.raises(UserError, match="all users may write to this database"):
        open_storage(f"sqlite:///{path}")
    path.chmod(0o600)
    tmp_path.chmod(0o1777)
    theirs(path)
    with pytest.raises(UserError, match=r"belongs to .*, in a folder where all users may create files"):
        open_storage(f"sqlite:///{path}")


def test_database_and_registry_are_their_user_s_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.umask(0)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    storage = open_storage(f"sqlite:///{tmp_path}/data/study.db")
    known_studies.save(name="s", study_file=Path("/s.yaml"), storage="sqlite:////x.db", runs=tmp_path, site="local",
                      run_dir=tmp_path)  # fmt: skip
    made = [*(tmp_path / "data").rglob("*"), *(tmp_path / "state").rglob("*")]
    assert {path.name for path in made} >= {"study.db", "study.db-wal", "studies", "s.json"}
    for path in (tmp_path / "data", tmp_path / "state", *made):
        assert path.stat().st_mode & 0o077 == 0, path
    storage.close()
