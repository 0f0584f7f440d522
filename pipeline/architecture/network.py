"""One network of a graph: what its parameters choose, with the shapes and weights of every step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .graph import Graph, Merge, Node, part_name, skip_name
from .notation import Value
from .operations import Operation, Shape, ShapeError, norm_fits, norm_weights, operation, shown, width

Probe = Callable[[Operation, Shape], tuple[Shape, int]]
"""Tells the shape and the weights of an operation of the user's, from the shape of its input."""


class NetworkError(ValueError):
    """Parameters that describe no network.

    Attributes:
        node: The node at which it fails; empty where none is to blame.
        why: Why, without the node.
    """

    def __init__(self, node: str, why: str):
        super().__init__(f"node {node}: {why}" if node else why)
        self.node, self.why = node, why


@dataclass(frozen=True)
class Step:
    """A tensor of the network, and how it is made of earlier ones.

    Attributes:
        name: Of the tensor, and of the layer that makes it.
        inputs: The tensors that it is made of.
        labels: By input, the node or input of the graph that it stands for: with layers absent, several may be one.
        operation: What is applied to the only input; None where several are merged.
        merge: How several are merged; None where an operation is applied.
        norm: Normalization between the layer and its activation.
        layer: The step whose layer this one uses: itself, or the one that it mirrors.
        shapes: The shapes of the inputs; None where only PyTorch knows.
        shape: Its shape, likewise.
        weights: The weights of a layer of its own, likewise.
    """

    name: str
    inputs: tuple[str, ...]
    labels: tuple[str, ...] = ()
    operation: Operation | None = None
    merge: Merge | None = None
    norm: str = "none"
    layer: str = ""
    shapes: tuple[Shape | None, ...] = ()
    shape: Shape | None = None
    weights: int | None = 0


@dataclass(frozen=True)
class Network:
    """A network, as a list of steps.

    Attributes:
        inputs: The shape of each input.
        steps: Those that the output needs, in order.
        output: The name of the tensor that the network gives.
        chosen: The operation of each node of the graph, as text.
    """

    inputs: Mapping[str, Shape]
    steps: tuple[Step, ...]
    output: str
    chosen: Mapping[str, str]

    @property
    def parameters(self) -> int | None:
        """The number of weights; None where it has an operation whose weights only PyTorch knows."""
        counts = [step.weights for step in self.steps]
        return None if None in counts else sum(count for count in counts if count is not None)

    @property
    def shape(self) -> Shape | None:
        """The shape of the output; None where only PyTorch knows."""
        return next((step.shape for step in self.steps if step.name == self.output), self.inputs.get(self.output))

    @property
    def key(self) -> str:
        """A short text that is equal for equal networks: absent layers are left out, and the order of sums is free.

        Two layers are never the same layer, unless one mirrors the other.
        """
        keys: dict[str, str] = dict.fromkeys(self.inputs, "")
        keys = {name: f"input {name}" for name in self.inputs}
        for step in self.steps:
            parts = [keys[name] for name in step.inputs]
            if step.operation is not None:
                owner = "" if step.layer == step.name else f" of {keys[step.layer]}"
                text = f"{step.operation.key}{step.norm}{owner}"
            else:
                assert step.merge is not None
                if step.merge.how == "add":  # the first one decides the width
                    first, others = parts[:1], sorted(parts[1:])
                    parts = sorted(parts) if len(set(step.shapes)) == 1 else first + others
                text = repr(step.merge)
            keys[step.name] = hashlib.blake2b("|".join([text, *parts]).encode(), digest_size=12).hexdigest()
        return keys[self.output]


def network(graph: Graph, params: Mapping[str, Any], name: str, probe: Probe | None = None) -> Network:
    """The network that a trial's parameters describe.

    Args:
        graph: The space.
        params: The parameters; others than the graph's are ignored.
        name: The graph's name, with which its parameters begin.
        probe: Tells the shapes of the user's own operations; None to leave them unknown.

    Raises:
        NetworkError: A parameter is missing or has none of its values, or shapes do not fit.

    Example:
        >>> graph = Graph({"x": (8,)}, (Node("cell1", ("x",), ("identity", "dense(16, relu)"), skips=("x",)),
        ...                             Node("output", ("cell1",), ("dense(2)",))))
        >>> network(graph, {"net.cell1": "dense(16, relu)", "net.cell1.skip1": True}, "net").parameters
        322
    """
    return _Decoder(graph, params, name, probe).network()


