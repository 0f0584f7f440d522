"""Finds out, without executing anything, whether an objective can have saved a checkpoint at all."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

from ..trial.protocol import ObjectiveSpec
from .imports import own_files

WORD = "checkpoint"
"""Stands in whatever uses a checkpoint: ``trial.checkpoint_dir``, ``{checkpoint_dir}``, ``PILOTUNE_CHECKPOINT_DIR``."""

LARGEST_SCRIPT = 1_000_000
"""Bytes of the largest file of a command that is read."""


def saves_nothing(objective: ObjectiveSpec) -> bool:
    """Whether nothing in the objective's own files speaks of a checkpoint. False where that cannot be known.

    It cannot where the trial is handed to other code, or a command names no script beside the study file.
    """
    if objective.command:
        return _command_saves_nothing(objective)
    files = own_files(objective)
    if not files or any(WORD in _text(path) for path in files):
        return False
    return not any(_hands_over(path, objective.function) for path in files[:1])


def _command_saves_nothing(objective: ObjectiveSpec) -> bool:
    command = objective.command
    words = command if isinstance(command, list | tuple) else _words(str(command))
    if any(WORD in str(word).lower() for word in words):
        return False
    paths = [Path(objective.folder, str(word).replace("{study_dir}", objective.folder)) for word in words]
    texts = [_text(path) for path in paths if path.is_file()]
    return any(texts) and not any(WORD in text for text in texts)


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _text(path: Path) -> str:
    """A file's text in small letters; empty where it is large, binary or cannot be read."""
    try:
        return path.read_text("utf-8").lower() if path.stat().st_size <= LARGEST_SCRIPT else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _hands_over(path: Path, function: str) -> bool:
    """Whether the objective gives its trial to other code; also where it is no plain function."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError):
        return True
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    if not found or not found[0].args.args:
        return True
    name = found[0].args.args[0].arg
    calls = [node for node in ast.walk(found[0]) if isinstance(node, ast.Call)]
    given = [value for call in calls for value in (*call.args, *(keyword.value for keyword in call.keywords))]
    return any(isinstance(value, ast.Name) and value.id == name for value in given)
