"""``sync`` reads every change that other processes made to a study, and no more rows than that needs."""

from __future__ import annotations

import contextlib

import optuna
import psycopg
import pytest
import sqlalchemy as sa
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from pilotune.pipeline.attributes import DETAILS
from pilotune.pipeline.record import RecordStorage, normalize_url, open_storage
from pilotune.pipeline.record.database import Database
from pilotune.pipeline.record.row_watermark import RowWatermark
from pilotune.pipeline.record.unit_of_work import FULL_RESCAN
from pilotune.pipeline.study_changes import StudyWatch

SPACE = {f"x{i}": FloatDistribution(0, 1) for i in range(10)}


def open_study(storage):
    sampler = optuna.samplers.RandomSampler(0)
    return optuna.create_study(storage=storage, study_name="s", sampler=sampler, load_if_exists=True)


class TwoDrivers:
    """Two drivers with one study: ``theirs`` runs trials, ``ours`` reads them by ``sync``."""

    def __init__(self, url):
        self.url = url
        self.theirs = open_study(open_storage(url))
        self.running = [self.theirs.ask(SPACE) for _ in range(30)]
        self.theirs._storage.commit()
        self.storage = open_storage(url)
        self.ours = open_study(self.storage)
        self.sync()

    def sync(self):
        self.storage.sync()
        return {trial.number: trial for trial in self.ours.get_trials(deepcopy=False)}

    def in_step(self):
        """Whether ``ours`` has what a new connection reads."""
        fresh = open_study(RecordStorage(normalize_url(self.url), autocommit=False)).get_trials(deepcopy=False)
        ours = self.ours.get_trials(deepcopy=False)
        return [_content(trial) for trial in fresh] == [_content(trial) for trial in ours]


def _content(trial):
    parts = (trial.params, trial.distributions, trial.user_attrs, trial.system_attrs, trial.intermediate_values)
    times = (trial.datetime_start, trial.datetime_complete)
    return (trial.number, trial.state, trial.values, *times, *(sorted(part.items(), key=repr) for part in parts))


@contextlib.contextmanager
def counting(storage, monkeypatch):
    """Record the statements that ``storage`` sends, and the rows that they return from the trials' tables."""
    statements, rows = [], []
    run = Database.run

    def counted_rows(database, statement, arguments=None):
        found = run(database, statement, arguments).all()
        if database is storage.database:
            statements.append(statement)
            rows.extend(found)
        return found

    def counted(database, statement, arguments=None):
        result = run(database, statement, arguments)
        if database is not storage.database or not isinstance(statement, str):
            return result
        statements.append(statement)
        if not result.returns_rows or "FROM trial" not in statement or "max(" in statement:
            return result
        frozen = result.freeze()
        rows.extend(frozen().all())
        return frozen()

    with monkeypatch.context() as patch:
        patch.setattr(Database, "run", counted)
        patch.setattr(Database, "rows", counted_rows)
        yield statements, rows


def test_sync_reads_as_many_rows_as_there_are_changes(database_url, monkeypatch):
    drivers = TwoDrivers(database_url)

    def read():
        with counting(drivers.storage, monkeypatch) as (_, rows):
            drivers.sync()
        assert drivers.in_step()
        return len(rows)

    assert read() == 0
    drivers.running[3].report(0.5, 7)
    drivers.running[4].report(0.25, 7)
    drivers.running[4].set_user_attr("a", 1)
    drivers.theirs._storage.commit()
    assert read() == 3
    drivers.theirs.ask(SPACE)
    drivers.theirs._storage.commit()
    new = 1 + len(SPACE)
    assert read() == new
    drivers.theirs.tell(drivers.running[3], 0.5)
    drivers.theirs._storage.commit()
    its_rows = len(SPACE) + 1 + 1  # the report and the value
    assert read() == 1 + 1 + its_rows  # its state, and its row
    assert read() == 0


