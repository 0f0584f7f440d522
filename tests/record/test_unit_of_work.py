"""A commit is one transaction within the budget, and is written exactly once whichever statement fails."""

import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from pilotune.errors import RecordAway
from pilotune.pipeline.record import normalize_url, open_storage

from ..support.sizes import at_size

SPACE = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


def new_study(storage, name="s"):
    sampler = optuna.samplers.RandomSampler(0)
    return optuna.create_study(storage=storage, study_name=name, sampler=sampler, load_if_exists=True)


def stored(url):
    study = optuna.load_study(study_name="s", storage=optuna.storages.RDBStorage(normalize_url(url)))
    return [(t.number, t.state, t.values, t.params, t.user_attrs, t.intermediate_values) for t in study.trials]


def staged_work(study):
    """Stage a change for every kind of statement: a finished trial, two new ones, reports and attributes."""
    first = study.ask(SPACE)
    study._storage.commit()
    first.report(0.5, 1)
    first.set_user_attr("a", [1])
    study.tell(first, 0.25)
    study.set_user_attr("note", 1)
    study.ask(SPACE).report(0.75, 3)
    study.ask(SPACE).set_user_attr("b", 2)
    study.enqueue_trial({"x": 0.5})


@contextlib.contextmanager
def breaking(storage, which, *, after=False):
    """Make a statement fail before or after it is executed: the ``which``-th from now, or the one with this text."""
    seen = []

    def hook(connection, cursor, statement, parameters, context, executemany):
        seen.append(statement)
        if which in (len(seen), statement):
            raise sa.exc.OperationalError(statement, None, Exception("the connection broke"))

    moment = "after_cursor_execute" if after else "before_cursor_execute"
    sa.event.listen(storage.database.engine, moment, hook)
    try:
        yield seen
    finally:
        sa.event.remove(storage.database.engine, moment, hook)


@pytest.mark.parametrize("after", [False, True], ids=["not-sent", "answer-lost"])
def test_a_commit_that_fails_at_any_statement_is_repeated_exactly_once(database_url, after):
    position, landed = 0, False
    while not landed:
        position += at_size(3, 1)
        storage = open_storage(database_url)
        study = new_study(storage)
        staged_work(study)
        expected = [(t.number, t.state, t.values, t.params, t.user_attrs, t.intermediate_values) for t in study.trials]
        with breaking(storage, position, after=after) as seen, contextlib.suppress(RecordAway):
            storage.commit()
            landed = True
        assert seen[0].startswith("BEGIN")
        storage.commit()
        assert stored(database_url) == expected
        assert storage.sync() in (True, False)
        assert len(study.trials) == len(expected)
        storage.delete_study(study._study_id)
        storage.close()
    assert position >= 10


def test_trials_go_on_while_it_is_unknown_whether_a_commit_succeeded(database_url):
    for after in (False, True):
        storage = open_storage(database_url)
        study = new_study(storage)
        trial = study.ask(SPACE)
        with breaking(storage, "COMMIT", after=after), pytest.raises(RecordAway):
            storage.commit()
        trial.report(0.5, 1)
        study.tell(trial, 0.125)
        second = study.ask(SPACE)
        assert storage.commit().refused == ()
        assert [(n, s) for n, s, *_ in stored(database_url)][-2:] == [
            (second.number - 1, TrialState.COMPLETE),
            (second.number, TrialState.RUNNING),
        ]
        assert [row[0] for row in stored(database_url)] == list(range(len(stored(database_url))))
        storage.close()


def test_a_commit_to_a_locked_database_is_repeated_later(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    storage = open_storage(url)
    study = new_study(storage)
    storage.database.run("PRAGMA busy_timeout=20")
    study.ask(SPACE)
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RecordAway, match="locked"):
        storage.commit()
    other.execute("ROLLBACK")
    storage.commit()
    assert len(stored(url)) == 1


def test_a_commit_to_a_full_disk_is_repeated_later(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    storage = open_storage(url)
    study = new_study(storage)
    pages = storage.database.run("PRAGMA page_count").scalar()
    storage.database.run(f"PRAGMA max_page_count={pages}")
    trial = study.ask(SPACE)
    trial.set_user_attr("big", "x" * 100_000)
    with pytest.raises(RecordAway, match="full"):
        storage.commit()
    storage.commit()  # on a new connection, without the limit
    assert len(stored(url)) == 1


def test_a_server_that_dies_and_comes_back_loses_nothing(postgres_server, postgres_url):
    storage = open_storage(postgres_url)
    study = new_study(storage)
    trial = study.ask(SPACE)
    storage.commit()
    study.tell(trial, 0.5)
    study.ask(SPACE)
    postgres_server.shut_down()
    for _ in range(2):
        with pytest.raises(RecordAway):
            storage.commit()
    with pytest.raises(RecordAway):
        storage.sync()
    postgres_server.start()
    storage.commit()
    assert [row[1] for row in stored(postgres_url)] == [TrialState.COMPLETE, TrialState.RUNNING]


def test_one_budget_for_all_drivers(database_url):
    storages = [open_storage(database_url) for _ in range(3)]
    studies = [new_study(storage) for storage in storages]
    asked, refused = 0, 0
    for _ in range(4):
        for study in studies:
            study.ask(SPACE), study.ask(SPACE)
            asked += 2
        for storage in storages:
            refused += len(storage.commit(limit=7).refused)
    assert asked - refused == 7
    assert [row[0] for row in stored(database_url)] == list(range(7))
    for storage, study in zip(storages, studies, strict=True):
        storage.sync()
        assert storage.counted(study._study_id) == 7
        assert [trial.number for trial in study.trials] == list(range(7))


def test_drivers_at_the_same_time_keep_numbers_and_budget(database_url):
    new_study(open_storage(database_url))

    def drive(_):
        storage = open_storage(database_url)
        study, started = new_study(storage), 0
        while started < 50:
            trials = [study.ask(SPACE) for _ in range(2)]
            result = storage.commit(limit=30)
            for trial in trials:
                if trial._trial_id not in result.refused:
                    started += 1
                    study.tell(trial, 0.5)
            if result.refused:
                break
        storage.commit(limit=30)
        storage.close()
        return started

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(drive, range(4))) == 30
    rows = stored(database_url)
    assert [row[0] for row in rows] == list(range(30))
    assert {row[1] for row in rows} == {TrialState.COMPLETE}


