"""Loads a table of classes or numbers: a CSV file, or one of the data sets that scikit-learn ships."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..grammar import count
from ..pipeline.trial.exceptions import ObjectiveError
from .settings import missing

SHIPPED = ("breast_cancer", "digits", "iris", "wine")
"""Data sets with classes that scikit-learn ships."""

NUMBERS = ("diabetes",)
"""Those with a number as target."""

LARGEST = float(np.finfo(np.float32).max)

Array = np.ndarray[Any, Any]


def load_table(data: str, target: str | None = None, least: int = 1) -> tuple[Array, Array]:
    """Load the features and the classes of a table.

    Args:
        data: One of :data:`SHIPPED` (needs scikit-learn), or the path of a CSV file with a header, absolute or relative
            to the study file's folder.
        target: The column of a CSV file that holds the class (default: the last one). Text or whole numbers.
        least: How many rows each class must have.

    Returns:
        Features (rows, columns) as float32, where a column of text or categories becomes one column of 0 and 1 per
        value; and classes (rows,) as int64 from 0, in sorted order of their names.

    Raises:
        ObjectiveError: There is no such file or column, it is no table with features and classes, a value is missing
            or infinite, a class has fewer rows than ``least``, or a target is given for one of :data:`SHIPPED`.
    """
    if data in SHIPPED:
        x, y = _shipped(data, target, "classes")
        return x.astype(np.float32), y.astype(np.int64)

    path, frame, column = _frame(data, target, SHIPPED)
    classes, names = _classes(path, frame[column])
    check_classes(f"{path}: column {column!r}", classes, [str(name) for name in names], least)
    return _features(path, frame.drop(columns=column)), classes


def load_numbers(data: str, target: str | None = None) -> tuple[Array, Array]:
    """Load the features and the targets of a table whose target is a number.

    Args:
        data: ``diabetes`` (needs scikit-learn), or the path of a CSV file, as for :func:`load_table`.
        target: The column of a CSV file that holds the number (default: the last one).

    Returns:
        Features (rows, columns) as float32, as :func:`load_table` gives them; and targets (rows,) as float64.

    Raises:
        ObjectiveError: There is no such file or column, it is no table with features and numbers, a value is missing or
            infinite, all targets are equal, or a target is given for ``diabetes``.
    """
    if data in NUMBERS:
        x, y = _shipped(data, target, "targets")
        return x.astype(np.float32), y.astype(np.float64)
    path, frame, column = _frame(data, target, NUMBERS)
    where = f"{path}: the column {column!r}"
    if not pd.api.types.is_numeric_dtype(frame[column]) or pd.api.types.is_bool_dtype(frame[column]):
        raise ObjectiveError(
            f"{where} holds {str(frame[column].iloc[0])!r}, which is no number; target names the column with the number"
        )
    y = frame[column].to_numpy(np.float64)
    if not np.isfinite(y).all() or np.abs(y).max() > LARGEST:
        raise ObjectiveError(f"{where} holds values that are infinite or above 3e38; leave those rows out")
    if y.min() == y.max():
        raise ObjectiveError(f"{where} holds {y[0]:g} only; there must be at least two different numbers")
    return _features(path, frame.drop(columns=column)), y


def _shipped(data: str, target: str | None, noun: str) -> tuple[Array, Array]:
    """A data set of scikit-learn as it is."""
    if target is not None:
        raise ObjectiveError(f"target: {data} has its own {noun}; target is the column of a CSV file, leave it out")
    try:
        from sklearn import datasets
    except ModuleNotFoundError as error:
        raise missing("scikit-learn", error) from None
    x, y = getattr(datasets, f"load_{data}")(return_X_y=True)
    return x, y


def _frame(data: str, target: str | None, shipped: Sequence[str]) -> tuple[Path, pd.DataFrame, str]:
    """The file of a table, what it holds, without gaps, and the name of its target's column."""
    path = Path(os.environ.get("PILOTUNE_STUDY_DIR", "."), data)
    if not path.is_file():
        known = ", ".join(shipped)
        raise ObjectiveError(f"{path}: there is no such CSV file; a data set's name would be one of {known}")
    frame = _read_csv(path)
    column = target if target is not None else str(frame.columns[-1])
    if column not in frame:
        known = ", ".join(map(str, frame.columns))
        raise ObjectiveError(f"{path}: there is no column {column!r}; the columns are {known}")
    gaps = [str(name) for name in frame.columns if frame[name].isna().any()]
    if gaps:
        raise ObjectiveError(f"{path}: values are missing in {', '.join(gaps)}; fill them in or leave those rows out")
    return path, frame, column


