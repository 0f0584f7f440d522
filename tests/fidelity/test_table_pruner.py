"""The pruners' tables: what a verdict reads, copies and threads, and the private parts of Optuna that are used."""

from __future__ import annotations

import copy
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import Study
from optuna.trial import TrialState

from pilotune.pipeline import fidelity
from pilotune.pipeline.fidelity.rungs import PREFIX
from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.study_changes import Changes, StudyWatch

from ..support.paired_pruners import KINDS, arguments, rungs

optuna.logging.set_verbosity(optuna.logging.ERROR)

ARGUMENTS: dict[str, dict[str, Any]] = {
    "HyperbandPruner": {"max_resource": 10},  # nothing is pruned there, where Optuna's pruner would
    "SuccessiveHalvingPruner": {"min_resource": 1, "reduction_factor": 3},
    "MedianPruner": {},
    "PercentilePruner": {"percentile": 30.0},
}


OURS: dict[str, dict[str, Any]] = {"SuccessiveHalvingPruner": {"max_resource": 10}}
"""Arguments that Optuna's pruner does not have."""


def ours(kind: str) -> Any:
    return getattr(fidelity, kind)(**ARGUMENTS[kind], **OURS.get(kind, {}))


def optunas(kind: str) -> Any:
    return getattr(optuna.pruners, kind)(**ARGUMENTS[kind])


def history(storage: BaseStorage, pruner: Any, count: int, name: str = "s") -> Study:
    """A study of ``count`` trials that reported up to 9 steps each; every tenth is still running."""
    study = optuna.create_study(storage=storage, study_name=name, pruner=pruner)
    rng = random.Random(count)
    for place in range(count):
        trial = study.ask()
        stopped = report(study, trial, rng, range(1, 10))
        if place % 10:
            study.tell(trial, None if stopped else 1.0, state=TrialState.PRUNED if stopped else None)
    return study


