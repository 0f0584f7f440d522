"""Our pruners give Optuna's verdicts, on any history, in any storage, with other drivers on the same study."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from pilotune.pipeline import fidelity
from pilotune.pipeline.fidelity.percentile import interpolated
from pilotune.pipeline.record import RecordStorage

from ..support.paired_pruners import KINDS, PairedStudies, is_last, number
from ..support.sizes import at_size

SEQUENCES = at_size(40, 250)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:All-NaN", "ignore:invalid value", "ignore:overflow")]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.mark.parametrize("place", ["record", "memory"])
@pytest.mark.parametrize("kind", KINDS)
def test_verdicts_are_optunas_over_random_histories(kind: str, place: str, tmp_path: Path) -> None:
    storage: BaseStorage = InMemoryStorage()
    if place == "record":
        storage = RecordStorage(f"sqlite:///{tmp_path}/study.db", autocommit=False)
    verdicts: list[bool] = []
    for seed in range(SEQUENCES):
        paired = PairedStudies(kind, storage, f"study {seed}", seed)
        paired.play(60)
        verdicts += paired.verdicts
    assert 0.04 < sum(verdicts) / len(verdicts) < 0.9, "both verdicts are there to be compared"


@pytest.mark.parametrize("kind", KINDS)
def test_verdicts_are_optunas_with_a_commit_for_each_write(kind: str, tmp_path: Path) -> None:
    storage = RecordStorage(f"sqlite:///{tmp_path}/study.db")
    for seed in range(4):
        PairedStudies(kind, storage, f"study {seed}", 1000 + seed).play(50)


class Shared:
    """Two drivers on one study, each with a storage and a pruner, and a budget that refuses surplus trials."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "HyperbandPruner": {"max_resource": 9},
        "SuccessiveHalvingPruner": {"min_resource": 1, "reduction_factor": 2},
        "MedianPruner": {"n_startup_trials": 1},
        "PercentilePruner": {"percentile": 30, "n_startup_trials": 1},
    }

    def __init__(self, kind: str, url: str, seed: int):
        self.kind, self.rng = kind, random.Random(seed)
        self.records = [RecordStorage(url, autocommit=False) for _ in range(2)]
        optuna.create_study(storage=self.records[0], study_name="shared", direction="maximize")
        self.studies = [
            optuna.load_study(
                storage=record, study_name="shared", pruner=getattr(fidelity, kind)(**self.ARGUMENTS[kind])
            )
            for record in self.records
        ]
        self.running: list[tuple[int, int]] = []
        self.renumbered = self.refused = 0

    def turn(self) -> None:
        chance = self.rng.random()
        if chance < 0.1:
            self.commit(self.rng.randrange(2))
        elif chance < 0.45 or not self.running:
            side = self.rng.randrange(2)
            self.running.append((side, self.studies[side].ask()._trial_id))
        else:
            self.report(*self.rng.choice(self.running))

    def commit(self, side: int) -> None:
        record = self.records[side]
        mine = {trial_id for where, trial_id in self.running if where == side}
        numbers = {trial_id: record.get_trial(trial_id).number for trial_id in mine}
        record.sync()
        gone = set(record.commit(20).refused)
        self.refused += len(gone)
        self.renumbered += sum(record.get_trial(one).number != numbers[one] for one in mine - gone)
        self.running = [(where, one) for where, one in self.running if where != side or one not in gone]

    def report(self, side: int, trial_id: int) -> None:
        record, study = self.records[side], self.studies[side]
        step = max(record.get_trial(trial_id).intermediate_values, default=0) + self.rng.choice([1, 2])
        record.set_trial_intermediate_value(trial_id, step, number(self.rng))
        theirs = getattr(optuna.pruners, self.kind)(**self.ARGUMENTS[self.kind])
        trial = record.get_trial(trial_id)
        at_the_end = is_last(self.kind, self.ARGUMENTS[self.kind], study, step)
        with patch.object(record, "set_trial_system_attr") as wanted_rungs:  # ask Optuna's pruner without writing
            wanted = not at_the_end and theirs.prune(study, trial)
        with patch.object(record, "set_trial_system_attr", wraps=record.set_trial_system_attr) as our_rungs:
            assert study.pruner.prune(study, trial) == wanted
        assert our_rungs.call_args_list == wanted_rungs.call_args_list
        if wanted or self.rng.random() < 0.2:
            self.running.remove((side, trial_id))
            study.tell(trial.number, None if wanted else 1.0, state=TrialState.PRUNED if wanted else None)


@pytest.mark.parametrize("kind", KINDS)
def test_verdicts_are_optunas_where_trials_are_renumbered_and_refused(kind: str, tmp_path: Path) -> None:
    renumbered = refused = 0
    for seed in range(8):
        shared = Shared(kind, f"sqlite:///{tmp_path}/{seed}.db", seed)
        for _ in range(90):
            shared.turn()
        renumbered, refused = renumbered + shared.renumbered, refused + shared.refused
        for record in shared.records:
            record.close()
    assert renumbered
    assert refused


def test_percentiles_are_numpys_to_the_bit() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        values = sorted(v for v in (number(rng) for _ in range(rng.randrange(1, 12))) if v == v) or [1.0]
        percent = rng.choice([0, 100, 50.0, 25, 100 / 3, rng.uniform(0, 100)])
        with np.errstate(all="ignore"):
            wanted = np.nanpercentile(values, percent)
        np.testing.assert_equal(interpolated(values, percent), float(wanted))