def test_trials_whose_numbers_another_driver_used_get_new_ones(database_url):
    ours, theirs = open_storage(database_url), open_storage(database_url)
    mine, others = new_study(ours), new_study(theirs)
    trial, second = mine.ask(SPACE), mine.ask(SPACE)
    other = others.ask(SPACE)
    theirs.commit()
    assert trial.number == other.number == 0
    ours.commit()
    assert [ours.get_trial_number_from_id(t._trial_id) for t in (trial, second)] == [1, 2]
    assert stored(database_url)[0][3] == other.params
    assert stored(database_url)[1][3] == trial.params
    assert mine.trials[0].params == other.params
    mine.tell(trial, 0.5)
    ours.commit()
    assert stored(database_url)[1][1] == TrialState.COMPLETE


def test_a_waiting_trial_that_another_driver_started_is_overtaken(database_url):
    ours, theirs = open_storage(database_url), open_storage(database_url)
    mine = new_study(ours)
    mine.enqueue_trial({"x": 0.5})
    ours.commit()
    others = new_study(theirs)
    theirs.sync()
    trial, other = mine.ask(SPACE), others.ask(SPACE)
    assert theirs.commit().overtaken == ()
    assert ours.commit().overtaken == (trial._trial_id,)
    assert ours.get_trial(trial._trial_id).params == other.params
    assert len(stored(database_url)) == 1


def test_a_waiting_trial_beyond_the_budget_stays_waiting(database_url):
    storage = open_storage(database_url)
    study = new_study(storage)
    study.ask(SPACE)
    study.enqueue_trial({"x": 0.5})
    storage.commit(limit=1)
    trial = study.ask(SPACE)
    assert storage.commit(limit=1).refused == (trial._trial_id,)
    assert [row[1] for row in stored(database_url)] == [TrialState.RUNNING, TrialState.WAITING]
    assert study.trials[1].state == TrialState.WAITING
    assert study.ask(SPACE)._trial_id == trial._trial_id
    assert storage.commit(limit=2).refused == ()


def test_an_exception_inside_locked_undoes_every_change(database_url):
    storage = open_storage(database_url)
    study = new_study(storage)
    kept = study.ask(SPACE)

    def fail():
        with storage.locked(study._study_id):
            study.ask(SPACE)
            storage.set_study_system_attr(study._study_id, "key", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    storage.sync()
    assert [trial._trial_id for trial in study.trials] == [kept._trial_id]
    assert "key" not in storage.get_study_system_attrs(study._study_id)
    with storage.locked(study._study_id):
        storage.set_study_system_attr(study._study_id, "key", 2)
    assert len(stored(database_url)) == 1
    other = open_storage(database_url)
    assert other.get_study_system_attrs(study._study_id)["key"] == 2


def test_reports_of_one_commit_are_written_in_their_order(database_url):
    storage = open_storage(database_url)
    trial = new_study(storage).ask(SPACE)
    storage.commit()
    for step in (9, 5, 6, 7, 8):  # a set of small integers is sorted by their remainders
        trial.report(0.5, step)
    storage.commit()
    rows = sa.text("SELECT step FROM trial_intermediate_values ORDER BY trial_intermediate_value_id")
    with sa.create_engine(normalize_url(database_url)).connect() as other:
        assert other.execute(rows).scalars().all() == [9, 5, 6, 7, 8]


def statements_of(storage, action):
    with breaking(storage, None) as seen:
        action()
    return len(seen)


def test_a_commit_sends_as_many_statements_for_many_trials_as_for_few(database_url):
    storage = open_storage(database_url)
    study = new_study(storage)
    study.ask(SPACE)
    storage.commit()

    def work(count):
        trials = [study.ask(SPACE) for _ in range(count)]
        few = statements_of(storage, storage.commit)
        for trial in trials:
            trial.report(0.5, 1)
            study.tell(trial, 0.5)
        return few, statements_of(storage, storage.commit)

    assert work(2) == work(40)
    assert statements_of(storage, storage.commit) == 0


def test_a_study_is_read_with_as_many_statements_for_many_trials_as_for_few(database_url):
    counts = []
    for _ in range(2):
        storage = open_storage(database_url)
        study = new_study(storage)
        for _ in range(30):
            study.tell(study.ask(SPACE), 0.5)
        storage.commit()
        reader = open_storage(database_url)
        study_id = reader.get_study_id_from_name("s")
        counts.append(statements_of(reader, lambda r=reader, i=study_id: r.get_all_trials(i)))
    assert counts[0] == counts[1]


def test_nothing_is_read_when_nobody_else_wrote(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    study = new_study(storage)
    study.ask(SPACE)
    storage.commit()
    storage.sync()
    study.ask(SPACE)
    storage.commit()
    assert statements_of(storage, storage.sync) == 1
    assert not storage.sync()
    optuna.load_study(study_name="s", storage=storage.url).ask()
    assert storage.sync()
    assert len(study.trials) == 3


def test_commits_survive_a_power_loss(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    assert storage.database.run("PRAGMA synchronous").scalar() == 2
    assert storage.database.run("PRAGMA journal_mode").scalar() == "wal"
