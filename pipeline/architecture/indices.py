"""Reads networks as DeepHyper published them: a list with a position for each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...grammar import count
from .graph import Graph


def from_indices(graph: Graph, indices: Sequence[float], name: str = "net") -> dict[str, Any]:
    """The parameters of a network that is given as a list (``arch_seq``).

    Args:
        graph: The space, whose parameters are in the order of the list.
        indices: By parameter the position of its value, or a number from 0 to below 1 that is scaled to it.
        name: The graph's.

    Raises:
        ValueError: The list has another length, or a number that is no position.

    Example:
        >>> from pilotune.pipeline.architecture.graph import Node
        >>> graph = Graph({"x": (8,)}, (Node("cell1", ("x",), ("identity", "dense(16, relu)"), skips=("x",)),))
        >>> from_indices(graph, [1, 0])
        {'net.cell1': 'dense(16, relu)', 'net.cell1.skip1': False}
    """
    variables = graph.variables(name)
    if len(indices) != len(variables):
        own, given = count(len(variables), "parameter"), count(len(indices), "number")
        raise ValueError(f"the graph has {own}, but the list has {given}")
    params = {}
    for variable, index in zip(variables, indices, strict=True):
        number = len(variable.choices)
        position = int(index * number) if isinstance(index, float) and 0 <= index < 1 else index
        if position != int(position) or not 0 <= position < number:
            raise ValueError(f"{variable.name} has the positions 0 to {number - 1}, but the list has {index}")
        params[variable.name] = variable.choices[int(position)]
    return params
