"""Undocumented parts of Optuna that the storage relies on, and the objects that trials in memory share.

A release of Optuna that changes one of these parts fails here, and not in a user's campaign.
"""

from __future__ import annotations

import copy
import inspect
from datetime import datetime

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import InMemoryStorage
from optuna.study._frozen import FrozenStudy
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.record import RecordStorage, open_storage
from pilotune.pipeline.record.interning import shared_attributes, shared_distributions
from pilotune.pipeline.record.study_cache import alike, detached, replica

from . import test_conformance as test_record_conformance

MOMENT = datetime(2026, 1, 2, 3, 4, 5)


def a_trial() -> FrozenTrial:
    """A trial that differs from a new one in every attribute."""
    return FrozenTrial(
        number=7,
        state=TrialState.PRUNED,
        value=None,
        values=[0.5, 1.5],
        datetime_start=MOMENT,
        datetime_complete=MOMENT.replace(year=2027),
        params={"x": 0.25},
        distributions={"x": FloatDistribution(0, 1)},
        user_attrs={"a": [1]},
        system_attrs={"b": {"c": 2}},
        intermediate_values={3: 0.125},
        trial_id=11,
    )


def test_a_replica_has_every_attribute_of_a_trial() -> None:
    trial = a_trial()
    assert replica(trial) == detached(trial) == trial
    assert alike(replica(trial), trial)
    assert vars(replica(trial)) == vars(trial)
    empty = FrozenTrial(0, TrialState.RUNNING, None, None, None, {}, {}, {}, {}, {}, 0)
    assert vars(trial).keys() == vars(empty).keys()
    assert all(vars(trial)[part] != vars(empty)[part] for part in vars(empty)), "a part that is not compared here"


def test_a_replica_can_change_every_argument_of_the_constructor() -> None:
    taken = set(inspect.signature(FrozenTrial).parameters) - {"value"}
    trial = a_trial()
    for part in taken:
        public = "_trial_id" if part == "trial_id" else part
        other = [9.0] if part == "values" else object()
        changed = replica(trial, **{part: other})
        assert getattr(changed, public) == other
        differing = {name for name in vars(trial) if vars(trial)[name] != vars(changed)[name]}
        assert len(differing) == 1
        assert alike(trial, changed) == (part == "trial_id")


def test_changing_a_detached_trial_leaves_the_original() -> None:
    trial = a_trial()
    before, other = copy.deepcopy(trial), detached(trial)
    other.params["x"], other.intermediate_values[4] = 0.5, 1.0
    other.user_attrs["a"].append(2)
    other.system_attrs["b"]["c"] = 3
    other.distributions.clear()
    assert trial == before


def test_optunas_storages_list_studies_as_frozen_studies() -> None:
    storage = InMemoryStorage()
    optuna.create_study(storage=storage)
    (study,) = storage.get_all_studies()
    assert type(study) is FrozenStudy
    ours = FrozenStudy("s", None, {}, {}, 1, directions=[optuna.study.StudyDirection.MINIMIZE])
    assert vars(ours).keys() == vars(study).keys()


def test_the_storage_has_every_method_that_optuna_requires() -> None:
    assert not RecordStorage.__abstractmethods__
    for name, method in inspect.getmembers(optuna.storages.BaseStorage, inspect.isfunction):
        if name in RecordStorage.__dict__ and not name.startswith("_"):
            theirs = list(inspect.signature(method).parameters)
            ours = list(inspect.signature(getattr(RecordStorage, name)).parameters)
            assert ours[: len(theirs)] == theirs, name


def test_all_cases_of_optunas_suite_run() -> None:
    ours = vars(test_record_conformance.TestOptunasSuite)
    assert not [name for name in ours if name.startswith("test")], "none of Optuna's cases is replaced"
    assert len([name for name in dir(StorageTestCase) if name.startswith("test")]) >= 45


def test_equal_trials_share_only_equal_objects() -> None:
    assert shared_attributes({"a": 1, "b": "x"}) is shared_attributes({"a": 1, "b": "x"})
    assert type(shared_attributes({"a": True})["a"]) is bool
    assert type(shared_attributes({"a": 1})["a"]) is int
    one, other = FloatDistribution(0, 1), FloatDistribution(0, 1)
    assert shared_distributions({"x": one}) is shared_distributions({"x": one})
    assert shared_distributions({"x": other})["x"] is other
    assert shared_attributes({"a": [1]}) is not shared_attributes({"a": [1]})


def test_trials_of_a_loaded_study_share_equal_objects(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    space = {"x": FloatDistribution(0, 1), "kind": CategoricalDistribution((1, True, "a"))}
    storage = open_storage(url)
    study = optuna.create_study(storage=storage, study_name="s", sampler=optuna.samplers.RandomSampler(0))
    for _ in range(3):
        trial = study.ask(space)
        trial.set_user_attr("host", "node" + str(len("1")))
        storage.set_trial_system_attr(trial._trial_id, "attempt", 1)
        study.tell(trial, 0.5)
    storage.commit()
    for each in (study, optuna.load_study(study_name="s", storage=open_storage(url))):
        first, second, _ = each.get_trials(deepcopy=False)
        assert first.distributions is second.distributions
        assert first.system_attrs is second.system_attrs
        assert first.user_attrs["host"] is second.user_attrs["host"]
        assert first.user_attrs is not second.user_attrs
