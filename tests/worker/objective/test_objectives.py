"""Finding and calling objectives, and reading their results."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap

import numpy as np
import optuna
import pytest

from pilotune.pipeline.trial.distributions import categorical_distribution, float_distribution, int_distribution
from pilotune.pipeline.trial.protocol import ObjectiveSpec
from pilotune.pipeline.worker.objective.call import signature_problem
from pilotune.pipeline.worker.objective.result import ValueProblem, read_result
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.trial_driver import make_spec

OBJECTIVE = """
    import os
    import random
    import sys

    import numpy as np
    import helper
    from pilotune import Resources

    def keywords(x, kind="none", momentum=None, *, epochs):
        return {"value": x, "kind": kind, "momentum": momentum, "epochs": epochs}

    def keywords_and_trial(x, trial, kind="none", momentum=0.5, epochs=1):
        trial.set_user_attr("momentum", momentum)
        return x + trial.number

    def everything(**params):
        return {"value": params["x"], "got": sorted(params)}

    def unknown(x, rate):
        return x

    def misses(x):
        return x

    def nothing():
        return 1.0

    def seeded(trial):
        return {"value": 0.0, "random": random.random(), "numpy": float(np.random.random())}

    def surroundings(trial):
        names = ("PILOTUNE_TRIAL", "PILOTUNE_SEED", "PILOTUNE_CHECKPOINT_DIR", "OMP_NUM_THREADS")
        assert trial.resources == Resources(cores=3, gpus=0, nodes=1)
        return {"value": helper.VALUE, "cwd": os.getcwd(), **{name: os.environ.get(name) for name in names}}

    def rubbish(trial):
        return {"none": None, "nan": float("nan"), "text": "0.5", "pair": (1.0, 2.0), "true": True}[trial.params["x"]]

    constant = 3
