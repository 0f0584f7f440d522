"""Imports a Python objective, and makes what is called: a function, a method, or an instance of a class."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from ...trial.exceptions import ObjectiveError
from ...trial.protocol import ObjectiveSpec
from ...user_code.importing import ImportProblem, import_code, make_callable


def load_objective(spec: ObjectiveSpec) -> Callable[..., Any]:
    """Import the objective's module, and return what is called with a trial; see :func:`make_objective`."""
    return make_objective(import_objective(spec), spec)


def import_objective(spec: ObjectiveSpec) -> ModuleType:
    """Import the objective's module.

    The file's folder and the study's folder stay on ``sys.path``, so that an objective can import modules beside it.

    Raises:
        ObjectiveError: There is no such module or file.
        Exception: Whatever the module raises while it is imported.
    """
    try:
        return import_code(spec.file, spec.module, spec.folder)
    except ImportProblem as problem:
        raise ObjectiveError(str(problem)) from None


def make_objective(module: ModuleType, spec: ObjectiveSpec) -> Callable[..., Any]:
    """What is called with a trial. An objective that is a class is constructed by each call of this function.

    Raises:
        ObjectiveError: The module has no such function, it cannot be called, or it does not take ``spec.args``.
        Exception: Whatever the class raises while it is constructed.
    """
    try:
        return make_callable(module, spec.file or spec.module, spec.function, spec.args)  # type: ignore[no-any-return]
    except ImportProblem as problem:
        raise ObjectiveError(str(problem)) from None


def file_of_objective(module: ModuleType, spec: ObjectiveSpec) -> str:
    """The file that defines the objective, which ``module`` may have imported from elsewhere; empty if unknown."""
    found = getattr(module, spec.function.split(".")[0], None)
    while isinstance(found, partial):
        found = found.func
    home = sys.modules.get(getattr(found, "__module__", None) or "", module)
    return str(getattr(home, "__file__", None) or "")
