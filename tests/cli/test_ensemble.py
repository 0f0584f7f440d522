"""``pilotune ensemble`` chooses from what trials have kept, writes an ensemble and says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from pilotune import ensemble
from pilotune.errors import UserError
from pilotune.pipeline.attributes import DEFINITION
from pilotune.pipeline.cli.main import main

from ..ensemble.catalogs import classes, normals
from ..support.cli import Pilotune, alone, pilotune_
from ..support.graphs import graph_of
from ..support.small_disks import small_disk

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
    for number in range(8):
        (study / f"artifacts/{number}/check.npz").unlink(missing_ok=True)
    said = "trial 8 has kept check.npz, but trial 0 has not; leave out such trials with --without 8-11"
    assert said in pilotune("ensemble", "study.yaml").err


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
        (["--members", "0"], "invalid value for '--members': 0 is not in the range x>=1"),
        (["--members", "1000000000"], "--members 1000000000: only 12 trials have predictions to choose from"),
        (["--bags", "1000000000"], "invalid value for '--bags': 1000000000 is not in the range 0<=x<=10000"),
        (["--without", "all"], "--without all: give numbers of trials, as in --without 7,12-15"),
        (["--without", "1,,2"], "--without : give numbers of trials"),
        (["--without", "9" * 5000], f"--without {'9' * 39}…: give numbers of trials"),
        (["--without", "5-3"], "--without 5-3: the range ends before it begins"),
        (["--without", "7,40"], "--without 40: study 'houses' has no trial 40"),
        (["--without", "0-11"], "but for those of --without, no complete trial of 'houses'"),
        (["--predict", "none.py:f", "-o", "best"], "--predict: there is no file"),
        (["--predict", "train.py:nothing", "-o", "best"], "--predict: "),
        (["--out", "nowhere/best"], "there is no folder"),
        (["--out", "pilotune-runs"], "pilotune-runs holds files already, and an ensemble needs a new folder"),
        (["--out", "n" * 300], "cannot be written (file name too long); give another path"),
        (["--plot", "plot.gif"], "--plot plot.gif: cannot tell a form from 'plot.gif'"),
    ],
)
def test_what_cannot_be_done_is_said(pilotune: Pilotune, study: Path, words: list[str], said: str) -> None:
    result = pilotune("ensemble", "study.yaml", *words)
    assert (result.code, result.out) == (2, "")
    assert "Traceback" not in result.err
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


def test_a_member_without_a_model_is_named_where_others_have_one(pilotune: Pilotune, study: Path) -> None:
    for number in range(MODELS):
        if number not in (2, 3, 8):
            (study / f"artifacts/{number}/model.txt").write_text("model")
    result = pilotune("ensemble", "study.yaml", "-o", "best", "--select", "topk", "--members", "12")
    assert (result.code, result.out) == (2, "")
    said = "trial 2 has kept only its predictions, but trial 0 also 'model.txt'; leave out such trials with --without "
    assert f"{said}2-3,8\n" in result.err
    assert not Path("best").exists()
    assert pilotune("ensemble", "study.yaml", "-o", "best", "--without", "2-3,8").code == 0


def test_an_artifact_that_cannot_be_read_is_named(
    pilotune: Pilotune, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(MODELS):
        (study / f"artifacts/{number}/model.txt").write_text("model")
    opened = Path.open

    def refused(path: Path, *words: Any, **others: Any) -> IO[Any]:
        if path.name == "model.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *words, **others)

    monkeypatch.setattr(Path, "open", refused)
    result = pilotune("ensemble", "study.yaml", "-o", "best")
    assert (result.code, result.out) == (2, "")
    assert "model.txt cannot be copied into the ensemble (Permission denied)\n" in result.err
    assert [each.name for each in Path().iterdir() if "best" in each.name] == []


def test_a_full_disk_leaves_nothing_half(pilotune: Pilotune, study: Path, tmp_path: Path) -> None:
    for number in range(MODELS):
        (study / f"artifacts/{number}/model.bin").write_bytes(b"x" * 700_000)
    with small_disk(tmp_path / "small", "1m") as disk:
        result = pilotune("ensemble", "study.yaml", "-o", disk / "best", "--select", "topk", "--members", "3")
        assert (result.code, result.out, result.err) == (3, "", f"error: {disk}/best: No space left on device\n")
        assert list(disk.iterdir()) == []


ELSEWHERE = """
import sys
import numpy as np
from pilotune import ensemble

