"""Users' own code in the driver (samplers, pruners, callbacks): imports and builds it, and says where it failed."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors import UserError
from ...fields import shown
from ...grammar import a
from ...yamlfile import nearest
from ..registry_args import fits, in_words, plain_types
from .importing import ImportProblem, import_code, make_callable, where
from .references import find_reference, is_reference

FAILURES = (Exception, SystemExit)
"""What a failure of users' code is: ``sys.exit()`` in it must not end the driver."""


class NotReturned(TimeoutError):
    """Users' code in the driver did not return in time. The message is a clause, such as "it had not returned ..."."""


__all__ = [
    "FAILURES",
    "NotReturned",
    "UserCodeFailure",
    "absolute",
    "build_user_class",
    "check_user_arguments",
    "is_reference",
    "load_user_callable",
    "load_user_class",
    "load_user_object",
    "said",
    "spoken",
]


class UserCodeFailure(Exception):
    """Users' code failed that something else had called, such as a sampler; the cause is its own error.

    Attributes:
        what: What failed, for messages.
        code: The user's function.
    """

    def __init__(self, what: str, code: Any) -> None:
        super().__init__(f"{what} failed")
        self.what, self.code = what, code


def absolute(text: str, folder: Path, *, what: str, key: str) -> str:
    """A reference with the absolute path of its file, which is looked up and not imported.

    Args:
        text: ``file.py:Name`` or ``package.module:Name``.
        folder: Where relative paths start, and modules are searched first.
        what: ``class`` or ``function``.
        key: Where it stands in the study file.

    Raises:
        UserError: There is no such file, module or name.
    """
    try:
        return str(find_reference(text, folder, what=what))
    except UserError as error:
        raise UserError(error.message, key=key) from None


def load_user_class(text: str, folder: Path, *, base: type, kind: str, key: str) -> type:
    """Import a class of the user's.

    Args:
        text: As for :func:`absolute`.
        folder: Likewise.
        base: What it must be derived from.
        kind: What it is, for messages (``sampler``).
        key: Where it stands in the study file.

    Raises:
        UserError: It cannot be imported, or is no class derived from ``base``.
    """
    module, name = _import(text, folder, kind=kind, key=key)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    wanted = f"a class derived from {base.__module__.split('._')[0]}.{base.__name__}"
    if isinstance(found, type) and issubclass(found, base):
        if inspect.isabstract(found):
            missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
            raise UserError(f"the {kind} {name} ({where(found)}) has no method {missing}", key=key)
        return found
    if found is None:
        raise UserError(f"{text} has no class '{name}'", key=key)
    what = a(type(found).__name__) if not isinstance(found, type) else "another class"
    place = f" ({where(found)})" if where(found) else ""
    raise UserError(f"the {kind} must be {wanted}, but {name}{place} is {what}", key=key)


def load_user_object(text: str, folder: Path, *, kind: str, key: str) -> Any:
    """Import what ``text`` names, as it is; the method of a class is a plain function then.

    Raises UserError where it cannot be imported, or does not exist.
    """
    module, name = _import(text, folder, kind=kind, key=key)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise UserError(f"{text} cannot be used: there is no '{part}'", key=key)
        found = getattr(found, part)
    return found


def load_user_callable(text: str, args: Mapping[str, Any], folder: Path, *, kind: str, key: str) -> Callable[..., Any]:
    """Import a function of the user's; a class is constructed with ``args``. Arguments and errors as above."""
    module, name = _import(text, folder, kind=kind, key=key)
    try:
        with spoken(), _refusals(f"the {kind} {name}", key):
            return make_callable(module, text.rpartition(":")[0], name, args)  # type: ignore[no-any-return]
    except ImportProblem as problem:
        raise UserError(f"the {kind} cannot be used: {problem}", key=key) from None


