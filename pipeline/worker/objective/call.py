"""Calls an objective in the style of its signature: with the trial, or with the space's parameters as keywords."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import CoroutineType, FunctionType
from typing import Any

from ...trial.api import Trial
from ...trial.exceptions import ObjectiveError


def call_objective(function: Callable[..., Any], trial: Trial, space_names: Sequence[str]) -> Any:
    """Call ``function`` in the style of its signature, and return what it returns.

    Args:
        function: Takes one argument, the trial, which its name or its annotation says; or arguments named like the
            space's parameters, and perhaps ``trial``.
        trial: The trial.
        space_names: Every parameter and constant of the space; inactive ones are passed as None.

    Raises:
        ObjectiveError: The signature fits neither style.
        Exception: Whatever the function raises.
    """
    style = call_style(function, space_names)
    if style.problem:
        raise ObjectiveError(style.problem)
    named = style.keywords
    returned = function(trial) if named is None else function(**_arguments(named, trial, space_names))
    if isinstance(returned, CoroutineType):
        returned.close()
        raise ObjectiveError(f"{_name(function)}() is an async function, which nobody awaits; write a plain function")
    return returned


def signature_problem(function: Callable[..., Any], space_names: Sequence[str]) -> str:
    """One sentence about why ``function`` cannot be called for a space with these names; empty where it can."""
    return call_style(function, space_names).problem


@dataclass(frozen=True)
class CallStyle:
    """How a function is called.

    Attributes:
        keywords: Its parameters where it takes those of the space by name; None where it takes the trial.
        problem: Why it cannot be called: one sentence; empty where it can.
    """

    keywords: tuple[inspect.Parameter, ...] | None = None
    problem: str = ""


def call_style(function: Callable[..., Any], space_names: Sequence[str]) -> CallStyle:
    """How ``function`` is called for a space with these names. Remembered for a plain function."""
    if isinstance(function, FunctionType):
        return _known_style(function, tuple(space_names))
    return _call_style(function, space_names)


def _call_style(function: Callable[..., Any], space_names: Sequence[str]) -> CallStyle:
    parameters = _parameters(function)
    if parameters is None:
        return CallStyle()
    by_name = is_keyword_style(parameters, space_names)
    return CallStyle(
        tuple(parameters) if by_name else None, parameters_problem(_name(function), parameters, space_names)
    )


_known_style = functools.lru_cache(maxsize=8)(_call_style)


def parameters_problem(name: str, parameters: Sequence[inspect.Parameter], space_names: Sequence[str]) -> str:
    """As :func:`signature_problem`, for a function with this name and these parameters, imported or not."""
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if not is_keyword_style(parameters, space_names):
        return _trial_style_problem(name, parameters, required, space_names)
    unknown = [p.name for p in required if p.name not in space_names and p.name != "trial"]
    if unknown:
        return (
            f"{name}() needs {_listed(unknown)}, which the space does not have (it has {_listed(space_names)}); "
            "add it to the space, give it a default, or take one argument, the trial"
        )
    only_positional = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
    if only_positional:
        return f"{name}() takes {_listed(only_positional)} by position only; parameters are given by keyword"
    taken = {p.name for p in parameters}
    left_over = [n for n in space_names if n not in taken]
    if left_over and "trial" not in taken and not _takes_any_keyword(parameters):
        return (
            f"{name}() does not take {_listed(left_over)}, which the space has; add it as an argument, "
            "or **params, or an argument named trial"
        )
    return ""


def _name(function: Callable[..., Any]) -> str:
    """The function's name for messages; an instance has that of its class."""
    while isinstance(function, partial):
        function = function.func
    if not hasattr(function, "__name__"):
        return f"{type(function).__name__}.__call__"
    if not inspect.ismethod(function):
        return str(function.__name__)
    owner = function.__self__ if isinstance(function.__self__, type) else type(function.__self__)
    return f"{owner.__name__}.{function.__name__}"


def is_keyword_style(parameters: Sequence[inspect.Parameter], space_names: Sequence[str]) -> bool:
    """Whether an argument is named like a parameter of the space, or only ``**kwargs`` could take the trial."""
    if any(p.name in space_names for p in parameters):
        return True
    return bool(space_names) and _takes_any_keyword(parameters) and not _trial_slots(parameters)


def _trial_style_problem(
    name: str,
    parameters: Sequence[inspect.Parameter],
    required: Sequence[inspect.Parameter],
    space_names: Sequence[str],
) -> str:
    if not _trial_slots(parameters):
        method = name.rpartition(".")[2] if "." in name else ""
        form = f"def {method}(self, trial)" if method else f"def {name}(trial)"
        return f"{name}() takes no argument for the trial; write `{form}` or name the space's parameters"
    more = [p.name for p in required if p is not _trial_slots(parameters)[0]]
    if more:
        return (
            f"{name}() needs {_listed([p.name for p in required])}; an objective takes one argument, the trial, "
            "or arguments named like the space's parameters"
        )
    slot = _trial_slots(parameters)[0]
    if space_names and not _is_for_trial(slot):
        return (
            f"{name}() takes {slot.name!r}, which the space does not have (it has {_listed(space_names)}); name the "
            "argument like a parameter of the space, or name it trial if it is to be the trial"
        )
    return ""


def _is_for_trial(slot: inspect.Parameter) -> bool:
    """Whether an argument is meant for the trial: by its name or its annotation; ``*args`` takes anything.

    Only the name tells a function of the trial from one of a parameter whose name is misspelt.
    """
    annotation = slot.annotation if isinstance(slot.annotation, str) else getattr(slot.annotation, "__name__", "")
    named = slot.name.lower()
    return (
        slot.kind is slot.VAR_POSITIONAL
        or "trial" in named
        or named == "t"
        or named[0] == "_"
        or ("trial" in annotation.lower())
    )


def _arguments(parameters: Sequence[inspect.Parameter], trial: Trial, space_names: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments: active parameters by value; inactive ones keep their default, or get None."""
    arguments: dict[str, Any] = {}
    for parameter in parameters:
        name = parameter.name
        if name in trial.params:
            arguments[name] = trial.params[name]
        elif name == "trial" and name not in space_names:
            arguments[name] = trial
        elif name in space_names and parameter.default is parameter.empty:
            arguments[name] = None
    if _takes_any_keyword(parameters):
        arguments = {**trial.params, **arguments}
    return arguments


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some built-in callables have no signature
        return None


def _trial_slots(parameters: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]


def _takes_any_keyword(parameters: Sequence[inspect.Parameter]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) or "nothing"
