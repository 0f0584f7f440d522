"""A function of the user's that says by how much trials break constraints, for the samplers that take one."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from pilotune.errors import UserError
from pilotune.pipeline.campaign.events import Capacity
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.studyfile.user_parts import check_user_parts
from pilotune.pipeline.suggest import make_sampler, resolved_sampler, sampler_names
from pilotune.pipeline.suggest.registry import CONSTRAINED
from tests.support.campaign_bench import benches, over, started

SPACE = Space((Parameter("x", FloatDistribution(0, 1)),))
CODE = """
import numpy as np

def below(trial):
    return trial.params["x"] - 0.5, -1

def array(trial):
    return np.array([trial.params["x"] - 0.5])

def single(trial):
    return np.float32(trial.params["x"] - 0.5)

def words(trial):
    return "much"

def fails(trial):
    return trial.params["units"] - 1

def two(trial, more):
    return 0.0

class Limit:
    def __call__(self, trial):
        return [trial.params["x"] - 0.5]

limit = Limit()
number = 3

def nan(trial):
    return [float("nan")]

def leaves(trial):
    raise SystemExit(3)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path


def sampler(folder: Path, name: str, function: str, **args: Any) -> optuna.samplers.BaseSampler:
    def error(message: str, key: str = "") -> UserError:
        return UserError(message, key=key)

    named = resolved_sampler(name, {"constraints_func": f"mine.py:{function}", **args}, folder)
    return make_sampler(
        SimpleNamespace(sampler=named, space=SPACE, directions=("minimize",), folder=folder, error=error)
    )


@pytest.mark.parametrize("name", [name for name in CONSTRAINED if name != "agebo"])  # which needs a graph
def test_each_sampler_that_takes_one_keeps_what_it_returns(folder, name) -> None:
    study = optuna.create_study(sampler=sampler(folder, name, "below"))
    for _ in range(3):
        trial = study.ask()
        study.tell(trial, SPACE.suggest(trial)["x"])
    assert [each.constraints for each in study.trials] == [{"0": t.params["x"] - 0.5, "1": -1.0} for t in study.trials]


@pytest.mark.parametrize("function", ["array", "single", "Limit", "limit"])
def test_it_may_return_any_numbers_and_be_any_callable(folder, function) -> None:
    study = optuna.create_study(sampler=sampler(folder, "tpe", function))
    trial = study.ask()
    study.tell(trial, SPACE.suggest(trial)["x"])
    assert study.trials[0].constraints == {"0": pytest.approx(study.trials[0].params["x"] - 0.5)}


def test_other_samplers_have_no_such_argument(folder) -> None:
    for name in set(sampler_names()) - {*CONSTRAINED, "cmaes"}:
        with pytest.raises(UserError, match="has no argument 'constraints_func'"):
            sampler(folder, name, "below")


STUDY = """name: s
objective: branin
direction: minimize
space: {x: {float: [0, 1]}, y: {float: [0, 1]}}
budget: {trials: 3}
sampler: {name: tpe, constraints_func: "FUNCTION"}
"""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("mine.py:absent", "mine.py has no function 'absent'"),
        ("nowhere.py:f", "there is no file"),
        ("f", "must be file.py:function or package.module:function, but is 'f'"),
        ("mine.py:number", "'number' in mine.py:27 is 3, not a function"),
        ("mine.py:two", "must take one argument, as in def constraints(trial)"),
    ],
)
def test_what_is_no_such_function_is_refused_with_its_line(folder, function, words) -> None:
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("FUNCTION", function))
    with pytest.raises(UserError) as caught:
        check_user_parts(load_study_file(path))
    assert words in caught.value.message
    assert f"{path}:6: sampler.constraints_func" in str(caught.value)


def test_a_study_file_names_it_relative_to_itself_and_keeps_an_absolute_path(folder, monkeypatch) -> None:
    monkeypatch.chdir("/")
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("FUNCTION", "mine.py:below"))
    study_file = load_study_file(path)
    check_user_parts(study_file)
    assert f"{folder}/mine.py:below" in study_file.resolved()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("words", "TypeError: it must return a sequence of numbers, but returned 'much'"),
        ("fails", "KeyError: 'units' (/mine.py:17)"),
        ("nan", "ValueError: it returned [nan], and constraints cannot be NaN"),
        ("leaves", "SystemExit: 3 (/mine.py:33)"),
    ],
)
def test_one_that_fails_costs_a_warning_and_no_trial(folder, tmp_path, function, words, caplog) -> None:
    bench = benches(tmp_path)(trials=3, options={"sampler": sampler(folder, "tpe", function)})
    specs = bench.specs(Capacity(3))
    with caplog.at_level(logging.WARNING):
        for spec in specs:
            bench.turn(started(spec), over(spec))
    assert [trial.state for trial in bench.trials()] == [TrialState.COMPLETE] * 3
    assert [trial.constraints for trial in bench.trials()] == [{}] * 3
    (warning,) = bench.campaign.study.warnings
    assert "the constraints_func failed 3 times, at last with trial 2: " in warning
    assert words in warning.replace(str(folder), "")
