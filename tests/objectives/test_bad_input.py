"""Tables, images and settings that the ready-made objectives cannot use: each is one sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pilotune.objectives import boosting_classifier, functions, sklearn_classifier, svm_classifier
from pilotune.objectives.parts import load_parts
from pilotune.objectives.settings import DATA, KINDS, Kind, check
from pilotune.objectives.tables import split_rows
from pilotune.pipeline.trial.exceptions import ObjectiveError

from ..support.objective_trial import make_trial
from .test_images import idx


def table(*rows: str) -> bytes:
    return "\n".join(("a,b,class", *rows, "")).encode()


ROWS = ["1,2,x", "3,4,y", "5,6,x", "7,8,y"]
TABLES = {
    "empty": (b"", "the file is empty; a CSV file has a header and a row for each example"),
    "header only": (table(), "the file has a header, but no rows"),
    "one column": (b"class\n0\n1\n", "there is one column only (class); a table has at least one column besides"),
    "other separator": (b"a;class\n1;0\n2;1\n", "there is one column only (a;class); a table has at least one column"),
    "one long row": (
        table(*ROWS, "1,2,x,4"),
        "each line must have as many values as the header has columns (Expected 3",
    ),
    "long rows": (table("1,2,x,4", "5,6,y,8"), "each line must have as many values as the header has columns; there"),
    "lines that begin with a number": (table("0,2,x,4", "1,6,y,8"), "each line must have as many values as the header"),
    "short row": (table(*ROWS, "1,2"), "values are missing in class"),
    "binary": (bytes(range(255, 128, -1)), "this is no CSV file; it must be text in UTF-8"),
    "infinity": (table(*ROWS, "inf,1,x"), "values in a are infinite or above 3e38"),
    "above float32": (table(*ROWS, "1,-1e300,x"), "values in b are infinite or above 3e38"),
    "one class": (
        table("1,2,x", "3,4,x"),
        "column 'class': all rows have one class; there must be at least two classes",
    ),
    "one row of a class": (table(*ROWS, "1,2,z"), "column 'class': class z has 1 row; it must have at least 2"),
    "fractions": (
        table("1,2,1", "3,4,1.5"),
        "the column 'class' holds numbers such as 1.5; a class must be text or a whole",
    ),
    "infinite class": (table("1,2,1", "3,4,inf"), "the column 'class' holds numbers such as inf; a class must be text"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_cannot_be_used_is_said_with_its_file(name: str, tmp_path: Path) -> None:
    content, sentence = TABLES[name]
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    with pytest.raises(ObjectiveError, match=re.escape(f"{file}: {sentence}")):
        load_parts({**DATA, "data": str(file)})


def test_a_class_needs_as_many_rows_as_there_are_folds(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(table(*ROWS))
    assert sklearn_classifier.train(str(file), folds=2)["value"] >= 0
    with pytest.raises(ObjectiveError, match="column 'class': class x has 2 rows; it must have at least 3"):
        sklearn_classifier.train(str(file), folds=3)


def write_idx(folder: Path, part: str, images: np.ndarray[Any, Any], labels: list[int]) -> None:
    (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.array(labels)))


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (np.zeros((0, 4, 4)), [], "train-images-idx3-ubyte: there are no images in this file"),
        (np.zeros((2, 0, 4)), [0, 1], "train-images-idx3-ubyte: there are no images in this file"),
        (np.zeros((4, 4, 4)), [3] * 4, ": all rows have one class; there must be at least two classes"),
        (np.zeros((5, 4, 4)), [3, 3, 4, 4, 7], ": class 7 has 1 row; it must have at least 2"),
    ],
)
def test_images_that_cannot_be_told_apart_are_said(
    images: np.ndarray[Any, Any], labels: list[int], sentence: str, tmp_path: Path
) -> None:
    write_idx(tmp_path, "train", images, labels)
    with pytest.raises(ObjectiveError, match=f"^{tmp_path}/?{sentence}"):
        load_parts({**DATA, "data": str(tmp_path)})


def test_images_of_the_test_part_must_be_like_those_of_the_training_part(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", np.zeros((4, 4, 4)), [0, 0, 1, 1])
    write_idx(tmp_path, "t10k", np.zeros((4, 4, 5)), [0, 0, 1, 1])
    with pytest.raises(ObjectiveError, match=r"images of both parts must be alike .* are 1 x 4 x 4 and 1 x 4 x 5"):
        load_parts({**DATA, "data": str(tmp_path), "score": "test"})


def test_a_class_of_cifar_10_is_from_0_to_9(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(b"\xff" * 3073)
    with pytest.raises(ObjectiveError, match=r"data_batch_1\.bin: an image has the class 255; CIFAR-10's are 0 to 9"):
        load_parts({**DATA, "data": str(tmp_path)})


def write_pictures(folder: Path, counts: dict[str, int]) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image.new("L", (4, 4)).save(folder / name / f"{number}.png")


def test_a_class_of_one_image_is_said_with_its_folder(tmp_path: Path) -> None:
    write_pictures(tmp_path, {"train/cat": 2, "train/dog": 1})
    with pytest.raises(ObjectiveError, match=f"{tmp_path}: class dog has 1 row; it must have at least 2"):
        load_parts({**DATA, "data": str(tmp_path)})


def test_a_class_that_only_the_test_part_has_is_said(tmp_path: Path) -> None:
    write_pictures(tmp_path, {"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1, "test/owl": 1})
    with pytest.raises(ObjectiveError, match="test/owl: train/ has no such class; the classes are cat, dog"):
        load_parts({**DATA, "data": str(tmp_path), "score": "test"})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"data": "iris", "target": "x"}, "target: iris has its own classes; .* leave it out"),
        ({"data": "digits", "target": "x"}, "target: digits holds images; .* leave it out"),
        ({"data": "iris", "size": 8}, "size: iris is a table; .* leave it out"),
        ({"data": "digits", "size": 8}, "size: digits has images of one size; .* leave it out"),
        ({"data": "iris", "held_out": 0.999}, "held_out: 0.999 of 150 rows leaves no row to train on"),
    ],
)
def test_a_setting_that_means_nothing_for_the_data_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ObjectiveError, match=sentence):
        load_parts({**DATA, **given})


POSITIVE, NOT_NEGATIVE = "a number above 0", "a number of at least 0"
FROM_0, FROM_1 = (f"a whole number of at least {least}" for least in (0, 1))
SETTINGS: list[tuple[str, list[Any], str]] = [
    ("data", [5, ["iris"], "", True], "text"),
    ("target", [2, 2.5], "text"),
    ("size", ["big", 2.5, 0, -3, True, [8]], FROM_1),
    ("rows", [0, -1, 1e9, "all"], FROM_1),
    ("held_out", ["x", 0, 1, 1.0, -0.1, float("nan"), True], "a number above 0 and below 1"),
    ("split_seed", [-1, "a", 0.5], FROM_0),
    ("every", [0, -1, 2.5], FROM_1),
    ("rounds", [0, 2.5, "9"], FROM_1),
    ("epochs", [0, 1.5], FROM_1),
    ("stages", ["no", 0, 1], "true or false"),
    ("batch_norm", ["yes", 1.0], "true or false"),
    ("lr", [0, -1.0, float("inf"), "fast"], POSITIVE),
    ("dropout", [-0.1, 1.1], "a number of at least 0 and at most 1"),
    ("C", [0, -1, "x"], POSITIVE),
    ("gamma", [-1, "x"], "a number of at least 0, scale or auto"),
    ("degree", [0, 1.5], FROM_1),
    ("learning_rate", [0, -1], POSITIVE),
    ("max_leaf_nodes", [1, 7.0], "a whole number of at least 2"),
    ("max_depth", [0], FROM_1),
    ("max_features", [0, 7], "a number above 0 and at most 1"),
    ("min_samples_leaf", [0, 0.5], FROM_1),
    ("l2_regularization", [-1], NOT_NEGATIVE),
    ("folds", [1, 2.5], "a whole number of at least 2"),
]


@pytest.mark.parametrize(
    ("name", "value", "kind"), [(name, value, kind) for name, bad, kind in SETTINGS for value in bad]
)
def test_a_value_that_a_parameter_does_not_take_is_said_with_what_it_takes(name: str, value: Any, kind: str) -> None:
    with pytest.raises(ObjectiveError) as caught:
        check({name: value}, {})
    assert str(caught.value) == f"{name}: must be {kind}, but is {value!r}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", np.int64(8)),
        ("gamma", "scale"),
        ("gamma", 0),
        ("C", 1),
        ("max_features", 1),
        ("dropout", 0),
        ("rows", None),
    ],
)
def test_a_value_at_a_limit_is_taken(name: str, value: object) -> None:
    check({name: value}, {})


def test_an_objective_says_what_differs() -> None:
    check({"units": 0}, {})
    with pytest.raises(ObjectiveError, match="units: must be a whole number of at least 1, but is 0"):
        check({"units": 0}, {"units": Kind(int, least=1)})
    with pytest.raises(ObjectiveError, match="there is no kernel True; offered are 1, 3"):
        check({"kernel": True}, {"kernel": (1, 3)})


@pytest.mark.parametrize("module", [svm_classifier, boosting_classifier])
def test_every_parameter_is_checked_and_every_default_is_taken(module: Any) -> None:
    known = {**DATA, **module.DEFAULTS}
    assert set(known) - set(KINDS) <= {"kernel"}  # offered by the module
    check(known, {})


def test_the_objectives_check_what_they_are_given(tmp_path: Path) -> None:
    for module, params in ((svm_classifier, {"C": -1}), (boosting_classifier, {"every": 0})):
        with pytest.raises(ObjectiveError, match="must be a"):
            module.train(make_trial(tmp_path, params))
    with pytest.raises(ObjectiveError, match="lr: must be a number above 0, but is 0"):
        functions.learning_curve(make_trial(tmp_path, {"lr": 0}))
    with pytest.raises(ObjectiveError, match="folds: must be a whole number of at least 2, but is 1"):
        sklearn_classifier.train("iris", folds=1)


def test_what_scikit_learn_refuses_is_one_sentence() -> None:
    sentence = r"^max_depth: must be an int in the range .*, but is -2$"
    with pytest.raises(ObjectiveError, match=sentence):
        sklearn_classifier.train("iris", model="forest", max_depth=-2)


def test_one_row_to_train_on_is_enough(tmp_path: Path) -> None:
    for number, module in enumerate((svm_classifier, boosting_classifier)):
        folder = tmp_path / str(number)
        folder.mkdir()
        params = {"data": "iris", "rows": 1, **({"rounds": 2} if module is boosting_classifier else {})}
        assert 0 <= module.train(make_trial(folder, params)) <= 1


def test_a_share_that_leaves_a_row_of_each_class_is_taken() -> None:
    first, second = split_rows(np.repeat([0, 1], [10, 2]), 0.9, seed=0)
    assert (len(first), len(second)) == (2, 10)
