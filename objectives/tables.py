"""Loads a table to classify: a CSV file, or one of the data sets that scikit-learn ships."""

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
        if target is not None:
            raise ObjectiveError(
                f"target: {data} has its own classes; target is the column of a CSV file, leave it out"
            )
        try:
            from sklearn import datasets
        except ModuleNotFoundError as error:
            raise missing("scikit-learn", error) from None
        x, y = getattr(datasets, f"load_{data}")(return_X_y=True)
        return x.astype(np.float32), y.astype(np.int64)

    path = Path(os.environ.get("PILOTUNE_STUDY_DIR", "."), data)
    if not path.is_file():
        known = ", ".join(SHIPPED)
        raise ObjectiveError(f"{path}: there is no such CSV file; a data set's name would be one of {known}")
    frame = _read_csv(path)
    column = target if target is not None else str(frame.columns[-1])
    if column not in frame:
        known = ", ".join(map(str, frame.columns))
        raise ObjectiveError(f"{path}: there is no column {column!r}; the columns are {known}")
    gaps = [str(name) for name in frame.columns if frame[name].isna().any()]
    if gaps:
        raise ObjectiveError(f"{path}: values are missing in {', '.join(gaps)}; fill them in or leave those rows out")
    classes, names = _classes(path, frame[column])
    check_classes(f"{path}: column {column!r}", classes, [str(name) for name in names], least)
    return _features(path, frame.drop(columns=column)), classes


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
