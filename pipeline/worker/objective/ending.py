"""Turns what ended an attempt (an exception, an exit status, a signal) into a kind, a failure and a sentence."""

from __future__ import annotations

import signal
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from ....errors import words_of
from ...trial.exceptions import ObjectiveError, TrialYield, is_pruned
from ...trial.protocol import FailureKind, Message, ObjectiveSpec, OutcomeKind
from ...trial.values import shown
from .hints import hint_for
from .result import ValueProblem

TAIL_BYTES = 4000
"""Bytes that are kept of the end of stderr when a process dies without a traceback."""

TRACEBACK_CHARACTERS = 20_000
"""Characters that are kept of a traceback: a third from its beginning, the others from its end."""

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


def ending_of(error: BaseException, *, yielding: bool, objective: ObjectiveSpec | None = None) -> Ending:
    """The ending for an exception that left the objective.

    Args:
        error: The exception. Its class may be the user's, and raise anything whatever is asked of it.
        yielding: The attempt was asked to yield, so that a TrialPruned, all that Optuna's style has, means a yield.
        objective: Where the objective is, for a hint.
    """
    try:
        return _ending_of(error, yielding, objective or ObjectiveSpec())
    except BaseException:
        frames = _frames_only(error, _traceback_of(error))
        return Ending("failed", failure="exception", reason=type(error).__name__, traceback=frames)


def _ending_of(error: BaseException, yielding: bool, objective: ObjectiveSpec) -> Ending:
    if isinstance(error, TrialYield) or (yielding and is_pruned(error)):
        return Ending("yielded", reason=words_of(error) or "the objective yielded")
    if is_pruned(error):
        return Ending("pruned", reason=words_of(error) or "pruned")
    if isinstance(error, ValueProblem):
        return Ending("failed", failure="value", reason=words_of(error))
    if isinstance(error, ObjectiveError):
        return Ending("failed", failure="setup", reason=words_of(error))
    if isinstance(error, SystemExit):
        reason = f"the objective called sys.exit({'' if error.code is None else shown(error.code)})"
        return Ending("failed", failure="exit", reason=reason, traceback=format_error(error))
    memory = isinstance(error, MemoryError) or any(words in words_of(error) for words in OUT_OF_MEMORY)
    return Ending(
        "failed",
        failure="memory" if memory else "exception",
        reason=first_line(error) + hint_for(error, objective),
        traceback=format_error(error),
    )


def first_line(error: BaseException) -> str:
    """The exception's type and the first line of its message: ``ValueError: no such file``."""
    try:
        text = str(error).strip().splitlines()
    except Exception as other:  # a user's __str__ may raise anything
        text = [f"its message cannot be shown, since its __str__ raises {type(other).__name__}"]
    return f"{type(error).__name__}: {text[0][:500]}" if text else type(error).__name__


def format_error(error: BaseException) -> str:
    """The traceback without Pilotune's own frames above the objective's first."""
    pipeline = Path(__file__).parents[2]
    ours = (*(str(pipeline / name) for name in ("worker", "trial", "importing.py")), "<frozen importlib")
    frames = _traceback_of(error)
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(ours):
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames or _traceback_of(error)))
    except Exception:
        text = _frames_only(error, frames or _traceback_of(error))
    if len(text) <= TRACEBACK_CHARACTERS:
        return text
    first = TRACEBACK_CHARACTERS // 3  # the frames stand before a message of any length
    return f"{text[:first]}\n...\n{text[first - TRACEBACK_CHARACTERS :]}"


def _traceback_of(error: BaseException) -> TracebackType | None:
    """``error.__traceback__``, without the class's own way to look up attributes."""
    found: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    return found


def _frames_only(error: BaseException, frames: TracebackType | None) -> str:
    """A traceback without what the exception says of itself."""
    return "".join(["Traceback (most recent call last):\n", *traceback.format_tb(frames), f"{type(error).__name__}\n"])


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
