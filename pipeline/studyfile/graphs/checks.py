"""Checks a graph as a whole: its names, and whether its networks can be built."""

from __future__ import annotations

import keyword
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....grammar import count
from ...architecture.graph import Graph, Node, skip_name
from ...architecture.network import NetworkError, network
from ...architecture.source import RESERVED
from .parts import Parts

TRIES = 20
"""Random networks that are built for each operation of a node, to see whether it can be there at all."""

MOST_TRIED = 60
"""Most operations of a node that are tried; others differ from them by numbers only."""

MOST_DRAWN = 300
"""Most random networks by which operations are tried together, before those that are left are tried one by one."""

LONGEST = 64
"""Most letters of the name of a node."""

MOST_PARAMETERS = 10_000
"""Most parameters of a graph: a study with more takes minutes for each trial."""


def check_names(graph: Graph, parts: Parts) -> None:
    """Refuse names that a program could not have. Raises UserError."""
    for name in (*graph.inputs, *parts.nodes):
        place = parts.places[name]
        if not name.isidentifier() or not name.isascii() or name.startswith("_"):
            message = f"{name!r}: the name of a node or input is letters, digits and '_', and begins with a letter"
            raise parts.error(message, place)
        if keyword.iskeyword(name) or name in RESERVED:
            raise parts.error(f"{name!r} means something else in PyTorch; rename the node", place)
        if len(name) > LONGEST:
            raise parts.error(
                f"{name!r} is too long; the most for a node or input is {count(LONGEST, 'letter')}", place
            )
    for name in (*graph.inputs, *parts.nodes):
        for end in ("_in", "_sum", "_norm"):
            owner = name.rpartition(end)[0]
            if owner in parts.nodes:
                message = f"{name!r} is the name of a part of node {owner}; rename the node"
                raise parts.error(message, parts.places[name])


def check_inputs(graph: Graph, parts: Parts) -> None:
    """Refuse an input that no network can use. Raises UserError."""
    used = {source for node in graph.nodes for source in (*node.sources, *node.skips)}
    for name in graph.inputs:
        if name not in used:
            message = f"input {name} leads to no node; name it in the `from` of one, or leave it out"
            raise parts.error(message, parts.places[name])


def check_size(graph: Graph, parts: Parts) -> None:
    """Refuse a graph of too many parameters. Raises UserError."""
    number = sum(node.is_chosen + len(node.skips) for node in graph.nodes)
    if number > MOST_PARAMETERS:
        message = f"has more parameters than a graph may have: {number:,}, where {MOST_PARAMETERS:,} are the most"
        raise parts.error(message, parts.key)


def check_networks(graph: Graph, parts: Parts) -> None:
    """Refuse an operation, or a connection, that no network can have where it is. Raises UserError."""
    rng = random.Random(0)
    untried = [each for node in graph.nodes for each in _possibilities(node)]
    for each in _left(graph, untried, rng):
        error = _blamed(graph, each, rng)
        if error is not None:
            skip = f"the connection from {each.skip} never fits: " if each.skip else ""
            raise parts.error(f"node {error.node}: {skip}{error.why}", parts.places[error.node])


@dataclass(frozen=True)
class _Possibility:
    """An operation that a node may have, or a connection.

    Attributes:
        node: The node.
        params: The parameters that choose it; empty where a node has one operation only.
        skip: Where the connection is from; empty for an operation.
    """

    node: str
    params: Mapping[str, Any]
    skip: str = ""


def _possibilities(node: Node) -> Iterator[_Possibility]:
    """Of the operations each kind, and others as far as there are not too many; and all connections."""
    if node.is_chosen:
        joint = node.slots("")[0].joint
        first = {operation.call.name: index for index, operation in reversed(list(enumerate(node.operations)))}
        stride = max(1, len(node.choices) // MOST_TRIED)
        for index in sorted({*first.values(), *range(0, len(node.choices), stride)}):
            yield _Possibility(node.name, joint[index])
    else:
        yield _Possibility(node.name, {})
    for index, source in enumerate(node.skips):
        yield _Possibility(node.name, {skip_name("", node, index): True}, source)


def _left(graph: Graph, untried: Sequence[_Possibility], rng: random.Random) -> Sequence[_Possibility]:
    """Those that were in none of some random networks that can be built."""
    built = 0
    for drawn in range(MOST_DRAWN):
        if not untried or (drawn == TRIES and not built):
            break
        params = _random(graph, rng)
        if _failure(graph, params) is None:
            built += 1
            untried = [each for each in untried if any(params[name] != value for name, value in each.params.items())]
    return untried


def fits_always(graph: Graph, tries: int = 200) -> bool:
    """Whether random networks of a graph could all be built. ``tries``: how many."""
    rng = random.Random(0)
    return all(_failure(graph, _random(graph, rng)) is None for _ in range(tries))


def _blamed(graph: Graph, what: _Possibility, rng: random.Random) -> NetworkError | None:
    """Why no network has a possibility; None where one has."""
    found = None
    for attempt in range(TRIES):
        params = {**(_plain(graph, -attempt) if attempt < 2 else _random(graph, rng)), **what.params}
        error = _failure(graph, params)
        if error is None or (what.params and error.node != what.node):  # another node is to blame
            return None
        found = found or error
    return found


def _failure(graph: Graph, params: Mapping[str, Any]) -> NetworkError | None:
    try:
        network(graph, params, "")
    except NetworkError as error:
        return error
    return None


def _random(graph: Graph, rng: random.Random) -> dict[str, Any]:
    """Parameters at random."""
    return {each.name: rng.choice(each.choices) for each in graph.variables("")}


def _plain(graph: Graph, position: int) -> dict[str, Any]:
    """Parameters of a network without connections, whose nodes all have the operation at a position."""
    return {each.name: each.choices[0 if each.choices == (False, True) else position] for each in graph.variables("")}
