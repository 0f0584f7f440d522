"""Describes a space of networks in words, for ``pilotune check``."""

from __future__ import annotations

import random

from ....grammar import count
from ...architecture.graph import Graph
from ...architecture.network import NetworkError, network

SAMPLE = 100
"""Random networks whose weights are counted."""


def in_words(graph: Graph) -> str:
    """A graph in words: its variables, its size, and the weights of random networks.

    >>> from pilotune.pipeline.architecture.graph import Node
    >>> in_words(Graph({"x": (8,)}, (Node("cell1", ("x",), ("dense(4)", "dense(16)"), skips=("x",)),)))
    'graph of 2 variables in 1 node, 4 networks; 36 to 288 weights in random ones'
    """
    variables = graph.variables("")
    size = f"{graph.size:,}" if graph.size < 1e9 else f"{graph.size:.3g}"
    networks = "1 network" if graph.size == 1 else f"{size} networks"
    made = f"graph of {count(len(variables), 'variable')} in {count(len(graph.nodes), 'node')}, {networks}"
    rng, weights = random.Random(0), []
    for _ in range(SAMPLE):
        try:
            found = network(graph, {each.name: rng.choice(each.choices) for each in variables}, "").parameters
        except NetworkError:
            continue
        if found is None:
            return f"{made}; the weights of your own layers are not counted"
        weights.append(found)
    return f"{made}; {min(weights):,} to {max(weights):,} weights in random ones" if weights else made
