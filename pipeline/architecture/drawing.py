"""Draws a network as SVG: its layers from top to bottom, each below what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from .network import Network, Step
from .operations import shown

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 220, 44, 36, 34, 20
"""Of a box, between boxes, and around the picture, in pixels."""

LONGEST = 30
"""Most characters of a line in a box; the rest is in the box's title."""

COLORS = {"input": "#e8eef7", "operation": "#ffffff", "merge": "#f3f3f3", "output": "#e6f4ea"}
"""The color of a box by what it is."""


@dataclass(frozen=True)
class _Box:
    name: str
    title: str
    text: str
    kind: str
    x: float
    y: float


def drawing(network: Network, title: str) -> str:
    """The network as an SVG picture.

    Args:
        network: The network.
        title: What it is, for the picture's title and for screen readers.

    Example:
        >>> from pilotune.pipeline.architecture.graph import Graph, Node
        >>> from pilotune.pipeline.architecture.network import network
        >>> found = network(Graph({"x": (8,)}, (Node("output", ("x",), ("dense(2)",)),)), {}, "net")
        >>> drawing(found, "best network").count("<rect")
        2
    """
    boxes = {box.name: box for box in _boxes(network)}
    pairs = [(boxes[name], boxes[step.name]) for step in network.steps for name in dict.fromkeys(step.inputs)]
    width = max(box.x + WIDTH for box in boxes.values()) + MARGIN + max((_bulge(*pair) for pair in pairs), default=0.0)
    height = max(box.y + HEIGHT for box in boxes.values()) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
    ]
    lines += [_arrow(*pair) for pair in pairs]
    lines += [_drawn(box) for box in boxes.values()]
    return "\n".join([*lines, "</svg>", ""])


def _boxes(network: Network) -> list[_Box]:
    """The boxes, in rows: each row holds what is made of the rows above it."""
    rows: dict[str, int] = dict.fromkeys(network.inputs, 0)
    for step in network.steps:
        rows[step.name] = 1 + max(rows[name] for name in step.inputs)
    in_row: dict[int, int] = {}
    steps = {step.name: step for step in network.steps}
    most = max(list(rows.values()).count(row) for row in rows.values())
    boxes = []
    for name, row in rows.items():
        place = in_row.setdefault(row, 0)
        in_row[row] += 1
        number = list(rows.values()).count(row)
        x = MARGIN + (place + (most - number) / 2) * (WIDTH + GAP_X)
        y = MARGIN + row * (HEIGHT + GAP_Y)
        made = steps.get(name)
        kind = "output" if name == network.output else _kind(made)
        title = name if made is None else f"{name}: {_text(made)}"
        boxes.append(_Box(name, title, _facts(network, name, made), kind, x, y))
    return boxes


def _kind(step: Step | None) -> str:
    return "input" if step is None else "merge" if step.merge else "operation"


def _text(step: Step) -> str:
    if step.operation is not None:
        norm = "" if step.norm == "none" else f", {step.norm} norm"
        return f"{step.operation.call}{norm}"
    assert step.merge is not None
    activation = "" if step.merge.activation == "linear" else f", {step.merge.activation}"
    return f"{step.merge.how}{activation}"


def _facts(network: Network, name: str, step: Step | None) -> str:
    shape = network.inputs[name] if step is None else step.shape
    parts = [shown(shape) if shape else "shape unknown"]
    if step is not None and step.weights:
        parts.append(f"{step.weights:,} weights")
    return ", ".join(parts)


def _drawn(box: _Box) -> str:
    middle = box.x + WIDTH / 2
    name = box.title if len(box.title) <= LONGEST else f"{box.title[: LONGEST - 1]}…"
    return (
        f"<g><title>{escape(box.title)} ({escape(box.text)})</title>"
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="{COLORS[box.kind]}" '
        f'stroke="#555"/><text x="{middle:g}" y="{box.y + 18:g}" text-anchor="middle">{escape(name)}</text>'
        f'<text x="{middle:g}" y="{box.y + 35:g}" text-anchor="middle" fill="#555" font-size="11">{escape(box.text)}'
        "</text></g>"
    )


def _bulge(start: _Box, end: _Box) -> float:
    """How far to the right the line between two boxes goes around those between them; 0 for neighbors."""
    rows = round((end.y - start.y) / (HEIGHT + GAP_Y))
    return min(26.0 * (rows - 1), 150.0)


def _arrow(start: _Box, end: _Box) -> str:
    """A line between two boxes."""
    bulge = _bulge(start, end)
    if bulge:
        x1, y1, x2, y2 = start.x + WIDTH, start.y + HEIGHT / 2, end.x + WIDTH, end.y + HEIGHT / 2
        path = f"M{x1:g} {y1:g}C{x1 + bulge:g} {y1:g} {x2 + bulge:g} {y2:g} {x2:g} {y2:g}"
    else:
        path = f"M{start.x + WIDTH / 2:g} {start.y + HEIGHT:g}L{end.x + WIDTH / 2:g} {end.y:g}"
    return f'<path d="{path}" fill="none" stroke="#555" marker-end="url(#end)"/>'
