"""Reads a graph whose nodes have names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ....fields import shown
from ....grammar import count
from ....yamlfile import join, nearest
from ...architecture.graph import Merge, Node
from ...architecture.operations import Shape
from .parts import Parts

KEYS = ("from", "choice", "op", "mirror", "mime", "skips", "merge", "norm")
"""Keys of a node."""

COPIES = ("mirror", "mime")
"""Keys that name another node, of which a node takes something."""


class NodesReader:
    """Reads nodes with names. ``parts``: takes them."""

    def __init__(self, parts: Parts):
        self.parts = parts

    def read(self, inputs: Mapping[str, Shape]) -> None:
        """Read the nodes. Raises UserError."""
        key, data = join(self.parts.key, "nodes"), self.parts.data["nodes"]
        if not isinstance(data, dict) or not data:
            raise self.parts.error("must be a mapping, as in {enc: {from: x, choice: [...]}, ...}", key)
        if "choice" in self.parts.data:
            raise self.parts.error("belongs to a node here; write it below `nodes`", join(self.parts.key, "choice"))
        if "pool" in self.parts.data:
            message = "belongs to a chain; here a pooling is a node, as in p1: {from: x, op: maxpool(2)}"
            raise self.parts.error(message, join(self.parts.key, "pool"))
        self._check_skips(data)
        read = {str(name): self._named(str(name), each, join(key, name), inputs) for name, each in data.items()}
        for name, node in read.items():
            self.parts.places[name] = join(key, name)
            self._check_sources(node, read, inputs)
        plain = {name: replace(node, skips=()) for name, node in read.items()}
        self._sorted(plain)  # a cycle without connections is not the fault of one
        for node in read.values():
            self._check_connections(node, plain)
        self.parts.nodes = {name: read[name] for name in self._sorted(read)}
        self._check_copies()
        self._move_output_last()

    def _check_skips(self, nodes: Mapping[str, Any]) -> None:
        """Refuse connections beside ``nodes`` that no node takes."""
        key, skips = join(self.parts.key, "skips"), self.parts.data.get("skips")
        if skips is None:
            return
        if not isinstance(skips, dict):
            message = f"must be a mapping of nodes to points before them, as in {{out: [x]}}, but is {shown(skips)}"
            raise self.parts.error(message, key)
        names = list(map(str, nodes))
        for name in map(str, skips):
            if name not in names:
                raise self.parts.error(f"there is no node {name!r}{nearest(name, names)}", join(key, name))
            if isinstance(nodes[name], dict) and "skips" in nodes[name]:
                raise self.parts.error(f"node {name} has `skips` of its own; give one of them", join(key, name))

    def _named(self, name: str, data: Any, key: str, inputs: Mapping[str, Shape]) -> Node:
        """One node, as far as it can be read by itself."""
        if name in inputs:
            raise self.parts.error(f"node {name} has the name of an input; rename it", key)
        if not isinstance(data, dict):
            message = f"node {name} must be a mapping, as in {{from: x, choice: [...]}}, but is {shown(data)}"
            raise self.parts.error(message, key)
        self.parts.known(data, KEYS, key)
        sources = self._names(data.get("from"), join(key, "from"), name, "from")
        if not sources:
            raise self.parts.error(f"node {name} has no `from`; give the input or node before it", key)
        shared_skips = self.parts.data.get("skips")
        skips = data.get("skips", shared_skips.get(name) if isinstance(shared_skips, dict) else None)
        kinds = [kind for kind in ("choice", "op", "mirror") if kind in data]
        if len(kinds) != 1:
            problem = f"has both {kinds[0]} and {kinds[1]}" if kinds else "has no operation"
            raise self.parts.error(f"node {name} {problem}; give one of choice, op and mirror", key)
        if "mime" in data and "choice" not in data:
            raise self.parts.error(f"node {name} mimes a choice, and needs a `choice` of its own", join(key, "mime"))
        mirror, mime = (self._name(data[each], join(key, each), name, each) if each in data else "" for each in COPIES)
        choices: tuple[str, ...] = ("identity",)
        if not mirror:
            read = self.parts.operations if "choice" in data else self.parts.one
            choices = read(data[kinds[0]], join(key, kinds[0]), name)
        norm = self.parts.norm(data.get("norm", self.parts.data.get("norm")), join(key, "norm"))
        return Node(
            name,
            sources,
            choices,
            mirror=mirror,
            mime=mime,
            skips=self._names(skips, join(key, "skips"), name, "skips"),
            merge=self.parts.merge(data.get("merge"), join(key, "merge"), Merge("concat")),
            add=self.parts.merge(self.parts.data.get("merge"), join(self.parts.key, "merge"), Merge("add")),
            norm=norm,
            split=self.parts.split and "choice" in data,
        )

    def _name(self, value: Any, key: str, node: str, what: str) -> str:
        if not isinstance(value, str):
            raise self.parts.error(f"node {node}: `{what}` names a node, but has {shown(value)}", key)
        return value

    def _names(self, value: Any, key: str, node: str, what: str) -> tuple[str, ...]:
        if value is None:
            return ()
        names = value if isinstance(value, list) else [value]
        for name in names:
            if not isinstance(name, str):
                raise self.parts.error(f"node {node}: `{what}` names inputs and nodes, but has {shown(name)}", key)
        if len(set(names)) < len(names):
            raise self.parts.error(f"node {node}: `{what}` names {_twice(names)} twice", key)
        return tuple(names)

    def _check_sources(self, node: Node, nodes: Mapping[str, Node], inputs: Mapping[str, Shape]) -> None:
        known = [*inputs, *nodes]
        for what, names in (
            ("from", node.sources),
            ("skips", node.skips),
            ("mirror", (node.mirror,)),
            ("mime", (node.mime,)),
        ):
            for name in filter(None, names):
                where = join(self.parts.places[node.name], what)
                if name not in known:
                    hint = nearest(name, known)
                    raise self.parts.error(f"node {node.name}: there is no input or node {name!r}{hint}", where)
                if what in COPIES and name == node.name:
                    raise self.parts.error(f"node {name} cannot {what} itself; name another node", where)
                if what in COPIES and name in inputs:
                    raise self.parts.error(
                        f"node {node.name}: {name} is an input, and has no operation to {what}", where
                    )

    def _check_connections(self, node: Node, nodes: Mapping[str, Node]) -> None:
        for name in node.skips:
            if node.name in _ancestors(name, nodes):
                after = f"{name} comes after {node.name}" if name != node.name else "it is the node itself"
                message = f"node {node.name}: a connection from {name} would go back, since {after}"
                raise self.parts.error(message, join(self.parts.places[node.name], "skips"))

    def _sorted(self, nodes: Mapping[str, Node]) -> list[str]:
        """The nodes so that each comes after its sources, and otherwise in the order of the file."""
        order: list[str] = []
        left = list(nodes)
        while left:
            ready = next((name for name in left if not _before(nodes[name]) & set(left)), None)
            if ready is None:
                cycle = _cycle(nodes, left)
                message = f"node {cycle[0]}: the nodes form a cycle: {' -> '.join(cycle)}"
                raise self.parts.error(message, self.parts.places[cycle[0]])
            left.remove(ready)
            order.append(ready)
        return order

    def _check_copies(self) -> None:
        for name, node in self.parts.nodes.items():
            place = self.parts.places[name]
            if node.mirror and self.parts.nodes[node.mirror].mirror:
                first = self.parts.nodes[node.mirror].mirror
                raise self.parts.error(
                    f"node {name} mirrors {node.mirror}, itself a mirror; name {first}", join(place, "mirror")
                )
            if node.mime:
                other = self.parts.nodes[node.mime]
                if other.mirror or other.mime:
                    first = other.mirror or other.mime
                    message = f"node {name} mimes {node.mime}, which has no choice of its own; name {first}"
                    raise self.parts.error(message, join(place, "mime"))
                if len(other.choices) != len(node.choices):
                    own, theirs = count(len(node.choices), "operation"), count(len(other.choices), "operation")
                    message = f"node {name} has {own}, but {node.mime}, which it mimes by position, has {theirs}"
                    raise self.parts.error(message, join(place, "mime"))

    def _move_output_last(self) -> None:
        """Put the output node last: the one that is named, or the only one that no other node needs."""
        used = {source for node in self.parts.nodes.values() for source in (*node.sources, *node.skips)}
        ends = [name for name in self.parts.nodes if name not in used]
        name, key = self.parts.data.get("output"), join(self.parts.key, "output")
        if name is None and len(ends) > 1:
            message = f"has several last nodes, {', '.join(ends)}; let all but the output lead to another node"
            raise self.parts.error(message, self.parts.key)
        name = ends[0] if name is None else name
        if not isinstance(name, str) or name not in self.parts.nodes:
            raise self.parts.error(f"there is no node {shown(name)}{nearest(str(name), self.parts.nodes)}", key)
        for other in ends:
            if other != name:
                raise self.parts.error(
                    f"node {other} leads to no other node, and is not the output", self.parts.places[other]
                )
        self.parts.nodes[name] = self.parts.nodes.pop(name)


def _before(node: Node) -> set[str]:
    """The nodes and inputs that must come before a node."""
    return {*node.sources, *node.skips, *filter(None, (node.mirror, node.mime))}


def _ancestors(name: str, nodes: Mapping[str, Node]) -> set[str]:
    """A node and all that it is made of without its connections."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += nodes[each].sources if each in nodes else ()
    return found


def _cycle(nodes: Mapping[str, Node], among: Sequence[str]) -> list[str]:
    """Nodes that lead back to the first of them."""
    path = [among[0]]
    while True:
        after = next(each for each in among if each in _before(nodes[path[-1]]))
        if after in path:
            return [*path[path.index(after) :], after][::-1]
        path.append(after)


def _twice(names: Sequence[str]) -> str:
    return next(name for index, name in enumerate(names) if name in names[:index])
