"""Things chosen by name with arguments beside it (samplers, pruners): finding them and checking their arguments."""

from __future__ import annotations

import inspect
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from optuna.exceptions import ExperimentalWarning

from ..errors import UserError
from ..fields import shown
from ..yamlfile import nearest

T = TypeVar("T")


@dataclass(frozen=True)
class Named:
    """A sampler or pruner as the study file names it; ``name`` is the short one (``tpe``, ``hyperband``)."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)


def short_name(name: str, classes: Mapping[str, type], aliases: Mapping[str, str], *, key: str) -> str:
    """The short name of ``name``, which may be in any case, an alias, or Optuna's name of the class.

    Raises:
        UserError: There is none; the message lists what is near.
    """
    word = name.lower().replace("-", "_")
    if word in classes:
        return word
    if word in aliases:
        return aliases[word]
    for short, cls in classes.items():
        if cls.__name__.lower() in (word, word + key.split(".")[0]):
            return short
    raise UserError(f"there is no {key.split('.')[0]} '{name}'{nearest(name, [*classes, *aliases])}", key=key)


def check_arguments(
    cls: type, args: Mapping[str, Any], *, name: str, key: str, offered: Mapping[str, Any] | None = None
) -> None:
    """Check the names and plain types of ``args`` against what ``cls`` takes.

    Args:
        offered: Arguments that have a meaning of ours, with their annotation, or None for those that cannot be given.

    Raises:
        UserError: For an unknown argument, one that only code can give, or a value of the wrong type.
    """
    taken = arguments(cls, offered)
    for argument, value in args.items():
        if argument not in taken:
            message = f"{name} has no argument '{argument}'{nearest(argument, taken)}"
            raise UserError(message, key=f"{key}.{argument}")
        if not _fits(value, taken[argument]):
            wanted = _wanted(taken[argument])
            raise UserError(f"must be {wanted}, but is {shown(value)}", key=f"{key}.{argument}")


def arguments(cls: type, offered: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of ``cls`` that a file can give, with their types; deprecated and callable ones are left out."""
    taken: dict[str, Any] = {}
    if "__init__" in cls.__dict__ or cls.__init__ is not object.__init__:  # type: ignore[misc]
        for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:  # type: ignore[misc]
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            kinds = _kinds(parameter.annotation)
            if kinds:
                taken[parameter.name] = kinds
    for argument, annotation in (offered or {}).items():
        if annotation is None:
            taken.pop(argument, None)
        else:
            taken[argument] = annotation
    return taken


def quietly(make: Callable[..., T], key: str, /, **args: Any) -> T:
    """Call ``make`` without Optuna's warnings that a thing is experimental: choosing it by name is enough.

    Raises:
        UserError: ``make`` refused a value; its own words are the message.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return make(**args)
        except (ValueError, TypeError) as error:
            said = " ".join(str(error).replace("`", "").split()).rstrip(".")
            raise UserError(f"these arguments cannot be: {said}", key=key) from None


_PLAIN: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "None": type(None)}


def _kinds(annotation: Any) -> tuple[type, ...]:
    """The plain types in an annotation (Optuna writes them as text); empty when there are none but None."""
    if isinstance(annotation, str):
        words = [word.strip() for word in annotation.split("|")]
        if annotation.startswith(("dict", "Callable", "list")):
            return ()
        kinds = tuple(_PLAIN[word] for word in words if word in _PLAIN)
    elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        kinds = tuple(kind for kind in typing.get_args(annotation) if kind in _PLAIN.values())
    else:
        kinds = (annotation,) if annotation in _PLAIN.values() else ()
    return kinds if any(kind is not type(None) for kind in kinds) else ()


def _fits(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, int) and float in kinds:
        return True
    return isinstance(value, kinds)


def _wanted(kinds: tuple[type, ...]) -> str:
    words = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", dict: "a mapping"}
    return " or ".join(words[kind] for kind in kinds if kind in words)
