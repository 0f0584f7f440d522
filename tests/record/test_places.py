"""Where things are: database URLs, files and their modes, run directories, the list of studies."""

import json
import re
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from pilotune import filesystems
from pilotune.errors import UserError
from pilotune.pipeline.record import RunDirectory, known_studies, new_campaign_id, normalize_url, open_storage
from pilotune.pipeline.record import database as connect
from pilotune.pipeline.studyfile import values


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_relative_sqlite_files_count_from_the_given_folder(tmp_path):
    assert normalize_url("sqlite:///a.db", tmp_path) == f"sqlite:///{tmp_path}/a.db"
    assert normalize_url(f"sqlite:///{tmp_path}/b.db") == f"sqlite:///{tmp_path}/b.db"
    assert normalize_url(normalize_url("sqlite:///a.db", tmp_path)) == f"sqlite:///{tmp_path}/a.db"


@pytest.mark.parametrize("url", ["postgresql://me@db/x", "postgres://me@db/x", "postgresql+psycopg://me@db/x"])
def test_postgres_gets_its_driver(url):
    assert normalize_url(url) == "postgresql+psycopg://me@db/x"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://me:hunter2@db/x", "PGPASSWORD"),
        ("postgresql://me@db/x?password=hunter2", "PGPASSWORD"),
        ("mysql://db/x", "use sqlite:///study.db or postgresql"),
        ("study.db", "must be a URL"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite://study.db", "three slashes"),
    ],
)
def test_other_urls_are_refused_without_repeating_a_password(url, sentence):
    with pytest.raises(UserError) as error:
        normalize_url(url)
    assert sentence in str(error.value)
    assert "hunter2" not in str(error.value)


def test_only_the_user_can_read_the_database_and_its_folder(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/new/deep/s.db")
    optuna.create_study(storage=storage)
    for file in (tmp_path / "new" / "deep").iterdir():
        assert mode(file) == 0o600, file
    assert mode(tmp_path / "new") == mode(tmp_path / "new" / "deep") == 0o700


def test_a_path_may_hold_special_characters(tmp_path):
    folder = tmp_path / "a {b} 100% ü"
    storage = open_storage(normalize_url(f"sqlite:///{folder}/s.db"))
    optuna.create_study(storage=storage)
    assert (folder / "s.db").stat().st_size > 0


def test_files_that_are_no_study_database_are_refused(tmp_path):
    (tmp_path / "text.db").write_text("no database at all, just some text that is long enough" * 20)
    with pytest.raises(UserError, match=r"text.db: the database cannot be opened: file is not a database"):
        open_storage(f"sqlite:///{tmp_path}/text.db")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        open_storage(f"sqlite:///{tmp_path}/file/s.db")


def test_a_database_of_another_schema_is_refused(tmp_path):
    open_storage(f"sqlite:///{tmp_path}/s.db").close()
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9.a'")
    with pytest.raises(UserError, match=r"v9.9.9.a.*optuna storage upgrade"):
        open_storage(f"sqlite:///{tmp_path}/s.db")


def test_an_unreachable_server_gives_one_line_without_the_password(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    with pytest.raises(UserError) as error:
        open_storage("postgresql://me@127.0.0.1:1/x")
    assert "cannot be opened" in str(error.value)
    assert "\n" not in str(error.value)
    assert "hunter2" not in str(error.value)


def test_tables_are_created_in_an_empty_database(postgres_server):
    url = postgres_server.new_database()
    storage = open_storage(url)
    assert storage.get_all_studies() == []
    storage.close()
    postgres_server.drop_database(url)


@pytest.mark.parametrize(("kind", "shared"), [("lustre", True), ("nfs4", True), ("ext4", False)])
def test_file_systems_shared_between_hosts_are_known(monkeypatch, tmp_path, kind, shared):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x /scratch/me {kind} rw 0 0\n")
    monkeypatch.setattr(filesystems, "MOUNTS", str(mounts))
    assert connect.on_network(Path("/scratch/me/runs/s.db")) == shared
    assert not connect.on_network(Path("/scratch/mean/s.db"))


def test_no_write_ahead_log_on_a_shared_file_system(monkeypatch, tmp_path):
    monkeypatch.setattr(connect, "on_network", lambda path: True)
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    assert storage.database.run("PRAGMA journal_mode").scalar() == "delete"


def test_only_the_user_can_read_a_run_directory(tmp_path):
    name = new_campaign_id()
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", name)
    run = RunDirectory(tmp_path / "runs" / "digits" / name)
    run.create()
    run.create()
    for folder in (run.path, run.path.parent, tmp_path / "runs", run.trials):
        assert mode(folder) == 0o700
    assert run.trial(7).directory == run.path / "trials" / "7"
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be created"):
        RunDirectory(tmp_path / "file" / "x").create()


@pytest.fixture
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "pilotune" / "studies"


def save(name):
    known_studies.save(
        name=name,
        study_file=Path("/home/me/study.yaml"),
        storage="sqlite:////s.db",
        runs=Path("/runs"),
        site="local",
        run_dir=Path(f"/runs/{name}/1"),
    )


def test_studies_are_found_by_name_the_latest_first(state):
    assert known_studies.all() == []
    assert known_studies.find("digits") is None
    save("digits")
    save("svm")
    save("digits")
    assert [entry.name for entry in known_studies.all()] == ["digits", "svm"]
    assert known_studies.find("svm").run_dir == Path("/runs/svm/1")
    assert mode(state) == 0o700
    assert mode(state / "svm.json") == 0o600


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"name": "x"})])
def test_an_unreadable_entry_gives_one_line_and_hides_no_other(state, caplog, text):
    save("digits")
    (state / "broken.json").write_text(text)
    assert [entry.name for entry in known_studies.all()] == ["digits"]
    assert "broken.json" in caplog.text
    with pytest.raises(UserError, match=r"broken.json: .* delete it"):
        known_studies.find("broken")


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "x" * 200])
def test_names_that_cannot_be_file_names_are_refused(state, name):
    with pytest.raises(UserError, match="cannot be a study's name"):
        known_studies.find(name)


def test_names_follow_the_study_files_rule():
    assert known_studies.NAME is values.NAME


def test_the_list_of_studies_is_read_without_optuna():
    code = (
        "import sys; from pilotune.pipeline.record import known_studies, RunDirectory; print('optuna' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
