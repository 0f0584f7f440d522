"""Stored predictions are read as they are, and what is wrong with them is one sentence."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pilotune.errors import UserError
from pilotune.pipeline.ensemble.held import CLASSES, NORMAL, listed, read_predictions

from .catalogs import classes, normals


def stored(folder: Path, trial: int, **arrays: Any) -> Path:
    """A file of a trial with these arrays."""
    file = folder / str(trial) / "held.npz"
    file.parent.mkdir()
    np.savez(file, **arrays)
    return file


def numbers(folder: Path, models: int = 3, outputs: int = 0) -> dict[int, Path]:
    mean, std, y = normals(0, models=models, rows=6, outputs=outputs)
    return {trial: stored(folder, trial, y=y, mean=mean[trial], std=std[trial]) for trial in range(models)}


@pytest.mark.parametrize("outputs", [0, 1, 2])
def test_predictions_of_numbers_are_stacked_by_trial(tmp_path, outputs):
    mean, std, y = normals(0, models=3, rows=6, outputs=outputs)
    found = read_predictions(numbers(tmp_path, outputs=outputs))
    assert (found.kind, found.trials, found.outputs) == (NORMAL, (0, 1, 2), outputs)
    assert np.array_equal(found.mean, mean)
    assert np.array_equal(found.std, std)
    assert np.array_equal(found.rows(np.array([4])).y, y[[4]])


@pytest.mark.parametrize("form", [np.float16, np.float32, np.float64])
def test_probabilities_may_be_stored_with_any_precision(tmp_path, form):
    probabilities, y = classes(0, models=2, rows=6)
    files = {n: stored(tmp_path, n, y=y.astype(np.int8), probabilities=probabilities[n].astype(form)) for n in (0, 1)}
    found = read_predictions(files)
    assert (found.kind, found.form) == (CLASSES, "3 classes")
    assert np.allclose(found.probabilities, probabilities, atol=1e-3)
    assert np.array_equal(found.rows(np.array([1, 3])).probabilities, found.probabilities[:, [1, 3]])


GOOD: dict[str, Any] = {"y": [0.0, 1.0], "mean": [0.0, 1.0], "std": [1.0, 1.0]}
SURE: dict[str, Any] = {"y": [0, 1], "probabilities": [[0.9, 0.1], [0.2, 0.8]]}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": [1.0]}, "has x, and not y, mean and std, or y and probabilities"),
        ({f"k{n}\n": [1.0] for n in range(9)}, "has k0?, k1?, k2?, k3?, k4?, 4 more, and not y"),
        ({"k" * 200: [1.0]}, f"has {'k' * 77}..., and not y"),
        ({**GOOD, "mean": [0.0, 1e101]}, "has 1 value in mean that is beyond 1e+100"),
        ({**GOOD, "std": [1e-101, 1.0]}, "has 1 value in std that is below 1e-100"),
        ({}, "has nothing, and not y, mean and std"),
        ({**GOOD, "mean": [0.0, np.nan]}, "has 1 value in mean that is NaN or infinite"),
        ({**GOOD, "std": [np.inf, np.inf]}, "has 2 values in std that are NaN or infinite"),
        ({**GOOD, "std": [0.0, 1.0]}, "has 1 value in std that is not above 0"),
        ({**GOOD, "std": [1.0]}, "has arrays of unequal shape: y (2,), mean (2,), std (1,)"),
        ({**GOOD, "mean": [["a"], ["b"]]}, "has arrays of unequal shape"),
        ({"y": ["a"], "mean": ["b"], "std": ["c"]}, "has y that are no numbers"),
        ({"y": [], "mean": [], "std": []}, "has arrays of the shape (0,), and not N or N x D"),
        ({**SURE, "y": [0.0, 1.0]}, "has y that are no whole numbers"),
        ({**SURE, "y": [0, 2]}, "has classes from 0 to 2, but probabilities of 2 classes"),
        ({**SURE, "y": [-1, 0]}, "has classes from -1 to 0, but probabilities of 2 classes"),
        ({**SURE, "y": [0]}, "has y of the shape (1,) and probabilities of (2, 2), and not N and N x C"),
        ({**SURE, "probabilities": [[0.9, 0.2], [0.2, 0.8]]}, "negative, or whose sum in a row is not 1"),
        ({**SURE, "probabilities": [[1.1, -0.1], [0.2, 0.8]]}, "negative, or whose sum in a row is not 1"),
        ({**SURE, "probabilities": [[np.nan, 0.1], [0.2, 0.8]]}, "has 1 value in probabilities that is NaN"),
        ({**SURE, "probabilities": [[1, 0], [0, 1]]}, "has probabilities that are no floats"),
        ({"y": np.array([{}]), "mean": [1.0], "std": [1.0]}, "cannot be read (it holds Python objects, which are not"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_trial(tmp_path, arrays, said):
    files = {7: stored(tmp_path, 7, **arrays), 8: stored(tmp_path, 8, **GOOD)}
    with pytest.raises(UserError) as raised:
        read_predictions(files)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("held.npz of trial 7 ")
    assert said in str(raised.value)
    assert str(raised.value).endswith("leave out such trials with --without 7")


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as content:
        for name, each in members.items():
            content.writestr(f"{name}.npy", each)
    return file.getvalue()


def header(shape: str) -> bytes:
    """The beginning of an array's file that says this shape."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape},)}}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


