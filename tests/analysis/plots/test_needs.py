"""What is read for a kind of plot is all that its figure shows, and no more is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.analysis import read_study
from pilotune.pipeline.analysis.plots import KINDS, NEEDS, DoesNotSuit, make, needed
from pilotune.pipeline.attributes import BEGAN, DETAILS, LEASE, OWNER, PAUSED, PREFIX, REPEATS, RUNS
from pilotune.pipeline.record import RecordStorage, sync
from pilotune.pipeline.record.database import Database

from .test_figures import BLOCK, START, T0, trials

DIRECTIONS = [optuna.study.StudyDirection.MINIMIZE]


def unlike_the_others() -> Iterator[FrozenTrial]:
    """Trials that have not ended, were pruned by an earlier version, took several attempts, or break a constraint."""
    make_one = optuna.trial.create_trial
    yield make_one(state=TrialState.RUNNING, system_attrs={OWNER: "c1"}, intermediate_values={1: 0.5})
    yield make_one(state=TrialState.RUNNING, user_attrs={PAUSED: 3}, intermediate_values={1: 0.9, 3: 0.4})
    yield make_one(state=TrialState.PRUNED, user_attrs={PREFIX + "rung": 1}, intermediate_values={1: 0.7, 2: 0.6})
    runs = [[1, T0 + 20.0, 5.0, "lost", "n1", "cpu", "0", "n1/0"]]
    kept = {DETAILS: {"worker": "n1/1", "block": "0", "pool": "cpu", "rung": 3}, RUNS: runs}
    yield make_one(value=0.0, system_attrs={"constraints": [1.0], **kept}, user_attrs={BEGAN: T0 + 90.0})
    repeats = [{"token": f"9.{i}.c", "seed": i, "values": [value]} for i, value in enumerate((0.1, 0.3), 1)]
    yield make_one(value=0.2, system_attrs={REPEATS: repeats}, user_attrs={"mine": [1, 2]})


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a database with a study of one objective and one of two."""
    url = f"sqlite:///{tmp_path_factory.mktemp('needs') / 'study.db'}"
    storage = RecordStorage(url, autocommit=False)
    for values in (1, 2):
        study_id = storage.create_new_study(DIRECTIONS * values, f"of{values}")
        more = list(unlike_the_others()) if values == 1 else []
        for number, trial in enumerate(more, 40):
            trial.datetime_start = START + timedelta(seconds=number)
            trial.datetime_complete = START + timedelta(seconds=200) if trial.state.is_finished() else None
        for trial in [*trials(40, values), *more]:
            storage.create_new_trial(study_id, template_trial=trial)
        for key, value in (BLOCK | {LEASE + "c1": {"heartbeat": T0 + 300.0}}).items():
            storage.set_study_system_attr(study_id, key, value)
    storage.commit()
    storage.close()
    return url


def plain(shown: Any) -> Any:
    """A figure as what can be compared, with its table."""
    if isinstance(shown, np.ndarray):
        return [repr(each) for each in shown.ravel().tolist()]
    if is_dataclass(shown):
        table = {"table": shown.table.to_csv()} if hasattr(shown, "table") else {}
        return table | {
            each.name: plain(getattr(shown, each.name)) for each in fields(shown) if each.name != "make_table"
        }
    return [plain(each) for each in shown] if isinstance(shown, list | tuple) else repr(shown)


@pytest.mark.parametrize("values", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_is_the_same_from_what_its_kind_needs(studies: str, kind: str, values: int) -> None:
    whole, some = (read_study(studies, f"of{values}", parts) for parts in (None, needed([kind])))
    try:
        expected = plain(make(whole, [kind]))
    except DoesNotSuit as error:
        with pytest.raises(type(error), match=str(error).split(";")[0]):
            make(some, [kind])
    else:
        assert plain(make(some, [kind])) == expected


def test_a_parameter_that_is_asked_for_is_looked_up_for_every_kind(studies: str) -> None:
    assert make(read_study(studies, "of1", needed(["history"], ["lr"])), ["history"], parameters=["lr"])


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_tables_that_a_kind_needs_are_read_and_each_trial_is_made_once(
    studies: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, made, real = [], [], Database.rows

    def rows(self: Database, statement: str, row: Any = None) -> list[Any]:
        texts.append(statement)
        return real(self, statement, row)

    class Counted(FrozenTrial):
        def __init__(self, **arguments: Any):
            made.append(arguments["number"])
            super().__init__(**arguments)

    monkeypatch.setattr(Database, "rows", rows)
    monkeypatch.setattr(sync, "FrozenTrial", Counted)
    data = read_study(studies, "of1", needed([kind]))
    assert made == [trial.number for trial in data.trials]
    assert len(texts) == 1 + len(NEEDS[kind]), "one query for the trials, and one for each part"
    tables = {"params": "trial_params", "steps": "trial_intermediate_values", "values": "trial_values"}
    for part, table in tables.items():
        assert any(table in text for text in texts) == (part in NEEDS[kind])
