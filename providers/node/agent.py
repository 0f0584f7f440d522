"""Runs on every node of a block: starts Parsl's worker pool there, and ends it so that its trials can yield.

``python -m pilotune.providers.node.agent LAUNCH_JSON BLOCK``. ``LAUNCH_JSON`` is written by the driver before the block
is submitted: ``command`` (the worker pool's command line, ``{block_id}`` left to fill), ``accelerators`` (for each
worker the GPUs it gets, ``"0"`` or ``"0,1"``, counted from 0 among those of the job on this node), ``gpu_type``
(nvidia, amd, intel) and ``environment``. The standard library only: it is read on thousands of nodes at once.

A scheduler that ends a block sends SIGTERM and, half a minute later, SIGKILL; most send it to this process alone. The
pool ignores SIGTERM. This process passes it on to the workers that run an attempt (each keeps a file named by its pid
in ``PILOTUNE_NODE_DIR``), waits until they are done and their outcomes have travelled, and ends the rest.

Exit status: the worker pool's, 128 + n when signal n ended it or the block, 70 when the pool could not be started,
75 when there was no driver any more.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...pipeline.trial.block_env import NODE_DIR, NODE_GPUS
from ...pipeline.trial.gpus import VISIBLE, describe
from ...pipeline.worker.node.block import busy_workers, mark_ending
from ...pipeline.worker.node.posix import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    children,
    end_children,
    kill_group,
    process_control,
    take_status,
)
from .driver_watch import LOOK, DriverWatch
from .shm_cleanup import litter, remove

NOT_STARTED = 70

YIELD_LIMIT = 25.0
"""Seconds for trials to yield: Slurm kills 30 s after its SIGTERM by default, and outcomes have to travel."""

TRAVEL = 2.0
"""Seconds for the last outcomes to reach the driver through Parsl."""

CLEANING = 5.0
"""Seconds after SIGKILL; a process that is still there hangs in the kernel."""

STRAYING = 9.0
"""Seconds that a dead worker's trial has to end: a launcher ends its processes on other nodes first."""

ABANDONED = 75
"""Exit status of a block whose driver is gone."""

LONGEST_TMPDIR, SHORT_TMPDIR = 75, "/tmp"
"""Python's multiprocessing makes sockets 32 characters below TMPDIR, and Linux allows 107 for all of it."""

NO_GPU = ("", "-1", "NoDevFiles", "void")
"""What schedulers and drivers write where a job has no GPU."""

ENDINGS = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU}
)  # schedulers differ in what they send first


class LaunchError(Exception):
    """The worker pool cannot be started. The message is one sentence."""


@dataclass(frozen=True)
class Launch:
    """What ``LAUNCH_JSON`` says."""

    command: tuple[str, ...]
    accelerators: tuple[str, ...] = ()
    gpu_type: str = "nvidia"
    environment: Mapping[str, str] | None = None

    @property
    def port(self) -> int | None:
        """The driver's, as the pool is told it."""
        found = [word.partition("=")[2] for word in self.command if word.startswith("--port=")]
        return int(found[0]) if found and found[0].isdigit() else None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The driver's, as the pool is told them."""
        words = self.command
        at = words.index("-a") + 1 if "-a" in words else len(words)
        return tuple(filter(None, words[at].split(","))) if at < len(words) else ()


def main(arguments: Sequence[str]) -> int:
    """Run one node's part of a block, from start to end; its exit status."""
    try:
        if len(arguments) != 2:
            raise LaunchError("it is started with two arguments, the launch file and the block's number")
        return run(read_launch(Path(arguments[0])), arguments[1])
    except LaunchError as problem:
        tell(str(problem))
        return NOT_STARTED


def tell(sentence: str) -> None:
    print(f"pilotune: node {socket.gethostname()}: {sentence}", file=sys.stderr, flush=True)


