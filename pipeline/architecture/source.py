"""Writes a network as a plain PyTorch program, which needs nothing of Pilotune."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .network import Network, Step
from .operations import Shape, activated, norm_code, shown, width

CLASS = "Net"
"""The name of the class in the program."""

RESERVED = frozenset(
    {
        "T_destination",
        *(
            "torch",
            "nn",
            "F",
            "self",
            "Net",
            "Attention",
            "add_module",
            "apply",
            "bfloat16",
            "buffers",
            "call_super_init",
        ),
        *("children", "compile", "cpu", "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "forward"),
        *("get_buffer", "get_extra_state", "get_parameter", "get_submodule", "half", "ipu", "load_state_dict"),
        *("modules", "mtia", "named_buffers", "named_children", "named_modules", "named_parameters", "parameters"),
        *("register_backward_hook", "register_buffer", "register_forward_hook", "register_forward_pre_hook"),
        *("register_full_backward_hook", "register_full_backward_pre_hook", "register_load_state_dict_post_hook"),
        *("register_load_state_dict_pre_hook", "register_module", "register_parameter"),
        *("register_state_dict_post_hook", "register_state_dict_pre_hook", "requires_grad_", "set_extra_state"),
        *("set_submodule", "share_memory", "state_dict", "to", "to_empty", "train", "training", "type", "xpu"),
        *("zero_grad",),
    }
)
"""Names that no node may have: they mean something else in the program."""


def source(network: Network, title: str = "") -> str:
    """The program of a network: a file with the class ``Net``, an ``nn.Module``.

    Args:
        network: The network. Operations of the user's must have been measured.
        title: First sentence of its documentation.

    Raises:
        ValueError: The shape of an operation of the user's is not known.

    Example:
        >>> from pilotune.pipeline.architecture.graph import Graph, Node
        >>> from pilotune.pipeline.architecture.network import network
        >>> graph = Graph({"x": (8,)}, (Node("output", ("x",), ("dense(2, relu)",)),))
        >>> print(source(network(graph, {}, "net")).partition("class")[2].strip())
        Net(nn.Module):
            \"\"\"Has 18 weights. Takes x: 8; gives 2.\"\"\"
        <BLANKLINE>
            def __init__(self):
                super().__init__()
                self.output = nn.Linear(8, 2)
        <BLANKLINE>
            def forward(self, x):
                output = F.relu(self.output(x))
                return output
    """
    program = _Program(network)
    made, body = list(program.modules()), list(program.lines())
    helpers = [helper for helper in _helpers() if helper in program.helpers]
    lines = [f'"""{title or "A network that Pilotune has found."}"""', ""]
    lines += [
        "import torch",
        "import torch.nn.functional as F",
        "from torch import nn",
        *sorted(program.imports),
        "",
        "",
    ]
    for helper in helpers:
        lines += [_helpers()[helper], "", ""]
    lines += [f"class {CLASS}(nn.Module):", f'    """{_facts(network)}"""', "", "    def __init__(self):"]
    lines += ["        super().__init__()", *(f"        self.{name} = {module}" for name, module in made), ""]
    lines += [f"    def forward(self, {', '.join(network.inputs)}):", *(f"        {line}" for line in body)]
    return "\n".join([*lines, f"        return {network.output}", ""])


def _facts(network: Network) -> str:
    inputs = ", ".join(f"{name}: {shown(shape)}" for name, shape in network.inputs.items())
    weights = f"Has {network.parameters:,} weights. " if network.parameters is not None else ""
    return f"{weights}Takes {inputs}; gives {shown(network.shape) if network.shape else 'what its last layer gives'}."


class _Program:
    """The parts of a program.

    Attributes:
        imports: Lines that it needs, known after :meth:`modules` has been read.
        helpers: Names of the classes of :mod:`.layers` that it uses, likewise.
    """

    def __init__(self, network: Network):
        self.network = network
        self.imports: set[str] = set()
        self.helpers: set[str] = set()

    def modules(self) -> Iterator[tuple[str, str]]:
        """The modules by name, each with the expression that makes it."""
        for step in self.network.steps:
            if step.operation is not None:
                yield from self._layer(step)
            else:
                yield from _projections(step)
            if step.norm != "none" and step.layer == step.name:
                yield f"{step.name}_norm", norm_code(step.norm, _known(step.shape, step))

    def _layer(self, step: Step) -> Iterator[tuple[str, str]]:
        assert step.operation is not None
        code = step.operation.code(_known(step.shapes[0], step))
        self.imports.update(code.imports)
        self.helpers.update(code.helpers)
        if code.module and step.layer == step.name:
            yield step.name, code.module

    def lines(self) -> Iterator[str]:
        """The lines that compute each tensor in order."""
        for step in self.network.steps:
            yield f"{step.name} = {_expression(step)}"


def _expression(step: Step) -> str:
    if step.operation is not None:
        code = step.operation.code(_known(step.shapes[0], step))
        value = code.expression.replace("{x}", step.inputs[0]).replace("{m}", step.layer)
        return activated(_normed(value, step), code.activation)
    assert step.merge is not None
    if step.merge.how == "concat":
        axis = 1 if len(_known(step.shape, step)) == 3 else -1
        value = f"torch.cat([{', '.join(step.inputs)}], dim={axis})"
    else:
        value = " + ".join(_projected(step, index) for index in range(len(step.inputs)))
    return activated(_normed(value, step), step.merge.activation)


def _normed(value: str, step: Step) -> str:
    return value if step.norm == "none" else f"self.{step.layer}_norm({value})"


def _projections(step: Step) -> Iterator[tuple[str, str]]:
    """The modules that bring the others of a sum to the width of the first."""
    assert step.merge is not None
    if step.merge.how != "add":
        return
    to = _known(step.shape, step)
    for index, shape in enumerate(step.shapes):
        own, wanted = width(_known(shape, step)), width(to)
        if own != wanted:
            made = f"nn.Conv2d({own}, {wanted}, 1)" if len(to) == 3 else f"nn.Linear({own}, {wanted})"
            yield _projection(step, index), made


def _projected(step: Step, index: int) -> str:
    """One term of a sum."""
    name, shape, to = step.inputs[index], _known(step.shapes[index], step), _known(step.shape, step)
    if len(to) == 3 and shape[1:] != to[1:]:
        name = f"F.adaptive_avg_pool2d({name}, ({to[1]}, {to[2]}))"
    return name if width(shape) == width(to) else f"self.{_projection(step, index)}({name})"


def _projection(step: Step, index: int) -> str:
    """The name of a projection: by what it projects, so that other networks of the graph have the same name for it."""
    return f"{step.name}_{step.labels[index]}"


def _known(shape: Shape | None, step: Step) -> Shape:
    if shape is None:
        raise ValueError(f"node {step.name}: its shape is known only to PyTorch, which must build the network")
    return shape


@cache
def _helpers() -> dict[str, str]:
    """The classes of :mod:`.layers`, without importing it: it imports PyTorch."""
    text = Path(__file__).with_name("layers.py").read_text(encoding="utf-8")
    classes = [each for each in ast.parse(text).body if isinstance(each, ast.ClassDef)]
    found = {each.name: ast.get_source_segment(text, each) or "" for each in classes}
    return {name: code.replace("  # type: ignore[misc]", "") for name, code in found.items()}