"""


@pytest.fixture
def objective(tmp_path):
    (tmp_path / "helper.py").write_text("VALUE = 4.5\n")
    path = tmp_path / "objective.py"
    path.write_text(textwrap.dedent(OBJECTIVE))
    return lambda function: ObjectiveSpec(file=str(path), function=function, folder=str(tmp_path))


SPACE = {"params": {"x": 2.0, "epochs": 9}, "space_names": ["x", "kind", "momentum", "epochs"]}


def test_keywords_take_values_and_inactive_ones_their_default(tmp_path, objective):
    outcome = run_attempt(make_spec(tmp_path, objective("keywords"), **SPACE))
    assert outcome["values"] == [2.0]
    assert outcome["user_attrs"] == {"kind": "none", "momentum": None, "epochs": 9}


def test_keywords_can_take_the_trial_too(tmp_path, objective):
    outcome = run_attempt(make_spec(tmp_path, objective("keywords_and_trial"), **SPACE))
    assert (outcome["values"], outcome["user_attrs"]) == ([9.0], {"momentum": 0.5})


def test_any_keywords_take_all_active_ones(tmp_path, objective):
    assert run_attempt(make_spec(tmp_path, objective("everything"), **SPACE))["user_attrs"] == {"got": ["epochs", "x"]}


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("unknown", "unknown() needs 'rate', which the space does not have"),
        ("misses", "misses() does not take 'kind', 'momentum', 'epochs', which the space has"),
        ("nothing", "nothing() takes no argument for the trial"),
        ("constant", "'constant' in "),
        ("absent", "has no function 'absent', only everything, keywords, "),
    ],
)
def test_an_objective_that_cannot_be_called_is_a_sentence(tmp_path, objective, function, words):
    outcome = run_attempt(make_spec(tmp_path, objective(function), **SPACE))
    assert outcome["failure"] == "setup"
    assert words in outcome["reason"]
    assert outcome["traceback"] == ""


def annotated(given: optuna.Trial) -> float:
    return 0.0


def annotated_by_text(given: "pilotune.Trial") -> float:  # type: ignore[name-defined]  # noqa: F821, UP037
    return 0.0


@pytest.mark.parametrize(
    ("function", "names", "fits"),
    [
        (lambda trial: 0, ["lr"], True),
        (lambda t, more=1: 0, ["lr"], True),
        (lambda t, more: 0, ["lr"], False),
        (lambda _: 0, ["lr"], True),
        (lambda my_trial: 0, ["lr"], True),
        (lambda x: 0, ["lr"], False),
        (lambda x=1: 0, ["lr"], False),
        (lambda x: 0, [], True),
        (annotated, ["lr"], True),
        (annotated_by_text, ["lr"], True),
        (lambda lr: 0, ["lr"], True),
        (lambda lr, /: 0, ["lr"], False),
        (lambda *, lr, trial: 0, ["lr"], True),
        (lambda lr, trial: 0, ["lr", "units"], True),
        (lambda *args: 0, ["lr"], True),
        (lambda **params: 0, ["lr"], True),
        (lambda **params: 0, [], False),
    ],
)
def test_signatures(function, names, fits):
    assert (signature_problem(function, names) == "") is fits


@pytest.mark.parametrize("isolate", [True, False])
def test_generators_are_seeded_by_the_trial_alone(tmp_path, objective, isolate):
    def drawn(number, seed):
        spec = make_spec(tmp_path, objective("seeded"), number=number, seed=seed, isolate=isolate)
        return run_attempt(spec)["user_attrs"]

    assert drawn(1, 5) == drawn(2, 5)
    assert drawn(3, 5) != drawn(4, 6)


def test_an_attempt_finds_its_folder_and_environment(tmp_path, objective, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    outcome = run_attempt(make_spec(tmp_path, objective("surroundings"), cores=3))
    folder = tmp_path / "trials" / "7"
    assert outcome["values"] == [4.5]
    assert outcome["user_attrs"] == {
        "cwd": str(folder / "work-1"),
        "PILOTUNE_TRIAL": "7",
        "PILOTUNE_SEED": "11",
        "PILOTUNE_CHECKPOINT_DIR": str(folder / "checkpoint-1"),
        "OMP_NUM_THREADS": "3",
    }


def test_a_missing_module_is_a_sentence_and_one_that_the_objective_misses_a_traceback(tmp_path):
    spec = make_spec(tmp_path, ObjectiveSpec(module="nowhere.train", function="f"))
    outcome = run_attempt(spec)
    assert (outcome["failure"], outcome["traceback"]) == ("setup", "")
    assert "there is no module 'nowhere.train'" in outcome["reason"]
    (tmp_path / "needy.py").write_text("import nowhere_at_all\n")
    outcome = run_attempt(make_spec(tmp_path, ObjectiveSpec(module="needy", function="f", folder=str(tmp_path))))
    assert outcome["failure"] == "setup"
    sentence = "the objective cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'"
    assert outcome["reason"] == sentence
    assert "needy.py" in outcome["traceback"]


def test_a_missing_file_is_a_sentence(tmp_path):
    outcome = run_attempt(make_spec(tmp_path, ObjectiveSpec(file=str(tmp_path / "gone.py"), function="f")))
    assert outcome["reason"] == f"there is no file {tmp_path / 'gone.py'} on this node"


def test_a_file_named_like_a_module_of_python_s_is_the_user_s(tmp_path):
    (tmp_path / "signal.py").write_text("def f(trial):\n    return 8\n")
    spec = make_spec(tmp_path, ObjectiveSpec(file=str(tmp_path / "signal.py"), function="f"))
    assert run_attempt(spec)["values"] == [8.0]


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("none", "the objective returned None; does it return a value on every path?"),
        ("nan", "the objective's value is nan, not a finite number"),
        ("text", "the objective's value is '0.5' (str), not a number"),
        ("pair", "the objective returned 2 values where the study has one direction"),
        ("true", "the objective's value is True (bool), not a number"),
    ],
)
def test_rubbish_values_fail_the_trial_with_a_sentence(tmp_path, objective, returned, words):
    outcome = run_attempt(make_spec(tmp_path, objective("rubbish"), params={"x": returned}))
    assert (outcome["kind"], outcome["failure"], outcome["reason"]) == ("failed", "value", words)


@pytest.mark.parametrize(
    ("returned", "n", "values"),
    [
        (1, 1, [1.0]),
        (np.float32(0.5), 1, [0.5]),
        (np.array(0.5), 1, [0.5]),
        (np.array([0.5, 2]), 2, [0.5, 2.0]),
        ([3], 1, [3.0]),
        ({"value": 2}, 1, [2.0]),
        ({"values": (1, 2)}, 2, [1.0, 2.0]),
        ({"acc": 1, "sec": 2, "note": "n"}, 2, [1.0, 2.0]),
    ],
)
def test_values_that_are_read(returned, n, values):
    assert read_result(returned, n, ["acc", "sec"][:n]).values == values


@pytest.mark.parametrize("returned", [math.inf, "1", b"1", {}, {"other": 1}, object(), 1j, [None], [[1]], np.True_, ()])
def test_values_that_are_refused(returned):
    with pytest.raises(ValueProblem):
        read_result(returned, 1)


def test_what_a_dict_holds_besides_is_kept_in_json_s_terms():
    result = read_result({"value": 1, "n": np.int64(3), "shape": (1, 2), "model": {1: object}}, 1)
    assert result.user_attrs["n"] == 3
    assert result.user_attrs["shape"] == [1, 2]
    assert json.dumps(result.user_attrs)


def test_distributions_are_written_as_optuna_writes_them():
    from optuna import distributions as theirs

    pairs = [
        (float_distribution(0, 1, None, False), theirs.FloatDistribution(0, 1)),
        (float_distribution(1e-5, 1, None, True), theirs.FloatDistribution(1e-5, 1, log=True)),
        (float_distribution(0, 1, 0.3, False), theirs.FloatDistribution(0, 0.9, step=0.3)),
        (float_distribution(0.1, 0.3, 0.1, False), theirs.FloatDistribution(0.1, 0.3, step=0.1)),
        (int_distribution(1, 10, 4, False), theirs.IntDistribution(1, 9, step=4)),
        (int_distribution(1, 8, 1, True), theirs.IntDistribution(1, 8, log=True)),
        (categorical_distribution(["a", None, 1, True]), theirs.CategoricalDistribution(("a", None, 1, True))),
    ]
    for ours, expected in pairs:
        assert ours == theirs.distribution_to_json(expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: float_distribution(1, 0, None, False),
        lambda: float_distribution(math.nan, 1, None, False),
        lambda: float_distribution(0, 1, None, True),
        lambda: float_distribution(1, 2, 0.1, True),
        lambda: float_distribution(0, 1, 0, False),
        lambda: int_distribution(0, 4, 1, True),
        lambda: int_distribution(1, 4, 2, True),
        lambda: categorical_distribution([]),
        lambda: categorical_distribution([object()]),
    ],
)
def test_ranges_that_optuna_refuses_are_refused(make):
    with pytest.raises(ValueError, match=r"."):
        make()


def test_importing_pilotune_imports_nothing_heavy():
    script = "import pilotune, pilotune.pipeline.worker.run_attempt, sys; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"optuna", "parsl", "sqlalchemy", "pandas", "scipy", "torch", "numpy", "zmq", "yaml", "pydantic", "click"}
    assert heavy.isdisjoint(names)
    assert "pilotune.pipeline.worker.process.forked" not in names