def test_sync_sends_as_many_statements_for_many_trials_as_for_few(database_url, monkeypatch):
    drivers = TwoDrivers(database_url)

    def sent(count):
        for _ in range(count):
            drivers.running.append(drivers.theirs.ask(SPACE))
        for _ in range(count):
            trial = drivers.running.pop(0)
            trial.report(0.5, count)
            drivers.theirs.tell(trial, 0.5)
        drivers.theirs._storage.commit()
        with counting(drivers.storage, monkeypatch) as (statements, _):
            drivers.sync()
        assert drivers.in_step()
        return len(statements)

    assert sent(2) == sent(20)


def test_a_commit_costs_the_same_beside_many_trials_that_run_or_wait_as_beside_few(database_url, monkeypatch):
    drivers = TwoDrivers(database_url)

    def cost():
        trials = [drivers.ours.ask(SPACE) for _ in range(3)]
        drivers.storage.commit(limit=10_000)
        for trial in trials:
            trial.report(0.5, 1)
            drivers.ours.tell(trial, 0.5)
        drivers.ours.ask(SPACE)
        with counting(drivers.storage, monkeypatch) as (statements, rows):
            drivers.storage.commit(limit=10_000)
        return len(statements), len(rows)

    few = cost()
    for _ in range(100):
        drivers.theirs.ask(SPACE)
        drivers.theirs.tell(drivers.theirs.ask(SPACE), 0.5)
    drivers.theirs._storage.commit()
    drivers.sync()
    drivers.ours.enqueue_trial({"x0": 0.5})
    assert drivers.ours.ask(SPACE).params["x0"] == 0.5
    for _ in range(100):
        drivers.theirs.enqueue_trial({"x0": 0.5})
    drivers.theirs._storage.commit()
    drivers.sync()
    monkeypatch.setattr(drivers.ours, "_pop_waiting_trial_id", lambda: None)
    assert cost() == few


def test_changes_by_plain_optuna_are_read_by_the_next_sync(database_url):
    drivers = TwoDrivers(database_url)
    plain = optuna.storages.RDBStorage(normalize_url(database_url))
    theirs = optuna.load_study(study_name="s", storage=plain, sampler=optuna.samplers.RandomSampler(1))
    trial = theirs.ask()
    assert drivers.sync()[30].params == {}
    trial.suggest_float("x0", 0, 1)
    trial.report(0.5, 1)
    trial.set_user_attr("a", [1])
    drivers.sync()
    assert drivers.in_step()
    theirs.enqueue_trial({"x0": 0.5})
    drivers.sync()
    assert drivers.in_step()
    started = theirs.ask()
    assert started.number == 31
    started.suggest_float("x0", 0, 1)
    theirs.tell(trial, 0.5)
    theirs.tell(drivers.running[0].number, state=TrialState.FAIL)
    drivers.sync()
    assert drivers.in_step()


def test_an_overwritten_attribute_is_read_by_each_full_rescan(database_url):
    drivers = TwoDrivers(database_url)
    drivers.running[0].set_user_attr("a", 1)
    drivers.theirs._storage.commit()
    assert drivers.sync()[0].user_attrs == {"a": 1}
    drivers.running[0].set_user_attr("a", 2)
    drivers.theirs._storage.commit()
    with drivers.storage.locked(drivers.ours._study_id):
        assert drivers.ours.get_trials(deepcopy=False)[0].user_attrs == {"a": 2}
    drivers.running[0].set_user_attr("a", 3)
    drivers.theirs._storage.commit()
    for number in range(FULL_RESCAN):
        drivers.running[1].report(0.5, number)  # without a change, SQLite reads nothing
        drivers.theirs._storage.commit()
        drivers.sync()
    assert drivers.in_step()


def test_with_autocommit_an_overwritten_attribute_is_read_at_once(database_url):
    first, second = (RecordStorage(normalize_url(database_url)) for _ in range(2))
    trial = open_study(first).ask()
    other = open_study(second)
    for value in range(3):
        trial.set_user_attr("a", value)
        assert other.trials[0].user_attrs == {"a": value}


