"""``py.typed`` is honest: a file that uses the public names of the installed wheel passes ``mypy --strict``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.installs, pytest.mark.exhaustive]

USER_FILE = """
from __future__ import annotations

import optuna

import pilotune
from pilotune import Resources, Trial, TrialPruned, TrialYield
from pilotune.errors import PilotuneError
from pilotune.objectives.functions import branin
from pilotune.pipeline.analysis import best_trials, read_study, rows
from pilotune.pipeline.fidelity import HyperbandPruner, MedianPruner, PercentilePruner, SuccessiveHalvingPruner
from pilotune.pipeline.record import RecordStorage, open_storage
from pilotune.pipeline.studyfile import StudyFile, load_study_file
from pilotune.pipeline.suggest.tpe import TPESampler


def train(trial: Trial) -> float:
    x = trial.suggest_float("x", 0.0, 1.0)
    n: int = trial.suggest_int("n", 1, 3)
    trial.report(x, step=1)
    if trial.should_yield():
        raise TrialYield
    if trial.should_prune():
        raise TrialPruned
    resources: Resources = trial.resources
    return x * n + resources.gpus + float(trial.params["lr"])


def tune(url: str) -> list[float]:
    pruner = HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=3)
    study = optuna.create_study(sampler=TPESampler(seed=0), pruner=pruner, storage=RecordStorage(url))
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=3)
    data = read_study(url, study.study_name)
    found: StudyFile = load_study_file("study.yaml")
    print(found.name, best_trials(data), [row.params for row in rows(data)], pilotune.__version__)
    print(MedianPruner(), PercentilePruner(25.0), SuccessiveHalvingPruner(), branin, open_storage, PilotuneError)
    campaign: pilotune.Campaign = pilotune.run(train, space={"lr": {"float": [0, 1]}}, direction="maximize")
    alive: bool = campaign.wait(timeout=1.0).alive
    best: float | None = pilotune.open("x").best.values["value"] if alive else campaign.study.best.seconds
    print(best, pilotune.Study)
    return [trial.value for trial in study.trials if trial.value is not None]
"""
WRONG = """
from pilotune import Trial


def train(trial: Trial) -> str:
    return trial.suggest_float("x", 0.0, 1.0)
"""


def mypy(elsewhere: Path, file: Path) -> subprocess.CompletedProcess[str]:
    """The output of mypy for a file in that environment."""
    words = ["--strict", "--python-executable", str(elsewhere / "python"), "--cache-dir", str(file.parent / "cache")]
    command = [sys.executable, "-m", "mypy", *words, str(file)]
    return subprocess.run(command, cwd=file.parent, capture_output=True, text=True)


def test_a_users_file_passes_mypy_strict(elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(USER_FILE)
    found = mypy(elsewhere, tmp_path / "mine.py")
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_mistake_in_it_is_found(elsewhere: Path, tmp_path: Path) -> None:
    """This shows that mypy sees the types, and not ``Any``."""
    (tmp_path / "wrong.py").write_text(WRONG)
    found = mypy(elsewhere, tmp_path / "wrong.py")
    assert 'Incompatible return value type (got "float", expected "str")' in found.stdout
