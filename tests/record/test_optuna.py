"""The database has Optuna's tables and encodings: plain Optuna and ``RecordStorage`` continue each other's studies."""

import math
import pickle

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from pilotune.pipeline.record import RecordStorage, normalize_url, open_storage, tables

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


def test_the_declared_tables_are_those_that_optuna_creates(database_url):
    storage = plain(database_url)
    found = sa.MetaData()
    found.reflect(storage.engine)
    for name, ours in tables.metadata.tables.items():
        theirs = found.tables[name]
        assert _shape(theirs, storage.engine.dialect) == _shape(ours, storage.engine.dialect)
    assert set(found.tables) - set(tables.metadata.tables) == {"alembic_version"}
    assert storage.get_current_version() == tables.REVISION


def _shape(table, dialect):
    kinds = {"DOUBLE PRECISION": "FLOAT", "FLOAT(53)": "FLOAT", "TIMESTAMP WITHOUT TIME ZONE": "TIMESTAMP"}
    found = {}
    for column in table.columns:
        kind = column.type.compile(dialect)
        found[column.name] = (kinds.get(kind, kind), column.nullable, column.primary_key)
    return found


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
