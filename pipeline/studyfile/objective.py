"""Finds the objective that a study file names, and checks that it can be called, without importing it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...objectives.registry import GROUP, OBJECTIVES
from ...yamlfile import YamlFile, join
from ..references import Reference, argument_problem, defines, find_reference
from ..registry_args import Entry, Registry
from ..trial.protocol import ObjectiveSpec

READY_MADE = Registry(
    "objective",
    GROUP,
    {
        name: Entry(f"pilotune.objectives.{module}", function, line)
        for name, (module, function, line) in OBJECTIVES.items()
    },
    package="pilotune.objectives",
)


def find_objective(text: str, args: Mapping[str, Any], folder: Path, source: YamlFile) -> ObjectiveSpec:
    """The objective that ``text`` names.

    Args:
        text: ``path/to/file.py:function``, ``package.module:function``, or the name of a ready-made objective. Instead
            of a function it may be a class with ``__call__``, an instance of one, or ``Class.method``.
        args: The ``objective_args``.
        folder: The study file's folder. Relative paths start here, and modules are searched here first.
        source: The study file, for the place of an error.

    Raises:
        UserError: ``text`` has another form, or the file, the module or the function does not exist, or it cannot be
            called, as far as that can be seen without an import.
    """
    ready_made = READY_MADE.entry(text) if text.isidentifier() else None
    if ready_made is not None:
        text = f"{ready_made.module}:{ready_made.attribute}"
    try:
        found = find_reference(text, folder, others=list(READY_MADE.entries()) if text.isidentifier() else ())
    except UserError as error:
        raise source.error(error.message, "objective") from None
    _check_callable(found, source)
    problem, argument = argument_problem(found, list(args))
    if problem:
        if not argument:
            problem += "; give it as in objective_args: {path: data}"
        raise source.error(problem, join("objective_args", argument) if argument else "objective")
    return ObjectiveSpec(function=found.name, args=dict(args), file=found.file, module=found.module, folder=str(folder))


def _check_callable(found: Reference, source: YamlFile) -> None:
    node = found.node
    if isinstance(node, ast.AsyncFunctionDef):
        message = f"{found.name} in {found.where} is an async function; write a plain one: def {node.name}(...)"
        raise source.error(message, "objective")
    if isinstance(node, ast.ClassDef) and not defines(node, "__call__"):
        message = (
            f"{found.name} in {found.where} is a class without a method __call__; write `def __call__(self, trial)`, "
            f"or name one of its methods, as in {found.name}.method"
        )
        raise source.error(message, "objective")
