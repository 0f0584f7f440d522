"""``Study.plot``: the plots of ``pilotune plot`` as figures of plotly or matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ...errors import UserError

if TYPE_CHECKING:
    from ..analysis import StudyData

Backend = Literal["plotly", "matplotlib"]


class Plots:
    """The plots of a study, one method for each kind.

    All take the same arguments, as far as they apply:

    * ``metric``: which of several objectives; None: the first.
    * ``parameters``: those to show; empty: those that matter most.
    * ``backend``: ``plotly``, whose figure can be zoomed in a notebook, or ``matplotlib``.

    They return the figure, to be shown, changed and saved. They raise UserError if the study has nothing that the plot
    could show, if it has no such metric or parameter, or if the package is not installed.

    Args:
        read: Reads the study, or only these parts of its trials.

    Example::

        pilotune.open("digits").plot.history()
        pilotune.open("digits").plot.contour(backend="matplotlib").savefig("contour.pdf")
    """

    def __init__(self, read: Callable[[Collection[str] | None], StudyData]):
        self._read = read

    def history(self, *, metric: str | None = None, backend: Backend = "plotly") -> Any:
        """The value of each trial, and the best so far."""
        return self._draw("history", metric, (), backend)

    def pareto(self, *, metric: str | None = None, backend: Backend = "plotly") -> Any:
        """The Pareto front of several objectives."""
        return self._draw("pareto", metric, (), backend)

    def curves(self, *, metric: str | None = None, backend: Backend = "plotly") -> Any:
        """What trials reported, and the rungs at which they were pruned."""
        return self._draw("curves", metric, (), backend)

    def importance(self, *, metric: str | None = None, backend: Backend = "plotly") -> Any:
        """How much each parameter mattered."""
        return self._draw("importance", metric, (), backend)

    def slice(self, *, metric: str | None = None, parameters: Sequence[str] = (), backend: Backend = "plotly") -> Any:
        """The value over each parameter."""
        return self._draw("slice", metric, parameters, backend)

    def parallel(
        self, *, metric: str | None = None, parameters: Sequence[str] = (), backend: Backend = "plotly"
    ) -> Any:
        """A line for each trial across all parameters."""
        return self._draw("parallel", metric, parameters, backend)

    def contour(self, *, metric: str | None = None, parameters: Sequence[str] = (), backend: Backend = "plotly") -> Any:
        """The value over pairs of parameters."""
        return self._draw("contour", metric, parameters, backend)

    def timeline(self, *, metric: str | None = None, backend: Backend = "plotly") -> Any:
        """A row for each worker: waiting, running, pruned, lost."""
        return self._draw("timeline", metric, (), backend)

    def utilization(self, *, metric: str | None = None, backend: Backend = "plotly") -> Any:
        """How many workers there were, and how many were busy."""
        return self._draw("utilization", metric, (), backend)

    def blocks(self, *, metric: str | None = None, backend: Backend = "plotly") -> Any:
        """How long blocks waited in the queue, and how long they ran."""
        return self._draw("blocks", metric, (), backend)

    def cost(self, *, metric: str | None = None, backend: Backend = "plotly") -> Any:
        """The time and the node-hours that the trials took."""
        return self._draw("cost", metric, (), backend)

    def _draw(self, kind: str, metric: str | None, parameters: Sequence[str], backend: str) -> Any:
        from ..analysis.plots import make, needed
        from ..analysis.plots.image import drawn
        from ..analysis.plots.page import draw

        if backend not in ("plotly", "matplotlib"):
            raise UserError(f"must be plotly or matplotlib, but is {backend!r}", key="backend")
        (figure,) = make(self._read(needed([kind], parameters)), [kind], metric, list(parameters))
        if backend == "matplotlib":
            return drawn(figure)
        return draw(figure).update_layout(title=figure.title)