def check_classes(where: str, classes: Array, names: Sequence[str], least: int) -> None:
    """Check that there is something to tell apart, and enough of it.

    Args:
        where: The file, for a message.
        classes: The class of each row.
        names: The name of each class; without any, their numbers are their names.
        least: How many rows each class must have.

    Raises:
        ObjectiveError: There is one class only, or a class has fewer rows.

    Example:
        >>> check_classes("t.csv", np.array([0, 0, 1]), ["cat", "dog"], 2)
        Traceback (most recent call last):
        ...
        pilotune.pipeline.trial.exceptions.ObjectiveError: t.csv: class dog has 1 row; it must have at least 2
    """
    found, rows = np.unique(classes, return_counts=True)
    if len(found) < 2:
        raise ObjectiveError(f"{where}: all rows have one class; there must be at least two classes")
    place = int(rows.argmin())
    if rows[place] < least:
        name = names[found[place]] if names else found[place]
        raise ObjectiveError(
            f"{where}: class {name} has {count(int(rows[place]), 'row')}; it must have at least {least}"
        )


def _read_csv(path: Path) -> pd.DataFrame:
    """The table in a CSV file, with at least two columns and a row."""
    too_long = f"{path}: each line must have as many values as the header has columns"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, index_col=False)  # otherwise values without a column would become an index
    except pd.errors.ParserWarning:
        raise ObjectiveError(f"{too_long}; there are lines with more") from None
    except pd.errors.EmptyDataError:
        raise ObjectiveError(f"{path}: the file is empty; a CSV file has a header and a row for each example") from None
    except UnicodeDecodeError:
        raise ObjectiveError(f"{path}: this is no CSV file; it must be text in UTF-8") from None
    except pd.errors.ParserError as error:
        reason = str(error).split("C error: ")[-1].strip()
        raise ObjectiveError(f"{too_long} ({reason})") from None
    except (OSError, ValueError) as error:
        raise ObjectiveError(f"{path}: this file cannot be read ({error})") from None
    if len(frame.columns) < 2:
        names = ", ".join(map(str, frame.columns))
        raise ObjectiveError(
            f"{path}: there is one column only ({names}); a table has at least one column besides the class, and "
            "commas between the values"
        )
    if not len(frame):
        raise ObjectiveError(f"{path}: the file has a header, but no rows")
    return frame


def _classes(path: Path, column: pd.Series[Any]) -> tuple[Array, Sequence[Any]]:
    """The classes in a column, from 0, and their names."""
    if pd.api.types.is_float_dtype(column):
        fractions = column[column % 1 != 0]  # infinity is no whole number either
        if len(fractions):
            raise ObjectiveError(
                f"{path}: the column {column.name!r} holds numbers such as {fractions.iloc[0]:g}; a class must be text "
                "or a whole number, and target names the column with the class"
            )
    classes, names = pd.factorize(column, sort=True)
    return classes.astype(np.int64), list(names)


def _features(path: Path, columns: pd.DataFrame) -> Array:
    """The features as numbers, all of them finite."""
    encoded = pd.get_dummies(columns)
    with np.errstate(over="ignore"):
        features = encoded.to_numpy(np.float32)
    places = np.flatnonzero(~np.isfinite(features).all(axis=0))
    if len(places):
        names = ", ".join(str(encoded.columns[int(place)]) for place in places)
        raise ObjectiveError(
            f"{path}: values in {names} are infinite or above 3e38; replace them or leave those rows out"
        )
    return features


def split_rows(classes: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Split the rows at random, by class.

    Args:
        classes: The class of each row.
        share: The fraction of each class that goes into the second part, between 0 and 1; at least one row does, and
            at least one does not.
        seed: Of the split.

    Returns:
        The row numbers of the first part, and those of the second.

    Raises:
        ObjectiveError: A class has fewer than two rows, or the share leaves no row for the first part.
    """
    if round(share * len(classes)) >= len(classes):
        amount = count(len(classes), "row")
        raise ObjectiveError(f"held_out: {share} of {amount} leaves no row to train on; it must be lower")
    rng = np.random.default_rng(seed)
    first, second = [], []
    for name in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == name))
        if len(rows) < 2:
            raise ObjectiveError(f"class {name} has one row only; a split needs two of each class")
        held = min(max(1, round(share * len(rows))), len(rows) - 1)
        first.append(rows[held:])
        second.append(rows[:held])
    return np.concatenate(first), np.concatenate(second)
