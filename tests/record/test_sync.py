"""A look at what others did reads what is new and no more, whatever they did; and nothing of it escapes."""

from __future__ import annotations

import contextlib

import optuna
import psycopg
import pytest
import sqlalchemy as sa
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from pilotune.pipeline.record import RecordStorage, normalize_url, open_storage
from pilotune.pipeline.record.database import Database
from pilotune.pipeline.record.row_watermark import RowWatermark
from pilotune.pipeline.record.unit_of_work import FULL_RESCAN
from pilotune.pipeline.study_changes import StudyWatch

SPACE = {f"x{place}": FloatDistribution(0, 1) for place in range(10)}


def open_study(storage):
    sampler = optuna.samplers.RandomSampler(0)
    return optuna.create_study(storage=storage, study_name="s", sampler=sampler, load_if_exists=True)


class Two:
    """One driver's study, and another's, whose trials the first looks at."""

    def __init__(self, url):
        self.url = url
        self.theirs = open_study(open_storage(url))
        self.running = [self.theirs.ask(SPACE) for _ in range(30)]
        self.theirs._storage.commit()
        self.storage = open_storage(url)
        self.ours = open_study(self.storage)
        self.look()

    def look(self):
        self.storage.sync()
        return {trial.number: trial for trial in self.ours.get_trials(deepcopy=False)}

    def same(self):
        """Whether we know all that a fresh reader knows."""
        fresh = open_study(RecordStorage(normalize_url(self.url), autocommit=False)).get_trials(deepcopy=False)
        ours = self.ours.get_trials(deepcopy=False)
        return [_seen(trial) for trial in fresh] == [_seen(trial) for trial in ours]


def _seen(trial):
    parts = (trial.params, trial.distributions, trial.user_attrs, trial.system_attrs, trial.intermediate_values)
    times = (trial.datetime_start, trial.datetime_complete)
    return (trial.number, trial.state, trial.values, *times, *(sorted(part.items(), key=repr) for part in parts))


@contextlib.contextmanager
def counting(storage, monkeypatch):
    """The statements, and the rows that they returned, of the trials' tables."""
    statements, rows = [], []
    run = Database.run

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
        yield statements, rows


def test_a_look_reads_as_many_rows_as_there_are_changes(database_url, monkeypatch):
    two = Two(database_url)

    def read():
        with counting(two.storage, monkeypatch) as (_, rows):
            two.look()
        assert two.same()
        return len(rows)

    assert read() == 0
    two.running[3].report(0.5, 7)
    two.running[4].report(0.25, 7)
    two.running[4].set_user_attr("a", 1)
    two.theirs._storage.commit()
    assert read() == 3
    two.theirs.ask(SPACE)
    two.theirs._storage.commit()
    new = 1 + len(SPACE)
    assert read() == new
    two.theirs.tell(two.running[3], 0.5)
    two.theirs._storage.commit()
    its_parts = len(SPACE) + 1 + 1  # the report and the value
    assert read() == 1 + 1 + its_parts  # that it has ended, and it itself
    assert read() == 0


def test_a_look_sends_as_many_statements_for_many_trials_as_for_few(database_url, monkeypatch):
    two = Two(database_url)

    def sent(count):
        for _ in range(count):
            two.running.append(two.theirs.ask(SPACE))
        for _ in range(count):
            trial = two.running.pop(0)
            trial.report(0.5, count)
            two.theirs.tell(trial, 0.5)
        two.theirs._storage.commit()
        with counting(two.storage, monkeypatch) as (statements, _):
            two.look()
        assert two.same()
        return len(statements)

    assert sent(2) == sent(20)


def test_a_commit_costs_the_same_beside_many_trials_that_run_or_wait_as_beside_few(database_url, monkeypatch):
    two = Two(database_url)

    def cost():
        trials = [two.ours.ask(SPACE) for _ in range(3)]
        two.storage.commit(limit=10_000)
        for trial in trials:
            trial.report(0.5, 1)
            two.ours.tell(trial, 0.5)
        two.ours.ask(SPACE)
        with counting(two.storage, monkeypatch) as (statements, rows):
            two.storage.commit(limit=10_000)
        return len(statements), len(rows)

    few = cost()
    for _ in range(100):
        two.theirs.ask(SPACE)
        two.theirs.tell(two.theirs.ask(SPACE), 0.5)
    two.theirs._storage.commit()
    two.look()
    two.ours.enqueue_trial({"x0": 0.5})
    assert two.ours.ask(SPACE).params["x0"] == 0.5
    for _ in range(100):
        two.theirs.enqueue_trial({"x0": 0.5})
    two.theirs._storage.commit()
    two.look()
    monkeypatch.setattr(two.ours, "_pop_waiting_trial_id", lambda: None)
    assert cost() == few