loaded = ensemble.load("elsewhere")
print(loaded.predict(np.ones((4, 6))).mean.shape, loaded.how)
assert not {name for name in ("layers", "parts", "nets", "own") if name in sys.modules}
"""


def lone(folder: Path, *words: str) -> str:
    """What a process prints that has nothing of the study."""
    shutil.move(folder / "here/best", folder / "elsewhere")
    shutil.rmtree(folder / "here")
    return subprocess.run([sys.executable, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


GRAPH = """
inputs: {x: 6}
nodes:
  a: {from: x, choice: ["layers:Gated(4)", "own.more:Gated(8)", "missing:Layer(3)"]}
  out: {from: a, op: dense(2)}
"""
GATED = """\
import parts
from torch import nn


def Gated(shape, units):
    return nn.Linear(shape[-1], parts.twice(units))
"""


def forget_own() -> None:
    """Forget the modules that these studies have, so that the next one imports its own."""
    for name in ("layers", "own", "own.more", "parts", "helper"):
        sys.modules.pop(name, None)


@pytest.fixture
def networks(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study, whose trials have networks with layers of the user's own; returns its folder."""
    torch = pytest.importorskip("torch")
    from pilotune.architecture import build

    here = tmp_path / "here"
    (here / "own").mkdir()
    (here / "own/__init__.py").write_text("UNITS = 1\n")
    (here / "own/more.py").write_text(f"from own import UNITS\n{GATED}")
    (here / "layers.py").write_text(GATED)
    (here / "parts.py").write_text("def twice(units):\n    from helper import two\n    return two * units\n")
    (here / "helper.py").write_text("two = 2\n")
    (here / "train.py").write_text("def train(trial): ...\n")
    (here / "missing.py").write_text("class Layer: ...\n")
    graph = graph_of(GRAPH)
    (here / "missing.py").unlink()  # no trial has it
    (study / "study.db").unlink()
    made = optuna.create_study(storage=f"sqlite:///{study / 'study.db'}", study_name="houses")
    definition = {"space": {"parameters": {}, "graphs": {"net": graph.to_data()}}}
    made._storage.set_study_system_attr(made._study_id, DEFINITION, definition)
    distributions = {each.name: CategoricalDistribution(each.choices) for each in graph.variables("net")}
    monkeypatch.syspath_prepend(here)
    forget_own()
    choices = ({"net.a": "layers:Gated(4)"}, {"net.a": "own.more:Gated(8)"})
    for number, params in enumerate(choices):
        net = build({"net": graph.to_data(), **params}, "net")
        torch.save(net.state_dict(), study / f"artifacts/{number}/model.pt")
    for number in range(MODELS):
        made.add_trial(create_trial(value=1.0, params=choices[number % 2], distributions=distributions))
        if number > 1:
            shutil.copy(study / f"artifacts/{number % 2}/model.pt", study / f"artifacts/{number}/model.pt")
    forget_own()
    return here


def test_layers_of_the_users_own_come_with_the_ensemble(pilotune: Pilotune, networks: Path, tmp_path: Path) -> None:
    words = ("ensemble", "study.yaml", "-o", "best", "--select", "topk", "--members", "12")
    result = pilotune(*words)
    assert result.code == 0, result.err
    found = sorted(str(path.relative_to("best/code")) for path in Path("best/code").rglob("*.py"))
    assert found == ["helper.py", "layers.py", "own/__init__.py", "own/more.py", "parts.py"]
    assert lone(tmp_path, "-c", ELSEWHERE) == "(4,) the graph net\n"


def test_a_layer_whose_file_is_gone_is_named_before_anything_is_written(pilotune: Pilotune, networks: Path) -> None:
    (networks / "layers.py").rename(networks / "renamed.py")
    result = pilotune("ensemble", "study.yaml", "-o", "best")
    assert (result.code, result.out) == (2, "")
    assert "has the layer layers:Gated, and there is no module 'layers' in" in result.err
    assert not Path("best").exists()
    assert pilotune("ensemble", "study.yaml").code == 0  # what writes nothing needs none


