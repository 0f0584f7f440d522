"""``RecordStorage`` on a full or read-only disk, and with a database file that is deleted, replaced or corrupt."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from pilotune.errors import RecordAway, RecordLost, RecordStuck, SiteError, UserError
from pilotune.filesystems import unwritable
from pilotune.pipeline.record import RecordStorage, RunDirectory, open_storage, save_study
from tests.support.small_disks import fill, remount, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "2m") as folder:
        yield folder


class StoredStudy:
    """A study of one driver. Each trial has 50 kB of attributes, so that it needs new disk pages."""

    def __init__(self, path: Path):
        self.path = path
        self.storage: RecordStorage = open_storage(f"sqlite:///{path}")
        self.study = optuna.create_study(storage=self.storage, study_name="s")
        self.storage.commit()

    def stage(self, value: float) -> None:
        trial = self.study.ask()
        trial.set_user_attr("load", "x" * 50_000)
        self.study.tell(trial, value)

    def values(self) -> list[float]:
        """The trials' values, as plain Optuna reads them."""
        study = optuna.load_study(study_name="s", storage=f"sqlite:///{self.path}")
        assert {trial.state for trial in study.trials} <= {TrialState.COMPLETE}
        return [trial.value for trial in study.trials]


def test_a_full_disk_is_named_and_the_commit_succeeds_once_there_is_space(disk: Path) -> None:
    stored = StoredStudy(disk / "study.db")
    stored.stage(1.0)
    stored.storage.commit()
    filler = fill(disk)
    stored.stage(2.0)
    for _ in range(3):
        with pytest.raises(RecordStuck) as caught:
            stored.storage.commit()
    assert f"study.db cannot be written: the file system {disk} (tmpfs) is full (" in str(caught.value)
    assert not isinstance(caught.value, RecordLost)
    filler.unlink()
    stored.storage.commit()
    assert stored.values() == [1.0, 2.0]


def test_a_disk_without_inodes_is_reported_as_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", nr_inodes="6") as disk:
        for name in range(6):
            if why := unwritable(disk):
                break
            (disk / str(name)).touch()
        assert why == f"the file system {disk} (tmpfs) is full (no inodes left)"


def test_a_read_only_file_system_is_named_and_the_commit_succeeds_once_it_is_writable(disk: Path) -> None:
    stored = StoredStudy(disk / "study.db")
    stored.storage.close()
    remount(disk, "ro")
    stored.stage(1.0)
    with pytest.raises(RecordStuck, match=rf"the file system {disk} \(tmpfs\) is read-only"):
        stored.storage.commit()
    remount(disk, "rw")
    stored.storage.commit()
    assert stored.values() == [1.0]


