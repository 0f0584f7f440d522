"""A database that an earlier version wrote, in which its driver was killed: it opens, is read, resumes and is verified.

``data/earlier-version.sql`` is its dump: a study with promotions whose definition and notes are all user attributes.
"""

import contextlib
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from pilotune.errors import StudyMismatch
from pilotune.pipeline.analysis import best_params, read_study, rows
from pilotune.pipeline.analysis.audit import audit
from pilotune.pipeline.attributes import DEFINITION
from pilotune.pipeline.campaign.promotion import paused_at
from pilotune.pipeline.record import Lease, claim, open_storage, open_study, orphans
from pilotune.pipeline.space import Parameter, Space

DUMP = Path(__file__).parent / "data" / "earlier-version.sql"
X = Parameter("x", FloatDistribution(0.0, 1.0))
UNITS = Parameter("units", IntDistribution(1, 9))
PAUSED = {0: 3, 1: 3, 2: 1, 3: 3, 8: 1}


@pytest.fixture
def url(tmp_path):
    file = tmp_path / "study.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.executescript(DUMP.read_text())
    return f"sqlite:///{file}"


def opened(storage, constants=9):
    space = Space((X, UNITS), {"epochs": constants}, ())
    file = SimpleNamespace(name="first", space=space, directions=("minimize",), metrics=(), path=Path("study.yaml"))
    return open_study(storage, file, sampler=optuna.samplers.RandomSampler(0), pruner=None)


def test_it_is_read_as_it_was_written(url):
    data = read_study(url, "first")
    found = rows(data)
    assert [row.state for row in found] == ["paused"] * 4 + ["complete"] * 4 + ["paused"]
    assert {row.number: row.rung for row in found if row.rung is not None} == PAUSED
    done = found[4]
    assert (done.pool, done.host, done.attempts, done.exit) == ("local", "node1", 2, "complete")
    assert done.waiting is not None
    assert done.attrs == {}
    assert best_params(data)["epochs"] == 9


def test_it_opens_and_its_trials_go_on_from_where_they_paused(url):
    with contextlib.closing(open_storage(url)) as storage:
        with pytest.raises(StudyMismatch, match="epochs: constant 9 in the database, constant 27 in the study file"):
            opened(storage, 27)
        study = opened(storage)
        claim(storage, study, Lease.here("c2", "/runs/first/c2"))
        left = orphans(storage, study)
        assert {orphan.number: orphan.directory for orphan in left} == {
            number: f"/runs/first/20261129-023834-591feb/trials/{number}" for number in PAUSED
        }
        trials = {number: optuna.Trial(study, study.trials[number]._trial_id) for number in PAUSED}
        assert {number: paused_at(trial) for number, trial in trials.items()} == PAUSED
    assert DEFINITION not in optuna.load_study(study_name="first", storage=url).user_attrs
    assert rows(read_study(url, "first"))[4].pool == "local"


def test_it_is_verified(url):
    found = audit(url, "first")
    assert found.ok
    assert (found.states["complete"], found.states["running"]) == (4, 5)
