"""The launchers, which start a program once on each node of a block."""

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
"""Launcher -> the shell lines that call it.

When a job ends, its first process gets SIGTERM: the program itself, or a shell, which ignores the signal so as to
outlive the program. pbsdsh does not pass on the environment, so it goes through a file.
"""

TRIAL_LAUNCHERS = {"srun": "srun", "aprun": "aprun", "mpiexec": "mpiexec"}
"""Launchers that can start the ranks of a trial on several nodes -> their name in Parsl's MPI executor."""

DEFAULT_TRIAL_LAUNCHERS = {"local": "mpiexec", "slurm": "srun", "pbs": "mpiexec", "cobalt": "aprun"}
"""Scheduler -> what starts the ranks of a trial when the pool's launcher cannot."""


class BlockLauncher(SimpleLauncher):  # type: ignore[misc]
    """Starts a block's program with its pool's launcher. A Parsl launcher, which Parsl's MPI executor accepts too.

    Args:
        pool: The pool.
        name: A launcher to use instead of the pool's.
    """

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
    """What starts the ranks of a trial on several nodes: the pool's launcher, or the scheduler's usual one."""
    return TRIAL_LAUNCHERS.get(pool.launcher, DEFAULT_TRIAL_LAUNCHERS[scheduler])
