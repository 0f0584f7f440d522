"""Runs one attempt in a worker process, from its specification to its outcome."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..trial.block_env import POOL
from ..trial.files import TrialFiles, write_atomically
from ..trial.protocol import AttemptSpec, Outcome, Started
from ..trial.report_log import carry, unheard
from .artifacts import drop_earlier, ended_with
from .dialogue import Dialogue
from .disk_failures import blame_disk
from .node.block import YieldTimer, avoided, decline, end_with_pool, launched, marked_busy
from .node.channel import open_channel
from .node.fencing import TakenOver, end_earlier, ended_meanwhile, enter
from .node.late_sync import sync_later
from .node.posix import descendants, handle_signal
from .objective.ending import Ending, first_line
from .process.base import Process
from .process.inline import InlineConnection, run_inline
from .supervisor import Supervisor

LAST_MOMENT = 2.0
"""Seconds for the outcome to reach the driver before a SIGTERM that was held back ends the worker."""

LARGEST_OUTCOME = 32 * 2**20
"""Most bytes of an outcome as JSON; far below what the driver's sockets accept."""

DECLINED_PAUSE = 1.0
"""Seconds until a worker that declined an attempt takes another; Parsl may send the same one straight back."""


@dataclass(frozen=True)
class Collected:
    """What is known of an attempt beside its end.

    Attributes:
        reports, params, user_attrs, system_attrs, memory, suspended: As in its :class:`.Outcome`.
    """

    reports: list[list[float]] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    suspended: float = 0.0
    memory: int | None = None


def run_attempt(spec: dict[str, Any]) -> dict[str, Any]:
    """Run one attempt and return its :class:`.Outcome`. Called in a worker process, one attempt at a time.

    The outcome is written to the trial's folder before it is returned, except for one that was declined.
    Never raises: an error before or around the objective becomes an outcome with failure ``setup``.

    Args:
        spec: An :class:`.AttemptSpec` as a dictionary.

    Returns:
        The outcome as a dictionary.
    """
    end_with_pool()
    with (
        _sigterm_noted() as terminated,
        marked_busy(),
    ):  # in this order, since the node's agent sends SIGTERM to workers that are marked busy
        outcome = _attempt(spec, terminated)
    if outcome["kind"] == "declined":
        time.sleep(DECLINED_PAUSE)
    return outcome


def _attempt(spec: dict[str, Any], terminated: threading.Event) -> dict[str, Any]:
    started, leaving = time.time(), False
    try:
        attempt = AttemptSpec.from_dict(spec)
        away = avoided(attempt)
        reason = away or decline(attempt)
        if reason:
            return _outcome(spec, Ending("declined", reason=reason), Collected(), started, not away).to_dict()
        yield_timer, files = YieldTimer(attempt), TrialFiles(Path(attempt.directory))
        carried = _enter(attempt, files)
        found = ended_meanwhile(files, attempt, carried) if attempt.attempt > attempt.since else None
        if found is not None:
            return _write(spec, found)
        if attempt.attempt > 1:
            drop_earlier(files, attempt.attempt)
        ending, collected = _run(attempt, files, yield_timer, terminated, carried)
        leaving = yield_timer.due() or terminated.is_set()
    except TakenOver as taken:
        ending, collected = Ending("stopped", reason=str(taken)), Collected()
    except Exception as error:
        place = f" in {spec['directory']}" if spec.get("directory") else ""
        reason = f"the worker could not run the attempt{place}: {first_line(error)}"
        ending, collected = (
            Ending("failed", failure="setup", reason=reason, traceback=traceback.format_exc()),
            Collected(),
        )
    ending = blame_disk(ending, str(spec.get("directory") or ""))
    outcome = _outcome(spec, ending, collected, started, leaving)
    return _write(spec, replace(_with_artifacts(spec, outcome), signalled=terminated.is_set()))


def _with_artifacts(spec: dict[str, Any], outcome: Outcome) -> Outcome:
    """The outcome with what a complete attempt has kept; the artifacts of another are removed."""
    try:
        directory, complete = str(spec.get("directory") or ""), outcome.kind == "complete"
        return replace(outcome, artifacts=ended_with(directory, outcome.attempt, complete=complete))
    except OSError as error:
        return replace(outcome, reason=f"its artifacts are lost, since they cannot be listed: {first_line(error)}")


def _enter(spec: AttemptSpec, files: TrialFiles) -> list[list[float]]:
    """Take the trial over from earlier attempts; returns what they reported and the study lacks, ``[[step, value]]``.

    Raises TakenOver where a later attempt has begun, and OSError.
    """
    files.create(spec.attempt)
    enter(files, spec.attempt, spec.since)
    if spec.attempt == 1:
        return []
    end_earlier(files, spec.attempt, ranks=launched(spec) and not spec.ranked)
    return unheard(carry(files, spec.attempt, spec.since), spec.reported)


