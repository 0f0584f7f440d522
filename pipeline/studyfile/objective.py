"""Finds the objective that a study file names, and checks that it can be called, without importing it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...objectives.registry import GROUP, OBJECTIVES
from ...yamlfile import YamlFile, join
from ..registry_args import Entry, Registry
from ..trial.protocol import ObjectiveSpec
from ..user_code.references import Function, Reference, argument_problem, defines, find_reference
from ..worker.objective.call import parameters_problem

READY_MADE = Registry(
    "objective",
    GROUP,
    {
        name: Entry(f"pilotune.objectives.{module}", function, line)
        for name, (module, function, line) in OBJECTIVES.items()
    },
    package="pilotune.objectives",
)


def find_objective(
    text: str, args: Mapping[str, Any], folder: Path, source: YamlFile, names: Sequence[str] = ()
) -> ObjectiveSpec:
    """The objective that ``text`` names.

    Args:
        text: ``path/to/file.py:function``, ``package.module:function``, or the name of a ready-made objective. Instead
            of a function it may be a class with ``__call__``, an instance of one, or ``Class.method``.
        args: The ``objective_args``.
        folder: The study file's folder. Relative paths start here, and modules are searched here first.
        source: The study file, for the place of an error.
        names: Every parameter and constant of the study's space; empty without one.

    Raises:
        UserError: ``text`` has another form, or the file, the module or the function does not exist, or it cannot be
            called with the trial or the space's parameters, as far as that can be seen without an import.
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
    _check_arguments(found, list(args), names)
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


def _check_arguments(found: Reference, args: Sequence[str], names: Sequence[str]) -> None:
    """Raise UserError, at its line, if the objective cannot be called with the trial or with the space's names.

    Nothing is said of what has decorators, which may change the arguments.
    """
    node, given, bound, name = found.node, list(args), int(found.owner is not None), found.name
    if isinstance(node, ast.ClassDef):
        inner = [each for each in node.body if isinstance(each, Function) and each.name == "__call__"]
        node, given, bound, name = inner[0] if len(inner) == 1 else None, [], 1, f"{found.name}.__call__"
    elif found.owner is not None:
        given = []  # they are the constructor's
    if not isinstance(node, ast.FunctionDef) or node.decorator_list:
        return
    parameters = _parameters_of(node.args)[bound:]
    called = [each.replace(default=None) if each.name in given else each for each in parameters]
    problem = parameters_problem(name, called, names)
    if problem:
        raise UserError(problem, file=found.source, line=node.lineno)


def _parameters_of(arguments: ast.arguments) -> list[inspect.Parameter]:
    """A function's parameters, as ``inspect.signature`` gives them for the imported function."""
    kinds = inspect.Parameter
    first, missing = [*arguments.posonlyargs, *arguments.args], inspect.Parameter.empty
    optional = len(first) - len(arguments.defaults)
    found = []
    for index, argument in enumerate(first):
        kind = kinds.POSITIONAL_ONLY if index < len(arguments.posonlyargs) else kinds.POSITIONAL_OR_KEYWORD
        annotation: Any = ast.unparse(argument.annotation) if argument.annotation else missing
        default: Any = missing if index < optional else None
        found.append(kinds(argument.arg, kind, default=default, annotation=annotation))
    if arguments.vararg:
        found.append(kinds(arguments.vararg.arg, kinds.VAR_POSITIONAL))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append(kinds(argument.arg, kinds.KEYWORD_ONLY, default=missing if default is None else None))
    if arguments.kwarg:
        found.append(kinds(arguments.kwarg.arg, kinds.VAR_KEYWORD))
    return found
