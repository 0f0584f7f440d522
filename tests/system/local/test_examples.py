"""The examples: each objective by itself, and each study for a few trials on real workers."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest

from pilotune import TrialPruned, ensemble
from pilotune.pipeline.studyfile import load_study_file

from ...support.objective_trial import Script, make_trial

pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
GOOD = {
    "lr": 0.01, "width": 16, "depth": 2, "dropout": 0.2, "batch_size": 64, "optimizer": "adamw", "weight_decay": 1e-3,
    "epochs": 9,
}  # fmt: skip


def load(example: str, file: str):
    """Import a module of an example under a unique name."""
    path = EXAMPLES / example / file
    spec = importlib.util.spec_from_file_location(f"{example}-{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def evaluate(tmp_path: Path, params: dict[str, object]) -> subprocess.CompletedProcess[str]:
    (tmp_path / "best.json").write_text(json.dumps(params), encoding="utf-8")
    command = [sys.executable, EXAMPLES / "digits-torch" / "evaluate.py", tmp_path / "best.json"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_digits_splits_share_no_image_and_leave_none_out():
    train = load("digits-torch", "train.py")
    sizes = [len(train.images(part)[1]) for part in ("train", "validation", "test")]
    assert sizes == [1077, 360, 360]
    rows = {image.numpy().tobytes() for part in ("train", "validation", "test") for image in train.images(part)[0]}
    assert len(rows) == 1797


def test_digits_training_that_was_cut_short_goes_on_to_the_same_result(tmp_path):
    train = load("digits-torch", "train.py").train
    params = {**GOOD, "optimizer": "sgd", "momentum": 0.9, "epochs": 4}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    expected, first, second = Script(), Script(prune_at=2), Script()
    train(make_trial(whole, params, expected))
    with pytest.raises(TrialPruned):
        train(make_trial(cut, params, first))
    train(make_trial(cut, params, second))
    assert [step for step, _ in second.reports] == [3, 4]
    assert first.reports + second.reports == expected.reports


@pytest.mark.exhaustive
def test_a_good_configuration_reaches_the_test_accuracy_asked_for(tmp_path):
    done = evaluate(tmp_path, GOOD)
    assert done.returncode == 0, done.stderr
    assert "test accuracy 0.9" in done.stdout
    assert "reached" in done.stdout


@pytest.mark.exhaustive
def test_a_bad_configuration_ends_with_1(tmp_path):
    done = evaluate(tmp_path, {**GOOD, "epochs": 1, "lr": 1e-5})
    assert done.returncode == 1, done.stderr
    assert "missed" in done.stdout


def test_svm_scores_a_good_kernel_above_a_bad_one():
    train = load("svm-keywords", "train.py").train
    good, bad = train(C=10.0, kernel="rbf", gamma=1e-3), train(C=10.0, kernel="rbf", gamma=1e-1)
    assert good["value"] > 0.97 > bad["value"]
    assert 0 < good["spread"] < 0.05


def solve(folder: Path, *words: str) -> tuple[list[dict[str, float]], subprocess.CompletedProcess[str]]:
    reports = folder / "reports.jsonl"
    reports.unlink(missing_ok=True)
    command = ["sh", EXAMPLES / "shell-command" / "plate.sh", *words]
    environment = {**os.environ, "PILOTUNE_REPORTS": str(reports)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = reports.read_text(encoding="utf-8").splitlines() if reports.exists() else []
    return [json.loads(line) for line in lines], done


@pytest.mark.parametrize("order", ["rows", "red-black"])
def test_the_plate_is_solved_fastest_at_youngs_relaxation_factor(tmp_path, order):
    ends = {}
    for omega in ("1.5", "1.777", "1.95"):
        lines, done = solve(tmp_path, "--omega", omega, "--order", order)
        assert done.returncode == 0, done.stderr
        assert [line.get("step") for line in lines] == [10, 20, 30, 40, 50, 60, 70, 80, None]
        ends[omega] = lines[-1]["value"]
    assert min(ends, key=ends.get) == "1.777"


def test_the_plate_refuses_an_option_it_does_not_know(tmp_path):
    lines, done = solve(tmp_path, "--speed", "3")
    assert (lines, done.returncode) == ([], 64)
    assert "unknown option --speed" in done.stderr


def test_the_optuna_example_runs_with_optuna_alone():
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(load("optuna-unchanged", "objective.py").objective, n_trials=3)
    assert study.best_value > 0.8
    assert study.best_trial.user_attrs == {"training_images": 1347}


@pytest.fixture
def pilotune(tmp_path):
    """Runs the console command with its own state, and returns its stdout."""
    command = shutil.which("pilotune", path=Path(sys.executable).parent)

    def run(*words: str, code: int = 0) -> str:
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
        done = subprocess.run([command, *words], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


NETWORKS = {
    "cnn-cifar": "space.images=64",
    "covertype-nas": "space.epochs=2",
    "sst-lstm": "space.epochs=2",
    "uci-uq": "space.epochs=2",
}
"""Studies that read a table, and what makes their trials short."""

LONG = ("digits-torch", "digits-ddp", "svm-keywords", "ready-made", *NETWORKS)
"""Studies that take longer; ``make demo`` runs the first one whole."""


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """A folder for PILOTUNE_DATA with small tables of noise, in the form of those that the examples read."""
    folder, random = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    for name in ("covertype", "sst_pod", "cifar10", "uci"):
        (folder / name).mkdir()
    places = np.column_stack([random.normal(size=(400, 54)).round(3), np.arange(400) % 7 + 1])
    header = ",".join([*(f"x{number}" for number in range(54)), "kind"])
    with gzip.open(folder / "covertype/covertype_93k.csv.gz", "wt") as file:
        np.savetxt(file, places, fmt="%g", delimiter=",", header=header, comments="")
    with gzip.open(folder / "uci/yacht.txt.gz", "wt") as file:
        np.savetxt(file, random.normal(size=(100, 7)))
    for name in ("True_Train.npy", "True_Test_0_700.npy"):
        np.save(folder / "sst_pod" / name, random.normal(size=(5, 160)).cumsum(1))
    image = np.column_stack([np.arange(1100) % 10, random.integers(0, 256, (1100, 3072))]).astype(np.uint8)
    (folder / "cifar10/data_batch_1.bin").write_bytes(image.tobytes())
    return folder


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(name, marks=pytest.mark.exhaustive) if name in LONG else name
        for name in sorted(path.parent.name for path in EXAMPLES.glob("*/study.yaml"))
    ],
)
def test_each_study_runs_on_local_workers(example, pilotune, tables, tmp_path, monkeypatch):
    monkeypatch.setenv("PILOTUNE_DATA", str(tables))
    words = ["run", str(EXAMPLES / example), "--trials", "4", "--runs", str(tmp_path / "runs")]
    pilotune(*words, *(("--set", NETWORKS[example]) if example in NETWORKS else ()))
    trials = json.loads(pilotune("trials", example, "--json"))
    assert len(trials) == 4
    assert {trial["state"] for trial in trials} <= {"complete", "pruned"}, trials
    assert json.loads(pilotune("best", example, "--json"))["best"]


@pytest.mark.parametrize("example", [name for name in NETWORKS if name != "uci-uq"])
def test_a_network_of_an_example_trains(example, tables, tmp_path, monkeypatch):
    monkeypatch.setenv("PILOTUNE_DATA", str(tables))
    file = load_study_file(EXAMPLES / example / "study.yaml", [NETWORKS[example]])
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    params, script = file.space.for_objective(file.space.suggest(trial)), Script()
    train = load(example, "train.py")
    monkeypatch.setattr(train, "HELD_OUT", 32, raising=False)  # images that cnn-cifar validates with
    score = train.train(make_trial(tmp_path, params, script))
    assert np.isfinite(score)
    assert [step for step, _ in script.reports] == list(range(1, params["epochs"] + 1))
    assert script.reports[-1][1] == score


def test_a_network_of_uci_keeps_what_an_ensemble_is_chosen_from(tables, tmp_path, monkeypatch):
    monkeypatch.setenv("PILOTUNE_DATA", str(tables))
    train = load("uci-uq", "train.py")
    params = {"table": "yacht", "split": 1, "layers": 1, "units": 8, "epochs": 2}
    trial = make_trial(tmp_path, params)
    result = train.train(trial)
    assert np.isfinite(result["value"])
    assert result["rmse"] > 0
    held, check = (np.load(trial.artifact(name)) for name in ("held.npz", "check.npz"))
    x, y = train.table("yacht")
    test = train.split(len(y), 1)[1]
    assert (len(held["y"]), check["y"].tolist()) == (14, y[test].tolist())
    assert not set(held["y"]) & set(check["y"])
    with pytest.raises(ValueError, match=r"there is no table 'yatch'; the tables are boston, .*yacht$"):
        train.table("yatch")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*uci/energy\.txt\.gz: README\.md says where"):
        train.table("energy")
    mean, std = train.predict({"model.pt": trial.artifact("model.pt")}, params, x[test])
    assert (check["mean"].tolist(), check["std"].tolist()) == (mean.tolist(), std.tolist())


@pytest.mark.exhaustive
def test_an_ensemble_is_chosen_from_the_networks_of_uci(pilotune, tables, tmp_path, monkeypatch):
    monkeypatch.setenv("PILOTUNE_DATA", str(tables))
    words = ("--trials", "3", "--runs", str(tmp_path / "runs"), "--set", NETWORKS["uci-uq"])
    pilotune("run", str(EXAMPLES / "uci-uq"), *words)
    assert "on 10 rows that the selection has not seen" in pilotune(
        "ensemble", "uci-uq", "--members", "2", "--select", "topk", "--out", str(tmp_path / "best")
    )
    best, (x, _) = ensemble.load(tmp_path / "best"), load("uci-uq", "train.py").table("yacht")
    found = best.predict(x)
    assert found.mean.shape == (100,)
    assert (found.epistemic > 0).all()


@pytest.mark.exhaustive
def test_a_pruner_ends_trials_of_an_example(pilotune, tmp_path):
    study = str(EXAMPLES / "optuna-unchanged")
    never = "pruner={name: threshold, lower: 1.1}"  # no accuracy is that high
    pilotune("run", study, "--trials", "3", "--runs", str(tmp_path / "runs"), "--set", never, code=1)
    trials = json.loads(pilotune("trials", "optuna-unchanged", "--json"))
    assert [(trial["state"], trial["rung"]) for trial in trials] == [("pruned", 0)] * 3