def _import(text: str, folder: Path, *, kind: str, key: str) -> tuple[ModuleType, str]:
    try:
        found = find_reference(text, folder, what="class")
    except UserError as error:
        raise UserError(error.message, key=key) from None
    try:
        with spoken():
            # Last on the search path for good, so that a file beside the study hides no module of the driver's.
            return import_code(found.file, found.module, found.folder, keep=len(sys.path)), found.name
    except ImportProblem as problem:
        raise UserError(str(problem), key=key) from None
    except FAILURES as error:
        message = f"the {kind} {text} cannot be imported: {said(error, found.source or found.file)}"
        if isinstance(error, ImportError):
            message += f"; a {kind} runs in the driver, so keep it in a file that imports only what is installed here"
        raise UserError(message, key=key) from error


def check_user_arguments(cls: type, args: Mapping[str, Any], *, kind: str, key: str) -> None:
    """Check arguments against the signature of a user's class.

    Raises:
        UserError: An argument is unknown, missing, or of another type than its annotation says.
    """
    what = f"the {kind} {cls.__name__} ({where(cls, cls.__module__)})"
    try:
        parameters = list(inspect.signature(cls).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    known = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for name, value in args.items():
        if name not in known and not anything:
            raise UserError(f"{what} has no argument '{name}'{nearest(name, known)}", key=f"{key}.{name}")
        types = plain_types(known[name].annotation) if name in known else ()
        if types and not fits(value, types):
            raise UserError(f"must be {in_words(types)}, but is {shown(value)}", key=f"{key}.{name}")
    missing = [name for name, p in known.items() if p.default is p.empty and name not in args]
    if missing:
        raise UserError(f"{what} needs {', '.join(map(repr, missing))}", key=key)


def build_user_class(cls: type, args: Mapping[str, Any], *, kind: str, key: str) -> Any:
    """Make an instance of a user's class. Raises UserError where its constructor raises anything."""
    with spoken(), _refusals(f"the {kind} {cls.__name__} ({where(cls, cls.__module__)})", key):
        return cls(**args)


@contextlib.contextmanager
def _refusals(what: str, key: str) -> Iterator[None]:
    """Raise UserError for what the user's code raises inside."""
    try:
        yield
    except (ImportProblem, UserError):
        raise
    except FAILURES as error:
        raise UserError(f"{what} cannot be created: {said(error)}", key=key) from error


@contextlib.contextmanager
def spoken() -> Iterator[None]:
    """What users' code prints inside goes to stderr: stdout is for results, such as ``--json``."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def said(error: BaseException, code: Any = None) -> str:
    """An error of users' code in one phrase, with the line that raised it: ``KeyError: 'x' (mine.py:12)``.

    Args:
        error: The error.
        code: The user's object, function, or path of a file: of several lines, the innermost one in its file counts.
            Without it, or if none is in its file, the innermost one that is in no installed package.
    """
    try:
        text = " ".join(str(error).split())
    except Exception:  # a user's __str__ may raise anything
        text = ""
    sentence = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    place = _place(error, _file_of(code))
    return f"{sentence} ({place})" if place else sentence


def _place(error: BaseException, file: str) -> str:
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if file and not file.startswith(_ours()):
        own = [frame for frame in frames if os.path.realpath(frame[0]) == os.path.realpath(file)]
    else:
        own = []
    users = own or [frame for frame in frames if not frame[0].startswith(_installed())]
    return f"{users[-1][0]}:{users[-1][1]}" if users else ""


def _ours() -> tuple[str, ...]:
    """Folders of Optuna and Pilotune, and what a file that is none begins with."""
    optuna = importlib.util.find_spec("optuna")
    folders = [str(Path(optuna.origin).parent)] if optuna is not None and optuna.origin else []
    return (*folders, str(Path(__file__).parent.parent), "<")


def _installed() -> tuple[str, ...]:
    """Folders of the standard library, of installed packages and of Pilotune."""
    paths = sysconfig.get_paths()
    return (*_ours(), paths["stdlib"], paths["purelib"], paths["platlib"])


def _file_of(code: Any) -> str:
    if isinstance(code, str) or code is None:
        return code or ""
    while isinstance(code, partial):
        code = code.func
    if not isinstance(code, type) and not inspect.isroutine(code):
        code = type(code)
    try:
        return inspect.getsourcefile(code) or ""
    except TypeError:
        return ""
