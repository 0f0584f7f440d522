"""What a worker knows of its block: whether an attempt still fits, when it must yield, what runs on the node.

The facts come in environment variables (:mod:`pilotune.pipeline.trial.block_env`) and in a folder of the node that
the node's agent and its workers share.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...trial.block_env import LAUNCHER, NODE_DIR, block_end, walltime, yield_margin
from ...trial.protocol import AttemptSpec
from .posix import PR_SET_PDEATHSIG, process_control
from .ranks import with_ranks

IDLE = "idle-"
"""What stands before a worker's pid in the name of its mark while it is not busy."""

ENDING = "ending"
"""A file in the node's folder; while it exists, no attempt may begin."""


# -- time -------------------------------------------------------------------------------------------------------------


def margin_of(spec: AttemptSpec) -> float:
    """Seconds before this block's end at which the attempt is to have yielded."""
    return yield_margin(walltime(), spec.yield_before)


class YieldTimer:
    """Decides when an attempt is asked to yield because its block ends.

    An objective can only yield when it reports, so the longest interval between two reports is subtracted from the
    time of the block's end and the yield margin. The request then arrives before the last report that still fits.

    Args:
        spec: The attempt; its ``yield_before`` wins over the default margin.

    Attributes:
        latest: Unix seconds at which the attempt should have yielded; None in a block without an end.
    """

    def __init__(self, spec: AttemptSpec) -> None:
        end = block_end()
        self.latest = None if end is None else end - margin_of(spec)
        self._longest_interval = 0.0
        self._reports = 0
        self._last_report = time.monotonic()

    def start(self) -> None:
        """The objective's own code runs from now on."""
        self._last_report = time.monotonic()

    def on_report(self) -> None:
        """The objective has reported.

        The time to the first report includes set-up that is done only once; it counts as an interval until there is a
        second one.
        """
        now = time.monotonic()
        interval, self._last_report = now - self._last_report, now
        self._reports += 1
        self._longest_interval = interval if self._reports <= 2 else max(self._longest_interval, interval)

    def due(self) -> bool:
        """Whether the attempt must be asked to yield now."""
        return self.latest is not None and time.time() >= self.latest - self._longest_interval


def avoided(spec: AttemptSpec) -> str:
    """Why this host must not run the attempt, whatever its block: one sentence; empty where it may."""
    return f"the campaign avoids host {socket.gethostname()} for it" if socket.gethostname() in spec.avoid else ""


def decline(spec: AttemptSpec) -> str:
    """Why the attempt should not begin in this block: one sentence; empty where it may.

    An attempt that is expected to take longer than any block is not declined: it yields, and continues from its
    checkpoint in the next block.
    """
    folder = os.environ.get(NODE_DIR)
    if folder and os.path.exists(os.path.join(folder, ENDING)):
        return "its block is being ended"
    end = block_end()
    if end is None:
        return ""
    left, margin, given = end - time.time(), margin_of(spec), walltime()
    if left < margin:
        return f"its block ends in {max(0.0, left):.0f} s"
    if spec.expected is None or spec.expected <= left:
        return ""
    if given is not None and spec.expected + margin <= given:
        return f"its block ends in {left:.0f} s, and it is expected to run {spec.expected:.0f} s"
    return ""


# -- the node's folder ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def marked_busy() -> Iterator[None]:
    """Mark this worker as running an attempt while the context is open; does nothing without a node's folder.

    The mark is a file that is named after the worker's pid while it is busy. It is renamed between attempts and not
    removed, since some file systems pass over the places of removed files one by one whenever a file is made.
    """
    folder = os.environ.get(NODE_DIR)
    if not folder:
        yield
        return
    busy, idle = (f"{folder}/{prefix}{os.getpid()}" for prefix in ("", IDLE))
    with contextlib.suppress(OSError):
        try:
            os.rename(idle, busy)
        except FileNotFoundError:
            os.close(os.open(busy, os.O_WRONLY | os.O_CREAT, 0o600))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.rename(busy, idle)


def end_with_pool() -> None:
    """Have the kernel send this worker SIGTERM when its parent, Parsl's worker pool, dies, so that its trial yields.

    Only on nodes with an agent: it lets the workers finish after the pool was ended.
    """
    if os.environ.get(NODE_DIR):
        process_control(PR_SET_PDEATHSIG, signal.SIGTERM)


def busy_workers(folder: Path) -> list[int]:
    """The pids of the node's workers that run an attempt, from the node's ``folder``."""
    try:
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    except OSError:
        return []


def mark_ending(folder: Path) -> None:
    """Let no attempt begin on this node from now on; ``folder`` is the node's."""
    with contextlib.suppress(OSError):
        (folder / ENDING).touch(0o600)


# -- several nodes ----------------------------------------------------------------------------------------------------


ON_ONE_NODE = {
    "srun": "srun --nodes 1 --ntasks {ranks} --nodelist {host}",
    "mpiexec": "mpiexec -n {ranks}{host_option}",
    "aprun": "aprun -n {ranks} -N {ranks}{host_option}",
}
"""Launcher -> the words with which it starts ranks on this node."""

HOST_OPTIONS = {"mpiexec": "-host", "aprun": "-L"}
"""Launcher -> its option for the node, without which it takes the first one of the job."""


def launched(spec: AttemptSpec) -> bool:
    """Whether a launcher starts the trial's ranks: on several nodes, or where the study file names one."""
    return spec.nodes > 1 or spec.launcher in ON_ONE_NODE


def launcher(spec: AttemptSpec, environment: Mapping[str, str] = os.environ) -> str:
    """The words that start a command on the trial's nodes: Parsl's MPI prefix for several, the study file's launcher or
    the site's own for one.

    >>> words = launcher(AttemptSpec("7.1.c", "s", 7, 1, {}, False, "", 0, 1, ranks=4, launcher="mpiexec"), {})
    >>> words.partition(" /bin/sh ")[0]
    'mpiexec -n 4'
    """
    if spec.nodes > 1:
        # Parsl writes -node-list, which aprun reads as -n; its option for a node list is -L.
        return with_ranks(environment.get("PARSL_MPI_PREFIX", "").strip().replace(" -node-list ", " -L "))
    if spec.launcher in ON_ONE_NODE:
        host = environment.get("SLURMD_NODENAME") or socket.gethostname()
        own = _own_node(environment)
        option = f" {HOST_OPTIONS[spec.launcher]} {own}" if own and spec.launcher in HOST_OPTIONS else ""
        return with_ranks(ON_ONE_NODE[spec.launcher].format(ranks=spec.ranks, host=host, host_option=option))
    return environment.get(LAUNCHER, "")


def _own_node(environment: Mapping[str, str]) -> str:
    """What PBS or Cobalt calls this node, in a job of several; empty elsewhere.

    Cobalt counts the nodes of a Cray: node 23 is the host nid00023.
    """
    try:
        nodes = set(Path(environment.get("PBS_NODEFILE") or os.devnull).read_text().split())
    except OSError:
        return ""
    short = socket.gethostname().partition(".")[0]
    number = short.removeprefix("nid").lstrip("0") if short.startswith("nid") else short
    own = [node for node in nodes if node.partition(".")[0] in (short, number)]
    return own[0] if own and len(nodes) > 1 else ""


def nodelist(spec: AttemptSpec, environment: Mapping[str, str] = os.environ) -> str:
    """The names of a multi-node trial's nodes, separated by commas; empty for a trial on one node."""
    return environment.get("PARSL_MPI_NODELIST", "") if spec.nodes > 1 else ""