@pytest.mark.postgres
def test_a_row_of_a_long_transaction_is_read_when_that_ends(postgres_url):
    drivers = TwoDrivers(postgres_url)
    ids = dict(
        sa.create_engine(normalize_url(postgres_url))
        .connect()
        .execute(sa.text("SELECT number, trial_id FROM trials"))
        .all()
    )
    insert = (
        "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
        "VALUES (%s, %s, 0.5, 'FINITE')"
    )
    with psycopg.connect(postgres_url) as slow:
        slow.execute(insert, (ids[5], 1))
        drivers.running[6].report(0.25, 1)
        drivers.theirs._storage.commit()
        for _ in range(3):
            assert drivers.sync()[6].intermediate_values == {1: 0.25}
        assert drivers.sync()[5].intermediate_values == {}
    assert drivers.sync()[5].intermediate_values == {1: 0.5}
    assert drivers.in_step()


def test_reused_primary_keys_hide_no_row(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    drivers = TwoDrivers(url)
    other = optuna.create_study(storage=open_storage(url), study_name="other", sampler=optuna.samplers.RandomSampler(0))
    for _ in range(5):
        trial = other.ask(SPACE)
        for step in range(5):
            trial.report(0.5, step)
    other._storage.commit()
    drivers.sync()
    other._storage.delete_study(other._study_id)
    drivers.running[0].report(0.125, 1)
    drivers.theirs._storage.commit()
    drivers.sync()
    assert drivers.in_step()


def test_the_watermark_waits_for_the_oldest_transaction_up_to_a_limit():
    watermark = RowWatermark()
    assert watermark.floor is None
    watermark.add(10, 10, (1,))
    assert watermark.floor == (1,)
    watermark.add(10, 12, (2,))  # transaction 10 is in progress
    watermark.add(10, 14, (3,))
    assert watermark.floor == (1,)
    watermark.add(13, 15, (4,))  # 10 is over, 13 began after the second of these reads
    assert watermark.floor == (2,)
    watermark.add(16, 16, (5,))
    assert watermark.floor == (5,)
    for mark in range(6, 100):
        watermark.add(16, 17 + mark, (mark,))
    assert watermark.floor[0] > 60


def test_a_full_rescan_reports_only_changed_trials(tmp_path):
    drivers = TwoDrivers(f"sqlite:///{tmp_path}/s.db")
    watch = StudyWatch()
    assert watch.refresh(drivers.ours).whole
    with drivers.storage.locked(drivers.ours._study_id):
        pass
    assert not watch.refresh(drivers.ours).trials
    drivers.running[2].report(0.5, 1)
    drivers.theirs._storage.commit()
    with drivers.storage.locked(drivers.ours._study_id):
        pass
    assert [trial.number for trial in watch.refresh(drivers.ours).trials] == [2]


def test_equal_details_of_trials_are_one_object_in_memory(tmp_path) -> None:
    """A study may have a hundred thousand trials, and each has details of where it ran."""
    url = f"sqlite:///{tmp_path}/s.db"
    storage = RecordStorage(url, autocommit=False)
    study = optuna.create_study(storage=storage, study_name="s")
    for worker in ("w0", "w1", "w0", "w0"):
        trial = study.ask()
        storage.set_trial_attrs(trial._trial_id, {"note": 1}, {DETAILS: {"pool": "gpu", "worker": worker}})
        study.tell(trial, 0.5)
    storage.commit()
    for opened in (storage, RecordStorage(url, autocommit=False)):
        trials = opened.get_all_trials(opened.get_study_id_from_name("s"), deepcopy=False)
        assert [trial.system_attrs[DETAILS]["worker"] for trial in trials] == ["w0", "w1", "w0", "w0"]
        assert len({id(trial.system_attrs) for trial in trials}) == 2
        copies = opened.get_all_trials(opened.get_study_id_from_name("s"))
        assert copies[0].system_attrs[DETAILS] is not copies[2].system_attrs[DETAILS]
        opened.close()


def test_an_error_while_rows_are_read_is_an_error_of_the_database(tmp_path):
    """SQLite finds a damaged page only when it comes to its rows."""
    storage = RecordStorage(f"sqlite:///{tmp_path}/study.db")
    open_study(storage)
    database = storage.database

    def damaged(number):
        raise ValueError(number)

    with database.reading():
        database.connection.connection.driver_connection.create_function("damaged", 1, damaged)
        with pytest.raises(sa.exc.OperationalError):
            database.rows("SELECT damaged(trial_id) FROM (SELECT 1 AS trial_id UNION SELECT 2)")
