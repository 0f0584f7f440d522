"""Study files with any error: they give an error with its place, or a study that can be run."""

from __future__ import annotations

import contextlib
import io
import math
import random
import re
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from pilotune.errors import UserError
from pilotune.pipeline.cli.main import main
from pilotune.pipeline.distributions import contains
from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.studyfile.plan import plan, render_plan
from pilotune.pipeline.studyfile.study_file import StudyFile
from pilotune.pipeline.suggest import make_sampler

from ...support.fuzzing import ENDLESS, as_yaml, fuzzed, mutated, placed, rubbish, scribbled, texts

SPACE = {
    "lr": {"float": [1e-5, 0.1], "log": True},
    "layers": {"int": [1, 4]},
    "units": {"int": [16, 256], "step": 16},
    "optimizer": {"choice": ["sgd", "adamw", None, True]},
    "momentum": {"float": [0.0, 0.9], "step": 0.1, "when": {"optimizer": "sgd"}},
    "deeper": {"choice": [1, 2.5], "when": {"layers": [3, 4], "optimizer": ["sgd", None]}},
    "epochs": 27,
    "sizes": {"constant": [1, 2]},
}
STUDIES: dict[str, dict[str, Any]] = {
    "function": {
        "name": "digits",
        "objective": "train.py:train",
        "direction": "maximize",
        "metrics": ["accuracy"],
        "space": SPACE,
        "constraints": ["layers * units <= 512", "momentum < 0.8 or layers in (1, 2)"],
        "sampler": {"name": "tpe", "seed": 0, "n_startup_trials": 3},
        "pruner": {"name": "hyperband", "min_resource": 1, "max_resource": 27, "reduction_factor": 3},
        "budget": {"trials": 200, "time": "4h", "failures": 20, "target": 0.99},
        "trial": {"timeout": "30m", "retries": 1, "gpus": 1, "cores": 4, "isolate": True, "memory": "2GB"},
        "start_from": {"enqueue": [{"lr": 0.01}, {"layers": 2, "units": 32}], "studies": ["digits-old"]},
        "storage": "sqlite:///digits.db",
    },
    "command": {
        "name": "c",
        "command": {"run": "python train.py --lr {lr} {units}", "reports": {"stdout": "acc=(?P<value>\\S+)"}},
        "directions": ["maximize", "minimize"],
        "metrics": ["accuracy", "seconds"],
        "space": SPACE,
        "sampler": {"name": "nsgaii", "population_size": 10, "crossover": "uniform"},
        "budget": {"time": "01:30:00"},
        "trial": {"nodes": 2, "ranks_per_node": 4, "max_output": "1MiB", "grace": "10s", "expected": 90},
    },
    "grid": {
        "name": "g",
        "objective": "train:train",
        "direction": "min",
        "space": {"a": {"int": [1, 3]}, "b": {"float": [0, 1], "step": 0.25}, "c": {"choice": ["x", "y"]}},
        "sampler": {"name": "grid", "search_space": {"a": [1, 2]}},
        "pruner": {"name": "patient", "patience": 2, "wrapped_pruner": {"name": "median"}},
    },
    "short": {
        "name": "s",
        "objective": "train.py:train",
        "direction": "min",
        "sampler": "random",
        "pruner": "asha",
        "budget": {"trials": 5},
    },
}
LIKELY = st.one_of(
    st.sampled_from(
        (
            "cmaes",
            "gp",
            "qmc",
            "nsgaiii",
            "bruteforce",
            "partial_fixed",
            "threshold",
            "wilcoxon",
            "median",
            "percentile",
            "sgd",
            "lr",
            "1h",
            "2GB",
            "auto",
            "file",
            "a" * 200,
            "0 <= lr",
            "lr",
            "x +",
            "train.py:",
            "nothing.py:f",
            "a..b:f",
            "postgresql://u:secret@h/d",
            "sqlite://",
            "mysql://h/d",
        )
    ),
    st.lists(st.one_of(st.integers(-3, 3), st.floats(-2, 2), st.sampled_from((1e308, -1e308, 5e-324))), max_size=3),
    st.sampled_from(
        (
            {"float": [0, 1]},
            {"int": [0, 10**9]},
            {"choice": []},
            {"float": [5e-324, 1e308], "log": True},
            {"float": [-1.7e308, 1.7e308]},
            {"float": [0, 1], "step": 1e-300},
            {"int": [0, 2**70]},
            {},
        )
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    (folder / "train.py").write_text("def train(trial):\n    return 1.0\n")
    return folder


def written(folder: Path, data: Any) -> Path:
    """Write a study file; ``data`` is its content, or its text."""
    path = folder / "study.yaml"
    if not isinstance(data, str):
        try:
            data = as_yaml(data)
        except (yaml.YAMLError, RecursionError):  # there is no such file
            data = "name: x\n"
    path.write_bytes(data.encode("utf-8", "surrogatepass"))
    return path


def loaded(path: Path, settings: tuple[str, ...] = ()) -> StudyFile | None:
    """The study; None after a readable error with its place."""
    try:
        return load_study_file(path, settings)
    except UserError as error:
        placed(error, path)
        return None


def check_runs(study_file: StudyFile, folder: Path) -> None:
    """Do what a run does with the study before it sends the first trial."""
    shown = render_plan(plan(study_file))
    shown.encode()
    assert "secret" not in study_file.resolved()
    again = folder / "again.yaml"
    again.write_text(study_file.resolved(), encoding="utf-8")
    twin = load_study_file(again)
    for name in ("name", "directions", "metrics", "space", "sampler", "pruner", "budget", "trial", "seed", "objective"):
        assert getattr(twin, name) == getattr(study_file, name), name
    sampler = make_sampler(study_file)
    if study_file.space is not None and study_file.space.size() > 0:
        study = optuna.create_study(directions=study_file.directions, sampler=sampler)
        for params in (study_file.space.suggest(study.ask()), study_file.space.sample(random.Random(1))):
            assert set(params) <= set(study_file.space.names)
            for name, distribution in study_file.space.distributions.items():
                assert name not in params or contains(distribution, params[name]), (params[name], distribution)
        assert isinstance(study_file.space.feasible(params), bool)


@pytest.mark.parametrize("kind", STUDIES)
def test_the_unchanged_studies_are_valid(folder, kind) -> None:
    study_file = loaded(written(folder, STUDIES[kind]))
    assert study_file is not None
    check_runs(study_file, folder)


def with_space(**space: Any) -> dict[str, Any]:
    return {**STUDIES["short"], "space": space}


@example(with_space(x={"float": [0, 1e300], "step": 1e-300}))
@example(with_space(x={"float": [-1.7e308, 1.7e308]}))
@example(with_space(x={"int": [0, 10**400]}))
@example(with_space(x={"int": [0, ENDLESS]}))
@example({**STUDIES["short"], "budget": {"trials": 10**400, "time": 10**400, "target": 10**400}})
@example({**STUDIES["short"], "\x1b[2J\n": 1, "\ud800": 1})
@given(st.sampled_from(list(STUDIES.values())).flatmap(lambda data: mutated(data, LIKELY)))
@fuzzed(120)
def test_changed_study_files(folder, data) -> None:
    study_file = loaded(written(folder, data))
    if study_file is not None:
        check_runs(study_file, folder)


@given(st.sampled_from([as_yaml(data) for data in STUDIES.values()]).flatmap(scribbled))
@fuzzed(80)
def test_study_files_with_editing_errors(folder, text) -> None:
    study_file = loaded(written(folder, text))
    if study_file is not None:
        check_runs(study_file, folder)


@given(st.one_of(rubbish(), st.dictionaries(st.sampled_from([*STUDIES["function"], "comand"]), rubbish(), max_size=5)))
@fuzzed(60)
def test_rubbish_as_a_study_file(folder, data) -> None:
    loaded(written(folder, data))


@given(st.binary(max_size=200))
@fuzzed(40)
def test_bytes_as_a_study_file(folder, data) -> None:
    path = folder / "study.yaml"
    path.write_bytes(data)
    assert loaded(path) is None or b"objective" in data


KEYS = st.sampled_from(
    (
        "budget.trials",
        "space.lr.float",
        "space.lr",
        "sampler",
        "sampler.seed",
        "sampler.name",
        "name",
        "trial.timeout",
        "start_from.enqueue.0.lr",
        "start_from.enqueue.9",
        "constraints.0",
        "a.b.c",
        "space.optimizer.choice.1",
        "pruner.max_resource",
        "metrics.0",
        "",
    )
)
VALUES = st.one_of(
    st.sampled_from(("1", "[1, 2]", "{a: 1}", "1h", "tpe", "!!python/name:os.system", "*a", "'", "[", "")),
    texts(),
    rubbish().map(repr),
)


@given(st.lists(st.one_of(st.builds("{}={}".format, KEYS, VALUES), texts()), min_size=1, max_size=3))
@fuzzed(80)
def test_any_setting(folder, settings) -> None:
    study_file = loaded(written(folder, STUDIES["function"]), tuple(settings))
    if study_file is not None:
        check_runs(study_file, folder)


SENTENCE = re.compile(r"error: (\S+study\.yaml:\d+: .+|--set.*: .+|.*is empty.*)")


@given(
    st.sampled_from(list(STUDIES.values())).flatmap(lambda data: mutated(data, LIKELY, most=1)),
    st.lists(st.builds("{}={}".format, KEYS, VALUES), max_size=1),
)
@fuzzed(40)
def test_the_command_line_ends_with_2_and_a_sentence(folder, data, settings) -> None:
    path = written(folder, data)
    settings = [word.replace("\0", "") for word in settings]  # no command line holds NUL
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["check", str(path), *(word for setting in settings for word in ("--set", setting))])
    err.flush()
    said = err.buffer.getvalue().decode()
    assert code in (0, 2), said
    assert "Traceback" not in said
    if code == 2:
        assert SENTENCE.match(said), said


def test_a_tower_of_conditions_and_a_thousand_parameters_are_no_trouble(folder) -> None:
    tower: dict[str, Any] = {
        f"p{n}": {"int": [0, 3], **({"when": {f"p{n + 1}": 1}} if n < 3000 else {})} for n in range(3001)
    }
    study_file = loaded(written(folder, {**STUDIES["short"], "space": tower}))
    assert study_file is not None
    assert study_file.space.size() < math.inf


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 3000, "- " * 3000, "a:\n" + " b:\n" * 3, "? " * 3000, "&a [*a]"]
)
def test_endless_nesting_is_refused(folder, text) -> None:
    assert loaded(written(folder, text)) is None
    assert loaded(written(folder, STUDIES["short"]), (f"space={text}",)) is None


def test_conditions_that_are_all_entangled_are_counted_in_time(folder) -> None:
    parents = {f"p{n}": {"choice": [0, 1]} for n in range(40)}
    child = {"c": {"int": [1, 2], "when": dict.fromkeys(parents, 1)}}
    study_file = loaded(written(folder, {**STUDIES["short"], "space": {**parents, **child}}))
    assert study_file is not None
    assert 2**40 < study_file.space.size() <= 2**41


def test_groups_of_conditions_are_counted_apart(folder) -> None:
    pairs = {
        f"{kind}{n}": {"int": [0, 2], **({"when": {f"p{n}": [1, 2]}} if kind == "c" else {})}
        for kind in "pc"
        for n in range(30)
    }
    study_file = loaded(written(folder, {**STUDIES["short"], "space": pairs}))
    assert study_file is not None
    assert study_file.space.size() == pytest.approx(7.0**30)
