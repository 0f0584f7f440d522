"""How an attempt's process says that it ended, and how exceptions and exit statuses are put into words."""

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
"""What is kept of the end of stderr when a process dies without a traceback."""

TRACEBACK_CHARACTERS = 20_000

OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "std::bad_alloc")
"""What PyTorch, CUDA and C++ say; they raise RuntimeError or abort rather than raise MemoryError."""


@dataclass(frozen=True)
class Ending(Message):
    """The part of an Outcome that the end of the process decides."""

    kind: OutcomeKind
    values: list[float] | None = None
    failure: FailureKind = ""
    reason: str = ""
    traceback: str = ""
    user_attrs: dict[str, Any] = field(default_factory=dict)


def ending_of(error: BaseException, *, yielding: bool) -> Ending:
    """What an exception that left the objective means. ``yielding``: it was asked to yield, not to prune."""
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
    """``ValueError: what it says``, without what follows the first line."""
    try:
        text = str(error).strip().splitlines()
    except Exception:  # whatever somebody's __str__ raises
        text = []
    return f"{type(error).__name__}: {text[0][:500]}" if text else type(error).__name__


def format_error(error: BaseException) -> str:
    """The traceback from the objective's first frame on; Pilotune's own frames above it say nothing to the user."""
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
    """A process that ended without a result: ``status`` as ``subprocess`` gives it, negative for a signal."""
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
        reason += ", perhaps by the system for want of memory"
    return Ending("failed", failure="signal", reason=reason, traceback=stderr)


def signal_name(number: int) -> str:
    """``SIGSEGV (signal 11)``; real-time signals by number only."""
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"


def tail(path: Path, limit: int = TAIL_BYTES) -> str:
    """The last ``limit`` bytes of a file as text, from the start of a line where one starts; empty without the file."""
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
