"""Reads the parts of a ``graph`` that chains and named nodes have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ....errors import UserError
from ....fields import boolean, shown
from ....yamlfile import YamlFile, join, nearest
from ...architecture.graph import Merge, Node
from ...architecture.network import checked_operations
from ...architecture.notation import expand
from ...architecture.operations import ACTIVATIONS, LARGEST, NORMS, Operation, Shape
from ...user_code.references import find_reference

MERGE_KEYS = ("add", "concat", "activation", "norm", "always")


class Parts:
    """A graph as far as it has been read.

    Args:
        data: What stands at ``graph``.
        key: Its place in the study file.
        source: The study file, for the place of an error.

    Attributes:
        nodes: By name, in order.
        places: By node and input, the key at which the study file describes it.
    """

    def __init__(self, data: Mapping[str, Any], key: str, source: YamlFile):
        self.data, self.key, self.source = data, key, source
        self.places: dict[str, str] = {}
        self.nodes: dict[str, Node] = {}
        self._own_found: set[str] = set()

    def error(self, message: str, key: str) -> UserError:
        """An error at a key of the study file."""
        return self.source.error(message, key)

    def known(self, data: Mapping[str, Any], keys: Sequence[str], key: str) -> None:
        """Refuse other keys than these."""
        for name in data:
            if name not in keys:
                raise self.error(f"unknown key{nearest(str(name), keys)}", join(key, name))

    def inputs(self) -> dict[str, Shape]:
        """The shape of each input, without the batch."""
        key, data = join(self.key, "inputs"), self.data.get("inputs")
        if not isinstance(data, dict) or not data:
            raise self.error("must give the shape of each input without the batch, as in {x: 54}", key)
        inputs = {}
        for name, shape in data.items():
            sizes = shape if isinstance(shape, list) else [shape]
            if not 1 <= len(sizes) <= 3 or not all(type(size) is int and 0 < size <= LARGEST for size in sizes):
                form = "54 (features), [8, 5] (steps, features) or [3, 32, 32] (channels, height, width)"
                raise self.error(f"must be a shape, as {form}, but is {shown(shape)}", join(key, name))
            inputs[str(name)] = tuple(sizes)
            self.places[str(name)] = join(key, name)
        return inputs

    def operations(self, value: Any, key: str, node: str) -> tuple[str, ...]:
        """The operations that a text, or a list of them, stands for."""
        texts = value if isinstance(value, list) else [value]
        if not texts:
            raise self.error(f"node {node} has no operation; list some, as in [identity, dense(64, relu)]", key)
        calls: list[str] = []
        for index, text in enumerate(texts):
            where = join(key, index) if isinstance(value, list) else key
            if not isinstance(text, str):
                raise self.error(f"node {node}: an operation is text, as dense(64, relu), but is {shown(text)}", where)
            try:
                expanded = [str(call) for call in expand(text)]
                self._check_own(checked_operations(expanded))
                calls += expanded
            except ValueError as error:
                said = str(error) if str(error).startswith(("'", '"')) else f"{text!r} {error}"
                raise self.error(f"node {node}: {said}", where) from None
        try:
            checked_operations(calls)
        except ValueError as error:
            raise self.error(f"node {node}: {error}", key) from None
        return tuple(calls)

    def _check_own(self, operations: Sequence[Operation]) -> None:
        """Raise ValueError where the file of an operation of the user's does not define it. Imports nothing."""
        names = {each.call.name for each in operations if each.is_users} - self._own_found
        file = Path(self.source.path)
        for name in sorted(names) if file.is_file() else ():
            try:
                find_reference(name, file.parent, what="class or function")
            except UserError as error:
                raise ValueError(f"{name!r}: {error.message}") from None
            self._own_found.add(name)

    def merge(self, data: Any, key: str, plain: Merge) -> Merge:
        """How tensors are merged: ``add``, ``concat``, or a mapping with more."""
        if data is None:
            return plain
        if data in ("add", "concat"):
            return Merge(str(data))
        if not isinstance(data, dict):
            message = (
                f"must be add, concat or a mapping, as in {{add: project, activation: relu}}, but is {shown(data)}"
            )
            raise self.error(message, key)
        self.known(data, MERGE_KEYS, key)
        if "add" in data and "concat" in data:
            raise self.error("has both add and concat; give one of them", join(key, "concat"))
        if data.get("add", "project") not in ("project", True):
            raise self.error(f"is project, but here {shown(data['add'])}", join(key, "add"))
        activation = data.get("activation", "linear")
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            message = f"is one of {', '.join(ACTIVATIONS)}, but here {shown(activation)}"
            raise self.error(message, join(key, "activation"))
        try:
            always = boolean(data.get("always", False))
        except ValueError as error:
            raise self.error(str(error), join(key, "always")) from None
        how = "concat" if "concat" in data else "add" if "add" in data else plain.how
        return Merge(how, activation, self.norm(data.get("norm"), join(key, "norm")), always)

    def norm(self, value: Any, key: str) -> str:
        """A normalization: ``none``, ``batch`` or ``layer``."""
        if value is None:
            return "none"
        if value not in NORMS:
            raise self.error(f"is one of {', '.join(NORMS)}, but here {shown(value)}", key)
        return str(value)

    def whole(self, data: Mapping[str, Any], name: str, key: str, least: int, most: int, default: int | None) -> int:
        """A whole number within bounds."""
        value = data.get(name, default)
        if type(value) is not int or not least <= value <= most:
            raise self.error(f"must be a whole number from {least} to {most}, but is {shown(value)}", join(key, name))
        return value

    def one(self, value: Any, key: str, node: str) -> tuple[str]:
        """A text that stands for a single operation."""
        found = self.operations(value, key, node)
        if len(found) > 1:
            raise self.error(f"node {node}: {shown(value)} stands for {len(found)} operations; give one", key)
        return (found[0],)

    @cached_property
    def split(self) -> bool:
        """Whether the operation and the arguments of a node are parameters of their own."""
        try:
            return boolean(self.data.get("split", False))
        except ValueError as error:
            raise self.error(str(error), join(self.key, "split")) from None

    def check_split(self) -> None:
        """Refuse operations that cannot be split."""
        for node in self.nodes.values():
            if node.split and node.is_chosen:
                try:
                    node.parts  # noqa: B018
                except ValueError as error:
                    raise self.error(f"node {node.name}: {error}", self.places[node.name]) from None

    def put(self, node: Node, key: str) -> str:
        """Add a node that the study file describes at ``key``; returns its name. Raises UserError."""
        if node.name in self.places and node.name not in self.nodes:
            message = f"{node.name!r} is also the name of a node of the graph; rename the input"
            raise self.error(message, self.places[node.name])
        self.nodes[node.name] = node
        self.places[node.name] = key
        return node.name
