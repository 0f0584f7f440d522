"""``StudyWatch`` reports each change of a study once, with ``RecordStorage`` and with Optuna's own storages."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.study_changes import StudyWatch

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture(params=["record", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BaseStorage:
    return InMemoryStorage() if request.param == "memory" else RecordStorage(f"sqlite:///{tmp_path}/study.db")


def test_each_change_is_reported_once(storage: BaseStorage) -> None:
    study = optuna.create_study(storage=storage)
    watch = StudyWatch()
    for value in range(3):
        study.tell(study.ask(), value)
    first = watch.refresh(study)
    assert first.whole
    assert [trial.number for trial in first.trials] == [0, 1, 2]
    assert not watch.refresh(study).trials
    trial = study.ask()
    assert [t.state for t in watch.refresh(study).trials] == [TrialState.RUNNING]
    trial.report(0.5, 1)
    assert watch.refresh(study).trials[0].intermediate_values == {1: 0.5}
    study.tell(trial, 1.0)
    assert [t.value for t in watch.refresh(study).trials] == [1.0]
    assert not watch.refresh(study).trials


def test_another_study_is_reported_whole(storage: BaseStorage) -> None:
    watch = StudyWatch()
    for name in ("a", "b"):
        study = optuna.create_study(storage=storage, study_name=name)
        study.tell(study.ask(), 0.0)
        changes = watch.refresh(study)
        assert changes.whole
        assert len(changes.trials) == 1


def test_refused_trials_are_reported_as_gone(tmp_path: Path) -> None:
    record = RecordStorage(f"sqlite:///{tmp_path}/study.db", autocommit=False)
    study = optuna.create_study(storage=record)
    watch = StudyWatch()
    first, second = study.ask(), study.ask()
    assert len(watch.refresh(study).trials) == 2
    assert record.commit(1).refused == (second._trial_id,)
    changes = watch.refresh(study)
    assert list(changes.gone) == [second._trial_id]
    assert first._trial_id not in changes.gone
