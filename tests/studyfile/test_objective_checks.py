"""What is found in an objective's files without importing them: arguments that do not fit, imports that fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.studyfile.imports import import_problems, needed_files

SPACE = "space: {lr: {float: [0.1, 1.0]}, units: {int: [1, 9]}, epochs: 3}\n"


def study(folder: Path, space: str = SPACE, objective: str = "train.py:train", **files: str) -> Path:
    """A study file beside an objective's files, by path without ``.py``."""
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    path = folder / "study.yaml"
    path.write_text(f"name: s\nobjective: {objective}\ndirection: minimize\nbudget: {{trials: 1}}\n{space}")
    return path


ARGUMENTS = [
    ("def train(lr, unit, epochs): ...", "train.py:2: train() needs 'unit', which the space does not have (it has "
     "'lr', 'units', 'epochs'); add it to the space, give it a default, or take one argument, the trial"),
    ("def train(lr, units): ...", "train.py:2: train() does not take 'epochs', which the space has; add it"),
    ("def train(rate): ...", "train.py:2: train() takes 'rate', which the space does not have (it has 'lr', "),
    ("def train(lr): ...", "train.py:2: train() does not take 'units', 'epochs', which the space has"),
    ("def train(): ...", "train.py:2: train() takes no argument for the trial; write `def train(trial)`"),
    ("def train(trial, data): ...", "train.py:2: train() needs 'trial', 'data'; an objective takes one argument"),
    ("def train(lr, units, epochs, *, data): ...", "train.py:2: train() needs 'data', which the space does not have"),
    ("def train(lr, units, epochs, /): ...", "train.py:2: train() takes 'lr', 'units', 'epochs' by position only"),
    ("async def train(trial): ...", "train in train.py:2 is an async function"),
    ("class train:\n    def __call__(self, lr): ...", "train.py:3: train.__call__() does not take 'units', 'epochs'"),
    ("class train:\n    def __call__(self): ...", "train.py:3: train.__call__() takes no argument for the trial"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "words"), ARGUMENTS, ids=[code for code, _ in ARGUMENTS])
def test_arguments_that_do_not_fit_the_space_are_refused_at_their_line(tmp_path: Path, code: str, words: str) -> None:
    for objective, name in (("train.py:train", "train"), ("train:train", "train"), ("pkg.train:train", "pkg/train")):
        path = study(tmp_path, objective=objective, **{name: f'"""Doc."""\n{code}\n', "pkg/__init__": ""})
        with pytest.raises(UserError) as caught:
            load_study_file(path)
        assert words in str(caught.value)


FITTING = [
    "def train(trial): ...",
    "def train(t): ...",
    "def train(trial, data=None): ...",
    "def train(lr, units, epochs): ...",
    "def train(lr, units, epochs, data=None): ...",
    "def train(lr, **rest): ...",
    "def train(**params): ...",
    "def train(lr, trial): ...",
    "def train(*args): ...",
    "def train(units, *, epochs, lr=0.1): ...",
    "def train(a, b): ...\ndef train(trial): ...",
    "import functools\n@functools.cache\ndef train(nothing, at, all): ...",
    "def other(lr): ...\ntrain = other",
    "try:\n    from x import train\nexcept ImportError:\n    def train(at_all): ...",
    "class train:\n    def __call__(self, trial): ...",
    "from math import *",
    "if True:\n    def train(lr, unit): ...",
    "class train:\n    def __call__(self, lr, units, epochs): ...",
]


@pytest.mark.parametrize("code", FITTING)
def test_arguments_that_fit_or_that_only_an_import_could_tell_are_accepted(tmp_path: Path, code: str) -> None:
    assert load_study_file(study(tmp_path, train=code)).objective.function == "train"


def test_without_a_space_the_objective_takes_the_trial(tmp_path: Path) -> None:
    load_study_file(study(tmp_path, space="", train="def train(trial): ..."))
    with pytest.raises(UserError, match=r"train\.py:1: train\(\) needs 'lr', 'units'; an objective takes one argument"):
        load_study_file(study(tmp_path, space="", train="def train(lr, units): ..."))


