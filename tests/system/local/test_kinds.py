"""Every kind of objective and study file on real workers; the campaigns run side by side."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from pilotune.pipeline.attributes import details_of

from ...support.local import Here, end_of

pytestmark = pytest.mark.real

FUNCTION = """
from pilotune import Trial

def objective(trial: Trial):
    assert "x" in trial.params and trial.params["epochs"] == 9
    if trial.params["kind"] == "a":
        assert "only_b" not in trial.params
    for step in range(1, 3):
        trial.report(trial.params["x"] / step, step=step)
    saved = trial.checkpoint_dir / "saved"
    saved.write_text("yes")
    return {"value": trial.params["x"], "seed": trial.rng_seed, "cores": trial.resources.cores}
"""
FUNCTION_STUDY = """
direction: minimize
space:
  kind: {choice: [a, b]}
  x: {float: [0.0, 1.0]}
  y: {float: [0.0, 1.0]}
  only_b: {int: [1, 5], when: {kind: b}}
  epochs: 9
constraints: ["x + y <= 1.0"]
sampler: {name: random, seed: 4}
budget: {trials: 10}
storage: sqlite:///shared.db
start_from: {enqueue: [{x: 0.25, y: 0.125, kind: b, only_b: 3}, {x: 0.75}]}
"""

KEYWORDS = """
import os

def objective(flag, x, scale, extra=None):
    print("parent", os.getppid())
    return {"value": scale * x, "extra": extra, "pid": os.getpid()}
"""
KEYWORDS_STUDY = """
direction: maximize
space: {flag: {choice: [true, false]}, x: {int: [1, 9]}, scale: 10, extra: {int: [1, 2], when: {flag: true}}}
sampler: {name: random, seed: 1}
budget: {trials: 6}
"""

UNCHANGED = """
import optuna

def objective(trial):
    kind = trial.suggest_categorical("kind", ["low", "high"])
    x = trial.suggest_float("x", 0.0, 1.0) if kind == "low" else trial.suggest_int("n", 5, 9, log=True)
    trial.set_user_attr("kind was", kind)
    for step in range(4):
        trial.report(x, step)
        if trial.should_prune():
            raise optuna.TrialPruned()
    return x
"""
UNCHANGED_STUDY = """
direction: minimize
sampler: {name: random, seed: 2}
pruner: {name: threshold, upper: 4.0, n_warmup_steps: 1}
budget: {trials: 8}
"""

ODD = """
def objective(trial):
    shift = trial.suggest_int(0, 0, 3)
    units = trial.suggest_categorical("units", [[2, 2], [16, 8, 1], {"deep": 1}])
    flag = trial.suggest_categorical("flag", [True, False])
    assert isinstance(units, (list, dict)) and flag in (True, False) and type(flag) is bool
    if trial.number == 1:
        trial.suggest_int("a\\0b", 0, 3)
    if trial.number == 2:
        trial.suggest_float("wide", -1e308, 1e308)
    return shift + len(units)
"""
ODD_STUDY = """
direction: minimize
sampler: {name: tpe, seed: 1, n_startup_trials: 3}
budget: {trials: 10}
start_from: {enqueue: [{units: [16, 8, 1], flag: 0, "0": 2.0}]}
"""

SCRIPT = """
set -e
test "$PILOTUNE_PARAM_X" = "$1"
echo "{\\"step\\": 1, \\"value\\": $1}" >> "$PILOTUNE_REPORTS"
echo "{\\"step\\": 2, \\"value\\": $1}" >> "$PILOTUNE_REPORTS"
test "$1" = 3.0 && sleep 60
echo "{\\"value\\": $1, \\"note\\": \\"from a shell\\"}" >> "$PILOTUNE_REPORTS"
"""

SEVERAL = """
def objective(trial):
    x = trial.params["x"]
    return {"loss": x * x, "seconds": (x - 2) ** 2, "seen": x}
"""

CRASHES = """
import os

def objective(trial):
    if trial.params["how"] == "crash once" and trial.attempt == 1:
        os._exit(9)
    if trial.params["how"] == "crash":
        os.abort()
    if trial.params["how"] == "raise":
        raise RuntimeError(f"attempt {trial.attempt}")
    return trial.attempt