class _Decoder:
    """Goes through the nodes in order. ``value`` is the tensor that stands for each input and node."""

    def __init__(self, graph: Graph, params: Mapping[str, Any], name: str, probe: Probe | None):
        self.graph, self.params, self.name, self.probe = graph, params, name, probe
        self.steps: dict[str, Step] = {}
        self.value = {each: each for each in graph.inputs}
        self.positions: dict[str, int] = {}

    def network(self) -> Network:
        chosen = {}
        for node in self.graph.nodes:
            self.positions[node.name] = self._position(node)
            chosen[node.name] = self._operation(node).call.__str__()
            try:
                self.value[node.name] = self._node(node)
            except ShapeError as error:
                raise NetworkError(node.name, str(error)) from error.__cause__
        output = self.value[self.graph.nodes[-1].name]
        return Network(self.graph.inputs, tuple(self._needed(output)), output, chosen)

    def _position(self, node: Node) -> int:
        """Which of its choices a node has."""
        if node.mirror or node.mime:
            return self.positions[node.mirror or node.mime]
        if not node.is_chosen:
            return 0
        if node.split:
            return self._split_position(node)
        value = self._param(f"{self.name}.{node.name}", node)
        try:
            return node.choices.index(value)
        except ValueError:
            raise NetworkError(node.name, f"{value!r} is none of its operations") from None

    def _split_position(self, node: Node) -> int:
        names = {part.name: part_name(f"{self.name}.{node.name}", part.name) for part in node.parts.parts}
        values = {part: self._param(name, node) for part, name in names.items()}
        try:
            return node.parts.position(values)
        except KeyError:
            given = ", ".join(f"{names[part]} = {value!r}" for part, value in values.items())
            raise NetworkError(node.name, f"none of its operations has {given}") from None

    def _operation(self, node: Node) -> Operation:
        if node.mirror:
            return self._operation(self.graph.by_name[node.mirror])
        return node.operations[self.positions[node.name]]

    def _param(self, name: str, node: Node) -> Any:
        if name not in self.params:
            raise NetworkError(node.name, f"the parameters have no {name}")
        return self.params[name]

    def _node(self, node: Node) -> str:
        """Add the steps of a node; returns the tensor that stands for it."""
        sources = [self.value[each] for each in node.sources]
        value = sources[0]
        if len(sources) > 1:
            value = self._merge(f"{node.name}_in", dict(zip(node.sources, sources, strict=True)), node.merge)
        value = self._apply(node, value)
        chosen = {
            source: self.value[source]
            for index, source in enumerate(node.skips)
            if self._param(skip_name(self.name, node, index), node)
        }
        if chosen or (node.skips and node.add.always):
            value = self._merge(f"{node.name}_sum", {node.name: value, **chosen}, node.add)
        return value

    def _apply(self, node: Node, value: str) -> str:
        operation, shape = self._operation(node), self._shape(value)
        if operation.is_identity:
            return value
        norm = (self.graph.by_name[node.mirror] if node.mirror else node).norm if operation.normed else "none"
        out, weights = self._measured(operation, shape, norm)
        layer = node.mirror or node.name
        if node.mirror:
            self._check_mirror(self.steps[node.mirror], shape)
        step = Step(
            node.name,
            (value,),
            node.sources[:1],
            operation=operation,
            norm=norm,
            layer=layer,
            shapes=(shape,),
            shape=out,
            weights=0 if node.mirror else weights,
        )
        self.steps[node.name] = step
        return node.name

    def _measured(self, operation: Operation, shape: Shape | None, norm: str) -> tuple[Shape | None, int | None]:
        """The shape and the weights of an operation with its normalization."""
        if shape is None:
            return None, None
        if operation.is_users:
            return self.probe(operation, shape) if self.probe else (None, None)
        try:
            out, weights = operation.out(shape), operation.weights(shape)
        except ShapeError as error:
            raise ShapeError(f"{operation.call} {error}") from None
        assert out is not None
        assert weights is not None
        if not norm_fits(norm, out):
            raise ShapeError(
                f"{operation.call} gives a sequence, which `norm: batch` does not take; write `norm: layer`"
            )
        return out, weights + norm_weights(norm, out)

    def _check_mirror(self, mirrored: Step, shape: Shape | None) -> None:
        (wanted,) = mirrored.shapes
        if None not in (wanted, shape) and wanted != shape:
            assert wanted is not None
            assert shape is not None
            raise ShapeError(f"mirrors {mirrored.name}, whose input is {shown(wanted)}, but gets {shown(shape)}")

    def _merge(self, name: str, values: Mapping[str, str], merge: Merge) -> str:
        """Add the step that merges tensors, given by the nodes that they stand for; returns its name."""
        shapes = [self._shape(value) for value in values.values()]
        known = [shape for shape in shapes if shape is not None]
        step = Step(
            name,
            tuple(values.values()),
            tuple(values),
            merge=merge,
            norm=merge.norm,
            layer=name,
            shapes=tuple(shapes),
            weights=None,
        )
        if len(known) == len(shapes):
            out = added(known) if merge.how == "add" else joined(known)
            weights = sum(projection_weights(each, out) for each in known[1:]) if merge.how == "add" else 0
            if not norm_fits(merge.norm, out):
                raise ShapeError("adds sequences, which `norm: batch` does not take; write `norm: layer`")
            step = replace(step, shape=out, weights=weights + norm_weights(merge.norm, out))
        self.steps[name] = step
        return name

    def _shape(self, value: str) -> Shape | None:
        return self.steps[value].shape if value in self.steps else self.graph.inputs[value]

    def _needed(self, output: str) -> list[Step]:
        """The steps that the output needs, and those whose layers they use."""
        needed, waiting = set(), [output]
        while waiting:
            name = waiting.pop()
            if name in needed or name not in self.steps:
                continue
            needed.add(name)
            waiting += [*self.steps[name].inputs, self.steps[name].layer]
        return [step for name, step in self.steps.items() if name in needed]


