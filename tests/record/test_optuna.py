"""The database has Optuna's tables and encodings: plain Optuna and ``RecordStorage`` continue each other's studies."""

import math
import pickle
import subprocess
import sys

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from pilotune.pipeline.record import RecordStorage, normalize_url, open_storage

SPACE = {
    "lr": FloatDistribution(1e-5, 0.1, log=True),
    "momentum": FloatDistribution(0.0, 0.99, step=0.01),
    "layers": IntDistribution(1, 64, log=True),
    "units": IntDistribution(16, 256, step=16),
    "kind": CategoricalDistribution((None, True, 3, 0.5, "näme")),
}


def plain(url):
    return optuna.storages.RDBStorage(normalize_url(url))


def random_study(storage, name="s"):
    return optuna.create_study(
        storage=storage, study_name=name, sampler=optuna.samplers.RandomSampler(0), load_if_exists=True
    )


def run_trials(study):
    """Run trials of every state, with every kind of value."""
    study.set_user_attr("note", {"a": [1, None, "ü"]})
    for values in ([0.5], [math.inf], [-math.inf]):
        trial = study.ask(SPACE)
        for step, value in enumerate([1.0, math.inf, -math.inf, math.nan]):
            trial.report(value, step)
        trial.set_user_attr("who", ["me", {"x": 1.5}])
        trial.storage.set_trial_system_attr(trial._trial_id, "sys", [1, 2])
        study.tell(trial, values)
    pruned = study.ask(SPACE)
    pruned.report(0.25, 7)
    study.tell(pruned, state=TrialState.PRUNED)
    study.tell(study.ask(SPACE), state=TrialState.FAIL)
    study.ask(SPACE)
    study.enqueue_trial({"lr": 0.01}, user_attrs={"from": "me"})


def content(study):
    """All trials of a study, as data that compares equal also where it has NaN."""
    return [
        repr(
            (
                trial.number,
                trial.state,
                trial.values,
                list(trial.params.items()),
                list(trial.distributions.items()),
                sorted(trial.intermediate_values.items()),
                sorted(trial.user_attrs.items()),
                sorted(trial.system_attrs.items()),
                trial.datetime_start,
                trial.datetime_complete,
            )
        )
        for trial in study.get_trials()
    ]


def test_our_tables_are_those_that_optuna_creates(database_url, request, tmp_path):
    if "sqlite" in database_url:
        theirs = f"sqlite:///{tmp_path}/theirs.db"
        wanted, ours = schema(plain(theirs).engine), schema(open_storage(database_url).database.engine)
    else:
        wanted = schema(plain(database_url).engine)  # the server's template has tables that Optuna has made
        empty = request.getfixturevalue("postgres_server").new_database(tables=False)
        ours = schema(open_storage(empty).database.engine)
        request.getfixturevalue("postgres_server").drop_database(empty)
    assert ours == wanted
    assert len(wanted) > 20


def schema(engine):
    """All that the database says of its tables, and Optuna's notes of their version."""
    kinds = ["select type, name, tbl_name, sql from sqlite_master"]
    if engine.dialect.name == "postgresql":
        kinds = [
            "select table_name, column_name, ordinal_position, column_default, is_nullable, data_type, udt_name, "
            "character_maximum_length, numeric_precision from information_schema.columns where table_schema = 'public'",
            "select tablename, indexname, indexdef from pg_indexes where schemaname = 'public'",
            "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint "
            "where connamespace = 'public'::regnamespace",
            "select t.typname, e.enumsortorder, e.enumlabel from pg_enum e join pg_type t on t.oid = e.enumtypid",
            "select sequencename, data_type::text, start_value, increment_by from pg_sequences",
        ]
    with engine.connect() as connection:
        rows = [
            tuple(row)
            for each in (*kinds, "select * from version_info", "select * from alembic_version")
            for row in connection.exec_driver_sql(each)
        ]
    engine.dispose()
    return sorted(rows, key=repr)


