"""Draws figures with matplotlib, as PNG, SVG or PDF. No display and no browser is needed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from ....errors import UserError
from .figure import (
    GREY,
    LONGEST_LABEL,
    LONGEST_NAME,
    Axis,
    Field,
    Figure,
    Line,
    Mark,
    Panel,
    Parallel,
    Points,
    Spans,
    short,
)

RASTERIZED = 1000
"""From so many dots, bars or points of thin lines on, they are stored as a picture inside an SVG or PDF."""

STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "path.simplify": True,
    "agg.path.chunksize": 500,  # a path of all lines takes much longer than its parts
}
OPTIONS: dict[str, Any] = {
    "png": {"pil_kwargs": {"compress_level": 1}},
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
}
"""How a form is written. A PNG of many dots gets a twentieth smaller with the highest compression, in five times the
time."""

FEW = 8
"""Of a field with fewer rows or columns than that, each is a choice."""

NAME_WIDTH = 22
"""Characters of a tick's name."""

TITLE = 10
"""Characters of a title for each inch of width."""

BESIDE = 24
"""Characters of an axis's label where panels are beside each other."""


def need_plots(package: str) -> UserError:
    """The error for a drawing package that is not installed."""
    return UserError(f"plots need {package}, which is not installed: pip install 'pilotune[plots]'")


def image(figure: Figure, form: str, *, bare: bool = False, raster: float = 150.0) -> bytes:
    """The figure as a file.

    Args:
        figure: What to draw.
        form: ``png``, ``svg`` or ``pdf``.
        bare: Without the title and the text below, for a page that has both beside it.
        raster: Dots per inch of a PNG, and of what is stored as a picture in the other forms.

    Raises:
        UserError: matplotlib is not installed.
    """
    canvas, buffer = drawn(figure, bare=bare), BytesIO()
    import matplotlib

    with matplotlib.rc_context(STYLE):
        canvas.get_layout_engine().execute(canvas)
        canvas.set_layout_engine(None)  # with one, saving draws the figure twice
        canvas.savefig(buffer, format=form, dpi=raster, **OPTIONS.get(form, {}))
        return buffer.getvalue()


def drawn(figure: Figure, *, bare: bool = False) -> Any:
    """The figure as matplotlib's. Arguments and errors are those of :func:`image`."""
    try:
        import matplotlib
    except ImportError:
        raise need_plots("matplotlib") from None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(STYLE):
        columns = min(figure.columns, len(figure.panels))
        lines = -(-len(figure.panels) // columns)
        tall = max((_height(panel) for panel in figure.panels), default=3.0)
        width, height = (8.0 if columns == 1 else max(8.0, 3.4 * columns)), lines * (tall if columns == 1 else 2.9)
        canvas = Canvas(figsize=(width, height + (0.0 if bare else 0.9)), layout="constrained")
        FigureCanvasAgg(canvas)
        for place, panel in enumerate(figure.panels):
            axes = canvas.add_subplot(lines, columns, place + 1)
            if isinstance(panel, Parallel):
                _draw_parallel(canvas, axes, panel)
            else:
                _draw(canvas, axes, panel)
                if place % columns and _same_height(panel, figure.panels[place - 1]):
                    axes.set_ylabel("")
                    axes.tick_params(axis="y", labelleft=False)
        if not bare:
            canvas.suptitle("\n".join(textwrap.wrap(_plain(figure.title), round(TITLE * width))), fontsize=11)
            canvas.supxlabel(
                "\n".join(textwrap.wrap(_plain(figure.caption), round(14.5 * width))), fontsize=8, color="#444444"
            )
    return canvas


def _same_height(panel: Panel, left: Panel | Parallel) -> bool:
    """Whether the panel to the left of this one has the same vertical axis, whose numbers need not be there again.

    Without limits of its own, an axis goes as far as its dots.
    """
    if not isinstance(left, Panel) or panel.y != left.y:
        return False
    if panel.y.limits is not None:
        return True
    ends = [[(mark.y.min(), mark.y.max()) if isinstance(mark, Points) and len(mark.y) else None for mark in each.marks]
            for each in (left, panel)]  # fmt: skip
    return ends[0] == ends[1] and None not in ends[0]


def _height(panel: Panel | Parallel) -> float:
    """Inches of a panel: more where rows have names."""
    named = len(panel.y.ticks) if isinstance(panel, Panel) else 0
    return max(3.0, 0.6 + 0.2 * named)


def _draw(canvas: Any, axes: Any, panel: Panel) -> None:
    for axis, side in ((panel.x, "x"), (panel.y, "y")):
        _set_axis(axes, axis, side)
    for mark in panel.marks:
        _MARKS[type(mark)](canvas, axes, mark)
    for axis, side in ((panel.x, "x"), (panel.y, "y")):
        if axis.limits is not None:
            getattr(axes, f"set_{side}lim")(*axis.limits)
    if panel.title:
        axes.set_title(_plain(panel.title))
    names = {mark.name for mark in panel.marks if not isinstance(mark, Field) and mark.name}
    if len(names) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2, markerscale=1.5, ncols=4)


