"""Reads images to classify from a folder: MNIST's IDX files, CIFAR-10's binary files, or one folder for each class.

Every reader returns whole numbers from 0 to 255 as (images, channels, height, width), and classes from 0. The test part
is read only when it is asked for: what an objective scores while it tunes is a share of the training part.

| folder | files |
| --- | --- |
| IDX | ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``; ``t10k-...`` for the test part |
| CIFAR-10 | ``data_batch*.bin``; ``test_batch*.bin`` for the test part: a class, then 3,072 bytes of colours |
| classes | ``train/CLASS/*.png`` (or ``.jpg``, ``.jpeg``); ``test/CLASS/...`` for the test part. Needs Pillow |

Files of the first two kinds may be compressed and end in ``.gz``.
``digits`` instead of a folder means the 1,797 digits of scikit-learn, of which a fifth is the test part.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..pipeline.trial.exceptions import ObjectiveError
from .settings import missing
from .tables import SHIPPED, split_rows

Array = np.ndarray[Any, Any]

DIGITS = "digits"
TRAIN, TEST = "train", "test"
IDX_NAMES = {TRAIN: "train", TEST: "t10k"}
CIFAR_NAMES = {TRAIN: "data_batch*.bin*", TEST: "test_batch*.bin*"}
CIFAR_ROW = 1 + 3 * 32 * 32
CIFAR_CLASSES = 10
PICTURES = (".png", ".jpg", ".jpeg")
DIGITS_TEST_SHARE = 0.2
IDX_BYTES = 0x08
"""The type of IDX files that hold bytes, the only ones read here."""


def load_images(data: str, part: str = TRAIN, size: int | None = None) -> tuple[Array, Array]:
    """Load one part of a data set of images.

    Args:
        data: ``digits``, or a folder as in the module's table, absolute or relative to the study file's folder.
        part: ``train`` or ``test``.
        size: Height and width of the images, for a folder of classes only; others are scaled. None: they have one size.

    Returns:
        Images (n, channels, height, width) as uint8, and their classes (n,) as int64.

    Raises:
        ObjectiveError: The folder or a file is missing, cannot be read, or has other contents; a size is given that
            cannot be; or a package is missing.

    Example:
        >>> x, y = load_images("digits")
        >>> x.shape, len(y)
        ((1438, 1, 8, 8), 1438)
    """
    folder = Path(os.environ.get("PILOTUNE_STUDY_DIR", "."), data)
    if size is not None and (data == DIGITS or _is_binary(folder)):
        raise ObjectiveError(
            f"size: {data} has images of one size; size is of a folder of PNG or JPEG files, leave it out"
        )
    if data == DIGITS:
        return _digits(part)
    if not folder.is_dir():
        names = ", ".join(SHIPPED)
        raise ObjectiveError(
            f"{folder}: there is no such folder; data is a folder of images, a CSV file, or one of {names}"
        )
    if _idx_file(folder, TRAIN, "images") is not None:
        return _idx_part(folder, part)
    if any(folder.glob(CIFAR_NAMES[TRAIN])):
        return _cifar_part(folder, part)
    if (folder / TRAIN).is_dir():
        return _class_folders(folder, part, size)
    raise ObjectiveError(
        f"{folder}: there are no images here; expected are train-images-idx3-ubyte (IDX), data_batch_1.bin (CIFAR-10), "
        "or a folder for each class in train/"
    )


def class_names(data: str) -> list[str]:
    """The names of the classes where ``data`` is a folder of classes, in their order; otherwise none.

    >>> class_names("digits")
    []
    """
    folder = Path(os.environ.get("PILOTUNE_STUDY_DIR", "."), data)
    if data == DIGITS or _is_binary(folder) or not (folder / TRAIN).is_dir():
        return []
    return _folder_names(folder / TRAIN)


def is_images(data: str) -> bool:
    """Whether ``data`` names images, and no table: ``digits``, or what is and looks like no file.

    >>> is_images("digits"), is_images("iris"), is_images("mnist"), is_images("flowers.csv")
    (True, False, True, False)
    """
    path = Path(os.environ.get("PILOTUNE_STUDY_DIR", "."), data)
    return data == DIGITS or path.is_dir() or not (data in SHIPPED or path.is_file() or path.suffix)


def read_idx(file: Path) -> Array:
    """Read an IDX file of bytes, compressed where its name ends in ``.gz``.

    Raises:
        ObjectiveError: The file is missing, cut off, or no such file.
    """
    content = _content(file)
    dimensions = content[3] if len(content) > 3 else 0
    begin = 4 + 4 * dimensions
    if content[:3] != bytes((0, 0, IDX_BYTES)) or len(content) < begin:
        raise ObjectiveError(f"{file}: this is no IDX file of bytes; it must begin with 0, 0, 8")
    shape = tuple(np.frombuffer(content, ">u4", dimensions, 4).tolist())
    found, wanted = len(content) - begin, int(np.prod(shape))
    if found != wanted:
        raise ObjectiveError(f"{file}: the file has {found} bytes of data, but its header promises {wanted}")
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)


def _is_binary(folder: Path) -> bool:
    """Whether the images are in files of IDX or CIFAR-10."""
    return _idx_file(folder, TRAIN, "images") is not None or any(folder.glob(CIFAR_NAMES[TRAIN]))


def _digits(part: str) -> tuple[Array, Array]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise missing("scikit-learn", error) from None
    pixels, classes = load_digits(return_X_y=True)
    rows = split_rows(classes, DIGITS_TEST_SHARE, seed=0)[0 if part == TRAIN else 1]
    images = np.round(pixels[rows] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return images, classes[rows].astype(np.int64)


def _idx_file(folder: Path, part: str, kind: str) -> Path | None:
    """The images or labels of a part, by MNIST's names; None where there are none."""
    name = f"{IDX_NAMES[part]}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


