"""Runs Parsl's worker pool on one node of a block, and lets its trials yield before the block ends.

``python -m pilotune.providers.node.agent LAUNCH_JSON BLOCK`` runs once on every node. The driver writes ``LAUNCH_JSON``
before it submits the block:

- ``command``: the worker pool's command line, in which ``{block_id}`` is filled in here;
- ``accelerators``: the GPUs of each worker (``"0"`` or ``"0,1"``), counted from 0 among those of the job on this node;
- ``gpu_type``: nvidia, amd or intel;
- ``environment``: variables to set.

A scheduler that ends a block sends SIGTERM and, some seconds later, SIGKILL; most send it to this process alone. The
worker pool ignores SIGTERM. This process passes it on to the workers that run an attempt (each has a file named by its
pid in ``PILOTUNE_NODE_DIR``), waits until they are done and their outcomes have been delivered, and ends the rest. All
this is done by a guardian, a fork of this process that survives a scheduler's kill (:mod:`.guardian`).

Exit status: that of the worker pool; 128 + n when signal n ended it or the block; 70 when the pool could not be
started; 75 when the driver was gone.

Only the standard library is used: thousands of nodes read this file at once.
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...grammar import count
from ...pipeline.trial.block_env import BLOCK_TRIALS, NODE_DIR, NODE_GPUS
from ...pipeline.trial.gpus import VISIBLE, describe
from ...pipeline.worker.node.block import busy_workers, mark_ending
from ...pipeline.worker.node.posix import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    children,
    collect_status,
    end_children,
    kill_group,
    process_control,
)
from ...pipeline.worker.node.suspended import suspended_file
from .driver_watch import CHECK_INTERVAL, DriverWatch
from .guardian import Suspension, guarded, leave_session
from .orphan_processes import OrphanProcesses
from .shm_cleanup import SharedFiles
from .yielding import END_SIGNALS, ask_to_yield

NOT_STARTED = 70
"""Exit status when the worker pool could not be started."""

DELIVERY_TIME = 2.0
"""Seconds for the last outcomes to reach the driver through Parsl."""

KILL_TIME = 5.0
"""Seconds to wait after SIGKILL. A process that is still there hangs in the kernel."""

ABANDONED = 75
"""Exit status when the block's driver is gone."""

LONGEST_TMPDIR, SHORT_TMPDIR = 75, "/tmp"
"""Most characters of TMPDIR, and what replaces a longer one: multiprocessing adds 32 characters for its sockets, and
Linux allows 107 in the path of a socket."""

WORKERS = "--max_workers_per_node="
"""The worker pool's option for how many trials it runs at a time."""

NO_GPU = ("", "-1", "NoDevFiles", "void")
"""What schedulers and GPU drivers write into the GPU variable of a job without a GPU."""


class LaunchError(Exception):
    """The worker pool cannot be started. The message is one sentence."""


