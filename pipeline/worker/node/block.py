"""The block that a worker is part of: when it ends, what is kept for its node, how its multi-node trials are started.

All of it comes in environment variables: from the batch script, ``providers/node/agent.py``, or Parsl's MPI executor.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...trial.protocol import AttemptSpec
from .posix import PR_SET_PDEATHSIG, process_control
from .ranks import with_ranks

NODE_DIR = "PILOTUNE_NODE_DIR"
"""A folder of this node and block, in which a worker keeps a file named by its pid while it runs an attempt."""

ENDING = "ending"
"""In that folder, from when on no attempt may begin."""

LONGEST_LEAD = 60.0
"""Seconds before its block's end at which an attempt yields, where nobody says otherwise; in short blocks a tenth."""


# -- time -------------------------------------------------------------------------------------------------------------


def block_end(environment: Mapping[str, str] = os.environ) -> float | None:
    """When the block ends, in Unix seconds; None where it does not, or nobody says."""
    return _number(environment.get("PILOTUNE_BLOCK_END"))


def walltime(environment: Mapping[str, str] = os.environ) -> float | None:
    """How long the block was given, in seconds."""
    return _number(environment.get("PILOTUNE_WALLTIME"))


def lead(spec: AttemptSpec) -> float:
    """Seconds before the block's end at which the attempt is to have yielded."""
    if spec.yield_before is not None:
        return spec.yield_before
    given = walltime()
    return LONGEST_LEAD if given is None else min(LONGEST_LEAD, given / 10)


class Timetable:
    """When an attempt is asked to yield, so that it comes by :meth:`report` once more before its time is over."""

    def __init__(self, spec: AttemptSpec) -> None:
        end = block_end()
        self.last = None if end is None else end - lead(spec)
        self._gap = 0.0
        self._reports = 0
        self._reported = time.monotonic()

    def begun(self) -> None:
        """The objective's own code runs from now on."""
        self._reported = time.monotonic()

    def reported(self) -> None:
        """A report came. The time to the first is taken for the interval until there is a second one."""
        now = time.monotonic()
        gap, self._reported = now - self._reported, now
        self._reports += 1
        self._gap = gap if self._reports <= 2 else max(self._gap, gap)

    def over(self) -> bool:
        """Whether it is to yield now."""
        return self.last is not None and time.time() >= self.last - self._gap


def avoided(spec: AttemptSpec) -> str:
    """Why this host is not to run the attempt, whatever its block; empty where it may."""
    return f"{socket.gethostname()} is to leave it to another host" if socket.gethostname() in spec.avoid else ""


def decline(spec: AttemptSpec) -> str:
    """Why an attempt is better not begun in this block; empty where it may."""
    folder = os.environ.get(NODE_DIR)
    if folder and os.path.exists(os.path.join(folder, ENDING)):
        return "its block is being ended"
    end = block_end()
    if end is None:
        return ""
    left, ahead, given = end - time.time(), lead(spec), walltime()
    if left < ahead:
        return f"its block ends in {max(0.0, left):.0f} s"
    if spec.expected is None or spec.expected <= left:
        return ""
    if given is not None and spec.expected + ahead <= given:
        return f"its block ends in {left:.0f} s, and it is expected to run {spec.expected:.0f} s"
    return ""  # it would fit in no block: it goes on from its checkpoint in the next


# -- the node's folder ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Say that this worker runs an attempt, for as long as it does; nothing where nobody looks."""
    folder = os.environ.get(NODE_DIR)
    if not folder:
        yield
        return
    path = os.path.join(folder, str(os.getpid()))
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def follow_pool() -> None:
    """On a node that looks after its workers: SIGTERM, and so a trial that yields, when the pool is killed."""
    if os.environ.get(NODE_DIR):
        process_control(PR_SET_PDEATHSIG, signal.SIGTERM)


def busy_workers(folder: Path) -> list[int]:
    """The pids of the workers that run an attempt."""
    try:
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    except OSError:
        return []


def mark_ending(folder: Path) -> None:
    """No attempt begins from now on."""
    with contextlib.suppress(OSError):
        (folder / ENDING).touch(0o600)


# -- several nodes ----------------------------------------------------------------------------------------------------


def launcher(spec: AttemptSpec, environment: Mapping[str, str] = os.environ) -> str:
    """What starts a command on the trial's nodes: Parsl's prefix for several, the site's own for one."""
    if spec.nodes > 1:
        # aprun takes Parsl's -node-list for -n.
        return with_ranks(environment.get("PARSL_MPI_PREFIX", "").strip().replace(" -node-list ", " -L "))
    return environment.get("PILOTUNE_LAUNCHER", "")


def nodelist(spec: AttemptSpec, environment: Mapping[str, str] = os.environ) -> str:
    """The names of a multi-node trial's nodes, with commas between them; empty for a trial on one."""
    return environment.get("PARSL_MPI_NODELIST", "") if spec.nodes > 1 else ""


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
