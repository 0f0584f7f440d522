"""Loads what a classifier trains on and what is scored: a validation split, so that the test part stays unseen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..pipeline.trial.exceptions import ObjectiveError
from .images import TEST, class_names, is_images, load_images
from .tables import check_classes, load_table, split_rows

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The rows to train on, and those to score.

    Attributes:
        x: Images (rows, channels, height, width) as uint8, or features of a table (rows, columns) as float32.
        y: Classes from 0, int64.
        x_held: The same of the rows to score.
        y_held: Their classes.
    """

    x: Array
    y: Array
    x_held: Array
    y_held: Array

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(max(self.y.max(), self.y_held.max())) + 1

    def flat(self) -> Parts:
        """The same with one row of float32 for each image, from 0 to 1; tables are as they are."""
        if self.x.ndim == 2:
            return self
        x, x_held = (part.reshape(len(part), -1).astype(np.float32) / 255 for part in (self.x, self.x_held))
        return Parts(x, self.y, x_held, self.y_held)


def load_parts(settings: Mapping[str, Any]) -> Parts:
    """Load the rows that :data:`~.settings.DATA` names.

    Args:
        settings: Values for all names in :data:`~.settings.DATA`.

    Raises:
        ObjectiveError: The data are missing, cannot be read, have no test part, or are not what a setting is for.

    Example:
        >>> from pilotune.objectives.settings import DATA
        >>> parts = load_parts(DATA)
        >>> parts.x.shape, parts.x_held.shape
        ((1151, 1, 8, 8), (287, 1, 8, 8))
    """
    data, size = settings["data"], settings["size"]
    images = is_images(data)
    if size is not None and not images:
        raise ObjectiveError(f"size: {data} is a table; size is of a folder of PNG or JPEG files, leave it out")
    least = 1 if settings["score"] == TEST else 2  # a row to train on, and one to score
    x, y = load_images(data, size=size) if images else load_table(data, settings["target"], least)
    if images:
        if settings["target"] is not None:
            raise ObjectiveError(f"target: {data} holds images; target is the column of a CSV file, leave it out")
        check_classes(data, y, class_names(data), least)
    if settings["score"] == TEST:
        if not images:
            raise ObjectiveError(f"{data}: a table has no test part; score: {TEST} needs images")
        rows = np.arange(len(y))
        x_held, y_held = load_images(data, TEST, size)
        if x_held.shape[1:] != x.shape[1:]:
            shapes = " and ".join(" x ".join(map(str, each.shape[1:])) for each in (x, x_held))
            raise ObjectiveError(f"{data}: images of both parts must be alike (channels x height x width are {shapes})")
    else:
        rows, held = split_rows(y, settings["held_out"], settings["split_seed"])
        x_held, y_held = x[held], y[held]
    if settings["rows"] is not None:
        rows = np.random.default_rng(settings["split_seed"]).permutation(rows)[: settings["rows"]]
    return Parts(x[rows], y[rows], x_held, y_held)