def test_layers_come_with_a_function_that_predicts_too(pilotune: Pilotune, networks: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "predict.py").write_text("def predict(files, params, x):\n    return x[:, :1], 1 + 0 * x[:, :1]\n")
    words = ("ensemble", "study.yaml", "-o", "best", "--members", "1", "--predict", str(mine / "predict.py:predict"))
    assert pilotune(*words).code == 0
    assert {"predict.py", "helper.py", "parts.py"} < {path.name for path in Path("best/code").iterdir()}
    shutil.rmtree("best")
    (mine / "parts.py").write_text("def other(): ...\n")
    (mine / "predict.py").write_text("import parts\n\ndef predict(files, params, x): ...\n")
    result = pilotune(*words)
    assert result.code == 2
    assert "and an ensemble has one parts.py; rename one of them" in result.err


def test_files_that_are_imported_late_or_from_the_studys_folder_come_along(
    pilotune: Pilotune, study: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    (here / "nets").mkdir()
    (here / "nets/__init__.py").write_text("import nets.base\n")
    (here / "nets/base.py").write_text("WIDTH = 1\n")
    (here / "nets/model.py").write_text(MODEL)
    (here / "src").mkdir()
    (here / "model.py").rename(here / "src/other.py")
    train = (
        "def train(trial): ...\n\ndef predict(files, params, x):\n    import parts\n    return parts.line(params, x)\n"
    )
    (here / "src/train.py").write_text(train)
    (here / "parts.py").write_text("try:\n    from nets.model import line\nexcept ImportError:\n    line = None\n")
    (here / "study.yaml").write_text(STUDY.replace("train.py", "src/train.py"))
    assert pilotune("ensemble", "study.yaml", "-o", "best").code == 0
    found = sorted(str(path.relative_to("best/code")) for path in Path("best/code").rglob("*.py"))
    assert found == ["nets/__init__.py", "nets/base.py", "nets/model.py", "parts.py", "src/train.py"]
    assert lone(tmp_path, "-c", ELSEWHERE) == "(4, 6) code/src/train.py:predict\n"


def test_an_objective_that_is_a_module_of_the_studys_folder_comes_along(
    pilotune: Pilotune, study: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    (here / "nets").mkdir()
    (here / "nets/__init__.py").write_text("")
    (here / "nets/train.py").write_text(TRAIN.replace("import model", "from . import model"))
    (here / "model.py").rename(here / "nets/model.py")
    (here / "study.yaml").write_text(STUDY.replace("train.py", "nets.train"))
    result = pilotune("ensemble", "study.yaml", "-o", "best")
    assert result.code == 0, result.err
    assert lone(tmp_path, "-c", ELSEWHERE) == "(4, 6) nets.train:predict\n"


@pytest.mark.exhaustive
def test_a_kill_at_any_moment_leaves_a_whole_ensemble_or_none(pilotune: Pilotune, study: Path) -> None:
    for number in range(MODELS):
        (study / f"artifacts/{number}/model.bin").write_bytes(os.urandom(5_000_000))
    words = ("ensemble", "study.yaml", "--select", "topk", "-o", "best")
    assert pilotune(*words).code == 0  # all is imported, so that the processes below begin soon
    shutil.rmtree("best")
    generator, half = np.random.default_rng(0), 0
    for _ in range(40):
        child = os.fork()
        if not child:
            os._exit(main(list(words)))
        while not list(Path().glob(".best.*")) and not Path("best").exists():
            time.sleep(0.001)  # it chooses
        time.sleep(generator.uniform(0, 0.1))  # it writes
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        left = list(Path().glob(".best.*"))
        assert len(left) <= 1  # what the kill before has left is gone
        half += len(left)
        for each in left:
            with pytest.raises(UserError, match=r"there is no ensemble in|cannot be read"):
                ensemble.load(each)
        if Path("best").exists():
            assert len(ensemble.load("best").members) == 8
            shutil.rmtree("best")
    assert half > 5
    assert pilotune(*words).code == 0
    assert not list(Path().glob(".best.*"))
    assert len(ensemble.load("best").members) == 8
