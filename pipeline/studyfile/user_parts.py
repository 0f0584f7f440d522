"""The user's own code that the driver of a study runs: callbacks, and a check that all of it can be imported."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from ..fidelity import user_pruner
from ..registry_args import Named
from ..suggest import constraints_function, user_sampler
from ..user_code.importing import where
from ..user_code.parts import check_user_arguments, is_reference, load_user_callable, load_user_object
from ..user_code.references import argument_problem, find_reference
from .terminator import make_terminator

if TYPE_CHECKING:
    from .study_file import StudyFile


@dataclass(frozen=True)
class Callback:
    """A callback, ready to be called with the study and a finished trial.

    Attributes:
        name: As the study file names it, with an absolute path.
        function: What is called.
    """

    name: str
    function: Callable[..., Any]


def resolved_callbacks(given: Sequence[Mapping[str, Any]], folder: Path) -> tuple[Named, ...]:
    """The callbacks of a study file in ``folder``, with absolute paths. They are looked up and not imported.

    Raises:
        UserError: With the key: there is no such file, module or function, or it does not take the arguments.
    """
    callbacks = []
    for index, callback in enumerate(given):
        key, args = f"callbacks[{index}]", {name: value for name, value in callback.items() if name != "name"}
        try:
            found = find_reference(callback["name"], folder)
        except UserError as error:
            raise UserError(error.message, key=key) from None
        problem, argument = argument_problem(found, list(args))
        if problem:
            raise UserError(problem, key=f"{key}.{argument}" if argument else key)
        callbacks.append(Named(str(found), args))
    return tuple(callbacks)


def check_loggers(study_file: StudyFile) -> None:
    """Raise UserError, at its line, if the package of a logger is not installed here, where the driver runs."""
    for index, each in enumerate(study_file.loggers):
        if each.missing:
            raise study_file.error(each.missing, f"loggers[{index}]")


def make_callbacks(study_file: StudyFile) -> list[Callback]:
    """Import the callbacks, and make instances of those that are classes.

    Raises:
        UserError: With file, line and key: one cannot be imported, or does not take a study and a trial.
    """
    made = []
    for index, named in enumerate(study_file.callbacks):
        try:
            made.append(_callback(named, study_file.folder, f"callbacks[{index}]"))
        except UserError as error:
            raise study_file.error(error.message, error.key or "callbacks") from None
    return made


def _callback(named: Named, folder: Path, key: str) -> Callback:
    function = load_user_callable(named.name, named.args, folder, kind="callback", key=key)
    _check_signature(named.name, function, 2, key)
    return Callback(named.name, function)


def _import_callbacks(study_file: StudyFile) -> None:
    """Import the callbacks, and construct none: a constructor may begin something, such as a run at a tracking service.

    Raises UserError with the key.
    """
    for index, named in enumerate(study_file.callbacks):
        key = f"callbacks[{index}]"
        found = load_user_object(named.name, study_file.folder, kind="callback", key=key)
        if isinstance(found, type):
            _check_signature(named.name, found.__call__, 3, key)  # with self
        elif callable(found) and "." not in named.name.rpartition(":")[2] and not named.args:
            _check_signature(named.name, found, 2, key)


def _check_signature(name: str, function: Callable[..., Any], count: int, key: str) -> None:
    what = f"the callback {name} ({where(function, name)})"
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        raise UserError(f"{what} is an async function, which nobody awaits; write a plain one", key=key)
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        raise UserError(f"{what} must take two arguments, as in def callback(study, trial)", key=key) from None
    except ValueError:  # it has no signature
        pass


def check_user_parts(study_file: StudyFile) -> None:
    """Import the user's own samplers, pruners, terminator and callbacks, so that a run does not begin without them.

    No sampler, pruner or callback is created, but their arguments are checked. Loggers need to be installed; they are
    not imported. A study without any costs nothing.

    Raises:
        UserError: With file, line and key.
    """
    check_loggers(study_file)
    sampler, pruner, folder = study_file.sampler, study_file.pruner, study_file.folder
    try:
        if is_reference(sampler.name):
            check_user_arguments(user_sampler(sampler.name, folder), sampler.args, kind="sampler", key="sampler")
        elif "constraints_func" in sampler.args:
            constraints_function(sampler.args["constraints_func"], folder, "sampler.constraints_func")
        if pruner is not None and is_reference(pruner.name):
            check_user_arguments(user_pruner(pruner.name, folder), pruner.args, kind="pruner", key="pruner")
        if study_file.budget.terminator is not None:
            make_terminator(study_file.budget.terminator, folder)
        _import_callbacks(study_file)
    except UserError as error:
        raise study_file.error(error.message, error.key or "") from None