SETTINGS = [
    ("space.lrr=0.1", "--set space.lrr: there is no parameter 'lrr'; did you mean 'lr'?"),
    ("space.unit=4", "--set space.unit: there is no parameter 'unit'; did you mean 'units'?"),
    ("space.depth.int=[1, 4]", "--set space.depth.int: there is no parameter 'depth'; known are lr, units, epochs"),
    ("space.Epochs=4", "--set space.Epochs: there is no parameter 'Epochs'; did you mean 'epochs'?"),
]


@pytest.mark.parametrize(("setting", "words"), SETTINGS)
def test_set_of_a_parameter_that_does_not_exist_adds_none(tmp_path: Path, setting: str, words: str) -> None:
    path = study(tmp_path, train="def train(trial): ...")
    with pytest.raises(UserError) as caught:
        load_study_file(path, [setting])
    assert str(caught.value) == words


def test_set_may_change_parameters_and_add_whole_ones(tmp_path: Path) -> None:
    path = study(tmp_path, train="def train(trial): ...")
    file = load_study_file(
        path, ["space.lr=0.5", "space.depth={int: [1, 4]}", "space.depth.int=[1, 5]", "space.seed=1"]
    )
    assert file.space is not None
    assert file.space.names == ["units", "depth", "lr", "epochs", "seed"]


IMPORTS = [
    ("import torchh\n", "train.py:1: imports 'torchh', which is neither installed in "),
    ("import os\nfrom sklearnn.svm import SVC\n", "train.py:2: imports 'sklearnn', which is neither installed"),
    ("from . import data\n", "train.py:1: a relative import needs a package: name the objective as a module"),
    ("import broken\n", "broken.py:2: is not valid Python: "),
    ("import good, needs\n", "needs.py:1: imports 'nothing_of_this', which is neither installed"),
    (
        "from good import lod\n",
        "train.py:1: imports 'lod' from good.py, which does not define it; did you mean 'load'?",
    ),
    ("import pack.missing\n", "train.py:1: imports 'pack.missing', which does not exist"),
    ("from pack import inner, nobody\n", "train.py:1: imports 'nobody' from __init__.py, which does not define it"),
    ("from pack.inner import gone\n", "train.py:1: imports 'gone' from inner.py, which does not define it"),
]

FILES = {
    "broken": "x = 1\ndef f(:\n",
    "good": "import json\ndef load(): ...\nfor index in range(3): ...\n",
    "needs": "import nothing_of_this\n",
    "pack/__init__": "from .inner import value\n",
    "pack/inner": "value = 1\n",
}


@pytest.mark.parametrize(("code", "words"), IMPORTS, ids=[code for code, _ in IMPORTS])
def test_an_import_that_fails_is_found_without_executing_anything(tmp_path: Path, code: str, words: str) -> None:
    path = study(tmp_path, train=f"{code}def train(trial): ...\nraise SystemExit('executed')\n", **FILES)
    problems = import_problems(load_study_file(path).objective)
    assert [words in str(problem.error) for problem in problems] == [True], problems
    assert problems[0].installed == ("neither installed" in words)


FINE = [
    "import os.path, collections.abc, xml.etree.ElementTree\n",
    "from __future__ import annotations\nimport numpy as np\nimport optuna.distributions\n",
    "import pilotune\nfrom pilotune import Trial, FixedTrial\n",
    "try:\n    import torchh\nexcept ImportError:\n    torchh = None\n",
    "def helper():\n    import torchh\n",
    "import sys\nif False:\n    import torchh\n",
    "import sys\nsys.path.insert(0, '/somewhere')\nimport my_library\n",
    "import sys, os\nROOT = '/x'\nif ROOT not in sys.path:\n    sys.path.append(ROOT)\nimport my_library\n",
    "import site\nsite.addsitedir('/somewhere')\nimport my_library\n",
    "from good import load, index, json\nfrom pack import value, inner\nfrom pack.inner import value as v\n",
    "from good import *\n",
    "import train\n",
]