"""
CRASHES_STUDY = """
direction: minimize
space: {how: {choice: [crash once, crash, raise]}}
sampler: random
budget: {trials: 3}
trial: {retries: 2}
start_from: {enqueue: [{how: crash once}, {how: crash}, {how: raise}]}
"""


def studies(here: Here) -> None:
    here.study("function", FUNCTION, FUNCTION_STUDY)
    here.study("keywords", KEYWORDS, KEYWORDS_STUDY)
    here.study("inline", KEYWORDS, f"{KEYWORDS_STUDY}\ntrial: {{isolate: false}}\n")
    here.study("unchanged", UNCHANGED, UNCHANGED_STUDY)
    here.study("odd", ODD, ODD_STUDY)
    here.write("script.sh", SCRIPT)
    command = "direction: minimize\nspace: {x: {float: [0.0, 4.0], step: 0.5}}\nsampler: {name: random, seed: 0}\n"
    here.write(
        "file.yaml",
        f"name: file\ncommand: sh {here.folder}/script.sh {{x}}\n{command}budget: {{trials: 2}}\n"
        "pruner: {name: threshold, upper: 1.9}\nstart_from: {enqueue: [{x: 0.5}, {x: 3.0}]}",
    )
    program = "import sys; x = sys.argv[1]; [print('epoch', i, 'loss=' + x) for i in range(3)]"
    here.write(
        "stdout.yaml",
        f"name: stdout\ncommand:\n  run: [{sys.executable}, -c, {program!r}, '{{x}}']\n"
        f"  reports: {{stdout: 'epoch (?P<step>\\d+) loss=(?P<value>\\S+)'}}\n{command}budget: {{trials: 2}}",
    )
    here.study(
        "several",
        SEVERAL,
        "directions: [minimize, minimize]\nmetrics: [loss, seconds]\nspace: {x: {float: [-1.0, 4.0]}}\n"
        "sampler: {name: random, seed: 3}\nbudget: {trials: 6}\nstart_from: {enqueue: [{x: 0.0}, {x: 2.0}, {x: -1.0}]}",
    )
    here.study("crashes", CRASHES, CRASHES_STUDY)


NAMES = ("function", "keywords", "inline", "unchanged", "odd", "file", "stdout", "several", "crashes")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    here = Here(tmp_path_factory.mktemp("kinds"))
    studies(here)
    options = ("--set", "pools.local.workers_per_node=1", "--quiet")
    running = [here.start("run", f"{name}.yaml", *options) for name in NAMES]
    for process in running:
        end_of(process)
    return here


Trials = Mapping[str, list[optuna.trial.FrozenTrial]]


@pytest.fixture(scope="module")
def trials(here: Here) -> Trials:
    found = {name: here.optuna(name).trials for name in NAMES if name != "function"}
    shared = optuna.load_study(study_name="function", storage=f"sqlite:///{here.folder}/shared.db")
    return {**found, "function": shared.trials}


def test_a_function_of_a_trial_reports_and_returns_a_dict_with_more(trials: Trials) -> None:
    assert len(trials["function"]) == 10
    for trial in trials["function"]:
        assert trial.state == TrialState.COMPLETE, trial.user_attrs
        assert trial.intermediate_values == {1: trial.value, 2: trial.value / 2}
        assert trial.user_attrs["cores"] == 1
        assert (Path(trial.user_attrs["pilotune:directory"]) / "checkpoint" / "saved").read_text() == "yes"
    assert len({trial.user_attrs["seed"] for trial in trials["function"]}) == 10


def test_conditions_and_constraints_hold_in_every_trial(trials: Trials) -> None:
    for trial in trials["function"]:
        assert ("only_b" in trial.params) == (trial.params["kind"] == "b")
        assert "epochs" not in trial.params
        if trial.number > 1:
            assert trial.params["x"] + trial.params["y"] <= 1.0


def test_enqueued_points_come_first_and_are_filled_up_by_the_sampler(trials: Trials) -> None:
    assert trials["function"][0].params == {"x": 0.25, "y": 0.125, "kind": "b", "only_b": 3}
    assert trials["function"][1].params["x"] == 0.75


def test_parameters_come_as_arguments_by_name(trials: Trials) -> None:
    for trial in trials["keywords"]:
        assert trial.value == 10 * trial.params["x"]
        assert trial.user_attrs["extra"] == trial.params.get("extra")
    assert {"extra" in trial.params for trial in trials["keywords"]} == {True, False}


def test_each_isolated_trial_has_a_process_of_its_own(trials: Trials) -> None:
    assert len({trial.user_attrs["pid"] for trial in trials["keywords"]}) == 6
    trial = trials["keywords"][0]
    assert (Path(trial.user_attrs["pilotune:directory"]) / "stdout-1.txt").read_text().startswith("parent ")


def test_without_isolation_trials_share_a_process_and_have_the_same_results(trials: Trials) -> None:
    assert len({trial.user_attrs["pid"] for trial in trials["inline"]}) == 1
    assert [(t.params, t.value) for t in trials["inline"]] == [(t.params, t.value) for t in trials["keywords"]]
    trial = trials["inline"][0]
    assert (Path(trial.user_attrs["pilotune:directory"]) / "stdout-1.txt").read_text().startswith("parent ")


def test_an_unchanged_optuna_objective_defines_its_space_and_is_pruned(trials: Trials) -> None:
    kinds = {trial.params["kind"]: trial for trial in trials["unchanged"]}
    assert set(kinds) == {"low", "high"}
    for trial in trials["unchanged"]:
        assert trial.user_attrs["kind was"] == trial.params["kind"]
        if trial.params["kind"] == "low":
            assert trial.state == TrialState.COMPLETE
            assert set(trial.params) == {"kind", "x"}
        else:
            assert trial.state == TrialState.PRUNED
            assert set(trial.params) == {"kind", "n"}
            assert list(trial.intermediate_values) == [0, 1]
            assert details_of(trial)["rung"] == 1
    assert isinstance(kinds["high"].distributions["n"], optuna.distributions.IntDistribution)
    assert kinds["high"].distributions["n"].log


def test_names_of_any_kind_and_choices_that_are_lists_as_in_optuna(here: Here, trials: Trials) -> None:
    first, nul, wide, *others = trials["odd"]
    assert (first.params, first.value) == ({"0": 2, "units": "[16, 8, 1]", "flag": False}, 5.0)
    assert first.params["flag"] is False, "the choice that the enqueued 0 equals"
    assert (nul.state, wide.state) == (TrialState.FAIL, TrialState.FAIL)
    assert "at most 512 characters, no NUL" in nul.user_attrs["pilotune:reason"]
    assert "parameter 'wide': the range from" in wide.user_attrs["pilotune:reason"]
    for trial in others:
        assert (
            trial.value == trial.params["0"] + {"[2, 2]": 2, "[16, 8, 1]": 3, '{"deep": 1}': 1}[trial.params["units"]]
        )
    assert here.json("best", "odd")["best"][0]["params"].keys() == first.params.keys()
    assert "units" in here.run("importance", "odd").stdout
    assert '"[16, 8, 1]"' in here.run("export", "odd").stdout


def test_a_command_reports_through_its_file_and_is_pruned(trials: Trials) -> None:
    good, bad = trials["file"][0], trials["file"][1]
    assert (good.value, good.intermediate_values, good.user_attrs["note"]) == (0.5, {1: 0.5, 2: 0.5}, "from a shell")
    assert bad.state == TrialState.PRUNED
    assert bad.intermediate_values[1] == 3.0


def test_a_command_is_read_by_a_regular_expression_on_its_output(trials: Trials) -> None:
    for trial in trials["stdout"]:
        assert trial.value == trial.params["x"]
        assert trial.intermediate_values == dict.fromkeys(range(3), trial.params["x"])


def test_several_objectives_have_a_front(here: Here, trials: Trials) -> None:
    for trial in trials["several"]:
        x = trial.params["x"]
        assert trial.values == [x * x, (x - 2) ** 2]
        assert trial.user_attrs["seen"] == x
    best = here.json("best", "several")
    front = {row["number"] for row in best["best"]}
    assert best["metrics"] == ["loss", "seconds"]
    assert front == {trial.number for trial in here.optuna("several").best_trials}
    assert {0, 1} <= front
    assert 2 not in front, "x = -1 is worse than x = 0 in both"


def test_crashes_are_retried_as_often_as_allowed(trials: Trials) -> None:
    once, always, raised = trials["crashes"]
    assert (once.value, once.user_attrs["pilotune:attempts"]) == (2.0, 2)
    assert "exited with 9" in details_of(once)["last_crash"]
    assert (always.state, always.user_attrs["pilotune:attempts"]) == (TrialState.FAIL, 3)
    assert "SIGABRT" in always.user_attrs["pilotune:reason"]
    assert (raised.state, raised.user_attrs["pilotune:attempts"]) == (TrialState.FAIL, 1)


def test_a_study_learns_from_another_and_counts_its_own_trials_only(here: Here) -> None:
    here.study(
        "after",
        FUNCTION,
        FUNCTION_STUDY.replace("trials: 10", "trials: 2").replace("storage:", "x-storage:").split("x-storage")[0]
        + "storage: sqlite:///shared.db\nstart_from: {studies: [function]}\n",
    )
    here.run("run", "after.yaml", "--set", "pools.local.workers_per_node=1")
    trials = optuna.load_study(study_name="after", storage=f"sqlite:///{here.folder}/shared.db").trials
    assert sum(trial.state == TrialState.COMPLETE for trial in trials) == 2
    source = optuna.load_study(study_name="function", storage=f"sqlite:///{here.folder}/shared.db").trials
    fits = [trial.params for trial in source if trial.params["x"] + trial.params["y"] <= 1.0]
    assert trials[0].params in fits, "a good point of the earlier study is tried first"
