"""One worker of a node's pool: a process that runs one task after another."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from types import ModuleType

from ...grammar import count
from ...pipeline.worker.process.spare import fork_spare
from .frames import Frames
from .pool_options import PoolOptions
from .tasks import decode, run_task


def serve_tasks(options: PoolOptions, rank: int, connection: socket.socket) -> None:
    """Run the tasks that arrive, and return when the pool is gone.

    Args:
        options: The pool's.
        rank: This worker's number, from 0.
        connection: The socket to the pool.
    """
    set_up(options, rank)
    available = sorted(os.sched_getaffinity(0))
    sys.modules["__main__"] = ModuleType("__main__")  # processes that an objective spawns would import the pool's
    del sys.argv[1:]  # as an objective that reads a command line would the pool's options
    fork_spare([connection])
    link = Frames(connection)
    while (message := link.wait()) is not None:
        task = decode(message)
        os.environ.update(task.get("environment", {}))
        if options.affinity != "none" and options.packed:
            bind_to(task.get("cores", ()), available)
        try:
            link.send(run_task(task))
        except OSError:  # the pool has died meanwhile; the outcome is in the trial's folder
            return


def set_up(options: PoolOptions, rank: int) -> None:
    """Set the variables that Parsl's workers have, and bind this process to its cores.

    Raises:
        ValueError: The binding does not fit the number of workers or of cores.
    """
    os.environ["PARSL_WORKER_RANK"] = str(rank)
    os.environ["PARSL_WORKER_COUNT"] = str(options.workers)
    os.environ["PARSL_WORKER_POOL_ID"] = options.uid
    os.environ["PARSL_WORKER_BLOCK_ID"] = options.block
    if options.packed:  # each task brings its own cores and GPUs
        return
    if options.affinity != "none":
        cores = cores_of(options.affinity, rank, options.workers, sorted(os.sched_getaffinity(0)))
        listed = ",".join(map(str, cores))
        os.environ["OMP_NUM_THREADS"] = str(len(cores))
        os.environ["GOMP_CPU_AFFINITY"] = listed
        os.environ["KMP_AFFINITY"] = f"explicit,proclist=[{listed}]"
        os.sched_setaffinity(0, cores)
    if options.accelerators:
        for variable in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"):
            os.environ[variable] = options.accelerators[rank]
        os.environ["ZE_ENABLE_PCI_ID_DEVICE_ORDER"] = "1"


def bind_to(cores: Sequence[int], available: Sequence[int]) -> None:
    """Bind this process to the cores of its task; to all where the job has fewer than the node.

    Args:
        cores: Numbers of the cores, from 0, among the node's; empty for all.
        available: The cores of the job.
    """
    known = [available[number] for number in cores if number < len(available)]
    os.sched_setaffinity(0, known if known and len(known) == len(cores) else available)


def cores_of(affinity: str, rank: int, workers: int, available: Sequence[int]) -> list[int]:
    """The cores of a worker.

    Args:
        affinity: As Parsl writes it.
        rank: The worker's number, from 0.
        workers: Number of workers of the pool.
        available: The pool's cores, ascending.

    Raises:
        ValueError: There are fewer cores than workers, or a list for another number of workers.

    >>> [cores_of(name, 1, 2, range(8)) for name in ("block", "block-reverse", "alternating", "list:0-1,6:2-3,7")]
    [[4, 5, 6, 7], [0, 1, 2, 3], [1, 3, 5, 7], [2, 3, 7]]
    """
    kind, *lists = affinity.split(":")
    if kind == "list":
        if len(lists) != workers:
            raise ValueError(f"{affinity} names the cores of {count(len(lists), 'worker')}, but there are {workers}")
        spans = [part.partition("-") for part in lists[rank].split(",")]
        return [core for first, _, last in spans for core in range(int(first), int(last or first) + 1)]
    share = len(available) // workers
    if not share:
        raise ValueError(f"{count(workers, 'worker')} cannot be bound to {count(len(available), 'core')}")
    if kind == "alternating":
        return list(available[rank::workers])
    if kind not in ("block", "block-reverse"):
        raise ValueError(f"unknown binding to cores: {affinity}")
    place = rank if kind == "block" else workers - rank - 1
    return list(available[share * place : share * (place + 1)])
