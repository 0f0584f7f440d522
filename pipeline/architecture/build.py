"""Builds the network of a trial with PyTorch."""

from __future__ import annotations

import importlib
import linecache
import traceback
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from ...grammar import a
from .graph import Graph
from .network import Network, NetworkError, network
from .operations import Operation, Shape, ShapeError, shown
from .source import CLASS, source

if TYPE_CHECKING:
    from torch import nn


def build(params: Mapping[str, Any], name: str = "net") -> nn.Module:
    """The network that a trial's parameters describe, as a plain ``torch.nn.Module`` with new weights.

    The network is written as a program, which is run: ``pilotune build`` prints the same one.

    Args:
        params: The trial's parameters, ``trial.params``, or those that ``pilotune export --best`` and
            ``pilotune.open(...).best_params`` give. They hold the graph, too.
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
    counted_here = not any(step.operation and step.operation.is_users for step in found.steps)
    if counted_here and weights != found.parameters:  # layers of the user's own may share their weights
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
        raise UserError(f"graph {name}, {error}") from error.__cause__
    except (ValueError, TypeError) as error:
        raise UserError(f"{name!r} {error}") from None


def _probe(operation: Operation, shape: Shape) -> tuple[Shape, int]:
    """Make an operation of the user's own, and see what it gives for an input of zeros. Raises ShapeError."""
    import torch

    call = operation.call
    module = _made(operation, shape)
    if not isinstance(module, torch.nn.Module):
        raise ShapeError(f"{call} gives {a(type(module).__name__)} instead of a torch.nn.Module")
    was = module.training
    try:
        with torch.no_grad():
            out = module.eval()(torch.zeros(2, *shape))
    except Exception as error:
        raise ShapeError(f"{call} fails on a batch of {shown(shape)}: {_raised(error)}") from error
    module.train(was)
    if not isinstance(out, torch.Tensor) or out.dim() < 2 or out.shape[0] != 2:
        raise ShapeError(f"{call} does not give one tensor for a batch of {shown(shape)}")
    return tuple(out.shape[1:]), sum(parameter.numel() for parameter in module.parameters())


def _made(operation: Operation, shape: Shape) -> Any:
    """What a callable of the user's gives. Raises ShapeError."""
    module_name, _, attribute = operation.call.name.rpartition(":")
    try:
        factory = attrgetter(attribute)(importlib.import_module(module_name))
    except Exception as error:
        raise ShapeError(f"{operation.call} cannot be imported: {_raised(error)}") from error
    try:
        return factory(shape, *operation.values)
    except Exception as error:
        raise ShapeError(f"{operation.call} fails for an input of {shown(shape)}: {_raised(error)}") from error


def _raised(error: Exception) -> str:
    """An error of the user's code in words, with the line of that code."""
    lines = [each for each in traceback.extract_tb(error.__traceback__)[1:] if Path(each.filename).is_file()]
    where = f" ({Path(lines[-1].filename).name}:{lines[-1].lineno})" if lines else ""
    return f"{type(error).__name__}: {error}{where}"


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
