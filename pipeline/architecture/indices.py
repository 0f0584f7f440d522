"""Reads networks as DeepHyper published them: a list with a position for each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...grammar import count
from .graph import Graph


def from_indices(graph: Graph, indices: Sequence[float], name: str = "net") -> dict[str, Any]:
    """The parameters of a network that is given as a list (``arch_seq``).

    Args:
        graph: The space, whose operations and connections are in the order of the list. Where nodes are split, the
            arguments that an operation does not need have their first value.
        indices: For each of them the position of what is chosen, or a number from 0 to below 1 that is scaled to it.
        name: The graph's.

    Raises:
        ValueError: The list has another length, or a number that is no position.

    Example:
        >>> from pilotune.pipeline.architecture.graph import Node
        >>> graph = Graph({"x": (8,)}, (Node("cell1", ("x",), ("identity", "dense(16, relu)"), skips=("x",)),))
        >>> from_indices(graph, [1, 0])
        {'net.cell1': 'dense(16, relu)', 'net.cell1.skip1': False}
    """
    slots = graph.slots(name)
    if len(indices) != len(slots):
        own, given = count(len(slots), "parameter"), count(len(indices), "number")
        raise ValueError(f"the graph has {own}, but the list has {given}")
    params: dict[str, Any] = {}
    for slot, index in zip(slots, indices, strict=True):
        number = len(slot.joint)
        position = int(index * number) if isinstance(index, float) and 0 <= index < 1 else index
        if position != int(position) or not 0 <= position < number:
            first = slot.variables[0].name
            raise ValueError(f"{first} has the positions 0 to {number - 1}, but the list has {index}")
        params |= {variable.name: variable.choices[0] for variable in slot.variables}
        params |= slot.joint[int(position)]
    return params
