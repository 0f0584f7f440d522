"""Finds the objective that a study file names, and checks that it exists, without importing it."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

from ...objectives.registry import GROUP, OBJECTIVES
from ...yamlfile import YamlFile, nearest
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


def find_objective(text: str, folder: Path, source: YamlFile) -> ObjectiveSpec:
    """The objective that ``text`` names.

    Args:
        text: ``path/to/file.py:function``, ``package.module:function``, or the name of a ready-made objective.
        folder: The study file's folder. Relative paths start here, and modules are searched here first.
        source: The study file, for the place of an error.

    Raises:
        UserError: ``text`` has another form, or the file, the module or the function does not exist.
    """
    ready_made = READY_MADE.entry(text) if text.isidentifier() else None
    if ready_made is not None:
        text = f"{ready_made.module}:{ready_made.attribute}"
    target, colon, function = text.rpartition(":")
    if not colon or not target or not function.isidentifier():
        hint = nearest(text, READY_MADE.entries()) if text.isidentifier() else ""
        message = f"must be file.py:function or package.module:function, but is '{text}'{hint}"
        raise source.error(message, "objective")
    if target.endswith(".py") or "/" in target:
        path = Path(os.path.expanduser(target))
        path = Path(os.path.abspath(folder / path))
        if not path.is_file():
            here = [p.name for p in sorted(folder.glob("*.py"))]
            hint = nearest(path.name, here) if path.parent == folder and here else ""
            raise source.error(f"there is no file {path}{hint}", "objective")
        _check_function(path, function, source)
        return ObjectiveSpec(function=function, file=str(path), folder=str(folder))
    if not all(part.isidentifier() for part in target.split(".")):
        raise source.error(f"'{target}' is neither a file.py nor the name of a module", "objective")
    spec = _find_module(target, folder)
    if spec is None:
        file = folder / (target.replace(".", "/") + ".py")
        raise source.error(
            f"there is no module '{target}' in {folder} or among the installed packages (looked for {file.name})",
            "objective",
        )
    if spec.origin and spec.origin.endswith(".py"):
        _check_function(Path(spec.origin), function, source)
    return ObjectiveSpec(function=function, module=target, folder=str(folder))


def _find_module(name: str, folder: Path) -> ModuleSpec | None:
    """Find a module without importing anything; ``importlib.util.find_spec`` would import its parent packages."""
    path: list[str] | None = None
    spec = None
    saved = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        for depth, _ in enumerate(parts := name.split(".")):
            spec = _first_spec(".".join(parts[: depth + 1]), path)
            if spec is None or (depth + 1 < len(parts) and spec.submodule_search_locations is None):
                return None
            path = list(spec.submodule_search_locations or ())
    finally:
        sys.path[:] = saved
    return spec


def _first_spec(name: str, path: list[str] | None) -> ModuleSpec | None:
    """What the first of ``sys.meta_path`` that knows the module says of it."""
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path)
        if spec is not None:
            return spec
    return None


def _check_function(path: Path, function: str, source: YamlFile) -> None:
    """Raise UserError if the file at ``path`` is not valid Python, or does not define ``function``."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        message = f"{path}:{error.lineno} is not valid Python: {error.msg}"
        raise source.error(message, "objective") from None
    except (OSError, ValueError, RecursionError) as error:
        raise source.error(f"{path} cannot be read: {error}", "objective") from None
    names = list(_bound(tree.body))
    if function in names or "*" in names or "__getattr__" in names:
        return
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    raise source.error(f"{path.name} has no function '{function}'{nearest(function, functions)}", "objective")


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Names that a module defines at its top level, also inside ``if``, ``try``, ``with`` and loops."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
        for inner in ("body", "orelse", "finalbody"):
            if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
                yield from _bound(getattr(node, inner, []))
        for handler in getattr(node, "handlers", []):
            yield from _bound(handler.body)