def read_launch(path: Path) -> Launch:
    """Read the launch file. Raises LaunchError where it is not there or not one."""
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        command = data["command"]
        words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
        launch = Launch(
            command=tuple(words[1:] if words[:1] == ["exec"] else words),
            accelerators=tuple(str(each) for each in data.get("accelerators", ())),
            gpu_type=str(data.get("gpu_type", "nvidia")),
            environment={str(name): str(value) for name, value in data.get("environment", {}).items()},
        )
    except OSError as error:
        raise LaunchError(f"the launch file {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise LaunchError(f"the launch file {path} is not one of Pilotune's ({problem})") from None
    if not launch.command:
        raise LaunchError(f"the launch file {path} has an empty command")
    if launch.gpu_type not in VISIBLE:
        raise LaunchError(f"the launch file {path} has gpu_type {launch.gpu_type!r}; known are {', '.join(VISIBLE)}")
    return launch


# -- what is started --------------------------------------------------------------------------------------------------


def worker_gpus(launch: Launch, environment: Mapping[str, str]) -> list[str]:
    """Each worker's GPUs by their names on this node; the scheduler may have given the job others than 0, 1, ...

    Raises LaunchError where it has given fewer.
    """
    visible = VISIBLE[launch.gpu_type]
    if visible not in environment or not launch.accelerators:
        return list(launch.accelerators)
    given = [name.strip() for name in environment[visible].split(",") if name.strip() not in NO_GPU]
    try:
        return [",".join(given[int(index)] for index in each.split(",")) for each in launch.accelerators]
    except ValueError:
        return list(launch.accelerators)  # names already
    except IndexError:
        needed = 1 + max(int(index) for each in launch.accelerators for index in each.split(","))
        raise LaunchError(
            f"the job was given {len(given)} GPU(s) here ({visible}={environment[visible]}) and its workers need "
            f"{needed}; ask for them in the site file's `options`, or correct `gpus_per_node`"
        ) from None


def command_line(launch: Launch, block: str, gpus: Sequence[str]) -> list[str]:
    """The worker pool's arguments. ``gpus`` takes the place of what ``--available-accelerators`` has."""
    name = f"{socket.gethostname()}-{os.urandom(6).hex()}"  # by which the driver knows where the pool is
    words = [word.replace("{block_id}", block).replace("{uid}", name) for word in launch.command]
    option = "--available-accelerators"
    if not gpus:
        return words
    if option in words:
        at = end = words.index(option)
        while end + 1 < len(words) and not words[end + 1].startswith("-"):
            end += 1
        del words[at : end + 1]
    return [*words, option, *gpus]


def bind(words: Sequence[str]) -> list[str]:
    """The pool's arguments; its workers are bound to cores only where the job has those they need.

    On a shared node it may have fewer than the site file says, and a worker that cannot be bound never starts.
    """
    words, option = list(words), "--cpu-affinity"
    counts = [word.partition("=")[2] for word in words if word.startswith("--max_workers_per_node=")]
    if option not in words or not counts or words[words.index(option) + 1] == "none":
        return words
    at, workers, cores = words.index(option) + 1, int(counts[0]), os.sched_getaffinity(0)
    if words[at].startswith("list:"):
        fits = {core for part in re.split("[:,]", words[at][5:]) for core in _span(part)} <= cores
    else:
        fits = len(cores) >= workers
    if not fits:
        given = ",".join(map(str, sorted(cores)))
        tell(
            f"the job has the cores {given} here, and {workers} workers cannot be bound ({words[at]}): none of them is"
        )
        words[at] = "none"
    return words


def _span(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


def start(launch: Launch, block: str, folder: str) -> subprocess.Popen[bytes]:
    """Start the pool in a session of its own. Raises LaunchError."""
    environment = {**os.environ, **(launch.environment or {}), NODE_DIR: folder}
    gpus = worker_gpus(launch, environment)
    environment["PILOTUNE_GPU_TYPE"] = launch.gpu_type
    environment[NODE_GPUS] = describe(gpus, environment)
    if len(tempfile.gettempdir()) > LONGEST_TMPDIR:
        environment["TMPDIR"] = SHORT_TMPDIR
        tell(f"TMPDIR is too long a path for the sockets in it, so it is {SHORT_TMPDIR} for the workers")
    if "PBS_JOBID" in environment and environment.get("OMP_NUM_THREADS") == environment.get("NCPUS"):
        environment.pop("OMP_NUM_THREADS", None)  # set by PBS to all cores of the node, for each of its workers
    arguments = bind(command_line(launch, block, gpus))
    own = os.getpid()

    def prepare() -> None:
        process_control(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != own:  # it died before the line above
            os._exit(NOT_STARTED)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    try:
        return subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, env=environment, start_new_session=True, preexec_fn=prepare
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise LaunchError(f"the worker pool {arguments[0]} cannot be started: {reason}") from None


# -- from its start to its end ----------------------------------------------------------------------------------------


def run(launch: Launch, block: str) -> int:
    """Start the pool, wait for its end or the block's, and leave nothing behind. Raises LaunchError."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored by some that start this, and then no status is told
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS | {signal.SIGCHLD})
    process_control(PR_SET_CHILD_SUBREAPER, 1)
    try:
        folder = tempfile.mkdtemp(prefix="pilotune-node-")
    except OSError as error:
        raise LaunchError(f"no temporary folder can be made here: {error.strerror}") from None
    try:
        company, strays = DriverWatch(launch.port, launch.addresses, Path(folder)), OrphanProcesses(children())
        if company.is_dead_already():
            tell(f"block {block} {company.reason}, so it ends")
            return ABANDONED
        pool = start(launch, block, folder)
        number, status = wait(pool, company, strays)
        end(pool, Path(folder), TRAVEL if number != signal.SIGALRM else 0.0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if number == signal.SIGALRM:
        tell(f"block {block} {company.reason}, so it ends")
        return ABANDONED
    if number:
        tell(f"block {block} was ended by {signal.Signals(number).name}; its workers have yielded what they could")
        return 128 + number
    if status:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with {status}"
        tell(f"the worker pool of block {block} {how}")
    return 128 - status if status < 0 else status


class OrphanProcesses:
    """What workers that were killed leave: children by now, sessions of their own notwithstanding.

    Args:
        others: Children from before there was a pool, such as daemons of the block's set-up; left alone.
    """

    def __init__(self, others: Collection[int]):
        self.others = set(others)
        self._met: dict[int, float] = {}

    def end(self, present: Collection[int], now: float) -> None:
        """SIGKILL to those that have not ended by themselves for a while. To be called every LOOK seconds."""
        self._met = {pid: self._met.get(pid, now) for pid in set(present) - self.others}
        for pid, met in self._met.items():
            if now - met >= STRAYING:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)


def wait(pool: subprocess.Popen[bytes], company: DriverWatch, strays: OrphanProcesses) -> tuple[int, int]:
    """The signal that is to end the block, SIGALRM where its driver is gone, or 0 and the pool's exit status.

    The pool is left as a zombie: while it is one, its group's number is nobody else's.
    """
    look = time.monotonic() + LOOK
    while True:
        signalled = signal.sigtimedwait(ENDINGS | {signal.SIGCHLD}, max(0.0, look - time.monotonic()))
        if signalled is not None and signalled.si_signo != signal.SIGCHLD:
            return signalled.si_signo, 0
        reap(pool.pid)
        ended = os.waitid(os.P_PID, pool.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            return 0, ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        now = time.monotonic()
        if now >= look:
            look = now + LOOK
            if company.lost(now):
                return int(signal.SIGALRM), 0
            strays.end(children() - {pool.pid}, now)


def end(pool: subprocess.Popen[bytes], folder: Path, travel: float) -> None:
    """Let busy workers yield and their outcomes travel, seconds; then end the pool and all that descends from it."""
    yielding = ask_to_yield(pool.pid, folder)
    alive = os.waitid(os.P_PID, pool.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    if yielding and alive:
        time.sleep(travel)
    left = litter(pool.pid)
    kill_group(pool.pid)
    with contextlib.suppress(subprocess.TimeoutExpired):
        pool.wait(CLEANING)
    end_children(())  # whoever has lost its parent has become one
    remove(left)


def ask_to_yield(group: int, folder: Path) -> bool:
    """SIGTERM to the busy workers of a group, until they are done or the time is over; whether there were any."""
    mark_ending(folder)
    deadline, any_busy = time.monotonic() + YIELD_LIMIT, False
    while time.monotonic() < deadline:
        busy = [pid for pid in busy_workers(folder) if belongs(pid, group)]
        if not busy:
            break
        any_busy = True
        for pid in busy:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)
        reap(group)
        time.sleep(0.2)
    return any_busy


def belongs(pid: int, group: int) -> bool:
    try:
        return os.getpgid(pid) == group
    except ProcessLookupError:
        return False


def reap(pool: int) -> None:
    """Take the status of all children that have ended but the pool's."""
    for pid in children() - {pool}:
        take_status(pid)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