def added(shapes: Sequence[Shape]) -> Shape:
    """The shape of a sum, which is that of the first. Raises ShapeError where the others cannot be projected to it.

    >>> added([(16,), (54,)]), added([(8, 5), (8, 16)])
    ((16,), (8, 5))
    """
    first = shapes[0]
    for each in shapes[1:]:
        if len(each) != len(first) or (len(first) == 2 and each[0] != first[0]):
            raise ShapeError(f"cannot add {shown(each)} to {shown(first)}")
        if len(first) == 3 and any(one < other for one, other in zip(each[1:], first[1:], strict=True)):
            raise ShapeError(f"cannot add {shown(each)} to the larger {shown(first)}")
    return first


def joined(shapes: Sequence[Shape]) -> Shape:
    """The shape of tensors side by side. Raises ShapeError where they do not fit.

    >>> joined([(16,), (54,)]), joined([(8, 5), (8, 3)])
    ((70,), (8, 8))
    """
    first = shapes[0]
    same = [shape[1:] if len(shape) == 3 else shape[:-1] for shape in shapes]
    if any(len(shape) != len(first) for shape in shapes) or any(each != same[0] for each in same):
        raise ShapeError(f"cannot join {' and '.join(map(shown, shapes))}")
    if len(first) == 3:
        return (sum(shape[0] for shape in shapes), *first[1:])
    return (*first[:-1], sum(shape[-1] for shape in shapes))


def projection_weights(shape: Shape, to: Shape) -> int:
    """The weights of what brings a tensor to the shape of another: none where the widths are equal.

    >>> projection_weights((54,), (16,)), projection_weights((16,), (16,)), projection_weights((3, 8, 8), (16, 4, 4))
    (880, 0, 64)
    """
    own, wanted = width(shape), width(to)
    return 0 if own == wanted else (own + 1) * wanted


def checked_operations(texts: Sequence[str]) -> list[Operation]:
    """The operations of a list. Raises ValueError naming one that is none, or is there twice."""
    found: dict[tuple[str, tuple[Value, ...]], Operation] = {}
    for text in texts:
        try:
            one = operation(text)
        except ValueError as error:
            raise ValueError(f"{text!r} {error}") from None
        if one.key in found:
            raise ValueError(f"{text!r} is there twice")
        found[one.key] = one
    return list(found.values())
