"""Loads what a regression trains on, what scores it, and the rows by which members of an ensemble are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..grammar import count
from ..pipeline.trial.exceptions import ObjectiveError
from .images import TEST
from .tables import load_numbers

Array = np.ndarray[Any, Any]

DATA: dict[str, Any] = {
    "data": "diabetes",  # or a CSV file
    "target": None,  # of a CSV file, the column with the number; default: the last one
    "size": None,  # of images only
    "score": "validation",  # there is no test part
    "rows": None,  # the most rows to train on; default: all
    "held_out": 0.2,  # the fraction of the rows that is scored, not trained on
    "selection": 0.0,  # the fraction by which members of an ensemble are chosen, not trained on or scored; 0: held out
    "split_seed": 0,  # the same for every trial, so that trials compare
}
"""Which rows are trained on and scored, with defaults."""


@dataclass(frozen=True)
class RegressionParts:
    """The rows of a table, in parts that share none.

    Attributes:
        x: Features to train on (rows, columns).
        y: Their targets (rows,).
        x_held: Features of the rows that score a trial.
        y_held: Their targets.
        x_selection: Features of the rows whose predictions are kept, to choose members of an ensemble by.
        y_selection: Their targets.
    """

    x: Array
    y: Array
    x_held: Array
    y_held: Array
    x_selection: Array
    y_selection: Array


def split_numbers(x: Array, y: Array, held_out: float, selection: float, seed: int) -> RegressionParts:
    """Split the rows of a table at random.

    Args:
        x: The features (rows, columns).
        y: The targets (rows,).
        held_out: The fraction of the rows that score a trial; at least one row does.
        selection: The fraction of the rows to choose members of an ensemble by. With 0 these are the held-out rows.
        seed: Of the split.

    Raises:
        ObjectiveError: There are not two rows to train on.

    Example:
        >>> parts = split_numbers(np.zeros((20, 3)), np.arange(20.0), 0.2, 0.1, 0)
        >>> len(parts.y), len(parts.y_held), len(parts.y_selection)
        (14, 4, 2)
    """
    held, chosen = max(1, round(held_out * len(y))), max(1, round(selection * len(y))) if selection else 0
    if held + chosen > len(y) - 2:
        raise ObjectiveError(
            f"held_out and selection: {held_out} and {selection} of {count(len(y), 'row')} leave fewer than two rows "
            "to train on; they must be lower"
        )
    order = np.random.default_rng(seed).permutation(len(y))
    first, second, rest = order[:held], order[held : held + chosen], order[held + chosen :]
    second = second if chosen else first
    return RegressionParts(x[rest], y[rest], x[first], y[first], x[second], y[second])


def load_regression_parts(settings: Mapping[str, Any]) -> RegressionParts:
    """Load the rows that :data:`DATA` names.

    Args:
        settings: Values for all names in :data:`DATA`.

    Raises:
        ObjectiveError: The data are missing, cannot be used, or are not what a setting is for.
    """
    data = settings["data"]
    if settings["size"] is not None:
        raise ObjectiveError(f"size: {data} is a table; size is of a folder of PNG or JPEG files, leave it out")
    if settings["score"] == TEST:
        raise ObjectiveError(f"{data}: a table has no test part; score: {TEST} needs images")
    x, y = load_numbers(data, settings["target"])
    parts = split_numbers(x, y, settings["held_out"], settings["selection"], settings["split_seed"])
    rows = slice(settings["rows"])
    return replace(parts, x=parts.x[rows], y=parts.y[rows])
