"""Turns what ended an attempt (an exception, an exit status, a signal) into a kind, a failure and a sentence."""

from __future__ import annotations

import signal
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...trial.exceptions import ObjectiveError, TrialYield, is_pruned
from ...trial.protocol import FailureKind, Message, OutcomeKind
from .result import ValueProblem

TAIL_BYTES = 4000
"""Bytes that are kept of the end of stderr when a process dies without a traceback."""

TRACEBACK_CHARACTERS = 20_000
"""Characters that are kept of the end of a traceback."""

OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "std::bad_alloc")
"""What PyTorch, CUDA and C++ print when memory is short; they raise RuntimeError or abort, not MemoryError."""


@dataclass(frozen=True)
class Ending(Message):
    """The part of an :class:`.Outcome` that the end of the process decides; fields as there."""

    kind: OutcomeKind
    values: list[float] | None = None
    failure: FailureKind = ""
    reason: str = ""
    traceback: str = ""
    user_attrs: dict[str, Any] = field(default_factory=dict)


def ending_of(error: BaseException, *, yielding: bool) -> Ending:
    """The ending for an exception that left the objective.

    Args:
        error: The exception.
        yielding: The attempt was asked to yield, so that a TrialPruned, all that Optuna's style has, means a yield.
    """
    if isinstance(error, TrialYield) or (yielding and is_pruned(error)):
        return Ending("yielded", reason=str(error) or "the objective yielded")
    if is_pruned(error):
        return Ending("pruned", reason=str(error) or "pruned")
    if isinstance(error, ValueProblem):
        return Ending("failed", failure="value", reason=str(error))
    if isinstance(error, ObjectiveError):
        return Ending("failed", failure="setup", reason=str(error))
    if isinstance(error, SystemExit):
        reason = f"the objective called sys.exit({'' if error.code is None else repr(error.code)})"
        return Ending("failed", failure="exit", reason=reason, traceback=format_error(error))
    memory = isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
    return Ending(
        "failed",
        failure="memory" if memory else "exception",
        reason=first_line(error),
        traceback=format_error(error),
    )


def first_line(error: BaseException) -> str:
    """The exception's type and the first line of its message: ``ValueError: no such file``."""
    try:
        text = str(error).strip().splitlines()
    except Exception:  # a user's __str__ may raise anything
        text = []
    return f"{type(error).__name__}: {text[0][:500]}" if text else type(error).__name__


def format_error(error: BaseException) -> str:
    """The traceback without Pilotune's own frames above the objective's first."""
    pipeline = Path(__file__).parents[2]
    ours = (str(pipeline / "worker"), str(pipeline / "trial"), "<frozen importlib")
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(ours):
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))
    except Exception:
        return first_line(error)
    return text if len(text) <= TRACEBACK_CHARACTERS else f"...\n{text[-TRACEBACK_CHARACTERS:]}"


def crash(status: int, *, memory_limit: int | None, stderr: str) -> Ending:
    """The ending of a process that ended without a result.

    Args:
        status: As ``subprocess`` gives it: negative for a signal.
        memory_limit: Bytes; None without a limit.
        stderr: The end of what it printed there.
    """
    if status >= 0:
        reason = f"the process exited with {status} before it returned a value"
        return Ending("failed", failure="exit", reason=reason, traceback=stderr)
    number = -status
    reason = f"killed by {signal_name(number)}"
    if memory_limit is not None and (
        number == signal.SIGKILL or (number == signal.SIGABRT and any(words in stderr for words in OUT_OF_MEMORY))
    ):
        reason += f", with a memory limit of {memory_limit} bytes"
        return Ending("failed", failure="memory", reason=reason, traceback=stderr)
    if number == signal.SIGKILL:
        reason += ", perhaps by the system because memory was short"
    return Ending("failed", failure="signal", reason=reason, traceback=stderr)


def signal_name(number: int) -> str:
    """A signal's name and number; real-time signals by number only.

    >>> signal_name(11)
    'SIGSEGV (signal 11)'
    """
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"


def tail(path: Path, limit: int = TAIL_BYTES) -> str:
    """The last ``limit`` bytes of a file as text, from the first whole line on; empty where there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - limit))
            data = file.read(limit)
    except OSError:
        return ""
    if size > limit and b"\n" in data:
        data = data.split(b"\n", 1)[1]
    return data.decode(errors="replace").strip()
