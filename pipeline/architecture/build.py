"""Builds the network of a trial with PyTorch."""

from __future__ import annotations

import importlib
import linecache
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from .graph import Graph
from .network import Network, NetworkError, network
from .operations import Operation, Shape, shown
from .source import CLASS, source

if TYPE_CHECKING:
    from torch import nn


def build(params: Mapping[str, Any], name: str = "net") -> nn.Module:
    """The network that a trial's parameters describe, as a plain ``torch.nn.Module`` with new weights.

    The network is written as a program, which is run: ``pilotune build`` prints the same one.

    Args:
        params: The trial's parameters, ``trial.params``, or those that ``pilotune best`` gives.
        name: The graph's name in the study file's ``space``.

    Raises:
        UserError: There is no such graph, the parameters are not of it, or an operation of the user's own fails.

    Example::

        from pilotune.architecture import build

        def train(trial):
            net = build(trial.params, "net")
            optimizer = torch.optim.AdamW(net.parameters(), lr=trial.params["lr"])
    """
    found = network_of(params, name)
    module = _run(source(found))
    weights = sum(parameter.numel() for parameter in module.parameters())
    if found.parameters is not None and weights != found.parameters:
        raise AssertionError(f"the network has {weights} weights, but {found.parameters} were counted")
    return module


def network_of(params: Mapping[str, Any], name: str = "net") -> Network:
    """The network that a trial's parameters describe. Operations of the user's own are measured by PyTorch.

    Args:
        params: As of :func:`build`.
        name: Likewise.

    Raises:
        UserError: As of :func:`build`.
    """
    if name not in params:
        others = [key for key, value in params.items() if isinstance(value, Mapping) and "nodes" in value]
        known = f"; the graphs are {', '.join(others)}" if others else "; they have no graph"
        raise UserError(f"the parameters have no graph {name!r}{known}")
    try:
        return network(Graph.from_data(params[name]), params, name, _probe)
    except NetworkError as error:
        raise UserError(f"graph {name}, {error}") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{name!r} {error}") from None


def _probe(operation: Operation, shape: Shape) -> tuple[Shape, int]:
    """Make an operation of the user's own, and see what it gives for an input of zeros."""
    import torch

    module_name, _, attribute = operation.call.name.rpartition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"has the operation {operation.call}, which cannot be imported: {error}") from None
    module = factory(shape, *operation.values)
    if not isinstance(module, torch.nn.Module):
        kind = type(module).__name__
        raise ValueError(f"has the operation {operation.call}, which gives a {kind} instead of a torch.nn.Module")
    was = module.training
    with torch.no_grad():
        out = module.eval()(torch.zeros(2, *shape))
    module.train(was)
    if not isinstance(out, torch.Tensor) or out.dim() < 2 or out.shape[0] != 2:
        raise ValueError(
            f"has the operation {operation.call}, which does not give one tensor for a batch of {shown(shape)}"
        )
    return tuple(out.shape[1:]), sum(parameter.numel() for parameter in module.parameters())


def _run(program: str) -> nn.Module:
    """The module of a program. Its lines appear in tracebacks, and it can be copied and pickled."""
    module: nn.Module = _class(program)()
    return module


def _class(program: str) -> Any:
    file = f"<network {abs(hash(program)):x}>"
    linecache.cache[file] = (len(program), None, program.splitlines(keepends=True), file)
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(program, file, "exec"), names)
    made = names[CLASS]

    def reduce(self: Any, protocol: int) -> tuple[Any, ...]:
        return _restored, (program, self.__dict__)

    made.__reduce_ex__ = reduce
    return made


def _restored(program: str, state: dict[str, Any]) -> nn.Module:
    """A copy of a network."""
    made = _class(program)
    module: nn.Module = made.__new__(made)
    module.__dict__.update(state)
    return module
