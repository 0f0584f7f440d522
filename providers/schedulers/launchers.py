"""What starts a program once on each node of a block."""

from __future__ import annotations

import shlex

from parsl.launchers import SimpleLauncher

from ..site import PoolSpec

LAUNCHERS = {
    "single": "exec {command}",
    "srun": "trap : TERM\nsrun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1{cores}{options} {command}",
    "mpiexec": "trap : TERM\nmpiexec -n {nodes} -ppn 1{options} {command}",
    "aprun": "trap : TERM\naprun -n {nodes} -N 1 -cc none{options} {command}",
    "pbsdsh": "trap : TERM\nexport -p > {environment}\npbsdsh{options} -- /bin/bash -c {program}",
}
"""Launcher -> how it is called.

The first process of a job is the one that is told with SIGTERM that it ends: the program itself, or a shell that must
outlive it. pbsdsh hands no environment on, hence the file.
"""

TRIAL_LAUNCHERS = {"srun": "srun", "aprun": "aprun", "mpiexec": "mpiexec"}
"""Launchers that start the ranks of a trial on several nodes, as Parsl's MPI executor names them."""

DEFAULT_TRIAL_LAUNCHERS = {"local": "mpiexec", "slurm": "srun", "pbs": "mpiexec", "cobalt": "aprun"}


class BlockLauncher(SimpleLauncher):  # type: ignore[misc]
    """Starts a block's program with the launcher of its pool; Parsl's MPI executor takes it too."""

    def __init__(self, pool: PoolSpec, name: str = ""):
        super().__init__()
        self.pool, self.name = pool, name or pool.launcher

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        pool, environment = self.pool, shlex.quote(f"{script_dir}.env")
        return LAUNCHERS[self.name].format(
            nodes=nodes_per_block,
            cores=f" --cpus-per-task={pool.cores_per_node}" if pool.cores_per_node else "",
            options=f" {pool.launcher_options}" if pool.launcher_options else "",
            command=command,
            environment=environment,
            program=shlex.quote(f". {environment}; exec {command}"),
        )


def launcher_of_trials(scheduler: str, pool: PoolSpec) -> str:
    """What starts the ranks of a trial that takes several nodes: the pool's launcher where it can, else the usual."""
    return TRIAL_LAUNCHERS.get(pool.launcher, DEFAULT_TRIAL_LAUNCHERS[scheduler])
