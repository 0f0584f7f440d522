"""The record on a disk that is full or read-only, and over a database file that is deleted, replaced or broken."""

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


class Kept:
    """A study of one driver; each trial carries enough to need room of its own."""

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
        """As plain Optuna reads them."""
        study = optuna.load_study(study_name="s", storage=f"sqlite:///{self.path}")
        assert {trial.state for trial in study.trials} <= {TrialState.COMPLETE}
        return [trial.value for trial in study.trials]


def test_a_full_disk_is_named_with_what_is_left_and_the_commit_lands_when_there_is_room(disk: Path) -> None:
    kept = Kept(disk / "study.db")
    kept.stage(1.0)
    kept.storage.commit()
    filler = fill(disk)
    kept.stage(2.0)
    for _ in range(3):
        with pytest.raises(RecordStuck) as caught:
            kept.storage.commit()
    assert f"study.db cannot be written: the file system {disk} (tmpfs) is full (" in str(caught.value)
    assert not isinstance(caught.value, RecordLost)
    filler.unlink()
    kept.storage.commit()
    assert kept.values() == [1.0, 2.0]


def test_a_disk_without_inodes_is_full_too(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", nr_inodes="6") as disk:
        for name in range(6):
            if why := unwritable(disk):
                break
            (disk / str(name)).touch()
        assert why == f"the file system {disk} (tmpfs) is full (no inodes left)"


def test_a_file_system_that_turns_read_only_is_named_and_lets_go_on_later(disk: Path) -> None:
    kept = Kept(disk / "study.db")
    kept.storage.close()
    remount(disk, "ro")
    kept.stage(1.0)
    with pytest.raises(RecordStuck, match=rf"the file system {disk} \(tmpfs\) is read-only"):
        kept.storage.commit()
    remount(disk, "rw")
    kept.storage.commit()
    assert kept.values() == [1.0]


@pytest.mark.parametrize("logs", [True, False], ids=["whole folder", "file alone"])
def test_a_database_that_is_deleted_under_the_driver_is_written_again_with_all_that_it_held(
    tmp_path: Path, logs: bool
) -> None:
    kept = Kept(tmp_path / "runs" / "s" / "study.db")
    kept.stage(1.0)
    kept.storage.commit()
    if logs:
        shutil.rmtree(tmp_path / "runs")
    else:
        kept.path.unlink()
    kept.stage(2.0)
    kept.storage.commit()
    assert kept.values() == [1.0, 2.0]
    assert kept.storage.database.saved == (
        f"the database file {kept.path} was deleted or replaced while the campaign ran; its content has been "
        "written there again"
    )
    assert (kept.path.stat().st_mode & 0o777, kept.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    kept.stage(3.0)
    kept.storage.commit()
    kept.storage.close()
    assert kept.values() == [1.0, 2.0, 3.0]
    with contextlib.closing(sqlite3.connect(kept.path)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert not list(kept.path.parent.glob(".*")), "what it was written to on the way is gone"


def test_another_file_in_the_place_of_the_database_is_left_alone_and_what_was_there_is_kept_beside_it(
    tmp_path: Path,
) -> None:
    kept = Kept(tmp_path / "study.db")
    kept.stage(1.0)
    kept.storage.commit()
    os.replace(shutil.copy(__file__, tmp_path / "other"), kept.path)
    kept.stage(2.0)
    with pytest.raises(RecordLost, match=r"was deleted or replaced .*; its content is in .*study\.db\.\d{8}-\d{6}$"):
        kept.storage.commit()
    with pytest.raises(RecordLost):
        kept.storage.commit()
    assert kept.path.read_text() == Path(__file__).read_text()
    (copy,) = tmp_path.glob("study.db.2*")
    assert [trial.value for trial in optuna.load_study(study_name="s", storage=f"sqlite:///{copy}").trials] == [1.0]


def test_a_deleted_database_is_not_let_go_while_it_cannot_be_written_again(disk: Path) -> None:
    kept = Kept(disk / "study.db")
    kept.stage(1.0)
    kept.storage.commit()
    kept.path.unlink()
    filler = fill(disk)
    kept.stage(2.0)
    for _ in range(2):
        with pytest.raises(RecordStuck, match="cannot be written again"):
            kept.storage.commit()
    filler.unlink()
    kept.storage.commit()
    assert kept.values() == [1.0, 2.0]


def test_a_database_that_is_deleted_while_nobody_has_it_open_is_not_made_anew(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "study.db")
    kept.storage.close()
    kept.path.unlink()
    kept.stage(1.0)
    with pytest.raises(RecordLost, match="was deleted or replaced"):
        kept.storage.commit()
    assert not kept.path.exists()


def test_a_broken_database_is_a_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "study.db")
    for value in range(20):
        kept.stage(float(value))
    kept.storage.commit()
    kept.storage.close()
    with kept.path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(kept.path.stat().st_size - 4096))
    kept.stage(2.0)
    with pytest.raises(RecordLost, match=rf"the database {kept.path} is corrupt \(.*\)$"):
        kept.storage.commit()


def test_a_database_that_is_cut_off_while_it_is_open_is_noticed_at_once(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "study.db")
    for value in range(3):
        kept.stage(float(value))
        kept.storage.commit()
    os.truncate(kept.path, kept.path.stat().st_size // 2)
    kept.stage(3.0)
    with pytest.raises(RecordLost, match=r"study\.db is corrupt \(database disk image is malformed\)"):
        kept.storage.commit()


def test_a_database_that_somebody_tidies_up_shrinks_and_is_as_good_as_before(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "study.db")
    for value in range(5):
        kept.stage(float(value))
    kept.storage.commit()
    with contextlib.closing(sqlite3.connect(kept.path)) as other:
        other.execute("DELETE FROM trial_user_attributes")
        other.commit()
        other.execute("VACUUM")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept.stage(5.0)
    kept.storage.commit()
    assert kept.values() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_what_is_broken_behind_the_back_of_an_open_connection_is_found_by_a_look_at_all_of_it(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "study.db")
    for value in range(30):
        kept.stage(float(value))
    kept.storage.commit()
    kept.storage.database.check()
    kept.storage.close()
    with kept.path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(os.urandom(10 * 4096))
    with pytest.raises(RecordLost, match=r"study\.db is corrupt \("):
        kept.storage.database.check()


def test_a_study_whose_database_is_broken_is_saved_from_memory_with_what_was_not_committed(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "study.db")
    kept.study.set_user_attr("about", {"why": "test"})
    trial = kept.study.ask()
    x = trial.suggest_float("x", 0.0, 1.0)
    trial.report(0.5, step=3)
    kept.study.tell(trial, 7.0)
    kept.storage.commit()
    kept.stage(8.0)
    kept.study.ask()
    kept.path.write_bytes(b"")
    path = save_study(kept.storage, kept.study._study_id)
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
    assert copy.directions == kept.study.directions


@pytest.mark.parametrize("content", [b"this is no database, but a text" * 100, b"\0" * 10_000])
def test_what_is_no_database_is_refused_at_the_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.db"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"study\.db: the database cannot be opened: file is not a database"):
        open_storage(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_there_is_no_room_to_begin(disk: Path, tmp_path: Path) -> None:
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


def test_a_locked_database_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotune.pipeline.record.database.BUSY_SECONDS", 0)
    kept = Kept(tmp_path / "study.db")
    other = sqlite3.connect(kept.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    kept.stage(1.0)
    with pytest.raises(RecordAway, match="database is locked") as caught:
        kept.storage.commit()
    assert not isinstance(caught.value, RecordStuck)
    other.execute("ROLLBACK")
    other.close()
    kept.storage.commit()
    assert kept.values() == [1.0]
