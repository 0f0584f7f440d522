"""Faults of a real Slurm: its jobs, its nodes, their network and its daemons."""

from __future__ import annotations

import subprocess
import threading
import time

from ...support.campaigns import running_jobs
from .cases import SLURM, again_and_again, case, killing
from .experiment import NAME, Experiment
from .fault_targets import running, step_daemon

NODES = threading.Lock()
"""Held by the one study whose nodes may fail."""


def jobs(experiment: Experiment) -> list[str]:
    """The jobs of the newest driver that are in Slurm's queue."""
    assert experiment.lab is not None
    queued = experiment.lab.run("squeue", "-h", "-o", "%i").stdout.split()
    return [job for job in running_jobs(experiment.here, NAME) if job in queued]


@case("all blocks ended by scancel", 3, SLURM)
def blocks_cancelled(experiment: Experiment, times: int) -> None:
    lab = experiment.lab
    assert lab is not None
    again_and_again(experiment, times, "all blocks ended by scancel", lambda e: lab.run("scancel", *jobs(e)))


@case("slurmstepd killed", 2, SLURM)
def step_daemon_killed(experiment: Experiment, times: int) -> None:
    """Slurm's daemon for a job dies on its node; the job's own processes do not."""
    again_and_again(experiment, times, "slurmstepd killed", killing(step_daemon))


@case("node down", 2, SLURM)
def node_down(experiment: Experiment, times: int) -> None:
    """Slurm kills what runs there. The node comes back when trials have ended on another one."""
    lab = experiment.lab
    assert lab is not None
    with NODES:
        experiment.start()
        for _ in range(times):
            experiment.progress()
            node = running(experiment).host
            experiment.inject("node down", lambda node=node: lab.set_down(node))  # type: ignore[misc]
            try:
                experiment.progress()
            finally:
                lab.set_up(node)
        experiment.end()


@case("node cut off", 1, SLURM, lasts=60.0)
def node_cut_off(experiment: Experiment, times: int) -> None:
    """Its network fails for a while; what runs on the node continues and cannot be reached."""
    lab = experiment.lab
    assert lab is not None
    with NODES:
        experiment.start()
        for _ in range(times):
            experiment.progress()
            node = running(experiment).host
            link = ["ip", "link", "set", lab.network.namespace(node)]
            experiment.inject("node cut off", lambda link=link: subprocess.run([*link, "down"], check=True))  # type: ignore[misc]
            try:
                time.sleep(experiment.lasts)
                experiment.progress()
            finally:
                subprocess.run([*link, "up"], check=True)
                lab.set_up(node)
        experiment.end()
