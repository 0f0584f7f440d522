"""The readers of images, on files that the tests write, and the split of what they read."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pilotune.objectives import cnn_classifier
from pilotune.objectives.images import load_images, read_idx
from pilotune.objectives.parts import load_parts
from pilotune.objectives.settings import DATA
from pilotune.pipeline.trial.exceptions import ObjectiveError

from ..support.objective_trial import Script, make_trial

Array = np.ndarray[Any, Any]


def idx(array: Array) -> bytes:
    """The content of an IDX file of bytes."""
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def pictures(count: int, *shape: int) -> tuple[Array, Array]:
    """Images of two classes: dark ones with class 0 and bright ones with class 1."""
    classes = np.arange(count) % 2
    noise = np.random.default_rng(0).integers(0, 60, (count, *shape))
    return (noise + 150 * classes.reshape(-1, *[1] * len(shape))).astype(np.uint8), classes


def write_idx(folder: Path, zipped: bool = False) -> None:
    for part, count in (("train", 40), ("t10k", 10)):
        x, y = pictures(count, 6, 5)
        for name, array in ((f"{part}-images-idx3-ubyte", x), (f"{part}-labels-idx1-ubyte", y)):
            content = gzip.compress(idx(array)) if zipped else idx(array)
            (folder / (name + ".gz" * zipped)).write_bytes(content)


def write_cifar(folder: Path) -> None:
    for name, count in (("data_batch_1", 30), ("data_batch_2", 10), ("test_batch", 10)):
        x, y = pictures(count, 3, 32, 32)
        rows = np.hstack([y[:, None].astype(np.uint8), x.reshape(count, -1)])
        (folder / f"{name}.bin").write_bytes(rows.tobytes())


def write_classes(folder: Path, suffix: str = ".png", mode: str = "RGB") -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for part, count in (("train", 40), ("test", 10)):
        x, y = pictures(count, 6, 5, *([3] if mode == "RGB" else []))
        for number, (pixels, place) in enumerate(zip(x, y, strict=True)):
            target = folder / part / ("dark", "light")[place]
            target.mkdir(parents=True, exist_ok=True)
            image.fromarray(pixels).save(target / f"{number:02}{suffix}")


WRITERS: dict[str, tuple[Callable[[Path], None], tuple[int, ...]]] = {
    "idx": (write_idx, (1, 6, 5)),
    "idx.gz": (lambda folder: write_idx(folder, zipped=True), (1, 6, 5)),
    "cifar": (write_cifar, (3, 32, 32)),
    "png": (write_classes, (3, 6, 5)),
    "grey png": (lambda folder: write_classes(folder, mode="L"), (1, 6, 5)),
    "jpeg": (lambda folder: write_classes(folder, ".JPEG"), (3, 6, 5)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_both_parts_are_read_with_their_classes(kind: str, tmp_path: Path) -> None:
    write, shape = WRITERS[kind]
    write(tmp_path)
    for part, count in (("train", 40), ("test", 10)):
        x, y = load_images(str(tmp_path), part)
        assert (x.shape, x.dtype, y.dtype) == ((count, *shape), np.uint8, np.int64)
        assert np.bincount(y).tolist() == [count // 2, count // 2]
        assert x[y == 0].mean() < 60 < 130 < x[y == 1].mean()


def test_a_png_is_read_pixel_by_pixel(tmp_path: Path) -> None:
    write_classes(tmp_path)
    x, _ = load_images(str(tmp_path))
    expected, classes = pictures(40, 6, 5, 3)
    assert (x == expected[np.argsort(classes, kind="stable")].transpose(0, 3, 1, 2)).all()


def test_images_of_several_sizes_need_one_to_be_scaled_to(tmp_path: Path) -> None:
    write_classes(tmp_path)
    image = pytest.importorskip("PIL.Image")
    image.new("L", (9, 4)).save(tmp_path / "train/dark/99.png")
    with pytest.raises(ObjectiveError, match=r"99\.png: the image has 9 x 4 pixels, and others have 5 x 6; "):
        load_images(str(tmp_path))
    x, _ = load_images(str(tmp_path), size=8)
    assert x.shape == (41, 3, 8, 8)


def test_the_test_part_of_the_digits_has_none_of_the_training_part() -> None:
    (x, _), (x_test, y_test) = (load_images("digits", part) for part in ("train", "test"))
    assert len(x) + len(x_test) == 1797
    assert np.bincount(y_test).min() > 30
    assert x.max() == 255
    assert not {each.tobytes() for each in x} & {each.tobytes() for each in x_test}


def test_a_validation_split_never_reads_the_test_part(tmp_path: Path) -> None:
    write_idx(tmp_path)
    for file in tmp_path.glob("t10k*"):
        file.unlink()
    parts = load_parts({**DATA, "data": str(tmp_path), "held_out": 0.25})
    assert (len(parts.y), len(parts.y_held)) == (30, 10)
    rows = [each.tobytes() for each in (*parts.x, *parts.x_held)]
    assert sorted(rows) == sorted(each.tobytes() for each in load_images(str(tmp_path))[0])


def test_score_test_trains_on_the_whole_training_part(tmp_path: Path) -> None:
    write_idx(tmp_path)
    parts = load_parts({**DATA, "data": str(tmp_path), "score": "test"})
    assert (len(parts.y), len(parts.y_held)) == (40, 10)
    with pytest.raises(ObjectiveError, match="iris: a table has no test part; score: test needs images"):
        load_parts({**DATA, "data": "iris", "score": "test"})


def test_rows_limits_what_is_trained_on_but_not_what_is_scored(tmp_path: Path) -> None:
    write_idx(tmp_path)
    parts = load_parts({**DATA, "data": str(tmp_path), "rows": 12})
    assert (len(parts.y), len(parts.y_held)) == (12, 8)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_convolutional_network_learns_each_kind_of_folder(kind: str, tmp_path: Path) -> None:
    WRITERS[kind][0](tmp_path)
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    params = {"data": str(tmp_path), "epochs": 6, "batch_size": 8, "channels": 2, "lr": 0.03}
    script = Script()
    assert cnn_classifier.train(make_trial(checkpoints, params, script)) == 1.0
    assert [step for step, _ in script.reports] == [1, 2, 3, 4, 5, 6]


def read_both(folder: Path) -> None:
    for part in ("train", "test"):
        load_images(str(folder), part)


def cut_off(folder: Path) -> None:
    file = folder / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-3])


BROKEN: list[tuple[Callable[[Path], None], Callable[[Path], object], str]] = [
    (lambda folder: None, lambda folder: None, "there are no images here; expected are train-images-idx3-ubyte"),
    (write_idx, lambda folder: (folder / "t10k-labels-idx1-ubyte").unlink(), "t10k-labels-idx1-ubyte .* is missing"),
    (write_idx, cut_off, "train-images-idx3-ubyte: the file has 1197 bytes of data, but its header promises 1200"),
    (
        write_idx,
        lambda folder: (folder / "train-images-idx3-ubyte").write_bytes(b"PNG"),
        "this is no IDX file",
    ),
    (
        write_idx,
        lambda folder: (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(3))),
        "the train part has 40 images, but 3 labels",
    ),
    (
        write_idx,
        lambda folder: (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros((40, 2)))),
        "labels have 1 dimensions in an IDX file, but these 2",
    ),
    (write_cifar, lambda folder: (folder / "test_batch.bin").unlink(), "the file test_batch.bin is missing"),
    (
        write_cifar,
        lambda folder: (folder / "data_batch_2.bin").write_bytes(b"123"),
        "data_batch_2.bin: a file of CIFAR-10 must hold 3073 bytes for each image, but holds 3 bytes in all",
    ),
    (
        write_classes,
        lambda folder: (folder / "test/dark/00.png").write_bytes(b"no"),
        "00.png: this image cannot",
    ),
    (write_classes, lambda folder: (folder / "test/light").rename(folder / "light"), "light: there are no images here"),
    (
        lambda folder: (folder / "train/one").mkdir(parents=True),
        lambda folder: None,
        "train: there must be a folder for each of at least two classes here",
    ),
]


@pytest.mark.parametrize(("write", "spoil", "sentence"), BROKEN)
def test_what_is_missing_or_broken_is_said_in_a_sentence(
    write: Callable[[Path], None], spoil: Callable[[Path], object], sentence: str, tmp_path: Path
) -> None:
    write(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ObjectiveError, match=sentence):
        read_both(tmp_path)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PILOTUNE_STUDY_DIR", str(tmp_path))
    with pytest.raises(ObjectiveError, match=f"{tmp_path}/mnist: there is no such folder; data is a folder of images"):
        load_images("mnist")


def test_a_compressed_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    file = tmp_path / "train-labels-idx1-ubyte.gz"
    file.write_bytes(gzip.compress(idx(np.arange(9)))[:-10])
    with pytest.raises(ObjectiveError, match=r"ubyte\.gz: this file cannot be read"):
        read_idx(file)


def test_missing_pillow_is_said_when_a_picture_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dark", "light"):
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(
        ObjectiveError, match=r"the objective needs pillow \(PIL\), not installed .*: pip install pillow"
    ):
        load_images(str(tmp_path))