DAMAGED = [
    *(b"", b"PK\x03\x04 no zip", b"\x93NUMPY", b"words", pickle.dumps({"y": [1.0]})),
    *(zipped(y=header(shape)) for shape in ("3", "-1", "open('x', 'w')", "[" * 50)),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_named(tmp_path, content):
    files = numbers(tmp_path)
    files[1].write_bytes(content)
    with pytest.raises(UserError, match=r"held\.npz of trial 1 cannot be read .* with --without 1$"):
        read_predictions(files)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped(y=b"words", mean=b"", std=b""), "has y that is no array of NumPy"),
        (zipped(y=header(str(10**15))), "has arrays for which there is not enough memory"),
    ],
)
def test_a_file_that_somebody_else_has_made_is_named(tmp_path, content, said):
    files = numbers(tmp_path)
    files[1].write_bytes(content)
    with pytest.raises(UserError, match=rf"held\.npz of trial 1 {said}; leave out such trials with --without 1$"):
        read_predictions(files)


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    files = numbers(tmp_path)
    files[1].unlink()
    files[1].mkdir()
    with pytest.raises(UserError, match=r"held\.npz of trial 1 cannot be read \(.*Is a directory"):
        read_predictions(files)


def test_where_no_file_can_be_used_none_is_to_be_left_out(tmp_path):
    files = {trial: stored(tmp_path, trial, y=[], mean=[], std=[]) for trial in range(3)}
    with pytest.raises(UserError) as raised:
        read_predictions(files)
    assert str(raised.value) == (
        "held.npz of trial 0 has arrays of the shape (0,), and not N or N x D, and none of the other 2 can be used "
        "either; correct what the objective writes, and run new trials"
    )


def test_trials_to_leave_out_are_listed_as_ranges():
    assert listed(range(100)) == "0-99"
    assert listed({7, 1, 2, 9, 10, 3}) == "1-3,7,9-10"
    assert listed(range(0, 100, 2)).endswith(",36,38,...")


def test_a_file_that_is_cut_off_or_gone_is_named(tmp_path):
    files = numbers(tmp_path)
    files[2].write_bytes(files[2].read_bytes()[:300])
    files[0].unlink()
    with pytest.raises(UserError, match=r"of trial 0 cannot be read .*2 trials in all.* with --without 0,2$"):
        read_predictions(files)


def test_a_bare_array_is_none_that_savez_writes(tmp_path):
    files = numbers(tmp_path)
    with files[1].open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UserError, match=r"of trial 1 holds one array"):
        read_predictions(files)


def test_the_trial_that_predicts_other_rows_than_most_is_named(tmp_path):
    files = numbers(tmp_path)
    for trial, arrays in ((3, {name: each[:1] for name, each in GOOD.items()}), (4, SURE)):
        files[trial] = stored(tmp_path, trial, **arrays)
    with pytest.raises(UserError) as raised:
        read_predictions(files)
    assert "of trial 3 has 1 row of 1 number, and that of trial 0 6 rows of 1 number" in str(raised.value)
    assert str(raised.value).endswith("--without 3-4")
    mean, std, y = normals(0, models=3, rows=6)
    files = {0: stored(tmp_path / "..", 90, y=y + 1, mean=mean[0], std=std[0]), **{n: files[n] for n in (1, 2)}}
    with pytest.raises(UserError, match=r"of trial 0 has another y than that of trial 1, so it predicts other rows"):
        read_predictions(files)
