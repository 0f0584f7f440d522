"""Loads a table to classify: a CSV file, or one of the data sets that scikit-learn ships."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..pipeline.trial.exceptions import ObjectiveError
from .settings import missing

SHIPPED = ("breast_cancer", "digits", "iris", "wine")


def load_table(data: str, target: str | None = None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Load the features and the classes of a table.

    Args:
        data: One of :data:`SHIPPED` (needs scikit-learn), or the path of a CSV file with a header, absolute or relative
            to the study file's folder.
        target: The column of a CSV file that holds the class (default: the last one).

    Returns:
        Features (rows, columns) as float32, where a column of text or categories becomes one column of 0 and 1 per
        value; and classes (rows,) as int64 from 0, in sorted order of their names.

    Raises:
        ObjectiveError: There is no such file or column, or a value is missing.
    """
    if data in SHIPPED:
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
    frame = pd.read_csv(path)
    column = target if target is not None else str(frame.columns[-1])
    if column not in frame:
        known = ", ".join(map(str, frame.columns))
        raise ObjectiveError(f"{path}: there is no column {column!r}; the columns are {known}")
    gaps = [str(name) for name in frame.columns if frame[name].isna().any()]
    if gaps:
        raise ObjectiveError(f"{path}: values are missing in {', '.join(gaps)}; fill them in or leave those rows out")
    features = pd.get_dummies(frame.drop(columns=column)).to_numpy(np.float32)
    classes, _ = pd.factorize(frame[column], sort=True)
    return features, classes.astype(np.int64)


def split_rows(
    classes: np.ndarray[Any, Any], share: float, seed: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Split the rows at random, by class.

    Args:
        classes: The class of each row.
        share: The fraction of each class that goes into the second part, 0..1; at least one row does.
        seed: Of the split.

    Returns:
        The row numbers of the first part, and those of the second.

    Raises:
        ObjectiveError: A class has fewer than two rows.
    """
    rng = np.random.default_rng(seed)
    first, second = [], []
    for name in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == name))
        if len(rows) < 2:
            raise ObjectiveError(f"class {name} has one row only; a split needs two of each class")
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        first.append(rows[count:])
        second.append(rows[:count])
    return np.concatenate(first), np.concatenate(second)
