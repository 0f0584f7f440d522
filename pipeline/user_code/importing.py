"""Imports users' Python files and modules, and finds a class or function in them by its dotted name.

Workers and the driver use it. It imports the standard library only, so that workers stay small.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Mapping
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any


class ImportProblem(Exception):
    """What a study file names is not there, or is not what it should be. The message is one sentence."""


def import_code(file: str, module: str, folder: str, *, keep: int = 0) -> ModuleType:
    """Import a file or a module.

    ``folder`` and the file's own folder stay on ``sys.path``, so that the code can import modules beside it.

    Args:
        file: Absolute path of a Python file; empty where ``module`` is given.
        module: Name of a module.
        folder: Modules are searched here first.
        keep: Where the folders are inserted in ``sys.path`` for good: 0 puts them first. While the code is imported
            they are first in any case.

    Raises:
        ImportProblem: There is no such file or module.
        Exception: Whatever the code raises while it is imported.
    """
    added = [each for each in (folder, str(Path(file).parent) if file else "") if each and each not in sys.path]
    for each in added:
        sys.path.insert(0, each)
    try:
        return _import_file(Path(file)) if file else _import_module(module, folder)
    finally:
        if keep:
            for each in added:
                sys.path.remove(each)
                sys.path.insert(keep, each)


def _import_module(name: str, folder: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module that the code imports and that is missing is the code's own error, with its traceback.
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ImportProblem(
                f"there is no module {name!r} (looked in {folder or 'the working directory'} and in this process's "
                f"Python, {sys.executable})"
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
        known = sys.modules.get(name)
        if known is not None and getattr(known, "__file__", None) == str(path):
            return known
        sys.modules.pop(name, None)
    if not path.is_file():
        raise ImportProblem(f"there is no file {path} on this node")
    found = importlib.util.spec_from_file_location(name, path, loader=SourceFileLoader(name, str(path)))
    if found is None or found.loader is None:
        raise ImportProblem(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def make_callable(module: ModuleType, place: str, name: str, args: Mapping[str, Any]) -> Any:
    """What ``name`` stands for in ``module``, as something to call.

    ========================== =======================================================================
    ``name`` is                what is called
    ========================== =======================================================================
    a function, an instance    it, with ``args`` as further keywords
    a class                    an instance, ``Class(**args)``
    ``Class.method``           the method of such an instance; a static or class method as it is
    ========================== =======================================================================

    Args:
        module: Where it is.
        place: The file or module, for messages.
        name: Dotted.
        args: Keyword arguments; empty for none.

    Raises:
        ImportProblem: There is no such name, it cannot be called, or the class does not take these arguments.
        Exception: Whatever the class raises while an instance is made.
    """
    found: Any = module
    for part in name.split("."):
        if isinstance(found, type) and _belongs_to_instances(found, part):
            found, args = _construct(found, place, args), {}
        if not hasattr(found, part):
            raise ImportProblem(_missing(found, place, name, part))
        found = getattr(found, part)
    if isinstance(found, type):
        if not hasattr(found, "__call__") or not _instances_are_callable(found):  # noqa: B004
            raise ImportProblem(
                f"{name!r} in {where(found, place)} is a class without a method __call__; write "
                f"`def __call__(self, trial)`, or name one of its methods, as in {name}.method"
            )
        return _construct(found, place, args)
    if not callable(found):
        kind = type(found).__name__
        raise ImportProblem(f"{name!r} in {place} is {'an' if kind[0] in 'aeiou' else 'a'} {kind}, not a function")
    return partial(found, **args) if args else found


def _instances_are_callable(cls: type) -> bool:
    return any("__call__" in each.__dict__ for each in cls.__mro__)


def _belongs_to_instances(cls: type, attribute: str) -> bool:
    """Whether ``attribute`` needs an instance: methods, properties, and what the class itself does not have.

    Static methods, class methods, inner classes, members of an enum and other values of the class do not.
    """
    found = inspect.getattr_static(cls, attribute, None)
    if found is None:
        return True
    return not isinstance(found, staticmethod | classmethod | type) and hasattr(type(found), "__get__")


def _construct(cls: type, place: str, args: Mapping[str, Any]) -> Any:
    """An instance. Arguments that do not fit the signature are a problem; what the class raises is passed on."""
    try:
        signature = inspect.signature(cls)
    except (TypeError, ValueError):  # a class of an extension module may have none
        return cls(**args)
    try:
        signature.bind(**args)
    except TypeError as error:
        given = f"with {', '.join(args)}" if args else "without arguments"
        raise ImportProblem(f"{cls.__name__} in {where(cls, place)} cannot be created {given}: {error}") from None
    return cls(**args)


def _missing(found: Any, place: str, name: str, part: str) -> str:
    owner = found if isinstance(found, type | ModuleType) else type(found)
    if isinstance(owner, type):
        return f"{owner.__name__} in {where(owner, place)} has no method {part!r}{_others(owner)}"
    return f"{place} has no function {name!r}{_others(owner)}"


def _others(owner: Any) -> str:
    """The functions that a module or a class has, for an error message."""
    module = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    names = [
        name
        for name, value in vars(owner).items()
        if (callable(value) or isinstance(value, staticmethod | classmethod))
        and not name.startswith("_")
        and getattr(value, "__module__", None) == module
    ]
    return f", only {', '.join(sorted(names)[:8])}" if names else ""


def where(code: Any, otherwise: str = "") -> str:
    """``file.py:12``, where a function or class is defined; ``otherwise`` where that is unknown."""
    while isinstance(code, partial):
        code = code.func
    if not isinstance(code, type | types.FunctionType | types.MethodType):
        code = type(code)
    try:
        file, line = inspect.getsourcefile(code), inspect.getsourcelines(code)[1]
    except (TypeError, OSError):
        return otherwise
    return f"{file}:{line}" if file else otherwise
