"""Draws figures with plotly, as one HTML page that opens without a network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from .figure import GREY, LONGEST_NAME, Axis, Field, Figure, Line, Mark, Panel, Parallel, Points, Spans, short
from .image import FEW, need_plots

MANY = 2000
"""From so many dots on, the browser draws them with the graphics card's help."""

MOST_BARS = 4000
"""Of more bars than that each is a thick line instead, which browsers draw much faster."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font-family: system-ui, sans-serif; margin: 1rem auto; max-width: 1200px; padding: 0 1rem;
  overflow-wrap: anywhere; }}
figure {{ margin: 0 0 2rem 0; }}
figcaption {{ color: #444; }}
.wide {{ overflow-x: auto; }}
.wide > div {{ min-width: 700px; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title: str, figures: Sequence[Figure]) -> bytes:
    """All figures as one page.

    Args:
        title: The page's title.
        figures: What to draw, in this order.

    Raises:
        UserError: plotly is not installed.
    """
    all_drawn = [draw(figure) for figure in figures]
    import plotly.io

    parts = []
    for place, figure in enumerate(figures):
        drawn = plotly.io.to_html(all_drawn[place], include_plotlyjs=place == 0, full_html=False,
                                  config={"responsive": True, "displaylogo": False}, validate=False)  # fmt: skip
        caption = html.escape(figure.caption)
        head = html.escape(figure.title)
        if figure.columns > 1 or isinstance(figure.panels[0], Parallel):  # a phone scrolls it
            drawn = f'<div class="wide" tabindex="0" role="region" aria-label="{head}">{drawn}</div>'
        parts.append(f'<figure id="{figure.kind}" aria-label="{head}">\n<h2>{head}</h2>\n{drawn}\n'
                     f"<figcaption>{caption}</figcaption>\n</figure>")  # fmt: skip
    return PAGE.format(title=html.escape(title), body="\n".join(parts)).encode()


def draw(figure: Figure) -> Any:
    """The figure as plotly's. Raises UserError if plotly is not installed."""
    try:
        import plotly.graph_objects as go
        from plotly.subplots import make_subplots
    except ImportError:
        raise need_plots("plotly") from None

    if isinstance(figure.panels[0], Parallel):
        return go.Figure(
            _parallel(go, figure.panels[0]), {"height": 520, "margin": {"l": 60, "r": 40, "t": 60, "b": 40}}
        )
    columns = min(figure.columns, len(figure.panels))
    lines = -(-len(figure.panels) // columns)
    drawn = make_subplots(rows=lines, cols=columns, horizontal_spacing=0.5 / (columns + 2),
                          vertical_spacing=0.35 / max(1, lines))  # fmt: skip
    named: set[str] = set()
    for place, panel in enumerate(figure.panels):
        assert isinstance(panel, Panel)
        where = {"row": place // columns + 1, "col": place % columns + 1}
        for mark in panel.marks:
            _add(go, drawn, mark, where, named)
        drawn.update_xaxes(**_axis(panel.x), **where)
        drawn.update_yaxes(**_axis(panel.y), **where)
    rows = max(len(panel.y.ticks) for panel in figure.panels if isinstance(panel, Panel))
    drawn.update_layout(
        template="plotly_white", height=80 + lines * max(340, 18 * rows), margin={"l": 60, "r": 20, "t": 20, "b": 50},
        barmode="overlay", legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
    )  # fmt: skip
    return drawn


def _axis(axis: Axis) -> dict[str, Any]:
    found: dict[str, Any] = {"title": {"text": _label(axis.label)}}
    if axis.log:
        found["type"] = "log"
    if axis.limits is not None:
        found["range"] = [float(np.log10(each)) if axis.log else each for each in axis.limits]
    if axis.ticks:
        found |= {"tickvals": [at for at, _ in axis.ticks], "ticktext": [_name(name) for _, name in axis.ticks]}
    return found


def _label(text: str) -> str:
    """The label of an axis or of a scale of colours."""
    return html.escape(short(text))


def _name(text: str) -> str:
    """A name of a tick or in a legend."""
    return html.escape(short(text, LONGEST_NAME))


def _add(go: Any, drawn: Any, mark: Mark, where: dict[str, int], named: set[str]) -> None:
    """Add a mark; its name is in the legend once."""
    if isinstance(mark, Field):
        drawn.add_trace(_surface(go, mark, first=mark.label not in named), **where)
        named.add(mark.label)
        return
    shown: dict[str, Any] = {"name": _name(mark.name), "legendgroup": mark.name}
    shown["showlegend"] = bool(mark.name) and mark.name not in named and getattr(mark, "scale", None) is None
    named.add(mark.name)
    for trace in _traces(go, mark, shown):
        drawn.add_trace(trace, **where)


def _surface(go: Any, mark: Field, first: bool) -> Any:
    """The field with the scale that all panels share; ``first``: the scale itself is shown."""
    low, high = mark.ends
    look: dict[str, Any] = {"colorscale": "Viridis", "zmin": low, "zmax": high, "showscale": first}
    look |= {
        "hovertemplate": "%{x}, %{y}: %{z}<extra></extra>",
        "colorbar": {"title": {"text": _label(mark.label)}},
    }
    if min(mark.z.shape) < FEW:  # between choices there is nothing
        return go.Heatmap(x=mark.x, y=mark.y, z=mark.z, **look)
    levels = {"start": low, "end": high, "size": (high - low) / 12}
    return go.Contour(x=mark.x, y=mark.y, z=mark.z, line={"width": 0}, contours=levels, **look)


def _traces(go: Any, mark: Points | Line | Spans, shown: dict[str, Any]) -> list[Any]:
    if isinstance(mark, Points):
        make = go.Scattergl if len(mark.x) >= MANY else go.Scatter
        marker: dict[str, Any] = {"color": mark.colour, "size": 8 if mark.large else 5, "opacity": 0.75}
        if mark.scale is not None:
            marker |= {"color": mark.scale, "colorscale": "Viridis", "reversescale": True}
        tells = "trial %{customdata}<br>" if len(mark.trials) else ""
        return [make(x=mark.x, y=mark.y, mode="markers", marker=marker, customdata=list(mark.trials) or None,
                     hovertemplate=tells + "%{x}, %{y}<extra></extra>", **shown)]  # fmt: skip
    if isinstance(mark, Line):
        make = go.Scattergl if len(mark.x) >= MANY and not (mark.filled or mark.steps) else go.Scatter
        look = {
            "color": mark.colour,
            "width": 1 if mark.thin or mark.dashed else 2,
            "dash": "dash" if mark.dashed else "solid",
        }
        if mark.steps:
            look["shape"] = "hv"
        more = {"fill": "tozeroy"} if mark.filled else {}
        return [make(x=mark.x, y=mark.y, mode="lines", line=look, opacity=0.6 if mark.thin else 1.0, **more, **shown)]
    if len(mark.start) <= MOST_BARS:
        text = [html.escape(each) for each in mark.labels] or None
        return [go.Bar(y=mark.row, x=mark.length, base=mark.start, orientation="h", width=mark.thick, hovertext=text,
                       hoverinfo="text" if text else "skip", marker={"color": mark.colour, "line": {"width": 0}},
                       **shown)]  # fmt: skip
    x = np.column_stack([mark.start, mark.start + mark.length, np.full(len(mark.start), np.nan)]).ravel()
    texts = [text for each in mark.labels for text in (html.escape(each), html.escape(each), "")] or None
    line = {"color": mark.colour, "width": 6 * mark.thick}
    return [go.Scattergl(x=x, y=np.repeat(mark.row, 3), mode="lines", line=line,
                         hovertext=texts, hoverinfo="text" if texts else "skip", **shown)]  # fmt: skip


def _parallel(go: Any, panel: Parallel) -> Any:
    dimensions = [
        {
            "label": _name(axis.label),
            "values": panel.lines[:, place],
            "tickvals": [at for at, _ in axis.ticks],
            "ticktext": [_name(name) for _, name in axis.ticks],
            "range": list(axis.limits or ()),
        }
        for place, axis in enumerate(panel.axes)
    ]
    line = {"color": panel.scale, "colorscale": "Viridis", "reversescale": panel.reverse, "showscale": True,
            "colorbar": {"title": {"text": _label(panel.scale_label)}}}  # fmt: skip
    return go.Parcoords(dimensions=dimensions, line=line, unselected={"line": {"color": GREY, "opacity": 0.05}})
