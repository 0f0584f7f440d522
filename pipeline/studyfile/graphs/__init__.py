"""Reads the ``graph`` of a study file's space, a space of networks: a chain of cells, or nodes with names."""

from __future__ import annotations

from typing import Any

from ....fields import shown
from ....yamlfile import YamlFile, join
from ...architecture.graph import Graph
from .chain import KEYS as CHAIN_KEYS
from .chain import ChainReader
from .checks import check_inputs, check_names, check_networks, check_size, fits_always
from .distributions import variable_distributions
from .nodes import NodesReader
from .parts import Parts

__all__ = ["build_graph", "fits_always", "variable_distributions"]

KEYS = ("inputs", *CHAIN_KEYS, "stages", "nodes", "output", "split")
FORMS = ("cells", "stages", "nodes")


def build_graph(data: Any, key: str, source: YamlFile) -> Graph:
    """The graph that a study file describes.

    Args:
        data: What stands at ``graph``.
        key: Its place in the study file.
        source: The study file, for the place of an error.

    Raises:
        UserError: The first mistake, with its node.
    """
    if not isinstance(data, dict):
        raise source.error(f"must be a mapping, as in {{inputs: {{x: 54}}, cells: 3, ...}}, but is {shown(data)}", key)
    parts = Parts(data, key, source)
    parts.known(data, KEYS, key)
    inputs = parts.inputs()
    forms = [form for form in FORMS if form in data]
    if len(forms) != 1:
        which = f"has both {forms[0]} and {forms[1]}" if forms else "has no nodes"
        message = f"{which}; give `cells` (a chain), `stages` (several chains) or `nodes` (by name)"
        raise source.error(message, join(key, forms[1]) if forms else key)
    if forms == ["nodes"]:
        NodesReader(parts).read(inputs)
    else:
        ChainReader(parts).read(inputs)
    graph = Graph(inputs, tuple(parts.nodes.values()))
    check_names(graph, parts)
    check_inputs(graph, parts)
    check_size(graph, parts)
    parts.check_split()
    check_networks(graph, parts)
    return graph
