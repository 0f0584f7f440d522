"""Draws figures in the terminal with plotext."""

from __future__ import annotations

import numpy as np

from .figure import LONGEST_NAME, Figure, Line, Panel, Points, short
from .image import need_plots

MARKERS = {"pruned, last report": "·", "complete": "•", "best so far": "*", "dominated": "·", "on the front": "●",
           "breaks a constraint": "x", "running trials": "▒", "workers": "—", "workers that start": "░",
           "all": "—", "pruned": "·", "failed": "x"}  # fmt: skip
SHORTEST, HEIGHT = 40, 16
"""Least columns of a text plot, and its lines."""


def text(figure: Figure, width: int, colour: bool) -> str:
    """The figure as lines of text, its first panel.

    Args:
        figure: What to draw, of dots and lines only.
        width: Columns of the terminal.
        colour: With the terminal's colours.

    Raises:
        UserError: plotext is not installed.
    """
    try:
        import plotext
    except ImportError:
        raise need_plots("plotext") from None
    plotext.clear_figure()
    plotext.theme("pro" if colour else "clear")
    panel = figure.panels[0]
    assert isinstance(panel, Panel)
    names = []
    for mark in panel.marks:
        if isinstance(mark, Points | Line):
            finite = np.isfinite(mark.x) & np.isfinite(mark.y)
            marker = MARKERS.get(mark.name, "•")
            draw = plotext.plot if isinstance(mark, Line) else plotext.scatter
            draw(mark.x[finite].tolist(), mark.y[finite].tolist(), marker=marker)
            names.append(f"{marker} {short(mark.name, LONGEST_NAME)}")
    plotext.title(short(figure.title, max(SHORTEST, width) - 10))
    plotext.xlabel(short(panel.x.label))
    plotext.ylabel(short(panel.y.label, LONGEST_NAME))
    if panel.y.limits is not None:
        plotext.ylim(*panel.y.limits)
    plotext.plotsize(max(SHORTEST, width), HEIGHT)
    drawn = str(plotext.build())
    if not colour:
        drawn = plotext.uncolorize(drawn)
    lines = [line.rstrip() for line in drawn.splitlines()]
    return "\n".join([*lines, "   ".join(name for name in names if len(name) > 2), figure.caption])
