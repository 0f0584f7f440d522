"""Plots of a study: what they show as plain data, and drawers for pages, pictures and the terminal.

Example::

    from pilotune.pipeline.analysis import read_study
    from pilotune.pipeline.analysis.plots import make, image

    figures = make(read_study("sqlite:///study.db", "digits"), ["history", "timeline"])
    Path("history.png").write_bytes(image(figures[0], "png"))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..reading import StudyData
from .curves import curves
from .figure import Figure
from .history import history
from .image import image
from .page import page
from .parameters import contour, importance, parallel, slices
from .pareto import pareto
from .spending import blocks, cost
from .text import text
from .times import timeline, utilization
from .trials import DoesNotSuit, NothingToShow, Trials

KINDS: dict[str, Callable[[Trials], Figure]] = {
    "history": history,
    "pareto": pareto,
    "curves": curves,
    "importance": importance,
    "slice": slices,
    "parallel": parallel,
    "contour": contour,
    "timeline": timeline,
    "utilization": utilization,
    "blocks": blocks,
    "cost": cost,
}
"""Kind of plot -> what makes its figure, in the order in which a page shows them."""

_VALUES = frozenset({"standing", "system", "values"})
_TIMES = frozenset({"user", "system"})
NEEDS: dict[str, frozenset[str]] = {
    "history": _VALUES | {"steps"},
    "pareto": _VALUES,
    "curves": _VALUES | {"steps"},
    "importance": _VALUES | {"params"},
    "slice": _VALUES | {"params"},
    "parallel": _VALUES | {"params"},
    "contour": _VALUES | {"params"},
    "timeline": _TIMES,
    "utilization": _TIMES,
    "blocks": frozenset(),
    "cost": _TIMES | {"values"},
}
"""Kind of plot -> the parts of the trials that its figure shows, as :func:`read_study` has them."""


def needed(kinds: Sequence[str], parameters: Sequence[str] = ()) -> frozenset[str] | None:
    """The parts of the trials to read for these kinds of plots; None: all, which all kinds together need.

    Args:
        kinds: Keys of :data:`KINDS`; empty: all that suit the study.
        parameters: The parameters that were asked for, whose names are looked up.

    >>> sorted(needed(["timeline", "blocks"]))
    ['system', 'user']
    """
    if not kinds:
        return None
    return frozenset({"params"} if parameters else ()).union(*(NEEDS[kind] for kind in kinds))


def make(
    data: StudyData,
    kinds: Sequence[str] = (),
    metric: str | None = None,
    parameters: Sequence[str] = (),
    skip: bool = False,
) -> list[Figure]:
    """The figures of a study.

    Args:
        data: The study.
        kinds: Keys of :data:`KINDS`; empty: all that suit the study.
        metric: The objective to show; None: the first.
        parameters: The parameters to show in parallel, slice and contour; empty: those that matter most.
        skip: Leave out kinds that do not suit the study.

    Raises:
        DoesNotSuit: A kind cannot show this study.
        NothingToShow: The study has nothing yet that a kind could show; where kinds are left out, that none could.
        UserError: The study has no such metric or parameter.
    """
    trials = Trials(data, metric, parameters)
    if kinds and not skip:
        return [KINDS[kind](trials) for kind in kinds]
    found = figures_that_suit(trials, kinds)
    if not found:
        raise NothingToShow(f"study {data.name!r} has nothing to plot: {trials.standing()}")
    return found


def figures_that_suit(trials: Trials, kinds: Sequence[str] = ()) -> list[Figure]:
    """The figures of these kinds (none given: of all) that the study has something for."""
    found = []
    for kind in kinds or KINDS:
        try:
            found.append(KINDS[kind](trials))
        except DoesNotSuit:
            continue
    return found


__all__ = [
    "KINDS",
    "NEEDS",
    "DoesNotSuit",
    "Figure",
    "NothingToShow",
    "Trials",
    "figures_that_suit",
    "image",
    "make",
    "needed",
    "page",
    "text",
]