@dataclass(frozen=True)
class Launch:
    """The contents of ``LAUNCH_JSON``, see this module's docstring."""

    command: tuple[str, ...]
    accelerators: tuple[str, ...] = ()
    gpu_type: str = "nvidia"
    environment: Mapping[str, str] | None = None

    @property
    def port(self) -> int | None:
        """The driver's port, from the worker pool's command line. None when it is not given."""
        found = [word.partition("=")[2] for word in self.command if word.startswith("--port=")]
        return int(found[0]) if found and found[0].isdigit() else None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The driver's addresses, from the worker pool's command line."""
        words = self.command
        at = words.index("-a") + 1 if "-a" in words else len(words)
        return tuple(filter(None, words[at].split(","))) if at < len(words) else ()


def main(arguments: Sequence[str]) -> int:
    """Run one node's part of a block from start to end. Returns the exit status."""
    try:
        if len(arguments) != 2:
            raise LaunchError("two arguments are needed: the launch file and the block's number")
        launch, folder = read_launch(Path(arguments[0])), node_folder()
    except LaunchError as problem:
        warn(str(problem))
        return NOT_STARTED
    front = os.getpid()
    try:
        blocks, name = Path(arguments[0]).absolute().parent, pool_name()
        suspension = Suspension(front, suspended_file(blocks, name))
        return guarded(lambda: work(launch, arguments[1], name, folder, suspension), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pool_name() -> str:
    """An id for this node's worker pool, which tells the driver its host."""
    return f"{socket.gethostname()}-{os.urandom(6).hex()}"


def work(launch: Launch, block: str, name: str, folder: Path, suspension: Suspension) -> int:
    """The guardian's work: one node's part of a block. Returns the exit status."""
    try:
        return run(launch, block, name, folder, suspension)
    except LaunchError as problem:
        warn(str(problem))
        return NOT_STARTED
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def node_folder() -> Path:
    """Make the folder that this node's agent and workers share. Raises LaunchError."""
    try:
        return Path(tempfile.mkdtemp(prefix="pilotune-node-"))
    except OSError as error:
        raise LaunchError(f"no temporary folder can be made here: {error.strerror}") from None


def warn(sentence: str) -> None:
    """Write a sentence to the block's stderr, which the driver shows to the user."""
    print(f"pilotune: node {socket.gethostname()}: {sentence}", file=sys.stderr, flush=True)


def read_launch(path: Path) -> Launch:
    """Read the launch file. Raises LaunchError when it is missing or invalid."""
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
    """The GPUs of each worker, by the names that they have on this node.

    The scheduler may have given the job other GPUs than 0, 1, ... of the node. Raises LaunchError when it has given
    fewer than the workers need.
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
            f"the job has {count(len(given), 'GPU')} here ({visible}={environment[visible]}), but its workers need "
            f"{needed}; request them in the site file's `options`, or correct `gpus_per_node`"
        ) from None


def command_line(launch: Launch, block: str, name: str, gpus: Sequence[str]) -> list[str]:
    """The worker pool's arguments, with ``gpus`` in place of the values of ``--available-accelerators``."""
    words = [word.replace("{block_id}", block).replace("{uid}", name) for word in launch.command]
    trials = os.environ.get(BLOCK_TRIALS)
    if trials:
        words = [f"{WORKERS}{trials}" if word.startswith(WORKERS) else word for word in words]
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
    """The pool's arguments, without binding of workers to cores if the job lacks these cores.

    On a shared node a job may have fewer cores than the site file gives, and a worker that cannot be bound never
    starts.
    """
    words, option = list(words), "--cpu-affinity"
    counts = [word.partition("=")[2] for word in words if word.startswith(WORKERS)]
    if option not in words or not counts or words[words.index(option) + 1] == "none":
        return words
    at, workers, cores = words.index(option) + 1, int(counts[0]), os.sched_getaffinity(0)
    if words[at].startswith("list:"):
        fits = {core for part in re.split("[:,]", words[at][5:]) for core in _span(part)} <= cores
    else:
        fits = len(cores) >= workers
    if not fits:
        given = ",".join(map(str, sorted(cores)))
        bound = f"{count(workers, 'worker')} cannot be bound ({words[at]})"
        warn(
            f"the job has the cores {given} here, to which {bound}; {'it runs' if workers == 1 else 'they run'} unbound"
        )
        words[at] = "none"
    return words


def _span(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


def start(launch: Launch, block: str, name: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start the worker pool in a process group of its own. Raises LaunchError when it cannot be started."""
    environment = {**os.environ, **(launch.environment or {}), NODE_DIR: str(folder)}
    gpus = worker_gpus(launch, environment)
    environment["PILOTUNE_GPU_TYPE"] = launch.gpu_type
    environment[NODE_GPUS] = describe(gpus, environment)
    if len(tempfile.gettempdir()) > LONGEST_TMPDIR:
        environment["TMPDIR"] = SHORT_TMPDIR
        warn(f"TMPDIR is too long for the paths of sockets, so the workers use {SHORT_TMPDIR}")
    if "PBS_JOBID" in environment and environment.get("OMP_NUM_THREADS") == environment.get("NCPUS"):
        environment.pop("OMP_NUM_THREADS", None)  # PBS sets it to all cores of the node, for every worker
    arguments = bind(command_line(launch, block, name, gpus))
    own = os.getpid()

    def prepare() -> None:
        process_control(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != own:  # the agent died before PR_SET_PDEATHSIG was set
            os._exit(NOT_STARTED)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    try:
        return subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, env=environment, process_group=0, preexec_fn=prepare
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise LaunchError(f"the worker pool {arguments[0]} cannot be started: {reason}") from None


# -- from its start to its end ----------------------------------------------------------------------------------------


def run(launch: Launch, block: str, name: str, folder: Path, suspension: Suspension) -> int:
    """Start the worker pool, wait until it or the block ends, and leave nothing behind. Raises LaunchError.

    Args:
        launch: What to start.
        block: The block's number.
        name: The worker pool's id.
        folder: The node's folder.
        suspension: Stops and goes on with the job.
    """
    process_control(PR_SET_CHILD_SUBREAPER, 1)
    driver_watch, orphans = DriverWatch(launch.port, launch.addresses, folder), OrphanProcesses(children())
    if driver_watch.is_dead_already():
        warn(f"block {block} {driver_watch.reason}, so it ends")
        return ABANDONED
    pool = start(launch, block, name, folder)
    leave_session()
    shared = SharedFiles(pool.pid)
    number, status = wait(pool, driver_watch, orphans, suspension, shared)
    suspension.resume()
    end(pool, folder, DELIVERY_TIME if number != signal.SIGALRM else 0.0, shared)
    if number == signal.SIGALRM:
        warn(f"block {block} {driver_watch.reason}, so it ends")
        return ABANDONED
    if number:
        warn(f"block {block} was ended by {signal.Signals(number).name}; its workers have yielded what they could")
        return 128 + number
    if status:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with {status}"
        warn(f"the worker pool of block {block} {how}")
    return 128 - status if status < 0 else status


def wait(
    pool: subprocess.Popen[bytes],
    driver_watch: DriverWatch,
    orphans: OrphanProcesses,
    suspension: Suspension,
    shared: SharedFiles,
) -> tuple[int, int]:
    """Wait for a signal that ends the block, for the loss of the driver, or for the end of the worker pool.

    The pool is left as a zombie, so that its group's number is not given to another process.

    Returns:
        The signal (SIGALRM when the driver is gone) and 0; or 0 and the pool's exit status, -n after signal n.
    """
    next_check = time.monotonic() + CHECK_INTERVAL
    while True:
        awaited = END_SIGNALS | {signal.SIGCHLD, signal.SIGTSTP}
        signalled = signal.sigtimedwait(awaited, max(0.0, next_check - time.monotonic()))
        if signalled is not None and signalled.si_signo == signal.SIGTSTP:
            suspension.announced(time.monotonic())
        elif signalled is not None and signalled.si_signo != signal.SIGCHLD:
            return signalled.si_signo, 0
        reap(pool.pid)
        ended = os.waitid(os.P_PID, pool.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            return 0, ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        now = time.monotonic()
        if now >= next_check:
            next_check = now + CHECK_INTERVAL
            shared.look(now)
            suspension.follow(now)
            if driver_watch.is_lost(now):
                return int(signal.SIGALRM), 0
            orphans.end(children() - {pool.pid}, now)


def end(pool: subprocess.Popen[bytes], folder: Path, delivery_time: float, shared: SharedFiles) -> None:
    """Let busy workers yield, then end the worker pool and all its descendants.

    Args:
        pool: The worker pool.
        folder: The node's folder, which has a file for each busy worker.
        delivery_time: Seconds to wait for outcomes to reach the driver.
        shared: What the pool has in places that its processes share with others.
    """
    mark_ending(folder)
    yielding = ask_to_yield(
        lambda: [pid for pid in busy_workers(folder) if belongs(pid, pool.pid)], meanwhile=lambda: reap(pool.pid)
    )
    alive = os.waitid(os.P_PID, pool.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    if yielding and alive:
        time.sleep(delivery_time)
    shared.note()
    kill_group(pool.pid)
    with contextlib.suppress(subprocess.TimeoutExpired):
        pool.wait(KILL_TIME)
    end_children(())  # orphans of the pool have become children of this process
    shared.remove()


def belongs(pid: int, group: int) -> bool:
    """Whether a process is in a process group."""
    try:
        return os.getpgid(pid) == group
    except ProcessLookupError:
        return False


def reap(pool: int) -> None:
    """Collect the exit status of all children that have ended, except the worker pool's."""
    for pid in children() - {pool}:
        collect_status(pid)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
