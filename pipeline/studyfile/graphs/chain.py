"""Reads a graph that is a chain of cells, or several chains one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....fields import shown
from ....yamlfile import join
from ...architecture.graph import Merge, Node
from ...architecture.operations import Shape
from .parts import Parts

KEYS = ("cells", "choice", "skips", "merge", "norm", "pool")
"""Keys of a chain."""

OUTPUT_KEYS = ("chain", "add")

MOST_CELLS, MOST_SKIPS = 1000, 1000
"""Most cells of a chain, and most connections of a cell."""


class ChainReader:
    """Reads chains. ``parts``: takes their nodes."""

    def __init__(self, parts: Parts):
        self.parts = parts

    def read(self, inputs: Mapping[str, Shape]) -> None:
        """Read the nodes. Raises UserError."""
        if len(inputs) > 1:
            message = f"a chain has one input, but there are {len(inputs)}; name the nodes with `nodes`"
            raise self.parts.error(message, join(self.parts.key, "inputs"))
        if "output" not in self.parts.data:
            raise self.parts.error("has no `output`; give the last layer, as in output: dense(7)", self.parts.key)
        start = previous = next(iter(inputs))
        if "cells" in self.parts.data:
            stages: list[tuple[Any, str]] = [
                ({name: self.parts.data[name] for name in KEYS if name in self.parts.data}, self.parts.key)
            ]
        else:
            key, listed = join(self.parts.key, "stages"), self.parts.data["stages"]
            others = [name for name in KEYS if name in self.parts.data]
            if others:
                raise self.parts.error(
                    "belongs to a stage here; write it below `stages`", join(self.parts.key, others[0])
                )
            if not isinstance(listed, list) or not listed:
                raise self.parts.error("must be a list of chains, as in [{cells: 3, choice: [...]}]", key)
            stages = [(stage, join(key, index)) for index, stage in enumerate(listed)]
        for stage, key in stages:
            previous = self._stage(stage, key, previous)
        self._output(start, previous)

    def _stage(self, data: Any, key: str, previous: str) -> str:
        """Add the nodes of a chain of cells, or of fixed operations; returns the last one."""
        if not isinstance(data, dict):
            return self._fixed(data, key, "layer", previous)
        self.parts.known(data, KEYS, key)
        cells = self.parts.whole(data, "cells", key, 1, MOST_CELLS, None)
        skips = self.parts.whole(data, "skips", key, 0, MOST_SKIPS, 0)
        if "choice" not in data:
            message = "has no `choice`; list the operations of a cell, as in [identity, dense(64, relu)]"
            raise self.parts.error(message, key)
        number = sum(name.startswith("cell") for name in self.parts.nodes)
        choices = self.parts.operations(data["choice"], join(key, "choice"), f"cell{number + 1}")
        add = self.parts.merge(data.get("merge"), join(key, "merge"), Merge("add"))
        norm = self.parts.norm(data.get("norm"), join(key, "norm"))
        every, pool = self._pool(data.get("pool"), join(key, "pool"))
        points, split = [previous], self.parts.split
        for index in range(1, cells + 1):
            near = tuple(points[-skips:]) if skips else ()
            node = Node(f"cell{number + index}", (points[-1],), choices, skips=near, add=add, norm=norm, split=split)
            points.append(self.parts.put(node, join(key, "choice")))
            if every and index % every == 0:
                name = f"pool{sum(name.startswith('pool') for name in self.parts.nodes) + 1}"
                points.append(self.parts.put(Node(name, (points[-1],), (pool,)), join(key, "pool")))
        return points[-1]

    def _pool(self, data: Any, key: str) -> tuple[int, str]:
        """After how many cells a pooling follows, 0 for never, and which."""
        if data is None:
            return 0, ""
        if not isinstance(data, dict):
            raise self.parts.error(f"must be a mapping, as in {{every: 2, op: maxpool(2)}}, but is {shown(data)}", key)
        self.parts.known(data, ("every", "op"), key)
        (operation,) = self.parts.one(data.get("op", "maxpool(2)"), join(key, "op"), "pool1")
        return self.parts.whole(data, "every", key, 1, MOST_CELLS, 1), operation

    def _fixed(self, value: Any, key: str, name: str, previous: str) -> str:
        """Add nodes for an operation, or a list of them; returns the last one. A single one is called ``name``."""
        texts = value if isinstance(value, list) else [value]
        if not texts:
            raise self.parts.error("is empty; give an operation, as in dense(7)", key)
        for index, text in enumerate(texts, start=1):
            taken = sum(each.startswith(name) for each in self.parts.nodes)
            own = name if len(texts) == index and name == "output" else f"{name}{taken + 1}"
            where = join(key, index - 1) if isinstance(value, list) else key
            previous = self.parts.put(Node(own, (previous,), self.parts.one(text, where, own)), where)
        return previous

    def _output(self, start: str, previous: str) -> None:
        data, key = self.parts.data["output"], join(self.parts.key, "output")
        if not isinstance(data, dict):
            self._fixed(data, key, "output", previous)
            return
        self.parts.known(data, OUTPUT_KEYS, key)
        if "chain" not in data:
            raise self.parts.error("has no `chain`; list the last layers, as in [last, dense(5)]", key)
        if "add" not in data:
            self._fixed(data["chain"], join(key, "chain"), "output", previous)
            return
        head = self._fixed(data["chain"], join(key, "chain"), "head", previous)
        added = self._fixed(data["add"], join(key, "add"), "added", start)
        self.parts.put(Node("output", (head, added), merge=Merge("add")), key)
