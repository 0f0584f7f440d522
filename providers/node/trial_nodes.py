"""The nodes of a block whose trials take several nodes each: which are free, and how ranks are started on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
        return {**variables, "PARSL_MPI_NODELIST": ",".join(nodes), **words}

    def give_back(self, task: Mapping[str, Any]) -> None:
        """The task has ended."""
        self._free += self._taken.pop(task["task_id"], [])
