"""How a member of a saved ensemble predicts: by a function, or as the network of a graph.

A function gets the member's files by name, its parameters and the rows, and returns the mean and the standard deviation
of each row, or the probabilities of classes. It is in a file of the ensemble's folder or in an installed module.
PyTorch is imported only by what uses it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import UserError
from ..user_code.importing import ImportProblem, import_code, make_callable
from .held import CLASSES

if TYPE_CHECKING:
    import torch

MODEL = "model.pt"
"""The artifact with the weights of a network: a state dict."""

AT_ONCE = 10_000
"""Rows that a network predicts together."""

Predict = Callable[[dict[str, Path], dict[str, Any], Any], Any]
"""From a member's files, its parameters and the rows to what it predicts."""


@dataclass(frozen=True)
class How:
    """How all members of an ensemble predict; one of ``file``, ``module`` and ``graph`` is given.

    Attributes:
        file: A Python file, relative to the ensemble's folder.
        module: An installed module.
        function: In either of them.
        graph: The parameter that holds the members' graph; their weights are in :data:`MODEL`.
    """

    file: str = ""
    module: str = ""
    function: str = ""
    graph: str = ""

    def __str__(self) -> str:
        return f"the graph {self.graph}" if self.graph else f"{self.file or self.module}:{self.function}"


@dataclass(frozen=True)
class Member:
    """One model of an ensemble.

    Attributes:
        trial: The number of its trial.
        weight: Its share of the mixture.
        params: The trial's parameters, as its objective had them.
        files: Its artifacts by name.
    """

    trial: int
    weight: float
    params: dict[str, Any]
    files: dict[str, Path]


def predict_function(how: How, folder: Path, kind: str) -> Predict:
    """The function that predicts for each member. It is imported, and called, while the ensemble's code is in use.

    Args:
        how: As it was saved.
        folder: The ensemble's.
        kind: What is predicted, :data:`.held.NORMAL` or :data:`.held.CLASSES`.

    Raises:
        UserError: There is no such function.
        Exception: Whatever the code raises while it is imported.
    """
    if how.graph:
        return partial(predict_by_network, graph=how.graph, kind=kind)
    try:
        if how.file:
            file = folder / how.file
            found: Predict = make_callable(import_code(str(file), "", str(file.parent)), str(file), how.function, {})
        else:
            found = make_callable(importlib.import_module(how.module), how.module, how.function, {})
    except ImportProblem as problem:
        raise UserError(f"the ensemble in {folder} predicts by {how}: {problem}") from None
    except ModuleNotFoundError as error:
        raise UserError(
            f"the ensemble in {folder} predicts by {how}, which needs the module {error.name!r}: install it"
        ) from error
    return found


def predict_by_network(
    files: Mapping[str, Path], params: Mapping[str, Any], x: Any, *, graph: str, kind: str
) -> tuple[np.ndarray, np.ndarray] | np.ndarray:
    """Predict with the network of a graph.

    For D numbers the network has 2 D outputs: the means, and after them what ``softplus`` makes standard deviations of.
    For classes it has one output each, of which ``softmax`` makes probabilities.

    Args:
        files: The member's.
        params: Its parameters, with the graph among them.
        x: The rows; a tuple of arrays for a graph with several inputs.
        graph: The name of the graph.
        kind: What is predicted.

    Raises:
        UserError: The member has no weights, or they are not of this network.
    """
    import torch

    from ..architecture.build import build

    if MODEL not in files:
        raise UserError(f"has no file {MODEL} with the weights of its network")
    network = build(params, graph)
    try:
        network.load_state_dict(torch.load(files[MODEL], map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises nearly any error for a file that is none of its own
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"its {MODEL} does not hold the weights of its network {graph!r} ({first})") from error
    inputs = [torch.from_numpy(np.array(each, dtype=np.float32)) for each in (x if isinstance(x, tuple) else (x,))]
    network.eval()
    with torch.no_grad():
        parts = [network(*part) for part in zip(*(each.split(AT_ONCE) for each in inputs), strict=True)]
    return _distribution(torch.cat(parts).double(), kind)


def _distribution(out: torch.Tensor, kind: str) -> tuple[np.ndarray, np.ndarray] | np.ndarray:
    """What a network's outputs mean."""
    import torch

    if kind == CLASSES:
        return np.asarray(torch.softmax(out, dim=1).numpy())
    if out.dim() != 2 or out.shape[1] % 2:
        raise UserError(f"its network has outputs of the shape {tuple(out.shape[1:])}, and not a mean and a width each")
    mean, width = out.chunk(2, dim=1)
    return np.asarray(mean.numpy()), np.asarray(torch.nn.functional.softplus(width).numpy())
