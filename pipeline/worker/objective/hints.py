"""Adds to an objective's exception what its author cannot know: how Pilotune runs the code."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path
from typing import Any

from ....errors import words_of
from ...trial.protocol import ObjectiveSpec

QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"")


def hint_for(error: BaseException, objective: ObjectiveSpec) -> str:
    """Half a sentence that belongs behind the exception's message; empty where there is none.

    Args:
        error: What the objective raised, in its code or while it was imported.
        objective: Where the objective is.

    >>> hint_for(FileNotFoundError(2, "No such file", "data.csv"), ObjectiveSpec(folder="/study"))[:47]
    '; each trial has a working directory of its own'
    >>> hint_for(FileNotFoundError(2, "No such file", "/data.csv"), ObjectiveSpec(folder="/study"))
    ''
    """
    if isinstance(error, FileNotFoundError):
        return _relative_path(error, objective)
    if isinstance(error, ImportError) and "relative import" in words_of(error):
        return _relative_import(objective)
    return ""


def _relative_path(error: FileNotFoundError, objective: ObjectiveSpec) -> str:
    path = _path_of(error)
    if not path or os.path.isabs(path) or "://" in path or path.startswith("~") or _is_program(error, path):
        return ""
    place = "os.environ['PILOTUNE_STUDY_DIR'], the study file's folder"
    if objective.folder and os.path.exists(os.path.join(objective.folder, path)):
        return f"; each trial has a working directory of its own: the file is in {place}, so begin its path with that"
    return f"; each trial has a working directory of its own, so use an absolute path, or one that begins with {place}"


def program_hint(program: str, objective: ObjectiveSpec) -> str:
    """As :func:`hint_for`, for the program of a command that was not found.

    >>> program_hint("./solve.sh", ObjectiveSpec(folder="/study"))
    '; each trial has a working directory of its own, so write {study_dir}/solve.sh'
    >>> program_hint("solve", ObjectiveSpec(folder="/study")), program_hint("/bin/solve", ObjectiveSpec())
    ('', '')
    """
    beside = bool(objective.folder) and os.path.exists(os.path.join(objective.folder, program))
    if os.path.isabs(program) or not ("/" in program or beside):
        return ""
    return f"; each trial has a working directory of its own, so write {{study_dir}}/{os.path.normpath(program)}"


def _path_of(error: FileNotFoundError) -> str:
    """The path that was not found; empty where neither the exception nor its message has one."""
    name: Any = error.filename
    if isinstance(name, str | bytes | os.PathLike):
        return os.fsdecode(name)
    quoted = QUOTED.search(words_of(error)) if name is None else None
    return (quoted[1] or quoted[2]) if quoted else ""


def _is_program(error: BaseException, path: str) -> bool:
    """Whether a program was looked for on PATH, not a file."""
    frames = traceback.extract_tb(error.__traceback__)
    return "/" not in path and bool(frames) and Path(frames[-1].filename).name == "subprocess.py"


def _relative_import(objective: ObjectiveSpec) -> str:
    file = Path(objective.file)
    if not objective.file:
        return "; name the objective as package.module:function, from the top of the package"
    parts, root = [file.stem], file.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        parts.insert(0, root.name)
        root = root.parent
    if len(parts) == 1 and objective.folder and root.is_relative_to(objective.folder):  # it needs no __init__.py
        parts, root = [*root.relative_to(objective.folder).parts, file.stem], Path(objective.folder)
    if len(parts) == 1:
        return "; a module that imports its neighbours so is part of a package: name it as package.module:function"
    where = "" if str(root) == objective.folder else f", with {root} on PYTHONPATH"
    return f"; name the objective as package.module:function, here {'.'.join(parts)}:{objective.function}{where}"