@pytest.mark.parametrize("logs", [True, False], ids=["whole folder", "file alone"])
def test_a_database_that_is_deleted_while_open_is_written_again(tmp_path: Path, logs: bool) -> None:
    stored = StoredStudy(tmp_path / "runs" / "s" / "study.db")
    stored.stage(1.0)
    stored.storage.commit()
    if logs:
        shutil.rmtree(tmp_path / "runs")
    else:
        stored.path.unlink()
    stored.stage(2.0)
    stored.storage.commit()
    assert stored.values() == [1.0, 2.0]
    assert stored.storage.database.saved == (
        f"the database file {stored.path} was deleted or replaced while the campaign ran; its content has been "
        "written there again"
    )
    assert (stored.path.stat().st_mode & 0o777, stored.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    stored.stage(3.0)
    stored.storage.commit()
    stored.storage.close()
    assert stored.values() == [1.0, 2.0, 3.0]
    with contextlib.closing(sqlite3.connect(stored.path)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert not list(stored.path.parent.glob(".*")), "the temporary file is removed"


def test_a_file_that_replaces_the_database_is_not_changed_and_the_content_is_saved_beside_it(
    tmp_path: Path,
) -> None:
    stored = StoredStudy(tmp_path / "study.db")
    stored.stage(1.0)
    stored.storage.commit()
    os.replace(shutil.copy(__file__, tmp_path / "other"), stored.path)
    stored.stage(2.0)
    with pytest.raises(RecordLost, match=r"was deleted or replaced .*; its content is in .*study\.db\.\d{8}-\d{6}$"):
        stored.storage.commit()
    with pytest.raises(RecordLost):
        stored.storage.commit()
    assert stored.path.read_text() == Path(__file__).read_text()
    (copy,) = tmp_path.glob("study.db.2*")
    assert [trial.value for trial in optuna.load_study(study_name="s", storage=f"sqlite:///{copy}").trials] == [1.0]


def test_the_connection_to_a_deleted_database_stays_open_until_it_is_written_again(disk: Path) -> None:
    stored = StoredStudy(disk / "study.db")
    stored.stage(1.0)
    stored.storage.commit()
    stored.path.unlink()
    filler = fill(disk)
    stored.stage(2.0)
    for _ in range(2):
        with pytest.raises(RecordStuck, match="cannot be written again"):
            stored.storage.commit()
    filler.unlink()
    stored.storage.commit()
    assert stored.values() == [1.0, 2.0]


def test_a_database_that_is_deleted_while_closed_is_not_created_again(tmp_path: Path) -> None:
    stored = StoredStudy(tmp_path / "study.db")
    stored.storage.close()
    stored.path.unlink()
    stored.stage(1.0)
    with pytest.raises(RecordLost, match="was deleted or replaced"):
        stored.storage.commit()
    assert not stored.path.exists()


def test_a_corrupt_database_is_reported_in_one_line(tmp_path: Path) -> None:
    stored = StoredStudy(tmp_path / "study.db")
    for value in range(20):
        stored.stage(float(value))
    stored.storage.commit()
    stored.storage.close()
    with stored.path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(stored.path.stat().st_size - 4096))
    stored.stage(2.0)
    with pytest.raises(RecordLost, match=rf"the database {stored.path} is corrupt \(.*\)$"):
        stored.storage.commit()


def test_a_database_that_is_truncated_while_open_is_detected_at_the_next_commit(tmp_path: Path) -> None:
    stored = StoredStudy(tmp_path / "study.db")
    for value in range(3):
        stored.stage(float(value))
        stored.storage.commit()
    os.truncate(stored.path, stored.path.stat().st_size // 2)
    stored.stage(3.0)
    with pytest.raises(RecordLost, match=r"study\.db is corrupt \(database disk image is malformed\)"):
        stored.storage.commit()


def test_a_database_that_vacuum_made_smaller_is_still_used(tmp_path: Path) -> None:
    stored = StoredStudy(tmp_path / "study.db")
    for value in range(5):
        stored.stage(float(value))
    stored.storage.commit()
    with contextlib.closing(sqlite3.connect(stored.path)) as other:
        other.execute("DELETE FROM trial_user_attributes")
        other.commit()
        other.execute("VACUUM")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    stored.stage(5.0)
    stored.storage.commit()
    assert stored.values() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_check_finds_corrupt_pages(tmp_path: Path) -> None:
    stored = StoredStudy(tmp_path / "study.db")
    for value in range(30):
        stored.stage(float(value))
    stored.storage.commit()
    stored.storage.database.check()
    stored.storage.close()
    with stored.path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(os.urandom(10 * 4096))
    with pytest.raises(RecordLost, match=r"study\.db is corrupt \("):
        stored.storage.database.check()


def test_a_study_with_a_corrupt_database_is_saved_from_memory_with_uncommitted_changes(tmp_path: Path) -> None:
    stored = StoredStudy(tmp_path / "study.db")
    stored.study.set_user_attr("about", {"why": "test"})
    trial = stored.study.ask()
    x = trial.suggest_float("x", 0.0, 1.0)
    trial.report(0.5, step=3)
    stored.study.tell(trial, 7.0)
    stored.storage.commit()
    stored.stage(8.0)
    stored.study.ask()
    stored.path.write_bytes(b"")
    path = save_study(stored.storage, stored.study._study_id)
    assert path.parent == tmp_path
    assert path.stat().st_mode & 0o777 == 0o600
    copy = optuna.load_study(study_name="s", storage=f"sqlite:///{path}")
    assert [(each.state.name, each.value) for each in copy.trials] == [
        ("COMPLETE", 7.0),
        ("COMPLETE", 8.0),
        ("RUNNING", None),
    ]
    assert (copy.trials[0].params, copy.trials[0].intermediate_values) == ({"x": x}, {3: 0.5})
    assert copy.user_attrs == {"about": {"why": "test"}}
    assert copy.directions == stored.study.directions


@pytest.mark.parametrize("content", [b"this is no database, but a text" * 100, b"\0" * 10_000])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.db"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"study\.db: the database cannot be opened: file is not a database"):
        open_storage(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_a_study_cannot_start_on_a_full_disk(disk: Path, tmp_path: Path) -> None:
    fill(disk)
    with pytest.raises(RecordStuck, match="is full") as caught:
        open_storage(f"sqlite:///{disk}/study.db")
    assert caught.value.exit_code == 3
    with (
        small_disk(tmp_path / "no-inodes", nr_inodes="3") as other,
        pytest.raises(SiteError, match=f"the run directory cannot be created: the file system {other}") as refused,
    ):
        RunDirectory(other / "runs" / "s" / "c").create()
    assert refused.value.exit_code == 3


def test_a_commit_to_a_locked_database_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotune.pipeline.record.database.BUSY_SECONDS", 0)
    stored = StoredStudy(tmp_path / "study.db")
    other = sqlite3.connect(stored.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    stored.stage(1.0)
    with pytest.raises(RecordAway, match="database is locked") as caught:
        stored.storage.commit()
    assert not isinstance(caught.value, RecordStuck)
    other.execute("ROLLBACK")
    other.close()
    stored.storage.commit()
    assert stored.values() == [1.0]
