"""How a task and its result travel between driver and worker, through Parsl's interchange, which looks into neither.

A task is a function that both sides can import, with its arguments, pickled. Parsl's own form takes dill, which is
slow, and would have every worker import Parsl. Uses the standard library only.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

CONTEXT = {"task_executor": {"f": f"{__name__}.execute"}}
"""Parsl's description of such a task: what executes it."""

SERIALIZER = b"parsl.serialize.concretes PickleSerializer\n"
"""What Parsl's executor reads in front of a result: the class that decodes it."""


class WorkerLost(Exception):
    """A worker ended while it ran the task.

    Attributes:
        hostname: The worker's host.
        how: How it ended, as the end of a sentence.
    """

    def __init__(self, hostname: str, how: str):
        super().__init__(hostname, how)
        self.hostname, self.how = hostname, how

    def __str__(self) -> str:
        return f"a worker on {self.hostname} {self.how}"


class NotPlaced(Exception):
    """A task was not begun: the node that it was meant for is gone, or takes no more."""


class TaskFailed(Exception):
    """A task raised an exception. The message holds its traceback."""


encode = pickle.dumps
"""Anything as bytes, as Parsl's protocol has it."""

decode = pickle.loads
"""What :func:`encode` has made of it. Only for bytes from this campaign's own processes."""


def pack(function: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any]) -> bytes:
    """A task as bytes. Raises PicklingError for a function that cannot be imported by its name."""
    return encode((function, tuple(arguments), dict(options)))


def execute(buffer: bytes) -> Any:
    """Run a task and return its result."""
    function, arguments, options = decode(buffer)
    return function(*arguments, **options)


def run_task(task: Mapping[str, Any]) -> bytes:
    """Run a task as Parsl's interchange sends it (``task_id``, ``buffer``); returns the message with its result."""
    try:
        result = execute(task["buffer"])
        return encode({**_answer_to(task["task_id"]), "result": SERIALIZER + encode(result)})
    except Exception:
        return failure(task["task_id"], TaskFailed(traceback.format_exc()))


def failure(task_id: int, error: Exception) -> bytes:
    """The message that a task has failed with ``error``, which both sides must be able to import."""
    return encode({**_answer_to(task_id), "exception": SERIALIZER + encode(error)})


def _answer_to(task_id: int) -> dict[str, Any]:
    return {"type": "result", "task_id": task_id}