def report(study: Study, trial: optuna.Trial, rng: random.Random, steps: range) -> bool:
    for step in steps:
        study._storage.set_trial_intermediate_value(trial._trial_id, step, rng.gauss(0, 1))
        if study.pruner.prune(study, study._storage.get_trial(trial._trial_id)):
            return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_reads_no_more_in_a_larger_study(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    refresh = StudyWatch.refresh

    def counting(self: StudyWatch, study: Study) -> Changes:
        changes = refresh(self, study)
        read.append(len(changes.trials) + len(changes.gone))
        return changes

    monkeypatch.setattr(StudyWatch, "refresh", counting)
    most = {}
    for count in (40, 400):
        record = RecordStorage(f"sqlite:///{tmp_path}/{count}.db", autocommit=False)
        study = history(record, ours(kind), count)
        trial = study.ask()
        with monkeypatch.context() as patch:
            for name in ("get_all_trials", "get_n_trials"):
                patch.setattr(record, name, lambda *_, **__: pytest.fail("all trials were listed"))
            read.clear()
            report(study, trial, random.Random(1), range(1, 10))
        most[count] = max(read)
        record.close()
    assert most[40] <= most[400] <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_has_its_own_table_and_gives_the_same_verdicts(kind: str) -> None:
    study = history(InMemoryStorage(), ours(kind), 60)
    assert not set(ours(kind).UNSAVED) & study.pruner.__getstate__().keys()
    copied = copy.deepcopy(study)
    assert copied.pruner._table is not study.pruner._table
    outcomes = [run_further([one], 30) for one in (study, copied)]
    assert outcomes[0] == outcomes[1]
    assert rungs(study) == rungs(copied)


def run_further(studies: list[Study], count: int) -> list[int]:
    """How many steps ``count`` further trials reach, in the studies by turns."""
    rng = random.Random(5)
    steps = []
    for turn in range(count):
        study = studies[turn % len(studies)]
        trial = study.ask()
        report(study, trial, rng, range(1, 10))
        steps.append(len(study._storage.get_trial(trial._trial_id).intermediate_values))
        study.tell(trial, 1.0)
    assert len(set(steps)) > 1
    return steps


@pytest.mark.parametrize("kind", KINDS)
def test_a_pruner_of_two_studies_keeps_them_apart(kind: str) -> None:
    outcomes = []
    for make in (ours, optunas):
        pruner = make(kind)
        studies = [history(InMemoryStorage(), pruner, 20, name) for name in "ab"]
        outcomes.append((run_further(studies, 30), *map(rungs, studies)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("kind", KINDS)
def test_threads_share_a_pruner(kind: str) -> None:
    study = optuna.create_study(pruner=ours(kind), study_name="threads")

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(10):
            trial = study.ask()
            stopped = report(study, trial, rng, range(1, 10))
            study.tell(trial, None if stopped else 1.0, state=TrialState.PRUNED if stopped else None)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    table = study.pruner._table
    trials = study.get_trials(deepcopy=False)
    assert len(trials) == 60
    if kind in ("MedianPruner", "PercentilePruner"):
        table.refresh(study)
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        assert len(table.complete) == len(complete)
        assert sorted(table._steps[9].values) == sorted(trial.intermediate_values[9] for trial in complete)
    else:
        table.refresh(study, lambda _: 0)
        key = f"{PREFIX}0"
        held = [value for (_, rung), values in table._sorted.items() if rung == key for value in values]
        assert sorted(held) == sorted(trial.system_attrs[key] for trial in trials if key in trial.system_attrs)


def test_a_trial_that_another_driver_failed_leaves_the_percentiles(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    here, there = (RecordStorage(url, autocommit=False) for _ in range(2))
    pruner = fidelity.MedianPruner(n_startup_trials=1)
    study = optuna.create_study(storage=here, study_name="s", pruner=pruner)
    first, second = study.ask(), study.ask()
    here.set_trial_intermediate_value(first._trial_id, 1, 0.0)
    here.commit()
    other = optuna.load_study(storage=there, study_name="s")
    other.tell(first.number, state=TrialState.FAIL)
    there.commit()
    study.tell(first, 1.0)
    here.set_trial_intermediate_value(second._trial_id, 1, 5.0)
    assert pruner.prune(study, here.get_trial(second._trial_id))
    here.commit()
    assert study.trials[first.number].state == TrialState.FAIL
    assert not pruner.prune(study, here.get_trial(second._trial_id)), "no complete trial is left to compare with"


@pytest.mark.parametrize("kind", KINDS)
def test_patience_wraps_a_pruner_of_ours(kind: str) -> None:
    outcomes = []
    for make in (ours, optunas):
        patient = optuna.pruners.PatientPruner(make(kind), patience=1)
        study = history(InMemoryStorage(), patient, 60)
        outcomes.append((rungs(study), [trial.state for trial in study.get_trials(deepcopy=False)]))
    assert outcomes[0] == outcomes[1]
    assert TrialState.PRUNED in outcomes[0][1]


def test_samplers_see_one_bracket_as_with_optunas_pruner() -> None:
    studies = [history(InMemoryStorage(), make("HyperbandPruner"), 50) for make in (ours, optunas)]
    for number in range(50):
        seen = [
            optuna.pruners._filter_study(study, study.get_trials(deepcopy=False)[number]).get_trials(deepcopy=False)
            for study in studies
        ]
        assert [trial.number for trial in seen[0]] == [trial.number for trial in seen[1]]
        assert 0 < len(seen[0]) < 50


def test_the_study_of_a_bracket_is_made_once_and_shows_new_trials() -> None:
    study = history(InMemoryStorage(), ours("HyperbandPruner"), 50)
    brackets = {}
    for _ in range(20):
        trial = study.ask()
        frozen = study._storage.get_trial(trial._trial_id)
        bracket = optuna.pruners._filter_study(study, frozen)
        assert frozen in bracket._get_trials(deepcopy=False, use_cache=True)
        assert frozen in bracket.get_trials(deepcopy=False)
        assert brackets.setdefault(study.pruner._get_bracket_id(study, frozen), bracket) is bracket
    study.sampler = optuna.samplers.RandomSampler()
    again = optuna.pruners._filter_study(study, frozen)
    assert again.sampler is study.sampler
    other = history(InMemoryStorage(), study.pruner, 10, "other")
    assert len(optuna.pruners._filter_study(other, frozen)._get_trials(deepcopy=False)) == 10


@pytest.mark.parametrize("kind", KINDS)
def test_the_private_parts_of_optuna_still_exist(kind: str) -> None:
    used = {
        "HyperbandPruner": [
            "_pruners",
            "_max_resource",
            "_try_initialization",
            "_get_bracket_id",
            "_create_bracket_study",
        ],
        "SuccessiveHalvingPruner": [
            "_min_resource",
            "_reduction_factor",
            "_min_early_stopping_rate",
            "_bootstrap_count",
        ],
    }
    percentile = ["_percentile", "_n_startup_trials", "_n_warmup_steps", "_interval_steps", "_n_min_trials"]
    pruner = optunas(kind)
    assert all(hasattr(pruner, name) for name in used.get(kind, percentile))
    assert isinstance(ours(kind), getattr(optuna.pruners, kind))
    added = {"HyperbandPruner": {"_by_trials"}, "SuccessiveHalvingPruner": {"_last"}}.get(kind, set())
    assert vars(ours(kind)).keys() - vars(pruner).keys() == set(ours(kind).UNSAVED) | added, (
        "our attributes have other names than Optuna's"
    )
    for seed in range(20):
        args = arguments(kind, random.Random(seed))
        named = vars(getattr(optuna.pruners, kind)(**args))
        assert {name: vars(getattr(fidelity, kind)(**args))[name] for name in named} == named


def test_the_rungs_attributes_have_optunas_name() -> None:
    from optuna.pruners._successive_halving import _completed_rung_key

    assert [_completed_rung_key(rung) for rung in range(12)] == [f"{PREFIX}{rung}" for rung in range(12)]