def _idx_part(folder: Path, part: str) -> tuple[Array, Array]:
    arrays = []
    for kind, dimensions in (("images", 3), ("labels", 1)):
        file = _idx_file(folder, part, kind)
        if file is None:
            name = f"{IDX_NAMES[part]}-{kind}-idx{dimensions}-ubyte"
            raise ObjectiveError(f"{folder}: the file {name} (or {name}.gz) is missing; put it there beside the others")
        array = read_idx(file)
        if array.ndim != dimensions:
            raise ObjectiveError(f"{file}: {kind} have {dimensions} dimensions in an IDX file, but these {array.ndim}")
        if not array.size:
            raise ObjectiveError(f"{file}: there are no {kind} in this file")
        arrays.append(array)
    images, labels = arrays
    if len(images) != len(labels):
        raise ObjectiveError(f"{folder}: the {part} part has {len(images)} images, but {len(labels)} labels")
    return images[:, None], labels.astype(np.int64)


def _cifar_part(folder: Path, part: str) -> tuple[Array, Array]:
    files = sorted(folder.glob(CIFAR_NAMES[part]))
    if not files:
        raise ObjectiveError(f"{folder}: the file test_batch.bin is missing; put it there beside the others")
    rows = []
    for file in files:
        content = np.frombuffer(_content(file), np.uint8)
        if not len(content) or len(content) % CIFAR_ROW:
            message = f"must hold {CIFAR_ROW} bytes for each image, but holds {len(content)} bytes in all"
            raise ObjectiveError(f"{file}: a file of CIFAR-10 {message}")
        rows.append(content.reshape(-1, CIFAR_ROW))
        highest = int(rows[-1][:, 0].max())
        if highest >= CIFAR_CLASSES:
            raise ObjectiveError(f"{file}: an image has the class {highest}; CIFAR-10's are 0 to {CIFAR_CLASSES - 1}")
    both = np.concatenate(rows)
    return both[:, 1:].reshape(-1, 3, 32, 32), both[:, 0].astype(np.int64)


def _class_folders(folder: Path, part: str, size: int | None) -> tuple[Array, Array]:
    """The images of a folder for each class. The classes are those of the training part, in order of their names."""
    names = _folder_names(folder / TRAIN)
    if len(names) < 2:
        raise ObjectiveError(f"{folder / TRAIN}: there must be a folder for each of at least two classes here")
    if not (folder / part).is_dir():
        raise ObjectiveError(f"{folder / part}: there is no such folder; it must hold a folder for each class")
    for name in _folder_names(folder / part):
        if name not in names:
            raise ObjectiveError(
                f"{folder / part / name}: {TRAIN}/ has no such class; the classes are {', '.join(names)}"
            )
    files = [(file, place) for place, name in enumerate(names) for file in _pictures(folder / part / name)]
    images = _read_pictures([file for file, _ in files], size)
    return images, np.array([place for _, place in files], np.int64)


def _folder_names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.is_dir())


def _pictures(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.glob("*") if file.suffix.lower() in PICTURES)
    if not found:
        raise ObjectiveError(f"{folder}: there are no images here; they end in {', '.join(PICTURES)}")
    return found


def _read_pictures(files: Iterable[Path], size: int | None) -> Array:
    """The pictures of ``files``, in grey where all are grey, otherwise in colour. Pillow is imported only here."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise missing("pillow", error) from None
    arrays = []
    for file in files:
        try:
            with Image.open(file) as opened:
                picture = opened.convert("L" if opened.mode in ("1", "L", "I;16") else "RGB")
                if size is not None:
                    picture = picture.resize((size, size))
                arrays.append(np.asarray(picture, np.uint8).reshape(picture.height, picture.width, -1))
        except (OSError, ValueError) as error:
            raise ObjectiveError(f"{file}: this image cannot be read ({error})") from None
        if arrays[-1].shape[:2] != arrays[0].shape[:2]:
            height, width = arrays[-1].shape[:2]
            raise ObjectiveError(
                f"{file}: the image has {width} x {height} pixels, and others have "
                f"{arrays[0].shape[1]} x {arrays[0].shape[0]}; give all of them one size, as in size: 32"
            )
    channels = max(array.shape[2] for array in arrays)
    coloured = [np.broadcast_to(array, (*array.shape[:2], channels)) for array in arrays]
    return np.ascontiguousarray(np.stack(coloured).transpose(0, 3, 1, 2))


def _content(file: Path) -> bytes:
    try:
        return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ObjectiveError(f"{file}: this file cannot be read ({error})") from None
