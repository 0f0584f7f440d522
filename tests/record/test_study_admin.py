"""Deleting, renaming and copying studies in the database, while others work on them and with other studies beside."""

import contextlib
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from pilotune.errors import CampaignRunning, UserError
from pilotune.pipeline.attributes import ATTEMPT, COPIED, DIRECTORY, LEARNED, LEFT, OWNER, PAUSED, RENAMED
from pilotune.pipeline.record import Lease, claim, normalize_url, open_storage, release, study_leases
from pilotune.pipeline.record.database import open_database
from pilotune.pipeline.record.study_admin import UNFINISHED, copy_study, delete_study, rename_study, renamed_from
from pilotune.pipeline.record.tables import OF_STUDY, OF_TRIAL, trials

DIST = {"x": optuna.distributions.FloatDistribution(0, 1)}


@pytest.fixture
def url(database_url):
    """A database on SQLite, and one on PostgreSQL."""
    return normalize_url(database_url)


@pytest.fixture
def database(url):
    found = open_database(url)
    yield found
    found.drop()


def new(url, name, **attrs):
    """A study with a complete, a pruned, a running and a waiting trial, which a campaign has run."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=url, study_name=name)
    owned = {OWNER: "c1", ATTEMPT: 1}
    for number, state in enumerate((TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)):
        study.add_trial(
            optuna.create_trial(
                state=state,
                value=0.5 if state == TrialState.COMPLETE else None,
                params={"x": number / 10},
                distributions=DIST,
                intermediate_values={1: 0.25, 2: float("nan")},
                user_attrs={DIRECTORY: f"/runs/{name}/c1/trials/{number}", "note": [1, "ü"], **attrs},
                system_attrs={
                    **owned,
                    LEFT: {"campaign": "c0", "attempt": 1, "directory": f"/runs/{name}/c0/trials/0"},
                },
            )
        )
    study.enqueue_trial({"x": 0.75})
    study.set_user_attr("owner", "me")
    study._storage.set_study_system_attr(
        study._study_id, "pilotune:campaign:c1", Lease("c1", "h", "", 1, 1, f"/runs/{name}/c1", state="ended").to_json()
    )
    return study


def system(study):
    return study._storage.get_study_system_attrs(study._study_id)


def contents(url, name):
    trials = optuna.load_study(study_name=name, storage=url).trials
    return [(trial.state, trial.params, trial.user_attrs) for trial in trials]


def working(url, name):
    """A storage whose driver, this process, works on the study."""
    storage = open_storage(url)
    study = optuna.load_study(study_name=name, storage=storage)
    lease = Lease.here("mine", f"/runs/{name}/mine")
    claim(storage, study, lease)
    return contextlib.closing(storage), lambda: release(storage, study, lease)


def test_deleting_leaves_the_other_studies_and_no_row_of_its_own(url, database):
    new(url, "a"), new(url, "b")
    before = [
        (trial.state, trial.params, trial.user_attrs) for trial in optuna.load_study(study_name="b", storage=url).trials
    ]
    delete_study(database, "a")
    assert optuna.get_all_study_names(url) == ["b"]
    study = optuna.load_study(study_name="b", storage=url)
    assert contents(url, "b") == before
    with database.reading():
        assert database.run(sa.select(sa.func.count()).select_from(trials)).scalar() == 4
        ids = [row[0] for row in database.run(sa.select(trials.c.trial_id))]
        for table in OF_TRIAL:
            assert not database.run(sa.select(table).where(table.c.trial_id.not_in(ids))).all()
        for table in OF_STUDY:
            assert not database.run(sa.select(table).where(table.c.study_id != study._study_id)).all()


def test_a_study_with_a_driver_is_neither_deleted_nor_renamed(url, database):
    new(url, "a")
    closing, end = working(url, "a")
    with closing:
        for change in (lambda: delete_study(database, "a"), lambda: rename_study(database, "a", "b", str)):
            with pytest.raises(CampaignRunning, match=r"pilotune stop a"):
                change()
        assert len(optuna.load_study(study_name="a", storage=url).trials) == 4
        end()
        rename_study(database, "a", "b", str)
    assert optuna.get_all_study_names(url) == ["b"]


def test_a_driver_finds_that_its_study_is_gone(url, database):
    """It was thought to be dead, so its study was deleted."""
    new(url, "a")
    storage = open_storage(url)
    study = optuna.load_study(study_name="a", storage=storage)
    delete_study(database, "a")
    study.ask()
    with contextlib.closing(storage), pytest.raises(Exception, match="no longer in the database"):
        storage.commit()


def test_renaming_moves_the_paths_of_run_directories_and_nothing_else(url, database):
    old, other = new(url, "a"), new(url, "b", **{LEARNED: "a#0"})
    rename_study(database, "a", "c", lambda path: path.replace("/runs/a/", "/runs/c/"))
    study = optuna.load_study(study_name="c", storage=url)
    assert study._study_id == old._study_id
    assert [trial.user_attrs.get(DIRECTORY) for trial in study.trials] == [
        *(f"/runs/c/c1/trials/{number}" for number in range(3)), None,
    ]  # fmt: skip
    assert study.trials[0].system_attrs[LEFT]["directory"] == "/runs/c/c0/trials/0"
    assert study.trials[0].user_attrs["note"] == [1, "ü"]
    with contextlib.closing(open_storage(url)) as storage:
        (lease,) = study_leases(storage, optuna.load_study(study_name="c", storage=storage))
    assert (lease.run, lease.state) == ("/runs/c/c1", "ended")
    assert renamed_from(database, "c") == "a"
    assert renamed_from(database, "b") is None
    assert other.trials[0].user_attrs[DIRECTORY] == "/runs/b/c1/trials/0"
    assert other.trials[0].user_attrs[LEARNED] == "c#0"


def test_a_name_that_is_taken_or_unknown_is_refused_and_nothing_changes(url, database):
    new(url, "a"), new(url, "b")
    with pytest.raises(UserError, match="'b' in this database already"):
        rename_study(database, "a", "b", lambda path: "/elsewhere")
    assert optuna.load_study(study_name="a", storage=url).trials[0].user_attrs[DIRECTORY] == "/runs/a/c1/trials/0"
    for change in (lambda: delete_study(database, "c"), lambda: rename_study(database, "c", "d", str)):
        with pytest.raises(UserError, match="there is no study 'c'"):
            change()
    with contextlib.closing(open_storage(url)) as storage:
        for name, other, part in (("a", "b", "'b' in this database already"), ("c", "d", "there is no study 'c'")):
            with pytest.raises(UserError, match=part):
                copy_study(storage, name, storage, other)
    assert optuna.get_all_study_names(url) == ["a", "b"]


@pytest.mark.parametrize("same", [True, False])
def test_a_copy_has_all_results_and_no_campaign(url, tmp_path, same):
    original = new(url, "a", **{PAUSED: 3})
    target = url if same else f"sqlite:///{tmp_path}/t.db"  # from PostgreSQL too
    with contextlib.closing(open_storage(url)) as source, contextlib.closing(open_storage(target)) as storage:
        copied = copy_study(source, "a", storage, "b")
    assert (copied.trials, copied.unfinished) == (4, 1)
    study = optuna.load_study(study_name="b", storage=target)
    assert study.user_attrs == {"owner": "me"}
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "WAITING", "WAITING"]
    for mine, theirs in zip(study.trials[:2], original.trials, strict=False):
        assert (mine.params, mine.values, mine.datetime_start) == (theirs.params, theirs.values, theirs.datetime_start)
        assert mine.intermediate_values == pytest.approx(theirs.intermediate_values, nan_ok=True)
        assert mine.user_attrs == {key: value for key, value in theirs.user_attrs.items() if key != PAUSED}
        assert mine.system_attrs == {COPIED: f"a#{mine.number}"}
    assert [trial.system_attrs["fixed_params"] for trial in study.trials[2:]] == [{"x": 0.2}, {"x": 0.75}]
    assert study.trials[2].user_attrs == {"note": [1, "ü"]}
    assert not any(key.startswith("pilotune:campaign") for key in system(study))
    assert len(original.trials) == 4
    assert original.trials[2].state == TrialState.RUNNING


def test_a_copy_that_was_interrupted_is_made_anew(url, monkeypatch):
    new(url, "a")

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with contextlib.closing(open_storage(url)) as storage:
        monkeypatch.setattr("pilotune.pipeline.record.study_admin.copy_of", killed)
        with pytest.raises(KeyboardInterrupt):
            copy_study(storage, "a", storage, "b")
    assert optuna.get_all_study_names(url) == ["a", f"b{UNFINISHED}"]
    monkeypatch.undo()
    with contextlib.closing(open_storage(url)) as storage:
        copy_study(storage, "a", storage, "b")
    assert optuna.get_all_study_names(url) == ["a", "b"]
    assert RENAMED not in system(optuna.load_study(study_name="b", storage=url))


def test_the_copy_of_a_running_study_is_of_one_moment(url):
    new(url, "a")
    closing, _end = working(url, "a")
    with closing, contextlib.closing(open_storage(url)) as storage:
        assert copy_study(storage, "a", storage, "b").trials == 4


def test_paths_are_files_of_the_study_only():
    from pilotune.pipeline.cli.study_files import Move

    move = Move(Path("/runs/a"), Path("/runs/b"))
    moved = {text: move.path(text) for text in ("/runs/a", "/runs/a/c/1", "/runs/ab/c", "/other/runs/a/c", "")}
    assert moved == {
        "/runs/a": "/runs/b", "/runs/a/c/1": "/runs/b/c/1", "/runs/ab/c": "/runs/ab/c",
        "/other/runs/a/c": "/other/runs/a/c", "": "",
    }  # fmt: skip
    assert move.url("sqlite:////runs/a/study.db") == "sqlite:////runs/b/study.db"
    assert move.url("sqlite:////data/study.db") == "sqlite:////data/study.db"
    assert move.url("postgresql+psycopg://h/runs/a") == "postgresql+psycopg://h/runs/a"
