"""A space of networks as data: a directed acyclic graph, some of whose nodes are to be chosen.

The study file's ``graph:`` becomes a :class:`Graph`. It reaches the objective as a constant among the trial's
parameters, in the plain form of :meth:`Graph.to_data`, so that a network can be built from these parameters alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .notation import Value
from .operations import ACTIVATIONS, NORMS, Operation, Shape, operation
from .split import Split

SKIP = "skip"
"""Word in the names of parameters that say whether a connection is there."""


@dataclass(frozen=True)
class Merge:
    """How several tensors become one.

    Attributes:
        how: ``add``: the others are projected to the width of the first by linear layers where theirs differs, and
            added. ``concat``: side by side.
        activation: After it.
        norm: Normalization before the activation: ``none``, ``batch`` or ``layer``.
        always: Normalize and activate also where there is one tensor only.
    """

    how: str = "add"
    activation: str = "linear"
    norm: str = "none"
    always: bool = False


@dataclass(frozen=True)
class Node:
    """One node.

    Its inputs are merged, its operation is applied, and the connections that are chosen are merged with the result.

    Attributes:
        name: Its name.
        sources: The inputs and nodes before it.
        choices: Operations to choose from; a single one is fixed.
        mirror: A node whose layer this one shares, weights included; empty for none.
        mime: A node whose choice this one takes by position, with weights of its own; empty for none.
        skips: Inputs and nodes before it from which there may be a connection; a parameter each.
        merge: How several sources are merged.
        add: How chosen connections are merged with the result.
        norm: Normalization between a layer and its activation.
        split: Whether the operation and its arguments are parameters of their own.
    """

    name: str
    sources: tuple[str, ...]
    choices: tuple[str, ...] = ("identity",)
    mirror: str = ""
    mime: str = ""
    skips: tuple[str, ...] = ()
    merge: Merge = Merge("concat")
    add: Merge = Merge()
    norm: str = "none"
    split: bool = False

    @property
    def is_chosen(self) -> bool:
        """Whether its operation is a parameter."""
        return len(self.choices) > 1 and not self.mirror and not self.mime

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """Its choices, read."""
        return tuple(map(operation, self.choices))

    @cached_property
    def parts(self) -> Split:
        """Its choices as several parameters. Raises ValueError where they cannot be split."""
        return Split(self.operations)

    def slots(self, graph: str) -> list[Slot]:
        """What is to be chosen: its operation, then its connections."""
        found = []
        name = f"{graph}.{self.name}"
        if self.is_chosen and self.split:
            parts = tuple(
                Variable(part_name(name, part.name), part.values, self.name, part.step) for part in self.parts.parts
            )
            joint = tuple(
                {part_name(name, part): value for part, value in values.items()} for values in self.parts.joint
            )
            found.append(Slot(parts, joint))
        elif self.is_chosen:
            found.append(_single(Variable(name, self.choices, self.name)))
        for index in range(len(self.skips)):
            found.append(_single(Variable(skip_name(graph, self, index), (False, True), self.name)))
        return found


@dataclass(frozen=True)
class Variable:
    """A parameter of a graph.

    Attributes:
        name: Of the parameter, which begins with the graph's.
        choices: Its values: operations, or false and true for a connection; of a node that is split, names of
            operations or an argument's values.
        node: The node that it belongs to.
        step: The distance of values that are whole numbers at equal distances; None for others.
    """

    name: str
    choices: tuple[Value | bool, ...]
    node: str
    step: int | None = None


@dataclass(frozen=True)
class Slot:
    """What is to be chosen at one place of a graph: an operation with its arguments, or whether a connection is there.

    Attributes:
        variables: The parameters that say it.
        joint: For each choice, the values of those parameters that it needs.
    """

    variables: tuple[Variable, ...]
    joint: tuple[Mapping[str, Value | bool], ...]


def _single(variable: Variable) -> Slot:
    return Slot((variable,), tuple({variable.name: choice} for choice in variable.choices))


@dataclass(frozen=True)
class Graph:
    """A space of networks.

    Args:
        inputs: The shape of each input, without the batch.
        nodes: In an order in which each comes after its sources. The last one is the output.

    Example:
        >>> graph = Graph({"x": (8,)}, (Node("cell1", ("x",), ("identity", "dense(16, relu)"), skips=("x",)),
        ...                             Node("output", ("cell1",), ("dense(2)",))))
        >>> [variable.name for variable in graph.variables("net")]
        ['net.cell1', 'net.cell1.skip1']
        >>> graph.size
        4
    """

    inputs: Mapping[str, Shape]
    nodes: tuple[Node, ...]

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    def variables(self, name: str) -> list[Variable]:
        """The parameters in order: of each node its operation, with its arguments where they are split, then its skips.

        Args:
            name: The graph's.
        """
        return [variable for slot in self.slots(name) for variable in slot.variables]

    def slots(self, name: str) -> list[Slot]:
        """What is to be chosen, in order: of each node its operation, then its connections.

        Args:
            name: The graph's.
        """
        return [slot for node in self.nodes for slot in node.slots(name)]

    @property
    def size(self) -> int:
        """The number of networks that the parameters can describe; different ones may be the same network."""
        return math.prod(len(slot.joint) for slot in self.slots(""))

    def to_data(self) -> dict[str, Any]:
        """The graph as plain data, as JSON has it."""
        return {
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "nodes": [_node_data(node) for node in self.nodes],
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Graph:
        """The graph that :meth:`to_data` has written.

        Raises:
            ValueError: It is another thing, or has a name that a program cannot have. What it holds becomes a program.
        """
        try:
            inputs = {_plain_name(name): tuple(map(int, shape)) for name, shape in data["inputs"].items()}
            return cls(inputs, tuple(_node(node) for node in data["nodes"]))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"is no graph of a study file: {error}") from None


def part_name(node: str, part: str) -> str:
    """The parameter that says one part of a node's operation.

    >>> part_name("net.cell1", ""), part_name("net.cell1", "units")
    ('net.cell1', 'net.cell1.units')
    """
    return f"{node}.{part}" if part else node


def skip_name(graph: str, node: Node, index: int) -> str:
    """The parameter that says whether the connection number ``index`` of a node is there."""
    return f"{graph}.{node.name}.{SKIP}{index + 1}"


_PLAIN = Node("", ())
"""A node with everything at its default."""


def _node_data(node: Node) -> dict[str, Any]:
    data: dict[str, Any] = {"name": node.name, "from": list(node.sources), "choice": list(node.choices)}
    for key in ("mirror", "mime", "norm"):
        if getattr(node, key) != getattr(_PLAIN, key):
            data[key] = getattr(node, key)
    if node.split:
        data["split"] = True
    if node.skips:
        data["skips"] = list(node.skips)
    for key in ("merge", "add"):
        merge: Merge = getattr(node, key)
        if merge != getattr(_PLAIN, key):
            data[key] = {"how": merge.how, "activation": merge.activation, "norm": merge.norm, "always": merge.always}
    return data


def _plain_name(name: Any) -> str:
    """A name that can stand in a program. Raises ValueError."""
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii() or name.startswith("_"):
        raise ValueError(f"{name!r} is no name of a node")
    return name


def _merge(data: Mapping[str, Any]) -> Merge:
    merge = Merge(**data)
    if merge.how not in ("add", "concat") or merge.activation not in ACTIVATIONS or merge.norm not in NORMS:
        raise ValueError(f"{dict(data)} is no merge")
    return merge


def _node(data: Mapping[str, Any]) -> Node:
    merges = {key: _merge(data[key]) for key in ("merge", "add") if key in data}
    norm = str(data.get("norm", _PLAIN.norm))
    if norm not in NORMS:
        raise ValueError(f"{norm!r} is no normalization")
    return Node(
        name=_plain_name(data["name"]),
        sources=tuple(data["from"]),
        choices=tuple(data["choice"]),
        mirror=str(data.get("mirror", _PLAIN.mirror)),
        mime=str(data.get("mime", _PLAIN.mime)),
        skips=tuple(data.get("skips", _PLAIN.skips)),
        merge=merges.get("merge", _PLAIN.merge),
        add=merges.get("add", _PLAIN.add),
        norm=norm,
        split=bool(data.get("split", False)),
    )
