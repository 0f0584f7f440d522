"""The arguments of ``pilotune.run``: those of a study file, with the same sentences, and nothing left of a refusal."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pilotune
from pilotune.errors import PilotuneError, UserError
from pilotune.pipeline.api.arguments import absolute_references, plain
from pilotune.pipeline.studyfile.schema import StudySchema

from ..support.cli import alone  # noqa: F401

SPACE = {"x": {"float": [0, 1]}}


def train(x: float) -> float:
    return x


def refusal(*positional: Any, **keywords: Any) -> str:
    """What ``pilotune.run`` says to these arguments, besides a study that would run."""
    given = {"space": SPACE, "direction": "minimize", "budget": {"trials": 1}, **keywords}
    with pytest.raises(PilotuneError) as caught:
        pilotune.run(*(positional or (train,)), **given)
    assert list(Path().iterdir()) == [], "nothing is left of a study that is refused"
    return str(caught.value)


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"spaec": SPACE}, "spaec: unknown key; did you mean 'space'?"),
        ({"n_trials": 10}, "n_trials: unknown key; write `budget: {trials: N}`"),
        ({"budget": {"trails": 5}}, "budget.trails: unknown key; did you mean 'trials'?"),
        ({"budget": {"trials": 0}}, "budget.trials: must be a whole number of at least 1, but is 0"),
        ({"budget": None}, "budget: no stopping condition: set trials, time or target, as in budget: {trials: 100}"),
        ({"direction": None}, "direction: is missing; give minimize or maximize"),
        ({"sampler": "tpee"}, "sampler: there is no sampler 'tpee'; did you mean 'tpe'?"),
        ({"space": {"x": {"flaot": [0, 1]}}}, "space.x"),
        ({"space": {"x": object()}}, "space.x: must be plain data (numbers, text, lists, mappings), but is an object"),
        ({"callbacks": [train]}, "callbacks[0]: must be plain data (numbers, text, lists, mappings), but is train; "),
        ({"callbacks": ["hooks.py:post"]}, "callbacks[0]: there is no file {here}/hooks.py"),
        ({"sampler": "nothing:Sampler"}, "there is no module 'nothing' in {here}"),
        ({"name": "a/b"}, "name: must be 1 to 128 letters"),
        ({"site": "no-such-site"}, "no-such-site"),
        ({"site": 3}, "site: must be a site's name or file, or a list of them, but has an int"),
        ({"site": ["local", "local"]}, "site: site local is given twice; a campaign uses each site once"),
        ({"set": {"budget.trails": 5}}, "--set budget.trails"),
        ({"set": ["budget.trials=5"]}, "set: must be a mapping, as in {'budget.trials': 10}, but is a list"),
        ({"objective": "train.py:train"}, "objective: train() is the objective already; leave this out"),
        ({"direction": "up", "budget": {"trials": "ten"}}, "but is 'ten'"),
    ],
)
def test_a_mistake_is_told_as_in_a_study_file(keywords: dict[str, Any], said: str) -> None:
    found = refusal(**keywords)
    assert said.replace("{here}", str(Path.cwd())) in found
    assert "study.yaml" not in found
    assert "/tmp/pilotune-" not in found


def test_a_function_that_does_not_fit_the_space_is_refused() -> None:
    def two(x: float, y: float) -> float:
        return x + y

    assert refusal(two).startswith("objective: two() needs 'y', which the space does not have (it has 'x')")


def test_all_mistakes_are_told_at_once_without_a_file_that_nobody_wrote() -> None:
    said = refusal(direction="up", budget={"trials": 0}).splitlines()
    assert sorted(line.split(":")[0] for line in said) == ["budget.trials", "direction"]


def test_what_is_no_study_is_refused() -> None:
    assert refusal(5) == "study: must be a study file or a function, but is of the type int"
    assert refusal(None).startswith("pilotune.run needs a study file or a function")


def test_an_argument_that_holds_itself_is_refused() -> None:
    space: dict[str, Any] = {"x": {"float": [0, 1]}}
    space["y"] = space
    assert refusal(space=space) == "space: holds itself, or lists and mappings in too many levels"


def test_a_study_file_is_changed_by_set_only() -> None:
    said = refusal("study.yaml", space=None, direction=None)
    assert said == "budget: the study file says this; change it with set={'budget': ...}, or in the file"
    with pytest.raises(UserError, match="there is no study file"):
        pilotune.run("study.yaml")


def test_every_key_of_a_study_file_is_an_argument() -> None:
    arguments = set(inspect.signature(pilotune.run).parameters)
    assert set(StudySchema.model_fields) - arguments == set()


def test_numpy_and_tuples_become_plain_data() -> None:
    given = {
        "units": np.int64(3),
        "lr": np.float64(0.5),
        "choice": ("a", None),
        "grid": np.array([1, 2]),
        "at": Path("x"),
    }
    found = plain(given, "space")
    assert found == {"units": 3, "lr": 0.5, "choice": ["a", None], "grid": [1, 2], "at": "x"}
    assert {type(value) for value in found.values()} == {int, float, list, str}


def test_files_and_modules_of_the_working_directory_get_absolute_paths(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    given = {"sampler": {"name": "mine:Sampler"}, "callbacks": ["hooks.py:post"], "pruner": "optuna.pruners:Median"}
    assert absolute_references(given, tmp_path) == {
        "sampler": {"name": f"{tmp_path}/mine.py:Sampler"},
        "callbacks": [f"{tmp_path}/hooks.py:post"],
        "pruner": "optuna.pruners:Median",
    }