def _set_axis(axes: Any, axis: Axis, side: str) -> None:
    getattr(axes, f"set_{side}label")(_label(axis.label, BESIDE if axes.get_gridspec().ncols > 1 else LONGEST_LABEL))
    if axis.log:
        from matplotlib.ticker import LogFormatter

        getattr(axes, f"set_{side}scale")("log")
        for kind in ("major", "minor"):  # not as formulas, which take long to set
            getattr(getattr(axes, f"{side}axis"), f"set_{kind}_formatter")(LogFormatter())
    if axis.ticks:
        getattr(axes, f"set_{side}ticks")([at for at, _ in axis.ticks], [_cut(name) for _, name in axis.ticks])
        if side == "x" and sum(len(_cut(name)) for _, name in axis.ticks) > 30:
            axes.tick_params(axis="x", labelrotation=30)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
    elif not axis.log:
        from matplotlib.ticker import MaxNLocator

        getattr(axes, f"{side}axis").set_major_locator(MaxNLocator(6, integer=axis.whole))


def _cut(name: str) -> str:
    """A name that fits beside an axis."""
    return _plain(short(name, NAME_WIDTH))


def _label(text: str, most: int = LONGEST_LABEL) -> str:
    """The label of an axis or of a scale of colours."""
    return _plain(short(text, most))


def _named(name: str) -> str:
    """A name in a legend."""
    return _plain(short(name, LONGEST_NAME))


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(_plain(text), width))


