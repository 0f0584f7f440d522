"""Functions on their way to workers: by the name of their file, or by value; what cannot be sent is named."""

from __future__ import annotations

import importlib
import sqlite3
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.api import shipping
from pilotune.pipeline.api.shipping import MODULE, own_folders, shipment
from pilotune.pipeline.user_code.importing import ImportProblem, import_code, make_callable
from pilotune.pipeline.user_code.shipped import load_shipped


def arrive(objective: Callable[..., Any], folder: Path) -> Any:
    """Send an objective into a folder, and load it there as a worker does."""
    sent = shipment(objective)
    for name, content in sent.files.items():
        (folder / name).write_bytes(content)
    file, _, function = sent.reference.rpartition(":")
    sys.modules.pop(Path(file).stem, None)
    return make_callable(import_code(str(folder / file), "", str(folder)), file, function, {})


def test_a_function_of_a_file_is_named_and_not_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shipped_train.py").write_text("def train(trial): return 7\nclass Model:\n    def fit(self, t): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("shipped_train")
    assert shipment(module.train).reference == f"{tmp_path}/shipped_train.py:train"
    assert shipment(module.train).files == {}
    assert shipment(module.Model.fit).reference == f"{tmp_path}/shipped_train.py:Model.fit"


def test_a_function_of_a_package_is_imported_from_where_this_process_found_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "project" / "shipped_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "train.py").write_text("from . import __name__ as name\ndef train(trial): return name\n")
    monkeypatch.syspath_prepend(tmp_path / "project")
    train = importlib.import_module("shipped_package.train").train
    assert shipment(train).reference == f"{MODULE}:train"
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each != str(tmp_path / "project")])
    monkeypatch.setattr(shipping, "own_folders", lambda: [str(tmp_path / "project")])
    monkeypatch.delitem(sys.modules, "shipped_package.train")
    assert arrive(train, tmp_path)(None) == "shipped_package"


def test_what_a_function_uses_arrives_with_it(tmp_path: Path) -> None:
    factor, offsets = 3, {"a": 1}

    def scaled(x: float) -> float:
        return factor * x + offsets["a"]

    def objective(x: float) -> float:
        return scaled(x)

    assert arrive(objective, tmp_path)(2) == 7
    assert "# def objective(x: float)" in (tmp_path / MODULE).read_text()


@pytest.mark.parametrize(
    "objective",
    [lambda x: x + 1, partial(lambda x, y: x + y, y=1), type("Adder", (), {"__call__": lambda s, x: x + 1})()],
)
def test_lambdas_partials_and_instances_arrive(objective: Callable[[int], int], tmp_path: Path) -> None:
    assert arrive(objective, tmp_path)(1) == 2


@pytest.mark.parametrize(
    ("captured", "reason"),
    [
        (threading.Lock(), "cannot pickle '_thread.lock' object"),
        ((n for n in range(3)), "cannot pickle 'generator' object"),
        (sqlite3.connect(":memory:"), "cannot pickle 'sqlite3.Connection' object"),
    ],
)
def test_what_cannot_be_pickled_is_named(captured: Any, reason: str) -> None:
    def helper() -> Any:
        return captured

    def objective(x: float) -> Any:
        return helper()

    with pytest.raises(UserError) as caught:
        shipment(objective)
    said = f"objective: objective() uses captured, which cannot be sent to workers ({reason})"
    assert str(caught.value) == f"{said}; create it inside the function"


def test_an_open_file_is_refused_although_cloudpickle_would_copy_it(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("1")
    with (tmp_path / "data").open() as opened, pytest.raises(UserError, match="uses opened, which is an open file"):
        shipment(lambda x: opened.read())


def test_too_much_data_is_refused_and_named() -> None:
    images, small = bytes(11_000_000), 3
    with pytest.raises(UserError) as caught:
        shipment(lambda x: len(images) + small)
    assert "the lambda uses images, which takes more than 10 MB, and at most 10 MB are sent with a function" in str(
        caught.value
    )
    first, second = bytearray(6_000_000), bytearray(6_000_001)
    with pytest.raises(UserError, match=r"uses second, which takes 6\.0 MB"):
        shipment(lambda x: len(first) + len(second))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file, args: args.update(python=(3, 9)), "was sent from Python 3.9, and this worker runs Python 3."),
        (lambda file, args: file.write_bytes(b"other"), "is not the one that was sent; run the study again"),
        (lambda file, args: file.chmod(0o666), "another user could have written the objective"),
        (lambda file, args: file.unlink(), "cannot be read on this node: No such file"),
    ],
)
def test_a_worker_refuses_what_is_not_as_it_was_sent(
    change: Callable[[Path, dict[str, Any]], None], said: str, tmp_path: Path
) -> None:
    import hashlib

    file = tmp_path / "objective.pickle"
    file.write_bytes(shipping.pickled(lambda x: x))
    args = {"digest": hashlib.sha256(file.read_bytes()).hexdigest(), "python": sys.version_info[:2]}
    assert load_shipped(file, **args)(3) == 3
    change(file, args)
    with pytest.raises(ImportProblem, match=said.replace(".", r"\.")):
        load_shipped(file, **args)


def test_workers_search_modules_where_this_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("/no/such/folder")
    folders = own_folders()
    assert folders[0] == str(tmp_path)
    assert not [each for each in folders if "site-packages" in each or each == "/no/such/folder"]
