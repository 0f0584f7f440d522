"""``pilotune ensemble`` chooses from what trials have kept, writes an ensemble and says what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from pilotune import ensemble

from ..ensemble.catalogs import classes, normals
from ..support.cli import Pilotune, alone, pilotune_

__all__ = ["alone", "pilotune_"]

STUDY = """\
name: houses
objective: train.py:train
direction: minimize
space: {shift: {float: [-1.0, 1.0]}}
budget: {trials: 9}
"""
TRAIN = """\
import model

def train(trial):
    return 0.0

def predict(files, params, x):
    return model.line(params, x)
"""
TWICE = "import numpy as np\n\ndef predict(files, params, x):\n    return 2 * x, np.ones_like(x)\n"
MODEL = "import numpy as np\n\ndef line(params, x):\n    return x + params['shift'], np.ones_like(x)\n"
MODELS = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study file, with a study of twelve complete trials, all with predictions, and of a failed one."""
    here = tmp_path_factory.mktemp("made")
    (here / "study.yaml").write_text(STUDY)
    (here / "train.py").write_text(TRAIN)
    (here / "model.py").write_text(MODEL)
    folder = here / "pilotune-runs/houses"
    folder.mkdir(parents=True)
    study = optuna.create_study(storage=f"sqlite:///{folder / 'study.db'}", study_name="houses")
    space = {"shift": FloatDistribution(-1.0, 1.0)}
    for number in range(MODELS):
        study.add_trial(create_trial(value=1.0, params={"shift": number / 20}, distributions=space))
    study.add_trial(create_trial(state=optuna.trial.TrialState.FAIL, params={"shift": 0.0}, distributions=space))
    mean, std, y = normals(0)
    for number in range(MODELS + 1):
        keep(folder, number, y=y, mean=mean[number % MODELS], std=std[number % MODELS])
    return here


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    """The study's folder of the run directories, in a copy of the folder with the study file."""
    shutil.copytree(made, tmp_path / "here", dirs_exist_ok=True)
    return tmp_path / "here/pilotune-runs/houses"


def keep(folder: Path, number: int, file: str = "held.npz", **arrays: np.ndarray) -> None:
    home = folder / "artifacts" / str(number)
    home.mkdir(parents=True, exist_ok=True)
    np.savez(home / file, **arrays)


def test_the_table_has_the_members_and_compares_them_with_the_best(pilotune: Pilotune, study: Path) -> None:
    result = pilotune("ensemble", "study.yaml", "--members", "4")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == "greedy selection from 12 models, on 40 rows:"
    assert lines[1].split() == ["trial", "weight", "NLL"]
    assert "on 20 rows that the selection has not seen:" in lines
    assert lines[-3].split() == ["NLL", "NLL", "matched", "CRPS", "RMSE", "90", "%", "covers"]
    assert lines[-2].startswith("trial ")
    assert lines[-1].startswith("the ensemble")


def test_json_has_the_same_numbers(pilotune: Pilotune, study: Path) -> None:
    found = json.loads(pilotune("ensemble", "study.yaml", "--members", "4", "--select", "topk", "--json").out)
    assert (found["study"], found["kind"], found["out"]) == ("houses", "normal", None)
    assert [each["weight"] for each in found["members"]] == [0.25] * 4
    assert found["selection"] == {"select": "topk", "bags": 0, "seed": 0, "loss": "nll", "models": 12, "rows": 40}
    assert set(found["check"]["ensemble"]) == {"nll", "nll_matched", "crps", "rmse", "coverage"}
    assert found["check"]["best"]["trial"] == found["members"][0]["trial"]


def test_an_ensemble_is_written_and_predicts_when_the_study_is_gone(
    pilotune: Pilotune, study: Path, tmp_path: Path
) -> None:
    result = pilotune("ensemble", "study.yaml", "--members", "2", "--select", "topk", "--out", "best")
    assert result.code == 0, result.err
    assert "wrote the ensemble of 2 members to best" in result.err
    shutil.move(tmp_path / "here/best", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "here")
    loaded = ensemble.load(tmp_path / "elsewhere")
    shifts = [member.trial / 20 for member in loaded.members]
    found = loaded.predict(np.zeros(3))
    assert found.mean.tolist() == pytest.approx([sum(shifts) / 2] * 3)  # type: ignore[union-attr]