def _run(
    spec: AttemptSpec,
    files: TrialFiles,
    yield_timer: YieldTimer,
    terminated: threading.Event,
    carried: list[list[float]],
) -> tuple[Ending, Collected]:
    channel = open_channel(spec.channel)
    block, worker = _place()
    channel.begin(Started(spec.token, socket.gethostname(), os.getpid(), block, worker))
    if not spec.isolate and not spec.objective.command:
        connection = InlineConnection(spec, files, channel, yield_timer, terminated.is_set, carried)
        ending = run_inline(spec, files, connection)
        return ending, _collected(connection.dialogue, ending)
    with descendants() as kept:
        process = _process(spec, files)
        kept |= process.kept_pids()
        supervisor = Supervisor(spec, files, channel, process, yield_timer, terminated.is_set, carried)
        ending = supervisor.run()
    return ending, _collected(supervisor.dialogue, ending, supervisor.suspended, supervisor.peak_memory)


def _collected(dialogue: Dialogue, ending: Ending, suspended: float = 0.0, memory: int | None = None) -> Collected:
    noted = dialogue.attributes
    user_attrs = {**noted.user, **ending.user_attrs}
    return Collected(dialogue.reports, dialogue.params, user_attrs, noted.system, suspended, memory)


def _process(spec: AttemptSpec, files: TrialFiles) -> Process:
    # Imported here, since an attempt without isolation needs neither.
    if spec.objective.command:
        from .command.process import CommandProcess

        return CommandProcess(spec, files)
    if spec.ranked and launched(spec):
        from .ranks.launched import LaunchedProcess

        return LaunchedProcess(spec, files)
    if spec.ranked:
        from .ranks.forked import forked_group

        return forked_group(spec, files)
    from .process.forked import ForkedProcess

    return ForkedProcess(spec, files)


def _outcome(spec: dict[str, Any], ending: Ending, collected: Collected, started: float, leaving: bool) -> Outcome:
    block, worker = _place()
    return Outcome(
        token=str(spec.get("token", "")),
        number=spec.get("number", -1),
        attempt=spec.get("attempt", 0),
        kind=ending.kind,
        values=ending.values,
        failure=ending.failure,
        reason=ending.reason,
        traceback=ending.traceback,
        user_attrs=collected.user_attrs,
        system_attrs=collected.system_attrs,
        reports=collected.reports,
        params=collected.params,
        host=socket.gethostname(),
        pool=os.environ.get(POOL, ""),
        block=block,
        worker=worker,
        saved=ending.kind != "yielded" or TrialFiles(Path(spec["directory"])).saved_since(spec["attempt"], started),
        leaving=leaving,
        started=started,
        finished=time.time(),
        suspended=collected.suspended,
        memory=collected.memory,
    )


def _write(spec: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    """Write the outcome, and return it even where that fails: a full or unreachable disk must not lose a result."""
    data = outcome.to_dict()
    if not spec.get("directory"):
        return data
    try:
        data, text = _cut(data, LARGEST_OUTCOME)
        path = TrialFiles(Path(spec["directory"])).outcome(outcome.attempt)
        write_atomically(path, text, sync_later)
    except (OSError, ValueError, TypeError) as error:
        note = f"the outcome could not be written to {spec['directory']}: {first_line(error)}"
        data["reason"] = f"{data['reason']}; {note}" if data["reason"] else note
    return data


def cut_outcome(data: dict[str, Any], most: int = LARGEST_OUTCOME) -> dict[str, Any]:
    """The outcome without its attributes, and then without its reports, where it is larger than ``most`` bytes.

    The driver usually has the reports already, and else finds them in the report log.
    """
    return _cut(data, most)[0]


def _cut(data: dict[str, Any], most: int) -> tuple[dict[str, Any], str]:
    """What :func:`cut_outcome` returns, and the same as JSON."""
    text = json.dumps(data)
    for part, empty in (("user_attrs", {}), ("system_attrs", {}), ("reports", [])):
        length = len(text)
        if length <= most:
            break
        note = f"its {part.replace('_', ' ')} were left out, since the outcome takes {length} bytes of at most {most}"
        data = {**data, part: empty, "reason": f"{data['reason']}; {note}" if data["reason"] else note}
        text = json.dumps(data)
    return data, text


def _place() -> tuple[str, str]:
    """Parsl's names of this worker's block and of the worker."""
    block = os.environ.get("PARSL_WORKER_BLOCK_ID", "")
    pool, rank = os.environ.get("PARSL_WORKER_POOL_ID", ""), os.environ.get("PARSL_WORKER_RANK", "")
    return block, f"{pool}/{rank}" if pool else rank


@contextlib.contextmanager
def _sigterm_noted() -> Iterator[threading.Event]:
    """Hold SIGTERM back while an attempt runs (its block ends): set the event, and send the signal again afterwards."""
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = handle_signal(signal.SIGTERM, lambda *_: noted.set())
    try:
        yield noted
    finally:
        handle_signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
        if noted.is_set() and before != signal.SIG_IGN:
            again = threading.Timer(LAST_MOMENT, os.kill, (os.getpid(), signal.SIGTERM))
            again.daemon = True
            again.start()
