"""Sends a function to workers: by the name of its file where it has one, else by value, pickled with cloudpickle.

A function of a module on disk is named, as in a study file. A function of a notebook, of the main script, a lambda or a
function inside a function is pickled with all that it uses. What cannot be pickled is named in the error.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ...errors import UserError, words_of
from ..studyfile.written import MARK

LARGEST = 10_000_000
"""Most bytes of a pickled function. Each worker reads it from a file system that all nodes share."""

MODULE = "objective.py"
"""The file in the study's folder that loads the function."""


@dataclass(frozen=True)
class Shipment:
    """An objective, ready to be named in a study file.

    Attributes:
        reference: The study file's ``objective``.
        files: Content of the files beside the study file, by name.
    """

    reference: str
    files: dict[str, bytes]


def shipment(objective: Callable[..., Any]) -> Shipment:
    """How to send ``objective`` to workers.

    Args:
        objective: A function, a class, an instance with ``__call__``, or a ``functools.partial``.

    Raises:
        UserError: It uses something that cannot be sent; the message names it.

    >>> from os.path import basename
    >>> shipment(basename).reference
    'objective.py:basename'
    >>> sorted(shipment(lambda trial: trial.params["x"]).files)
    ['objective-....pickle', 'objective.py']
    """
    return by_reference(objective) or by_value(objective)


# -- functions of modules on disk -------------------------------------------------------------------------------------


def by_reference(objective: Callable[..., Any]) -> Shipment | None:
    """The shipment of a function or class that its module has under its own name; None for what is none.

    A module at the top of a folder is named by its file. One in a package is imported by a small file, which finds the
    folders that are searched here.
    """
    name, module = getattr(objective, "__qualname__", ""), sys.modules.get(getattr(objective, "__module__", "") or "")
    if module is None or module.__name__ == "__main__" or _found(module, name) is not objective:
        return None
    file = getattr(module, "__file__", None)
    if not file or not os.path.isfile(file) or not file.endswith(".py"):
        return None
    if "." not in module.__name__ and not _is_installed(file) and Path(file).stem == module.__name__:
        return Shipment(f"{os.path.abspath(file)}:{name}", {})
    first = name.partition(".")[0]
    text = f"{_header('imports the objective of the study')}from {module.__name__} import {first}  # noqa\n"
    return Shipment(f"{MODULE}:{name}", {MODULE: text.encode()})


def _found(module: ModuleType, name: str) -> Any:
    """What ``module`` has under a dotted name; None where it has nothing."""
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _header(does: str) -> str:
    """The beginning of the file beside the study file: workers search modules where this process does."""
    return (
        f'"""{MARK}: {does}."""\n\nimport sys\n\n'
        f"sys.path[:0] = [each for each in {own_folders()!r} if each not in sys.path]\n"
    )


def own_folders() -> list[str]:
    """The folders of ``sys.path`` that hold the user's own modules, those of the installed packages left out."""
    folders = [os.path.abspath(each) for each in ["", *sys.path]]
    return [each for each in dict.fromkeys(folders) if os.path.isdir(each) and not _is_installed(each)]


def _is_installed(path: str) -> bool:
    """Whether a file or folder belongs to Python, or to a package that is installed into it."""
    parts = Path(path).parts
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    return any(Path(path).is_relative_to(place) for place in (sysconfig.get_path("stdlib"), sys.prefix + "/lib"))


# -- functions by value -----------------------------------------------------------------------------------------------


def by_value(objective: Callable[..., Any]) -> Shipment:
    """The shipment of a function that has no file: a pickle, and a file that loads it.

    Raises:
        UserError: It uses something that cannot be pickled, an open file, or too much data.
    """
    content = pickled(objective)
    digest = hashlib.sha256(content).hexdigest()
    name = f"objective-{digest[:12]}.pickle"
    text = (
        f"{_header('loads the objective of the study, which was sent by value')}\n"
        "from pathlib import Path\n\n"
        "from pilotune.pipeline.user_code.shipped import load_shipped\n\n"
        f"objective = load_shipped(Path(__file__).with_name({name!r}), {digest!r}, {tuple(sys.version_info[:2])!r})\n"
        f"{source_of(objective)}"
    )
    return Shipment(f"{MODULE}:objective", {MODULE: text.encode(), name: content})


def source_of(objective: Callable[..., Any]) -> str:
    """The function's source as comments, for whoever reads the file; empty where it is not known."""
    try:
        source = textwrap.dedent(inspect.getsource(_function(objective)))
    except (OSError, TypeError):
        return ""
    return "\n# What was sent:\n#\n" + "".join(f"# {line}".rstrip() + "\n" for line in source.splitlines())


def pickled(objective: Callable[..., Any]) -> bytes:
    """``objective`` by value. Raises UserError where something that it uses cannot be sent."""
    import cloudpickle

    _refuse_open_files(objective)
    limited = _Limited()
    try:
        cloudpickle.dump(objective, limited)
    except TooLarge:
        raise _too_large(objective) from None
    except Exception as error:  # __reduce__ of any class may raise anything
        raise _unpicklable(objective, error) from None
    return limited.getvalue()