def test_members_predict_by_an_installed_module(
    pilotune: Pilotune, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed/houses_model.py").write_text(TWICE)
    monkeypatch.syspath_prepend(tmp_path / "installed")
    result = pilotune("ensemble", "study.yaml", "--predict", "houses_model:predict", "-o", "best")
    assert result.code == 0, result.err
    loaded = ensemble.load("best")
    assert str(loaded.how) == "houses_model:predict"
    assert loaded.predict(np.ones(2)).mean.tolist() == pytest.approx([2, 2])  # type: ignore[union-attr]
    assert not Path("best/code").exists()


def test_classes_have_accuracy_and_log_loss(pilotune: Pilotune, study: Path) -> None:
    probabilities, y = classes(0)
    for number in range(MODELS):
        keep(study, number, y=y, probabilities=probabilities[number])
    result = pilotune("ensemble", "study.yaml", "--loss", "accuracy", "--bags", "3")
    assert result.code == 0, result.err
    assert result.out.splitlines()[1].split() == ["trial", "weight", "accuracy"]
    assert result.out.splitlines()[-3].split() == ["accuracy", "log", "loss"]


def test_rows_that_trials_have_kept_for_checks_are_used(pilotune: Pilotune, study: Path) -> None:
    mean, std, y = normals(1, rows=7)
    for number in range(MODELS):
        keep(study, number, "check.npz", y=y, mean=mean[number], std=std[number])
    assert "on 60 rows:" in pilotune("ensemble", "study.yaml").out
    assert "on 7 rows that the selection has not seen" in pilotune("ensemble", "study.yaml").out
    (study / "artifacts/4/check.npz").unlink()
    result = pilotune("ensemble", "study.yaml")
    assert (result.code, result.out) == (2, "")
    assert "trial 4 has kept no check.npz, but trial 0 has; leave out such trials with --without 4" in result.err
    assert pilotune("ensemble", "study.yaml", "--without", "4").code == 0


@pytest.mark.parametrize("name", ["calibration.png", "calibration.html"])
def test_calibration_is_drawn(pilotune: Pilotune, study: Path, name: str) -> None:
    result = pilotune("ensemble", "study.yaml", "--plot", name)
    assert result.code == 0, result.err
    assert Path(name).stat().st_size > 1000


def test_a_damaged_file_is_named_and_can_be_left_out(pilotune: Pilotune, study: Path) -> None:
    (study / "artifacts/5/held.npz").write_bytes(b"")
    mean, std, y = normals(0)
    mean[7, 3] = np.nan
    keep(study, 7, y=y, mean=mean[7], std=std[7])
    result = pilotune("ensemble", "study.yaml")
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert "held.npz of trial 5 cannot be read" in result.err
    assert "leave out such trials with --without 5,7" in result.err
    left = pilotune("ensemble", "study.yaml", "--without", "5,7", "--json")
    assert json.loads(left.out)["selection"]["models"] == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--members", "20"], "--members 20: only 12 trials have predictions to choose from; give 12 or fewer"),
        (["--loss", "accuracy"], "--loss accuracy: the trials predict numbers; give nll or crps or rmse"),
        (["--select", "topk", "--bags", "3"], "--bags 3: bags are of --select greedy; leave out one of both"),
        (["--without", "all"], "--without all: give numbers of trials, as in --without 7,12"),
        (["--without", ",".join(map(str, range(12)))], "but for those of --without, no complete trial of 'houses'"),
        (["--predict", "none.py:f", "-o", "best"], "--predict: there is no file"),
        (["--predict", "train.py:nothing", "-o", "best"], "--predict: "),
        (["--out", "nowhere/best"], "there is no folder"),
        (["--out", "pilotune-runs"], "pilotune-runs holds files already, and an ensemble needs a new folder"),
        (["--plot", "plot.gif"], "--plot plot.gif: cannot tell a form from 'plot.gif'"),
    ],
)
def test_what_cannot_be_done_is_said(pilotune: Pilotune, study: Path, words: list[str], said: str) -> None:
    result = pilotune("ensemble", "study.yaml", *words)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert not Path("best").exists()


def test_a_study_without_artifacts_says_how_to_keep_them(pilotune: Pilotune, study: Path) -> None:
    shutil.rmtree(study / "artifacts")
    result = pilotune("ensemble", "study.yaml")
    assert result.code == 2
    assert "no complete trial of 'houses' has kept predictions: the objective writes them to" in result.err
    url = f"sqlite:///{study / 'study.db'}"
    result = pilotune("ensemble", "houses", "--storage", url)
    assert result.code == 2
    assert "the run directories of 'houses' are not known here" in result.err


def test_without_a_function_nothing_is_written(pilotune: Pilotune, study: Path) -> None:
    Path("train.py").write_text("def train(trial):\n    return 0.0\n")
    result = pilotune("ensemble", "study.yaml", "-o", "best")
    assert (result.code, result.out) == (2, "")
    assert "does not know how its members predict; give --predict FILE.py:FUNCTION" in result.err
    assert not Path("best").exists()
    Path("mine.py").write_text(TRAIN)
    assert pilotune("ensemble", "study.yaml", "-o", "best", "--predict", "mine.py:predict").code == 0
    assert sorted(path.name for path in Path("best/code").iterdir()) == ["mine.py", "model.py"]
