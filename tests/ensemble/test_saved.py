"""A saved ensemble predicts without its study, and says what is wrong with it."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pilotune import ensemble
from pilotune.errors import UserError
from pilotune.pipeline.ensemble.members import How, Member
from pilotune.pipeline.ensemble.saved import save

from ..support.graphs import graph_of

CODE = """\
import numpy as np

import parts  # a file beside this one


def lines(files, params, x):
    slope = float(files["slope.txt"].read_text())
    return parts.line(slope, params["start"], x[:, 0]), np.full(len(x), params["noise"])


def one_array(files, params, x):
    return x[:, 0]


def not_finite(files, params, x):
    return x[:, 0], np.zeros(len(x))


def votes(files, params, x):
    return np.stack([np.full(len(x), params["start"]), np.full(len(x), 1 - params["start"])], axis=1)
"""
PARTS = "def line(slope, start, x):\n    return start + slope * x\n"


def ready(tmp_path: Path, function: str = "lines", kind: str = "normal", outputs: int = 0) -> dict[str, Any]:
    """What :func:`save` takes for an ensemble of two lines, with the files of a study."""
    study = tmp_path / "study"
    members = []
    for trial, weight, slope in ((3, 0.75, 1.0), (8, 0.25, 3.0)):
        home = study / "artifacts" / str(trial)
        home.mkdir(parents=True)
        (home / "slope.txt").write_text(str(slope))
        (home / "held.npz").write_text("is not copied")
        files = {path.name: path for path in home.iterdir()}
        members.append(Member(trial, weight, {"start": 0.5, "noise": 2.0}, files))
    (study / "predict.py").write_text(CODE)
    (study / "parts.py").write_text(PARTS)
    code = {f"code/{name}": study / name for name in ("predict.py", "parts.py")}
    how, about = How(file="code/predict.py", function=function), {"selection": {"loss": "nll"}}
    return {"study": "lines", "kind": kind, "outputs": outputs, "members": members, "how": how, "code": code,
            "about": about}  # fmt: skip


def saved(tmp_path: Path, function: str = "lines", kind: str = "normal", outputs: int = 0) -> Path:
    """An ensemble of two lines, whose study is deleted."""
    (tmp_path / "out").mkdir(exist_ok=True)
    save(tmp_path / "out/best", **ready(tmp_path, function, kind, outputs))
    shutil.rmtree(tmp_path / "study")
    return tmp_path / "out/best"


def test_another_process_predicts_when_the_study_is_gone(tmp_path):
    home = saved(tmp_path)
    program = (
        "import sys, numpy as np\nfrom pilotune import ensemble\n"
        f"found = ensemble.load({str(home)!r}).predict(np.array([[0.0], [1.0]]))\n"
        "print(found.mean, found.aleatoric, found.epistemic)\n"
        "assert 'torch' not in sys.modules and 'optuna' not in sys.modules and 'sqlalchemy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # at 1 the lines are at 1.5 and 3.5, with weights 3/4 and 1/4
    assert done.stdout == "[0.5 2. ] [4. 4.] [0.   0.75]\n"


def test_an_ensemble_says_what_it_is_made_of(tmp_path):
    loaded = ensemble.load(saved(tmp_path))
    assert [member.trial for member in loaded.members] == [3, 8]
    assert loaded.weights.tolist() == [0.75, 0.25]
    assert (loaded.study, loaded.kind, loaded.about["selection"]["loss"]) == ("lines", "normal", "nll")
    assert set(loaded.members[0].files) == {"slope.txt"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["best"]  # nothing half-made is left


def test_columns_of_one_output_are_what_the_study_had(tmp_path):
    loaded = ensemble.load(saved(tmp_path, outputs=1))
    found = loaded.predict(np.zeros((4, 1)))
    assert isinstance(found, ensemble.Prediction)
    assert found.mean.shape == (4, 1)


def test_classes_are_predicted_by_their_mean_probabilities(tmp_path):
    found = ensemble.load(saved(tmp_path, function="votes", kind="classes")).predict(np.zeros((2, 1)))
    assert isinstance(found, ensemble.ClassPrediction)
    assert found.probabilities.tolist() == [[0.5, 0.5]] * 2


GRAPH = "inputs: {x: 2}\ncells: 1\nchoice: [identity, dense(3)]\nskips: 0\noutput: dense(OUT)\n"


@pytest.mark.parametrize(("kind", "out", "shape"), [("normal", 4, (5, 2)), ("normal", 2, (5,)), ("classes", 3, (5, 3))])
def test_networks_of_different_architectures_predict_from_their_weights(tmp_path, kind, out, shape):
    torch = pytest.importorskip("torch")
    from pilotune.architecture import build

    graph = graph_of(GRAPH.replace("OUT", str(out)))
    members = []
    for trial, operation in enumerate(("identity", "dense(3)")):
        params = {"net": graph.to_data(), "net.cell1": operation}
        home = tmp_path / str(trial)
        home.mkdir()
        torch.save(build(params, "net").state_dict(), home / "model.pt")
        members.append(Member(trial, 0.5, params, {"model.pt": home / "model.pt"}))
    save(tmp_path / "best", study="s", kind=kind, outputs=shape[1] if len(shape) > 1 else 0, members=members,
         how=How(graph="net"), code={}, about={})  # fmt: skip
    loaded = ensemble.load(tmp_path / "best")
    found = loaded.predict(np.ones((5, 2)))
    array = found.probabilities if isinstance(found, ensemble.ClassPrediction) else found.mean
    assert array.shape == shape
    assert not np.allclose(found.epistemic, 0)  # the networks differ
    (tmp_path / "best/members/1/model.pt").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"the member of trial 1 in .*: its model\.pt does not hold the weights of its"):
        loaded.predict(np.ones((5, 2)))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("one_array", r"the member of trial 3 in .*: predicts an array of the shape \(2,\), and not the mean and the"),
        ("not_finite", r"the member of trial 3 in .*: predicts numbers that are not finite, or standard deviations"),
        ("nothing", r"predicts by code/predict\.py:nothing: .* has no function 'nothing', only lines"),
    ],
)
def test_a_function_that_cannot_be_used_is_named(tmp_path, function, said):
    with pytest.raises(UserError, match=said):
        ensemble.load(saved(tmp_path, function=function)).predict(np.zeros((2, 1)))


def changed(home: Path, **content: Any) -> None:
    file = home / "ensemble.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **content}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"version": 2}, "has the version 2, but this Pilotune reads version 1"),
        ({"members": []}, "is damaged"),
        ({"members": [{"trial": 1}]}, "is damaged"),
        ({"kind": "else"}, "is damaged"),
        ({"predict": {"unknown": 1}}, "is damaged"),
        ({"predict": []}, "is damaged"),
        ({"predict": {"file": "../predict.py", "function": "f"}}, "is damaged .*outside of the folder"),
        ({"code": ["/etc/passwd"]}, "is damaged .*outside of the folder"),
    ],
)
def test_a_damaged_ensemble_is_said_to_be_so(tmp_path, content, said):
    home = saved(tmp_path)
    changed(home, **content)
    with pytest.raises(UserError, match=rf"ensemble\.json: {said}"):
        ensemble.load(home)


def test_what_is_no_ensemble_is_said_to_be_so(tmp_path):
    with pytest.raises(UserError, match=r"there is no ensemble in .*nowhere: it has no ensemble\.json"):
        ensemble.load(tmp_path / "nowhere")
    home = saved(tmp_path)
    (home / "members/8/slope.txt").unlink()
    with pytest.raises(UserError, match=r"the file .*members/8/slope\.txt of the member of trial 8 is missing"):
        ensemble.load(home)
    (home / "ensemble.json").write_text("{")
    with pytest.raises(UserError, match=r"ensemble\.json: cannot be read"):
        ensemble.load(home)


def test_a_folder_with_files_is_left_as_it_is(tmp_path):
    home = tmp_path / "best"
    home.mkdir()
    (home / "thesis.tex").write_text("mine")
    arguments: dict[str, Any] = {"study": "s", "kind": "normal", "outputs": 0, "how": How(graph="net"), "code": {}}
    with pytest.raises(UserError, match="best holds files already, and an ensemble needs a new folder"):
        save(home, members=[], about={}, **arguments)
    assert (home / "thesis.tex").read_text() == "mine"
    gone = Member(1, 1.0, {}, {"model.pt": tmp_path / "gone.pt"})
    with pytest.raises(UserError, match=r"gone\.pt cannot be copied into the ensemble \(No such file or directory\)"):
        save(tmp_path / "new", members=[gone], about={}, **arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best"]


def test_an_empty_folder_and_a_link_may_be_given(tmp_path, monkeypatch):
    arguments: dict[str, Any] = {"study": "s", "kind": "normal", "outputs": 0, "how": How(module="m"), "code": {}}
    members = [Member(1, 1.0, {}, {})]
    (tmp_path / "link").symlink_to("n" * 250)
    (tmp_path / ("n" * 250)).mkdir()
    save(tmp_path / "link", members=members, about={}, **arguments)
    assert (tmp_path / "link").is_symlink()
    assert ensemble.load(tmp_path / ("n" * 250)).weights.tolist() == [1.0]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UserError, match=r"is the working directory, and an ensemble needs a new folder"):
        save(Path(), members=members, about={}, **arguments)


def files_of(home: Path) -> list[Path]:
    return sorted(path for path in home.rglob("*") if path.is_file())


def test_a_copy_that_ended_too_early_is_refused(tmp_path):
    home = saved(tmp_path)
    files = files_of(home)
    assert len(files) == 5
    for left_out in files:
        half = tmp_path / "half"
        shutil.copytree(home, half)
        (half / left_out.relative_to(home)).unlink()
        with pytest.raises(UserError, match=r"is missing|there is no ensemble"):
            ensemble.load(half)
        if "code" not in left_out.parts:  # code may be changed
            (half / left_out.relative_to(home)).write_bytes(left_out.read_bytes()[:-2])
            with pytest.raises(UserError, match=r"1 byte, and had 3 when the ensemble was|cannot be read"):
                ensemble.load(half)
        shutil.rmtree(half)


def killed(home: Path, arguments: dict[str, Any], step: int) -> bool:
    """Save in a process that is killed before this step in the file system; False where it has no so many."""
    child = os.fork()
    if not child:
        steps = itertools.count()

        def hook(event: str, _: object) -> None:
            if event.startswith(("open", "os.", "shutil.")) and next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        save(home, **arguments)
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def test_a_kill_leaves_a_whole_ensemble_or_none_and_the_next_one_sweeps(tmp_path):
    arguments, out = ready(tmp_path), tmp_path / "out"
    out.mkdir()
    half = step = 0
    while killed(out / "best", arguments, step):
        step += 1
        if (out / "best").exists():
            ensemble.load(out / "best")
            shutil.rmtree(out / "best")
        left = list(out.iterdir())
        assert len(left) <= 1  # what an earlier one has left is gone
        for each in left:
            half += 1
            if not (each / "ensemble.json").exists():
                with pytest.raises(UserError, match="there is no ensemble in"):
                    ensemble.load(each)
    assert half > 20
    assert [path.name for path in out.iterdir()] == ["best"]
    assert ensemble.load(out / "best").predict(np.zeros((2, 1))).mean.tolist() == [0.5, 0.5]


def test_what_others_write_or_have_left_is_not_swept(tmp_path):
    (tmp_path / "out").mkdir()
    child = subprocess.Popen(["true"])
    child.wait()
    host = os.uname().nodename
    running, dead = f"{host}-{os.getppid()}", f"{host}-{child.pid}"
    names = [f".best.{running}.part", ".best.another-host-17.part", ".best.mine.part", f".other.{dead}.part"]
    for name in [*names, f".best.{dead}.part"]:
        (tmp_path / "out" / name).mkdir()
    saved(tmp_path)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*names, "best"])


def test_ensembles_with_files_of_equal_names_and_the_programs_own_stay_apart(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = saved(tmp_path / "a")
    arguments = ready(tmp_path / "b")
    (tmp_path / "b/study/parts.py").write_text("def line(slope, start, x):\n    import more\n    return x + more.add\n")
    (tmp_path / "b/study/more.py").write_text("add = 100\n")
    arguments["code"]["code/more.py"] = tmp_path / "b/study/more.py"
    save(tmp_path / "b/best", **arguments)
    (tmp_path / "parts.py").write_text("mine = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    own, path = importlib.import_module("parts"), list(sys.path)
    one, other = ensemble.load(first), ensemble.load(tmp_path / "b/best")
    for _ in range(2):
        assert one.predict(np.ones((1, 1))).mean.tolist() == [2.0]
        assert other.predict(np.ones((1, 1))).mean.tolist() == [101.0]
    assert sys.modules["parts"] is own
    assert not {"predict", "more"} & set(sys.modules)
    assert sys.path == path
    del sys.modules["parts"]