@pytest.mark.parametrize("code", FINE)
def test_imports_that_work_or_may_work_are_not_reported(tmp_path: Path, code: str) -> None:
    path = study(tmp_path, train=f"{code}def train(trial): ...\n", **FILES)
    assert import_problems(load_study_file(path).objective) == []


def test_a_module_in_a_package_may_have_relative_imports(tmp_path: Path) -> None:
    files = {
        "lab/__init__": "",
        "lab/data": "def load(): ...\n",
        "lab/train": "from .data import load\nfrom . import data\n",
    }
    files["lab/train"] += "def train(trial): ...\n"
    path = study(tmp_path, objective="lab.train:train", **files)
    assert import_problems(load_study_file(path).objective) == []
    study(
        tmp_path,
        objective="lab.train:train",
        **{**files, "lab/train": "from ..data import load\ndef train(trial): ..."},
    )
    (problem,) = import_problems(load_study_file(path).objective)
    assert "a relative import needs a package" in str(problem.error)
    study(
        tmp_path, objective="lab.train:train", **{**files, "lab/train": "from .dat import load\ndef train(trial): ..."}
    )
    (problem,) = import_problems(load_study_file(path).objective)
    assert "imports 'lab.dat', which does not exist" in str(problem.error)


def test_commands_and_ready_made_objectives_have_no_imports_to_check(tmp_path: Path) -> None:
    path = study(tmp_path, space="space: {x: {float: [-5.0, 10.0]}, y: {float: [0.0, 15.0]}}\n", objective="branin")
    assert import_problems(load_study_file(path).objective) == []
    path.write_text(
        "name: s\ncommand: 'true {x}'\ndirection: minimize\nbudget: {trials: 1}\nspace: {x: {int: [0, 1]}}\n"
    )
    assert import_problems(load_study_file(path).objective) == []


def test_what_objective_args_give_is_no_longer_needed_and_a_methods_self_neither(tmp_path: Path) -> None:
    space = SPACE + "objective_args: {data: 3}\n"
    load_study_file(study(tmp_path, space=space, train="def train(trial, data): ..."))
    load_study_file(study(tmp_path, space=space, train="def train(lr, units, epochs, data): ..."))
    with pytest.raises(UserError, match=r"train\.py:1: train\(\) needs 'more', which the space does not have"):
        load_study_file(study(tmp_path, space=space, train="def train(lr, units, epochs, data, more): ..."))
    code = "class Net:\n    def __init__(self, data): ...\n    def train(self, lr, units%s): ...\n"
    load_study_file(study(tmp_path, space, "train.py:Net.train", train=code % ", epochs"))
    with pytest.raises(UserError, match=r"train\.py:3: Net\.train\(\) does not take 'epochs'"):
        load_study_file(study(tmp_path, space, "train.py:Net.train", train=code % ""))


def test_packages_of_a_module_are_read_as_python_imports_them(tmp_path: Path) -> None:
    files = {"lab/__init__": "from .dat import load\n", "lab/train": "def train(trial): ...\n"}
    path = study(tmp_path, objective="lab.train:train", **files)
    (problem,) = import_problems(load_study_file(path).objective)
    assert "lab/__init__.py:1: imports 'lab.dat', which does not exist" in str(problem.error)
    path = study(tmp_path, train="import lab.train\ndef train(trial): ...\n", **files)
    (problem,) = import_problems(load_study_file(path).objective)
    assert "imports 'lab.dat', which does not exist" in str(problem.error)


def test_needed_files_are_those_that_are_imported_anywhere(tmp_path: Path) -> None:
    train = (
        "import sys\nsys.path.append('.')\ndef train(trial):\n    import late\nif True:\n    from lab.deep import x\n"
    )
    path = study(tmp_path, train=train, late="import nothing_of_this", **{"lab/__init__": "", "lab/deep": "x = 1\n"},
                 unused="")  # fmt: skip
    found = needed_files(load_study_file(path).objective)
    assert sorted(str(each.relative_to(tmp_path)) for each in found) == [
        "lab/__init__.py",
        "lab/deep.py",
        "late.py",
        "train.py",
    ]
