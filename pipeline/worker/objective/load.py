"""Imports a Python objective."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from ...trial.exceptions import ObjectiveError
from ...trial.protocol import ObjectiveSpec


def load_objective(spec: ObjectiveSpec) -> Callable[..., Any]:
    """Import the objective's module and return its function.

    The file's folder and the study's folder stay on ``sys.path``, so that an objective can import
    modules beside it.

    Raises:
        ObjectiveError: No such module, file or function, or it cannot be called.
        Exception: Whatever the module raises while it is imported.
    """
    for folder in (spec.folder, str(Path(spec.file).parent) if spec.file else ""):
        if folder and folder not in sys.path:
            sys.path.insert(0, folder)
    module = _import_file(Path(spec.file)) if spec.file else _import_module(spec)
    place = spec.file or spec.module
    found: Any = module
    for part in spec.function.split("."):
        if not hasattr(found, part):
            raise ObjectiveError(f"{place} has no function {spec.function!r}{_others(module)}")
        found = getattr(found, part)
    if not callable(found):
        raise ObjectiveError(f"{spec.function!r} in {place} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def _import_module(spec: ObjectiveSpec) -> ModuleType:
    try:
        return importlib.import_module(spec.module)
    except ModuleNotFoundError as error:
        # A module that the objective imports and that is missing is the objective's own error, with its traceback.
        if error.name is not None and (spec.module == error.name or spec.module.startswith(error.name + ".")):
            raise ObjectiveError(
                f"there is no module {spec.module!r} (looked in {spec.folder or 'the working directory'} and in the "
                f"worker's Python, {sys.executable})"
            ) from None
        raise


def _import_file(path: Path) -> ModuleType:
    """Import ``path`` under its file name, or another name where a module of that name is already imported."""
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None or name in sys.stdlib_module_names:
        name = f"pilotune_objective_{name}"
        if name in sys.modules:
            del sys.modules[name]
    if not path.is_file():
        raise ObjectiveError(f"there is no file {path} on this node")
    found = importlib.util.spec_from_file_location(name, path, loader=SourceFileLoader(name, str(path)))
    if found is None or found.loader is None:
        raise ObjectiveError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _others(module: ModuleType) -> str:
    """The functions that the module has, for an error message."""
    names = [
        name
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return f", only {', '.join(sorted(names)[:8])}" if names else ""
