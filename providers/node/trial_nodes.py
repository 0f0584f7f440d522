"""The nodes of a block whose trials take several nodes each: which are free, and how ranks are started on them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

VERSION_WAIT = 60.0
"""Seconds for ``mpiexec --version``, which may come from a slow file system."""

PREFIX = "PARSL_MPI_PREFIX"
"""The variable with the launcher's words."""


class TrialNodes:
    """Gives each task the nodes that it asks for. Parsl finds the block's nodes and writes the launcher's words.

    Args:
        launcher: What starts ranks: srun, aprun or mpiexec.

    Raises:
        RuntimeError: This is no job of a scheduler whose nodes Parsl can find.
    """

    def __init__(self, launcher: str):
        # Imported here, since trials on one node do without.
        from parsl.executors.high_throughput import mpi_prefix_composer
        from parsl.executors.high_throughput.mpi_resource_management import get_nodes_in_batchjob, identify_scheduler

        self._launcher, self._compose = launcher, mpi_prefix_composer.compose_all
        self._open_mpi = launcher == "mpiexec" and is_open_mpi()
        self._free: list[str] = list(get_nodes_in_batchjob(identify_scheduler()))
        self._taken: dict[int, list[str]] = {}

    def take(self, task: Mapping[str, Any]) -> dict[str, str] | None:
        """Take the nodes of a task; returns variables for its worker, or None while too few nodes are free."""
        wanted = task["context"].get("resource_spec", {})
        number = int(wanted.get("num_nodes", 1))
        if number > len(self._free):
            return None
        nodes, self._free = self._free[:number], self._free[number:]
        self._taken[task["task_id"]] = nodes
        variables = {f"PARSL_{name.upper()}": str(value) for name, value in wanted.items()}
        words = self._compose(self._launcher, resource_spec=wanted, node_hostnames=nodes)
        if self._open_mpi:  # Parsl writes the options of MPICH's mpiexec
            words[PREFIX] = open_mpi_words(nodes, int(wanted["num_ranks"]) // len(nodes))
        return {**variables, "PARSL_MPI_NODELIST": ",".join(nodes), **words}

    def give_back(self, task: Mapping[str, Any]) -> None:
        """The task has ended."""
        self._free += self._taken.pop(task["task_id"], [])


def is_open_mpi(program: str = "mpiexec") -> bool:
    """Whether a program is Open MPI's mpiexec, by what it says of its version."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=VERSION_WAIT, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return any(name in said.stdout for name in ("Open MPI", "OpenRTE"))


def open_mpi_words(nodes: Sequence[str], ranks_per_node: int) -> str:
    """Open MPI's mpiexec for so many ranks on each of the nodes.

    It allows as many ranks as the batch job has tasks, so it is told that more are meant. It binds each rank to one
    core unless it is told not to, but a rank may have several threads.

    >>> open_mpi_words(["n1", "n2"], 4)
    'mpiexec -n 8 --map-by ppr:4:node:oversubscribe --bind-to none --host n1:4,n2:4'
    """
    hosts = ",".join(f"{node}:{ranks_per_node}" for node in nodes)
    mapping = f"ppr:{ranks_per_node}:node:oversubscribe"
    return f"mpiexec -n {ranks_per_node * len(nodes)} --map-by {mapping} --bind-to none --host {hosts}"
