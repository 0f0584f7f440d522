"""Reads the graphs of a space, and checks them beside its other parameters and its constraints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....grammar import count
from ....yamlfile import YamlFile, join
from ...architecture.graph import Graph
from ...space import Space, derived_names
from . import build_graph

GRAPH = "graph"
"""Key of a space of networks."""

LONGEST_NAME = 128
"""Most letters of a parameter's name."""


def read_graph(name: str, data: Mapping[str, Any], key: str, source: YamlFile) -> Graph:
    """A space of networks. Raises UserError."""
    for other in data:
        if other != GRAPH:
            raise source.error(f"a graph has no {other} beside it", join(key, other))
    if not name.isidentifier():
        raise source.error(
            "a graph's name is letters, digits and '_', since expressions name what follows from it", key
        )
    return build_graph(data[GRAPH], join(key, GRAPH), source)


def check_parameter_names(graphs: Mapping[str, Graph], data: Mapping[str, Any], source: YamlFile) -> None:
    """Refuse names of a graph's parameters that are too long, and parameters whose names a graph needs."""
    for name, graph in graphs.items():
        for taken in (*derived_names(name), *(each.name for each in graph.variables(name))):
            if len(taken) > LONGEST_NAME:
                most = count(LONGEST_NAME, "letter")
                message = f"gives the parameter {taken}, longer than {most}; shorten the graph's name"
                raise source.error(message, f"space.{name}")
            if taken in data:
                raise source.error(f"is a name that the graph {name} needs; rename one of them", f"space.{taken}")


def check_countable(space: Space, source: YamlFile) -> None:
    """Refuse a constraint on weights that only PyTorch can count."""
    for index, constraint in enumerate(space.constraints):
        for name, graph in space.graphs.items():
            own = next((o for node in graph.nodes for o in node.operations if o.is_users), None)
            if own is not None and f"{name}_parameters" in constraint.names:
                message = (
                    f"'{constraint.text}': the weights of {own.call}, a layer of your own, cannot be counted beforehand"
                )
                raise source.error(message, f"constraints[{index}]")