class TooLarge(Exception):
    """A pickle has become larger than :data:`LARGEST`."""


class _Limited(io.BytesIO):
    """A file in memory that takes :data:`LARGEST` bytes, so that no copy is made of data that is too large."""

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > LARGEST:
            raise TooLarge
        return super().write(data)


def size_of(value: Any) -> float:
    """Bytes of a value's pickle: infinite where it is too large or cannot be pickled."""
    import cloudpickle

    limited = _Limited()
    try:
        cloudpickle.dump(value, limited)
    except Exception:
        return float("inf")
    return float(limited.tell())


def used_by(code: Any) -> Iterator[tuple[str, Any]]:
    """Name and value of all that a function takes along when it is pickled: globals, closure, defaults, attributes.

    >>> factor = 2
    >>> dict(used_by(lambda x: x * factor))["factor"]
    2
    """
    if isinstance(code, partial):
        yield from ((f"argument {i + 1} of the partial", value) for i, value in enumerate(code.args))
        yield from code.keywords.items()
        yield getattr(code.func, "__name__", "function"), code.func
    elif inspect.ismethod(code):
        yield from used_by(code.__func__)
        yield from _attributes(code.__self__)
    elif isinstance(code, FunctionType):
        yield from zip(code.__code__.co_freevars, map(_content, code.__closure__ or ()), strict=False)
        names = [name for name in _global_names(code.__code__) if name in code.__globals__]
        yield from ((name, code.__globals__[name]) for name in names)
        defaults = [*(code.__defaults__ or ()), *(code.__kwdefaults__ or {}).values()]
        yield from ((f"a default of {code.__name__}", value) for value in defaults)
    elif isinstance(code, type):
        yield from ((f"{code.__name__}.{name}", value) for name, value in vars(code).items() if callable(value))
    else:
        yield from _attributes(code)


def _attributes(instance: Any) -> Iterator[tuple[str, Any]]:
    kind = type(instance).__name__
    yield from ((f"{kind}.{name}", value) for name, value in getattr(instance, "__dict__", {}).items())


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _global_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _global_names(inner)


def _sent_whole(value: Any) -> bool:
    """Whether cloudpickle takes this function or class by value, so that what it uses is sent too."""
    if not isinstance(value, FunctionType | type):
        return False
    module = sys.modules.get(value.__module__)
    return module is None or module.__name__ == "__main__" or _found(module, value.__qualname__) is not value


def all_used(code: Any, seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """As :func:`used_by`, with what the functions among them use."""
    seen = set() if seen is None else seen
    for name, value in used_by(code):
        if id(value) in seen or isinstance(value, ModuleType):
            continue
        seen.add(id(value))
        yield name, value
        if _sent_whole(value):
            yield from all_used(value, seen)


def _refuse_open_files(objective: Callable[..., Any]) -> None:
    """cloudpickle would send the content of a file instead of the file."""
    for name, value in all_used(objective):
        if isinstance(value, io.IOBase) and not isinstance(value, io.BytesIO | io.StringIO):
            what = f"{label(objective)} uses {name}, which is an open file and cannot be sent to workers"
            raise UserError(f"{what}; open it inside the function", key="objective")


def _unpicklable(objective: Callable[..., Any], error: Exception) -> UserError:
    import cloudpickle

    reason = words_of(error) or type(error).__name__
    for name, value in all_used(objective):
        if _sent_whole(value):
            continue  # what it uses follows
        try:
            cloudpickle.dump(value, _Limited())
        except TooLarge:
            continue
        except Exception as found:
            why = words_of(found) or type(found).__name__
            what = f"{label(objective)} uses {name}, which cannot be sent to workers ({why})"
            return UserError(f"{what}; create it inside the function", key="objective")
    return UserError(f"{label(objective)} cannot be sent to workers: {reason}", key="objective")


def _too_large(objective: Callable[..., Any]) -> UserError:
    limit = f"{LARGEST / 1e6:.0f} MB"
    sizes = {name: size_of(value) for name, value in all_used(objective) if not _sent_whole(value)}
    largest = max(sizes, key=lambda name: sizes[name], default="")
    if not largest or sizes[largest] < LARGEST / 10:
        what = f"{label(objective)} and all that it uses take more than {limit}"
    else:
        size = f"more than {limit}" if sizes[largest] > LARGEST else f"{sizes[largest] / 1e6:.1f} MB"
        what = f"{label(objective)} uses {largest}, which takes {size}, and at most {limit} are sent with a function"
    return UserError(f"{what}; load the data inside the function, from a file that all workers see", key="objective")


def _function(objective: Any) -> Any:
    while isinstance(objective, partial):
        objective = objective.func
    return objective if inspect.isroutine(objective) or isinstance(objective, type) else type(objective)


def label(objective: Callable[..., Any]) -> str:
    """What messages call a function: ``train()``."""
    name = str(getattr(_function(objective), "__name__", type(objective).__name__))
    return "the lambda" if name == "<lambda>" else f"{name}()"