def test_tables_are_created_without_what_optuna_needs_for_it(tmp_path):
    program = (
        "import sys; from pilotune.pipeline.record import open_storage; open_storage(sys.argv[1]).close(); "
        "print(sorted({'alembic', 'sqlalchemy.orm'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{tmp_path}/study.db"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_creation_that_was_cut_off_is_finished(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    storage = plain(url)
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
        connection.exec_driver_sql("DROP TABLE trial_heartbeats")
    storage.engine.dispose()
    open_storage(url).close()
    assert schema(plain(url).engine) == schema(plain(f"sqlite:///{tmp_path}/whole.db").engine)


def test_optuna_continues_our_study(database_url):
    storage = open_storage(database_url)
    study = random_study(storage)
    run_trials(study)
    storage.commit()
    theirs = optuna.load_study(study_name="s", storage=plain(database_url), sampler=optuna.samplers.RandomSampler(1))
    assert content(theirs) == content(study)
    assert theirs.user_attrs == study.user_attrs
    assert theirs.best_trial.number == study.best_trial.number
    theirs.tell(5, 0.125)
    assert theirs.ask(SPACE).number == 6  # the enqueued one
    assert theirs.ask(SPACE).number == 7
    storage.sync()
    assert [trial.number for trial in study.get_trials()] == list(range(8))
    assert study.trials[6].params["lr"] == 0.01
    assert study.trials[7].state == TrialState.RUNNING


def test_we_continue_optunas_study(database_url):
    theirs = random_study(plain(database_url))
    run_trials(theirs)
    storage = open_storage(database_url)
    study = optuna.load_study(study_name="s", storage=storage, sampler=optuna.samplers.RandomSampler(1))
    assert content(study) == content(theirs)
    assert study.user_attrs == theirs.user_attrs
    enqueued, new = study.ask(SPACE), study.ask(SPACE)
    storage.commit()
    assert (enqueued.number, new.number) == (6, 7)
    study.tell(new, 0.0625)
    storage.commit()
    assert content(theirs) == content(study)


def test_two_storages_see_each_others_changes_of_running_trials(database_url):
    ours, theirs = RecordStorage(normalize_url(database_url)), RecordStorage(normalize_url(database_url))
    study = random_study(ours)
    other = optuna.load_study(study_name="s", storage=theirs)
    trial = study.ask(SPACE)
    trial.report(0.5, 1)
    assert other.trials[0].intermediate_values == {1: 0.5}
    assert other.trials[0].params == trial.params
    other.tell(0, 0.25)
    assert study.best_value == 0.25
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        ours.set_trial_user_attr(trial._trial_id, "late", 1)


def test_only_one_of_two_starts_a_waiting_trial(database_url):
    ours, theirs = RecordStorage(normalize_url(database_url)), RecordStorage(normalize_url(database_url))
    study = random_study(ours)
    other = optuna.load_study(study_name="s", storage=theirs)
    study.enqueue_trial({"lr": 0.01})
    mine, others = study.trials[0]._trial_id, other.trials[0]._trial_id
    assert ours.set_trial_state_values(mine, TrialState.RUNNING)
    assert not theirs.set_trial_state_values(others, TrialState.RUNNING)


def test_returned_trials_never_change(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    study = random_study(storage)
    trial = study.ask(SPACE)
    before = storage.get_all_trials(study._study_id, deepcopy=False)
    copied = pickle.dumps(before)
    trial.report(1.0, 1)
    trial.set_user_attr("a", 1)
    study.tell(trial, 1.0)
    storage.commit()
    assert pickle.loads(copied) == before
    assert storage.get_all_trials(study._study_id, deepcopy=False) != before


def test_parameters_of_an_uncommitted_trial_can_be_sampled_again(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    study = random_study(storage)
    trial = study.ask(SPACE)
    storage.forget_params(trial._trial_id)
    assert storage.get_trial(trial._trial_id).params == {}
    again = optuna.Trial(study, trial._trial_id)
    again.suggest_float("lr", 1e-5, 0.1, log=True)
    storage.commit()
    stored = optuna.load_study(study_name="s", storage=storage.url).trials[0]
    assert stored.params == {"lr": again.params["lr"]}


@pytest.mark.parametrize("bad", ["k" * 513, "nul\0"])
def test_names_that_no_database_can_store_are_refused(tmp_path, bad):
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    study = random_study(storage)
    trial = study.ask()
    with pytest.raises(ValueError, match="a name in the database"):
        trial.set_user_attr(bad, 1)
    with pytest.raises(ValueError, match="32 bits"):
        storage.set_trial_intermediate_value(trial._trial_id, 2**31, 0.5)
    with pytest.raises(ValueError, match="NaN"):
        storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [math.nan])
    with pytest.raises(TypeError):
        trial.set_user_attr("a", object())
    storage.commit()
    assert optuna.load_study(study_name="s", storage=storage.url).trials[0].user_attrs == {}
