"""What a plot shows, as plain data: panels with axes and marks, a table of its numbers, and a sentence about it.

Each kind of plot makes a :class:`Figure`, and each drawer (plotly, matplotlib, plotext) draws any figure. So a page, a
picture and an exported file show the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Numbers = npt.NDArray[np.float64]
"""Positions along an axis."""

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE, GREY = "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999"
"""The colours of Okabe and Ito (2008), which people with any kind of colour vision can tell apart, and grey."""

LIGHT_GREY = "#D9D9D9"

STATE_COLOURS = {
    "complete": BLUE,
    "pruned": ORANGE,
    "failed": VERMILLION,
    "running": GREEN,
    "paused": SKY,
    "interrupted": PURPLE,
    "waiting": LIGHT_GREY,
    "lost": PURPLE,
    "went on": SKY,
}
"""State of a trial, or end of an attempt -> colour; the same in every plot."""


LONGEST_LABEL, LONGEST_NAME = 36, 30
"""Characters of an axis's label, and of a name in a legend or of a tick: names may have any length."""


def short(text: str, most: int = LONGEST_LABEL) -> str:
    """A text that fits beside an axis: of a long one the beginning and the end.

    >>> short("learning_rate_of_the_discriminator (maximize)", 30)
    'learning_rate_of_t… (maximize)'
    """
    end = most // 3 + 1
    return text if len(text) <= most else f"{text[: most - end - 1]}…{text[-end:]}"


@dataclass(frozen=True)
class Axis:
    """One axis of a panel.

    Attributes:
        label: What it shows, with its unit.
        log: Its scale is logarithmic.
        ticks: Positions with names, for choices and workers; empty for numbers.
        limits: From where to where it goes; None: as far as the marks do.
        whole: It has whole numbers only.
    """

    label: str
    log: bool = False
    ticks: Sequence[tuple[float, str]] = ()
    limits: tuple[float, float] | None = None
    whole: bool = False


@dataclass(frozen=True)
class Points:
    """A dot for each trial.

    Attributes:
        name: Its name in the legend.
        x, y: Where the dots are.
        colour: Of all dots.
        trials: The number of the trial of each dot.
        scale: A number for each dot that its colour shows instead; None: all have ``colour``.
        scale_label: What that number is.
        large: The dots stand out.
    """

    name: str
    x: Numbers
    y: Numbers
    colour: str = BLUE
    trials: Sequence[int] = ()
    scale: Numbers | None = None
    scale_label: str = ""
    large: bool = False


@dataclass(frozen=True)
class Line:
    """A line; NaN interrupts it, so that many curves may be one line.

    Attributes:
        name: Its name in the legend; empty: it is not in the legend.
        x, y: The points that it joins.
        colour: Its colour.
        steps: It keeps each value up to the next point.
        dashed: It is dashed.
        thin: It is one of many.
        filled: The area below it is filled.
    """

    name: str
    x: Numbers
    y: Numbers
    colour: str = BLUE
    steps: bool = False
    dashed: bool = False
    thin: bool = False
    filled: bool = False


@dataclass(frozen=True)
class Spans:
    """Horizontal bars.

    Attributes:
        name: Their name in the legend.
        row: The height of each bar's middle.
        start, length: Where each begins, and how long it is.
        colour: Of all bars.
        labels: A text for each bar, which a page shows under the pointer.
        thick: Their height, as a share of a row.
    """

    name: str
    row: Numbers
    start: Numbers
    length: Numbers
    colour: str = BLUE
    labels: Sequence[str] = ()
    thick: float = 0.8


@dataclass(frozen=True)
class Field:
    """A smooth surface over two axes, drawn as contours.

    Attributes:
        x, y: The grid.
        z: The value at each point, ``z[row of y][column of x]``; NaN where nothing is known.
        label: What the value is.
        ends: The values at the ends of the scale of colours, which is the same in all panels.
    """

    x: Numbers
    y: Numbers
    z: npt.NDArray[np.float64]
    label: str
    ends: tuple[float, float]


Mark = Points | Line | Spans | Field


@dataclass(frozen=True)
class Panel:
    """Two axes with marks."""

    x: Axis
    y: Axis
    marks: Sequence[Mark]
    title: str = ""


@dataclass(frozen=True)
class Parallel:
    """Parallel axes, and a line across all of them for each trial.

    Attributes:
        axes: What each axis shows; their limits are given.
        lines: The positions, ``lines[trial][axis]``.
        scale: A number for each line, which its colour shows.
        scale_label: What that number is.
        reverse: The smallest numbers are the best, and their lines are on top.
    """

    axes: Sequence[Axis]
    lines: npt.NDArray[np.float64]
    scale: Numbers
    scale_label: str
    reverse: bool = False


@dataclass(frozen=True)
class Figure:
    """One plot of one study.

    Attributes:
        kind: A key of :data:`KINDS`.
        title: What it shows.
        panels: What is drawn.
        make_table: Makes :attr:`table`, which pictures do not need.
        caption: What can be read from it, in one or two sentences. It is also the text for those who cannot see it.
        columns: Panels beside each other.
        main: The few numbers that matter most, as (what, value).
    """

    kind: str
    title: str
    panels: Sequence[Panel | Parallel]
    make_table: Callable[[], pd.DataFrame]
    caption: str
    columns: int = 1
    main: Sequence[tuple[str, Any]] = field(default_factory=tuple)

    @cached_property
    def table(self) -> pd.DataFrame:
        """All its numbers."""
        return self.make_table()


def frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    """A table of these columns. pandas is imported here, since only those who ask for a table need it."""
    import pandas as pd

    return pd.DataFrame(columns)
