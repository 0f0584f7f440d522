"""Turns the arguments of ``pilotune.run`` into a study file's data, and the errors of that file back into theirs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...grammar import a
from ...names import NAME

REFERENCES = ("objective", "sampler", "pruner", "callbacks", "budget")
"""Keys in which a text may name a file or module of the user's."""


DEEPEST = 50
"""Most levels of lists and mappings in an argument; one that holds itself has no end."""


def plain(value: Any, key: str, level: int = 0) -> Any:
    """``value`` as a YAML file could have it: tuples become lists, NumPy's numbers Python's, paths text.

    Args:
        value: An argument, or a part of one.
        key: Its place, for errors.
        level: How many lists and mappings it lies in.

    Raises:
        UserError: It holds itself, or something that no YAML file could have.

    >>> plain({"layers": {"int": (1, 4)}}, "space")
    {'layers': {'int': [1, 4]}}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return _exact(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if level > DEEPEST:
        raise UserError("holds itself, or lists and mappings in too many levels", key=key.split(".")[0])
    if isinstance(value, Mapping):
        return {str(name): plain(each, f"{key}.{name}", level + 1) for name, each in value.items()}
    if isinstance(value, Sequence | range) and not isinstance(value, bytes | bytearray):
        return [plain(each, f"{key}[{index}]", level + 1) for index, each in enumerate(value)]
    item = getattr(value, "tolist", None)  # NumPy's numbers and arrays
    if callable(item) and not isinstance(value, type):
        return plain(item(), key, level + 1)
    kind = getattr(value, "__name__", "") or f"{a(type(value).__name__)} object"
    raise UserError(
        f"must be plain data (numbers, text, lists, mappings), but is {kind}; name code of yours as in file.py:Name",
        key=key,
    )


def _exact(value: Any) -> Any:
    """A number or text as one of Python's own types, of which NumPy's and enumerations are subclasses."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value) if type(value) is not kind else value
    return value


def absolute_references(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``data`` with files and modules in ``folder`` named by their absolute path: the study file is elsewhere.

    >>> absolute_references({"sampler": "mine.py:Sampler", "name": "mine.py"}, Path("/here"))
    {'sampler': '/here/mine.py:Sampler', 'name': 'mine.py'}
    """
    return {key: _absolute(value, folder) if key in REFERENCES else value for key, value in data.items()}


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: _absolute(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [_absolute(each, folder) for each in value]
    if not isinstance(value, str) or ":" not in value:
        return value
    target, _, name = value.rpartition(":")
    if target.endswith(".py") or "/" in target:
        return f"{os.path.abspath(folder / os.path.expanduser(target))}:{name}"
    file = folder / (target.replace(".", "/") + ".py")
    return f"{file}:{name}" if "." not in target and file.is_file() else value


def settings(given: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The ``set`` argument as options ``--set``.

    >>> settings({"budget.trials": 10, "pools.local.walltime": "1h"})
    ('budget.trials=10', 'pools.local.walltime="1h"')
    """
    import json

    if given is not None and not isinstance(given, Mapping):
        raise UserError(
            f"must be a mapping, as in {{'budget.trials': 10}}, but is {a(type(given).__name__)}", key="set"
        )
    return tuple(
        f"{key}={json.dumps(plain(value, str(key)), ensure_ascii=False)}" for key, value in (given or {}).items()
    )


def site_names(given: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None) -> tuple[str, ...]:
    """The ``site`` argument as options ``--site``.

    >>> site_names("theta"), site_names(["theta", Path("polaris.yaml")]), site_names(None)
    (('theta',), ('theta', 'polaris.yaml'), ())
    """
    if given is None:
        return ()
    sites = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    for site in sites:
        if not isinstance(site, str | os.PathLike):
            kind = a(type(site).__name__)
            raise UserError(f"must be a site's name or file, or a list of them, but has {kind}", key="site")
    return tuple(os.fspath(site) for site in sites)


def default_name(function: str) -> str:
    """The study's name where none is given: that of the function.

    >>> default_name("train()"), default_name("the lambda")
    ('train', 'lambda')
    """
    name = re.sub(r"[^A-Za-z0-9._+-]", "", function.split(" ")[-1])
    return name if NAME.fullmatch(name) else "study"


@contextmanager
def errors_of_arguments(path: Path) -> Iterator[None]:
    """Inside, errors at a line of the study file ``path`` become errors of the argument that stands there."""
    try:
        yield
    except UserError as error:
        message = re.sub(rf"{re.escape(str(path))}(:\d+)?: ", "", error.message)
        message = message.replace(str(path.parent), str(Path.cwd())).replace("--new-name NAME", "name='NAME'")
        file, line = (None, None) if str(error.file) == str(path) else (error.file, error.line)
        key = "site" if error.key == "--site" else error.key
        raise type(error)(message, file=file, line=line, key=key) from None
