"""Translates the end of a Parsl task into the campaign's event."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput.errors import ManagerLost

from ...pipeline.campaign.events import Ended, Lost
from ...pipeline.trial.protocol import Outcome
from ..node.tasks import NotPlaced, WorkerLost


def event_of(token: str, pool: str | None, future: Future[Any]) -> Ended | Lost:
    """The event that reports the end of a task to the campaign.

    Args:
        token: The token of the task's attempt.
        pool: The pool that ran it.
        future: The task's future, which is done.

    Returns:
        Ended with the outcome that the worker returned; Lost when it returned none, or that of another attempt.
    """
    error = future.exception()
    if isinstance(error, WorkerLost):
        return Lost(token, f"its worker was lost ({error})", killed=True, host=error.hostname)
    if isinstance(error, NotPlaced):
        number, attempt = (int(part) for part in token.split(".")[:2])
        return Ended(Outcome(token, number, attempt, "declined", reason=str(error)))
    if isinstance(error, ManagerLost):
        return Lost(token, f"its worker was lost ({error})")
    if isinstance(error, BadStateException):
        return Lost(token, f"pool {pool} was given up or its executor was replaced")
    if error is not None:
        return Lost(token, f"the worker could not run it ({type(error).__name__}: {error})")
    try:
        outcome = Outcome.from_dict(future.result())
    except ValueError as problem:
        return Lost(token, f"its worker returned an invalid outcome ({problem})")
    if outcome.token != token:
        return Lost(token, f"its worker returned the outcome of another attempt, {outcome.token[:80]!r}")
    return Ended(outcome)