def _plain(text: str) -> str:
    """A text that matplotlib draws as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def _points(canvas: Any, axes: Any, mark: Points) -> None:
    many = len(mark.x) >= RASTERIZED
    size = 26.0 if mark.large else 14.0 if len(mark.x) < 300 else 6.0 if not many else 3.0
    look: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": many, "alpha": 1.0 if mark.large else 0.7}
    if mark.scale is None:
        axes.scatter(mark.x, mark.y, color=mark.colour, label=_named(mark.name), zorder=3, **look)
        return
    dots = axes.scatter(mark.x, mark.y, c=mark.scale, cmap="viridis_r", label=_named(mark.name), zorder=3, **look)
    if axes.get_subplotspec().is_last_col():
        canvas.colorbar(dots, ax=axes, label=_label(mark.scale_label), pad=0.01)


def _line(canvas: Any, axes: Any, mark: Line) -> None:
    many = mark.thin and len(mark.x) >= RASTERIZED
    look: dict[str, Any] = {
        "color": mark.colour,
        "label": _named(mark.name) or None,
        "linestyle": "--" if mark.dashed else "-",
    }
    look |= {"linewidth": 0.6 if mark.thin or mark.dashed else 1.4, "alpha": 0.5 if many else 0.8, "rasterized": many}
    axes.plot(mark.x, mark.y, drawstyle="steps-post" if mark.steps else "default", zorder=2 if mark.thin else 4, **look)
    if mark.filled:
        axes.fill_between(mark.x, mark.y, color=mark.colour, alpha=0.3, linewidth=0)


def _spans(canvas: Any, axes: Any, mark: Spans) -> None:
    from matplotlib.collections import PolyCollection

    left, right = mark.start, mark.start + mark.length
    low, high = mark.row - 0.5 * mark.thick, mark.row + 0.5 * mark.thick
    corners = np.stack([np.column_stack(each) for each in ((left, low), (right, low), (right, high), (left, high))], 1)
    bars = PolyCollection(list(corners), facecolors=mark.colour, edgecolors="white" if len(left) < 400 else mark.colour,
                          linewidths=0.2, label=_named(mark.name), rasterized=len(left) >= RASTERIZED)  # fmt: skip
    axes.add_collection(bars)
    axes.autoscale_view()


def _field(canvas: Any, axes: Any, mark: Field) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    z = np.ma.masked_invalid(mark.z)
    if min(z.shape) < 2 or not z.count() or z.min() == z.max():
        return
    choices = min(z.shape) < FEW  # between choices there is nothing
    draw = axes.pcolormesh if choices else axes.contourf
    shading = {"shading": "nearest"} if choices else {"levels": np.linspace(*mark.ends, 13)}
    draw(mark.x, mark.y, z, cmap="viridis", norm=Normalize(*mark.ends), **shading)
    if axes.get_subplotspec().is_last_col():
        canvas.colorbar(
            ScalarMappable(Normalize(*mark.ends), "viridis"),
            ax=axes,
            label=_label(mark.label),
            pad=0.01,
        )


_MARKS: dict[type[Mark], Any] = {Points: _points, Line: _line, Spans: _spans, Field: _field}


def _draw_parallel(canvas: Any, axes: Any, panel: Parallel) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    order = np.argsort(-panel.scale if panel.reverse else panel.scale)
    ends = np.array([axis.limits for axis in panel.axes], dtype=np.float64)
    heights = (panel.lines[order] - ends[:, 0]) / (ends[:, 1] - ends[:, 0])
    if len(panel.axes) > 0:
        low, high = panel.lines[:, 0].min(), panel.lines[:, 0].max()
        if low >= ends[0, 0] and high < ends[0, 1]:  # a few very bad values are left out: see ``view``
            ends[0] = low, high if high > low else low + 1.0
            heights[:, 0] = (panel.lines[order, 0] - ends[0, 0]) / (ends[0, 1] - ends[0, 0])
    places = np.broadcast_to(np.arange(len(panel.axes), dtype=np.float64), heights.shape)
    norm, many = Normalize(panel.scale.min(), panel.scale.max()), len(order) >= 200
    cmap = "viridis_r" if panel.reverse else "viridis"
    lines = LineCollection(list(np.stack([places, heights], axis=2)), array=panel.scale[order], cmap=cmap, norm=norm,
                           linewidths=0.5 if many else 1.0, alpha=0.5 if many else 0.8, rasterized=many)  # fmt: skip
    axes.add_collection(lines)
    axes.set_xlim(-0.3, len(panel.axes) - 0.7)
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([])
    look = {"rotation": 20, "ha": "right"} if len(panel.axes) > 6 else {}
    axes.set_xticks(range(len(panel.axes)), [_cut(axis.label) for axis in panel.axes], **look)
    axes.spines["left"].set_visible(False)
    for place, axis in enumerate(panel.axes):
        axes.axvline(place, color=GREY, linewidth=0.8)
        for at, name in _some(axis.ticks):
            height = (at - ends[place, 0]) / (ends[place, 1] - ends[place, 0])
            if -0.01 <= height <= 1.01:
                box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5}
                axes.annotate(_cut(name), (place, height), xytext=(3, 0), textcoords="offset points", fontsize=7,
                              va="center", bbox=box)  # fmt: skip
    canvas.colorbar(ScalarMappable(norm, cmap), ax=axes, label=_label(panel.scale_label), pad=0.02)


def _some(ticks: Sequence[tuple[float, str]]) -> Sequence[tuple[float, str]]:
    """The ticks, or an even choice of many."""
    return ticks[:: max(1, -(-len(ticks) // 12))]
