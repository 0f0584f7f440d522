"""``pilotune.FixedTrial``: an objective called from Python, with given parameters."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest

import pilotune


def styles(trial: Any) -> tuple[float, int, str, bool]:
    """An objective in Optuna's style, with every kind of parameter."""
    return (
        trial.suggest_float("lr", 1e-5, 1e-1, log=True),
        trial.suggest_int("units", 16, 256, step=16),
        trial.suggest_categorical("optimizer", ["sgd", "adamw"]),
        trial.suggest_categorical("bias", [True, False]),
    )


GIVEN = {"lr": 0.01, "units": 32, "optimizer": "adamw", "bias": True, "epochs": 27}


def test_an_objective_of_either_style_gets_the_given_values_and_its_reports_are_kept():
    trial = pilotune.FixedTrial(GIVEN, number=3)
    assert styles(trial) == styles(optuna.trial.FixedTrial(GIVEN)) == (0.01, 32, "adamw", True)
    assert trial.params == GIVEN
    assert trial.number == 3
    for step in (0, 1):
        trial.report(step / 2, step)
    assert not trial.should_prune()
    trial.set_user_attr("parameters", 7)
    assert trial.reports == [(0, 0.0), (1, 0.5)]
    assert trial.user_attrs == {"parameters": 7}
    assert trial.distributions["lr"] == optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("lr", 0.5, "'lr' is 0.5, which is outside its range [1e-05, 0.1]"),
        ("lr", float("inf"), "'lr' is inf, which is outside"),
        ("units", 1024, "'units' is 1024, which is outside its range [16, 256]"),
        ("units", 33, "'units' is 33, which is not a whole number of steps of 16 above 16"),
    ],
)
def test_a_number_outside_its_range_is_used_with_a_warning_as_in_optuna(name: str, value: Any, words: str):
    with pytest.warns(UserWarning, match="out of the range|out of range"):
        styles(optuna.trial.FixedTrial(GIVEN | {name: value}))
    with pytest.warns(UserWarning, match=re.escape(words)) as caught:
        found = styles(pilotune.FixedTrial(GIVEN | {name: value}))
    assert caught[0].filename == __file__
    assert repr(value) in map(repr, found)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("optimizer", "adam", "the value of 'optimizer' is 'adam', which is none of its choices ['sgd', 'adamw']"),
        ("lr", "0.01", "the value of 'lr' is '0.01', not a number"),
        ("units", 32.5, "the value of 'units' is 32.5, not a whole number"),
        ("units", float("inf"), "the value of 'units' is inf, not a whole number"),
        ("lr", float("nan"), "the value of 'lr' is nan, not a number"),
        ("units", None, "the value of 'units' is None, not a number"),
        ("lr", [0.1], r"the value of 'lr' is [0.1], not a number"),
    ],
)
def test_what_cannot_be_the_parameters_value_is_refused(name: str, value: Any, words: str):
    with pytest.raises(ValueError, match=re.escape(words)):
        styles(pilotune.FixedTrial(GIVEN | {name: value}))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            {"directions": "minimize"},
            ValueError,
            r"a list of 'minimize' and 'maximize' as directions, .* got 'minimize'",
        ),
        ({"directions": ["foo"]}, ValueError, r"as directions, as in \[\"minimize\"\], got \['foo'\]"),
        ({"directions": []}, ValueError, r"as directions, .* got \[\]"),
        ({"number": "a"}, TypeError, "a whole number as number, got 'a'"),
        ({"number": -1}, ValueError, "a whole number of at least 0 as number, got -1"),
        ({"seed": -1}, ValueError, "a whole number from 0 to 4294967295 as seed, got -1"),
        ({"cores": 0}, ValueError, "a whole number of at least 1 as cores, got 0"),
        ({"gpus": 0.5}, TypeError, "a whole number as gpus, got 0.5"),
    ],
)
def test_arguments_that_no_trial_has_are_refused(arguments: dict[str, Any], error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        pilotune.FixedTrial({"x": 1}, **arguments)


def test_it_may_be_one_rank_of_several():
    trial = pilotune.FixedTrial({})
    assert (trial.rank, trial.world_size) == (0, 1)
    trial = pilotune.FixedTrial({}, rank=3, world_size=4)
    assert (trial.rank, trial.world_size) == (3, 4)
    with pytest.raises(ValueError, match="FixedTrial needs a whole number from 0 to 3 as rank, got 4"):
        pilotune.FixedTrial({}, rank=4, world_size=4)


def test_directions_may_be_optunas_and_a_number_too_large_is_a_sentence():
    trial = pilotune.FixedTrial({"x": 10**400, "n": 10**400}, directions=[optuna.study.StudyDirection.MAXIMIZE])
    assert [direction.name for direction in trial.study.directions] == ["MAXIMIZE"]
    with pytest.raises(ValueError, match="the value of 'x' is too large: 1000"):
        trial.suggest_float("x", 0, 1)
    with pytest.raises(ValueError, match="the value of 'n' is too large: 1000"):
        trial.suggest_int("n", 0, 1)


def test_a_parameter_without_a_value_is_refused_by_its_name():
    trial = pilotune.FixedTrial({"lr": 0.1})
    with pytest.raises(ValueError, match="parameter 'units' has no value here; give it as in FixedTrial"):
        styles(trial)
    with pytest.raises(TypeError, match="needs a dictionary of values by name, got a list"):
        pilotune.FixedTrial([1, 2])  # type: ignore[arg-type]


def test_a_name_may_be_of_any_type_as_in_optuna():
    assert pilotune.FixedTrial({1: 3, "2": 4}).suggest_int(1, 0, 9) == 3  # type: ignore[arg-type]
    assert pilotune.FixedTrial({"2": 4}).suggest_int(2, 0, 9) == 4  # type: ignore[arg-type]


def test_a_choice_is_the_choices_own_object():
    trial = pilotune.FixedTrial({"bias": 1, "k": 1.0})
    assert trial.suggest_categorical("bias", [True, False]) is True
    assert repr(trial.suggest_categorical("k", [1, 2])) == "1"


def test_it_may_be_pruned_or_asked_to_yield_to_test_how_an_objective_cleans_up():
    trial = pilotune.FixedTrial({"lr": 0.1}, prune_at=2)
    trial.report(0.1, 1)
    with pytest.raises(pilotune.TrialPruned):
        trial.report(0.2, 2)
    trial = pilotune.FixedTrial({"lr": 0.1}, yield_at=1)
    with pytest.raises(pilotune.TrialYield):
        trial.report(0.1, 1)
    optuna_style = pilotune.FixedTrial({"lr": 0.1}, prune_at=1)
    optuna_style.suggest_float("lr", 0, 1)
    optuna_style.report(0.1, 1)
    assert optuna_style.should_prune()


def test_checkpoints_are_in_the_stated_folder_or_in_a_temporary_one(tmp_path: Path):
    kept = pilotune.FixedTrial({}, checkpoint_dir=tmp_path / "a" / "b")
    (kept.checkpoint_dir / "model.pt").write_text("weights")
    assert (tmp_path / "a/b/model.pt").read_text() == "weights"
    trial = pilotune.FixedTrial({})
    folder = trial.checkpoint_dir
    (folder / "model.pt").write_text("weights")
    assert folder == trial.checkpoint_dir
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del trial
    assert not folder.exists()


def test_it_imports_nothing_heavy_and_a_worker_does_not_import_it():
    program = (
        "import sys, pilotune\n"
        "assert 'pilotune.pipeline.trial.fixed' not in sys.modules\n"
        "t = pilotune.FixedTrial({'x': 1})\n"
        "assert t.suggest_float('x', 0, 2) == 1.0\n"
        "from pilotune import *\n"
        "print([m for m in ('optuna', 'numpy', 'parsl', 'sqlalchemy', 'pydantic', 'yaml') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