def test_what_plain_optuna_does_is_seen_at_the_next_look(database_url):
    two = Two(database_url)
    plain = optuna.storages.RDBStorage(normalize_url(database_url))
    theirs = optuna.load_study(study_name="s", storage=plain, sampler=optuna.samplers.RandomSampler(1))
    trial = theirs.ask()
    assert two.look()[30].params == {}
    trial.suggest_float("x0", 0, 1)
    trial.report(0.5, 1)
    trial.set_user_attr("a", [1])
    two.look()
    assert two.same()
    theirs.enqueue_trial({"x0": 0.5})
    two.look()
    assert two.same()
    started = theirs.ask()
    assert started.number == 31
    started.suggest_float("x0", 0, 1)
    theirs.tell(trial, 0.5)
    theirs.tell(two.running[0].number, state=TrialState.FAIL)
    two.look()
    assert two.same()


def test_an_attribute_that_is_written_over_is_seen_by_each_look_at_all(database_url):
    two = Two(database_url)
    two.running[0].set_user_attr("a", 1)
    two.theirs._storage.commit()
    assert two.look()[0].user_attrs == {"a": 1}
    two.running[0].set_user_attr("a", 2)
    two.theirs._storage.commit()
    with two.storage.locked(two.ours._study_id):
        assert two.ours.get_trials(deepcopy=False)[0].user_attrs == {"a": 2}
    two.running[0].set_user_attr("a", 3)
    two.theirs._storage.commit()
    for number in range(FULL_RESCAN):
        two.running[1].report(0.5, number)  # else nothing is read at all on SQLite
        two.theirs._storage.commit()
        two.look()
    assert two.same()


def test_a_storage_that_commits_by_itself_sees_what_is_written_over_at_once(database_url):
    first, second = (RecordStorage(normalize_url(database_url)) for _ in range(2))
    trial = open_study(first).ask()
    other = open_study(second)
    for value in range(3):
        trial.set_user_attr("a", value)
        assert other.trials[0].user_attrs == {"a": value}


@pytest.mark.postgres
def test_a_row_that_was_hidden_by_its_transaction_is_seen_when_that_ends(postgres_url):
    two = Two(postgres_url)
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
        two.running[6].report(0.25, 1)
        two.theirs._storage.commit()
        for _ in range(3):
            assert two.look()[6].intermediate_values == {1: 0.25}
        assert two.look()[5].intermediate_values == {}
    assert two.look()[5].intermediate_values == {1: 0.5}
    assert two.same()


def test_keys_that_are_given_away_again_are_no_reason_to_miss_a_row(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    two = Two(url)
    other = optuna.create_study(storage=open_storage(url), study_name="other", sampler=optuna.samplers.RandomSampler(0))
    for _ in range(5):
        trial = other.ask(SPACE)
        for step in range(5):
            trial.report(0.5, step)
    other._storage.commit()
    two.look()
    other._storage.delete_study(other._study_id)
    two.running[0].report(0.125, 1)
    two.theirs._storage.commit()
    two.look()
    assert two.same()


def test_the_watermark_waits_for_the_oldest_transaction_but_not_for_ever():
    watermark = RowWatermark()
    assert watermark.floor is None
    watermark.add(10, 10, (1,))
    assert watermark.floor == (1,)
    watermark.add(10, 12, (2,))  # transaction 10 is in progress
    watermark.add(10, 14, (3,))
    assert watermark.floor == (1,)
    watermark.add(13, 15, (4,))  # 10 is over, 13 began after the second of these looks
    assert watermark.floor == (2,)
    watermark.add(16, 16, (5,))
    assert watermark.floor == (5,)
    for mark in range(6, 100):
        watermark.add(16, 17 + mark, (mark,))
    assert watermark.floor[0] > 60


def test_a_look_at_all_of_trials_that_have_not_changed_tells_nobody(tmp_path):
    two = Two(f"sqlite:///{tmp_path}/s.db")
    watch = StudyWatch()
    assert watch.look(two.ours).whole
    with two.storage.locked(two.ours._study_id):
        pass
    assert not watch.look(two.ours).trials
    two.running[2].report(0.5, 1)
    two.theirs._storage.commit()
    with two.storage.locked(two.ours._study_id):
        pass
    assert [trial.number for trial in watch.look(two.ours).trials] == [2]
