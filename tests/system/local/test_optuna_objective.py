"""An Optuna objective that uses its study, on real workers: what it reads and writes goes through the driver."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState

from ...support.local import Here, end_of

pytestmark = pytest.mark.real

OBJECTIVE = """
import copy
import os
from pathlib import Path

import numpy as np
import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.terminator import report_cross_validation_scores

store = FileSystemArtifactStore(base_path=os.environ["PILOTUNE_STUDY_DIR"])


def objective(trial: optuna.Trial) -> float:
    assert isinstance(trial, optuna.trial.Trial) and isinstance(trial.study, optuna.Study)
    assert trial.study.direction == optuna.study.StudyDirection.MINIMIZE
    assert copy.deepcopy(trial) is trial
    x = trial.suggest_float("x", -1.0, 1.0)
    if trial.number == 0:
        trial.study.set_user_attr("rows", 150)
        trial.study.enqueue_trial({"x": 0.25}, user_attrs={"memo": "asked for"})
    if trial.number == 1 and "seen" not in trial.user_attrs:
        trial.set_user_attr("seen", [trial.number, x])
        trial.report(x, 0)
        assert trial.study.trials[1].user_attrs["seen"] == [1, x]
        os._exit(9)
    trial.set_constraint("right", x - 0.5)
    report_cross_validation_scores(trial, np.array([x, x + 0.125]))
    Path("model.txt").write_text(str(x))
    upload_artifact(artifact_store=store, file_path="model.txt", study_or_trial=trial)
    assert [meta.filename for meta in get_all_artifact_meta(trial)] == ["model.txt"]
    others = trial.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    feasible = [other for other in others if all(amount <= 0 for amount in other.constraints.values())]
    if feasible:
        assert trial.study.best_value == min(other.value for other in feasible)
    trial.set_user_attr("others", [other.number for other in others])
    trial.set_user_attr("rows", trial.study.user_attrs["rows"])
    if trial.number == 5:
        trial.study.stop()
    return x
"""
STUDY = """
direction: minimize
sampler: {name: random, seed: 1}
budget: {trials: 100}
trial: {retries: 1, retry_errors: true, isolate: ISOLATE}
"""

LIGHTGBM = """
import lightgbm
import numpy as np
from optuna_integration import LightGBMPruningCallback
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

train_x, valid_x, train_y, valid_y = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)


def objective(trial):
    params = {
        "objective": "binary",
        "metric": "auc",
        "num_threads": 1,
        "verbosity": -1,
        "num_leaves": trial.suggest_int("num_leaves", 2, 64),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 0.5, log=True),
    }
    data, valid = lightgbm.Dataset(train_x, train_y), lightgbm.Dataset(valid_x, valid_y)
    pruning = LightGBMPruningCallback(trial, "auc")
    model = lightgbm.train(params, data, num_boost_round=20, valid_sets=[valid], callbacks=[pruning])
    return np.mean((model.predict(valid_x) > 0.5) == valid_y)
"""


@pytest.mark.parametrize("isolate", ["true", pytest.param("false", marks=pytest.mark.exhaustive)])
def test_an_objective_reads_and_changes_its_study(tmp_path: Path, isolate: str) -> None:
    here = Here(tmp_path)
    objective = OBJECTIVE if isolate == "true" else OBJECTIVE.replace("os._exit(9)", "raise RuntimeError")
    here.study("uses", objective, STUDY.replace("ISOLATE", isolate))
    done = end_of(here.start("run", "uses.yaml", "--set", "pools.local.workers_per_node=1"))
    assert "trial 5 called study.stop()" in done.stdout + done.stderr
    study = here.optuna("uses")
    trials = study.trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}, [trial.system_attrs for trial in trials]
    assert 6 <= len(trials) <= 9, "trial 5 has ended the campaign"
    assert study.user_attrs["rows"] == 150
    for trial in trials:
        x = trial.params["x"]
        assert trial.constraints == {"right": x - 0.5}
        assert trial.system_attrs["terminator:cv_scores"] == [x, x + 0.125]
        (artifact,) = [json.loads(v) for k, v in trial.system_attrs.items() if k.startswith("artifacts:")]
        assert (here.folder / artifact["artifact_id"]).read_text() == str(x)
        assert trial.user_attrs["rows"] == 150
        assert set(trial.user_attrs["others"]) <= set(range(trial.number + 3))
    (asked,) = [trial for trial in trials if trial.user_attrs.get("memo") == "asked for"]
    assert asked.params == {"x": 0.25}
    assert trials[1].user_attrs["seen"] == [1, trials[1].params["x"]], "the first attempt's attribute is kept"
    assert study.best_trial.params["x"] <= 0.5


@pytest.mark.exhaustive
def test_lightgbms_pruning_callback_works_unchanged(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.study(
        "boosting",
        LIGHTGBM,
        "direction: maximize\nbudget: {trials: 12}\nsampler: {name: random, seed: 0}\n"
        "pruner: {name: median, n_startup_trials: 3}\n",
    )
    end_of(here.start("run", "boosting.yaml", "--quiet"))
    trials = here.optuna("boosting").trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(set(trial.intermediate_values) >= {0} for trial in trials)
