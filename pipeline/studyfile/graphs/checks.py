"""Checks a graph as a whole: its names, and whether its networks can be built."""

from __future__ import annotations

import keyword
import random
from collections.abc import Mapping, Sequence
from typing import Any

from ...architecture.graph import Graph, Node
from ...architecture.network import NetworkError, network
from ...architecture.source import RESERVED
from .parts import Parts

TRIES = 20
"""Random networks that are built for each operation of a node, to see whether it can be there at all."""

MOST_TRIED = 60
"""Most operations of a node that are tried; others differ from them by numbers only."""


def check_names(graph: Graph, parts: Parts) -> None:
    """Refuse names that a program could not have. Raises UserError."""
    for name in (*graph.inputs, *parts.nodes):
        place = parts.places[name]
        if not name.isidentifier() or not name.isascii() or name.startswith("_"):
            message = f"{name!r}: the name of a node or input is letters, digits and '_', and begins with a letter"
            raise parts.error(message, place)
        if keyword.iskeyword(name) or name in RESERVED:
            raise parts.error(f"{name!r} means something else in PyTorch; rename the node", place)
        for end in ("_in", "_sum", "_norm"):
            owner = name.rpartition(end)[0]
            if owner in parts.nodes:
                raise parts.error(f"{name!r} is the name of a part of node {owner}; rename the node", place)


def check_networks(graph: Graph, parts: Parts) -> None:
    """Refuse an operation that no network can have where it is. Raises UserError."""
    rng = random.Random(0)
    for node in graph.nodes:
        for index in _tried(node):
            error = _blamed(graph, node, index, rng)
            if error is not None:
                raise parts.error(f"node {error.node}: {error.why}", parts.places[error.node])


def fits_always(graph: Graph, tries: int = 200) -> bool:
    """Whether random networks of a graph could all be built. ``tries``: how many."""
    rng = random.Random(0)
    return all(_failure(graph, _random(graph, rng)) is None for _ in range(tries))


def _blamed(graph: Graph, node: Node, index: int, rng: random.Random) -> NetworkError | None:
    """Why no network has the operation number ``index`` of a node; None where one has."""
    first = None
    for attempt in range(TRIES):
        params = _random(graph, rng, plain=attempt == 0)
        if node.is_chosen:
            params |= node.slots("")[0].joint[index]
        error = _failure(graph, params)
        if error is None or (node.is_chosen and error.node != node.name):  # another node is to blame
            return None
        first = first or error
    return first


def _tried(node: Node) -> Sequence[int]:
    """Positions of the operations that are tried: each kind, and others as far as there are not too many."""
    if not node.is_chosen:
        return [0]
    first = {operation.call.name: index for index, operation in reversed(list(enumerate(node.operations)))}
    stride = max(1, len(node.choices) // MOST_TRIED)
    return sorted({*first.values(), *range(0, len(node.choices), stride)})


def _failure(graph: Graph, params: Mapping[str, Any]) -> NetworkError | None:
    try:
        network(graph, params, "")
    except NetworkError as error:
        return error
    return None


def _random(graph: Graph, rng: random.Random, plain: bool = False) -> dict[str, Any]:
    """Parameters at random; ``plain``: the first operation everywhere, and no connection."""
    return {each.name: each.choices[0] if plain else rng.choice(each.choices) for each in graph.variables("")}
