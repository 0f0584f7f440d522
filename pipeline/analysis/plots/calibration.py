"""How often an ensemble is right, beside how often it says that it is."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np

from .figure import BLACK, BLUE, ORANGE, Axis, Figure, Line, Mark, Numbers, Panel, Points, frame

COLOURS = (BLUE, ORANGE)


def calibration(
    title: str, curves: Mapping[str, tuple[Numbers, Numbers]], said: str, found: str, caption: str
) -> Figure:
    """A panel with a curve for each predictor, and the diagonal on which a calibrated one lies.

    Args:
        title: What it shows.
        curves: By name, the shares that the predictor said and those that were found, each from 0 to 1.
        said: The label of the first.
        found: The label of the second.
        caption: See :class:`.figure.Figure`.
    """
    ends = np.array([0.0, 1.0])
    marks: list[Mark] = [Line("calibrated", ends, ends, BLACK, dashed=True)]
    for (name, (x, y)), colour in zip(curves.items(), cycle(COLOURS), strict=False):
        marks += [Line(name, x, y, colour), Points("", x, y, colour)]
    axes = (Axis(said, limits=(0.0, 1.0)), Axis(found, limits=(0.0, 1.0)))
    columns = {
        "predictor": np.concatenate([[name] * len(x) for name, (x, _) in curves.items()]),
        "said": np.concatenate([x for x, _ in curves.values()]),
        "found": np.concatenate([y for _, y in curves.values()]),
    }
    return Figure("calibration", title, [Panel(*axes, marks)], lambda: frame(columns), caption)
