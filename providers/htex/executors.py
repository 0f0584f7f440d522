"""Makes Parsl's executors for the pools of a site.

They are set up so that no process outlives the driver, and Parsl's programs are started by absolute path.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parsl.executors.high_throughput import executor as parsl_executor
from parsl.executors.high_throughput.executor import HighThroughputExecutor
from parsl.executors.high_throughput.mpi_executor import MPIExecutor

from ..blocks.batch_scripts import driver_timeout
from ..blocks.resources import TrialResources, accelerators, trials_per_block, trials_per_node
from ..node.pool_options import TEMPLATE
from ..node.tasks import CONTEXT, pack
from ..schedulers.batch import BatchBlocks
from ..schedulers.launchers import launcher_of_trials
from ..schedulers.network import Addresses
from ..site import PoolSpec, Site
from .interchange_start import interchange_command, sigint_blocked
from .message_limits import limit_messages

ANSWER_TIMEOUT = 10.0
"""Seconds for Parsl's interchange to answer a question."""

HEARTBEAT_PERIODS = {"local": 5}
OTHER_HEARTBEAT_PERIOD = 10
"""Seconds by scheduler between two heartbeats of driver and worker pool."""

SILENCE_LIMITS = {"local": 60}
OTHER_SILENCE_LIMIT = 90
"""Seconds by scheduler without a heartbeat from the driver after which a worker pool exits and kills its workers. They
give up sooner, so that their trials have time to yield."""

POLL_PERIODS = {"local": 100}
OTHER_POLL_PERIOD = 250
"""Milliseconds by scheduler between the timeouts of Parsl's loops. Results do not wait for them; longer ones spare the
login node."""


STARTING = threading.Lock()
"""Held while an interchange starts: what starts it is a module's attribute of Parsl's meanwhile."""


class GuardedExecutor:
    """Mixed into Parsl's executors: asks a dead interchange nothing, since Parsl would wait for its answer for ever.

    Attributes:
        launch_file: Where :meth:`initialize_scaling` writes what blocks start on their nodes.
        launch: The contents of that file but for ``command``, see :mod:`pilotune.providers.node.agent`.
        interchange_ahead: An interchange that waits for its configuration; None to start one.
    """

    launch_file: Path
    launch: dict[str, Any]
    interchange_ahead: subprocess.Popen[bytes] | None = None
    interchange_proc: Any
    command_client: Any
    launch_cmd: str
    cert_dir: str
    worker_logdir: str
    validate_resource_spec: Callable[[dict[str, Any]], None]
    submit_payload: Callable[[dict[str, Any], bytes], Any]

    @property
    def interchange_alive(self) -> bool:
        """Whether the interchange, a process of its own, is running."""
        return self.interchange_proc is not None and self.interchange_proc.poll() is None

    def connected_managers(self) -> list[dict[str, Any]]:
        """The connected worker pools as Parsl describes them, each with its ``host``.

        Raises CommandClientTimeoutError when the interchange does not answer.
        """
        if not self.interchange_alive:
            return []
        managers = self.command_client.run("MANAGERS", timeout_s=ANSWER_TIMEOUT)
        return [{**each, "host": host_of(each["manager"])} for each in managers]

    def hold(self, manager: str) -> None:
        """Give no more tasks to a worker pool.

        Raises CommandClientTimeoutError when the interchange does not answer.
        """
        if self.interchange_alive:
            self.command_client.run(["HOLD_MANAGER", manager], timeout_s=ANSWER_TIMEOUT)

    def submit(
        self, func: Callable[..., Any], resource_specification: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Submit a task in the form that the nodes' worker pools run; Parsl calls it for each app."""
        if (
            not resource_specification or "manager" not in resource_specification
        ):  # which our own interchange understands
            self.validate_resource_spec(resource_specification)
        original = getattr(func, "__wrapped__", func)  # Parsl's apps wrap it; a worker reports its errors without
        resources = {"resource_spec": resource_specification} if resource_specification else {}
        return self.submit_payload({**CONTEXT, **resources}, pack(original, args, kwargs))

    def _start_local_interchange_process(self) -> None:
        """Start the interchange, or hand Parsl the one that waits for its configuration."""
        with STARTING:  # of several sites, each starts its own in a thread
            before, parsl_executor.subprocess = parsl_executor.subprocess, _Starter(self.interchange_ahead)
            try:
                with sigint_blocked():
                    super()._start_local_interchange_process()  # type: ignore[misc]
            finally:
                parsl_executor.subprocess = before

    def initialize_scaling(self) -> None:
        """Write the launch file, now that the interchange's ports are known. Starts no block."""
        for field, path in (("{cert_dir}", self.cert_dir), ("{logdir}", self.worker_logdir)):
            quoted = shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")  # Parsl fills in the others
            self.launch_cmd = self.launch_cmd.replace(field, quoted)
        super().initialize_scaling()  # type: ignore[misc]
        self.launch_file.write_text(json.dumps({**self.launch, "command": self.launch_cmd}, indent=1))
        self.launch_file.chmod(0o600)


class _Starter:
    """Stands for ``subprocess`` in Parsl's executor while that starts its interchange, which may run already."""

    def __init__(self, process: subprocess.Popen[bytes] | None):
        self._process = process

    def Popen(self, *arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        return self._process or subprocess.Popen(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)


class Executor(GuardedExecutor, HighThroughputExecutor):  # type: ignore[misc]
    """Runs trials on one node each."""


class NodesExecutor(GuardedExecutor, MPIExecutor):  # type: ignore[misc]
    """Runs trials on several nodes each.

    Its workers are on the first node of a block and know which nodes they have.
    """


def executor(
    site: Site,
    pool: PoolSpec,
    provider: BatchBlocks,
    resources: TrialResources,
    addresses: Addresses,
    launch_file: Path,
    run_dir: Path,
    label: str,
) -> Executor | NodesExecutor:
    """Make the executor of one pool, without starting it. Parsl starts no blocks itself: Pilotune scales them.

    Args:
        site: The site.
        pool: The pool.
        provider: Submits the pool's blocks.
        resources: What one trial takes.
        addresses: Where workers find the driver.
        launch_file: The file from which blocks read what to start on their nodes.
        run_dir: Folder for the workers' logs.
        label: The executor's name, different for each executor of a pool.
    """
    limit_messages()
    common: dict[str, Any] = {
        "label": label,
        "provider": provider,
        "address": addresses.listed[0],
        "encrypted": True,
        "heartbeat_period": HEARTBEAT_PERIODS.get(site.scheduler, OTHER_HEARTBEAT_PERIOD),
        "heartbeat_threshold": driver_timeout(site.scheduler),
        "poll_period": POLL_PERIODS.get(site.scheduler, OTHER_POLL_PERIOD),
        # A task must not wait on one node while a worker of another is free, nor begin when its driver is dead.
        "prefetch_capacity": 0,
        "launch_cmd": worker_pool_command(
            SILENCE_LIMITS.get(site.scheduler, OTHER_SILENCE_LIMIT), packed=resources.packed
        ),
        "block_error_handler": False,  # Pilotune handles it, with the scheduler's words for the user
        "worker_logdir_root": str(run_dir / "workers"),
    }
    made: Executor | NodesExecutor
    if resources.nodes > 1:
        trial_launcher = resources.launcher or launcher_of_trials(site.scheduler, pool)
        made = NodesExecutor(
            max_workers_per_block=trials_per_block(pool, resources), mpi_launcher=trial_launcher, **common
        )
    else:
        made = Executor(
            max_workers_per_node=trials_per_node(pool, resources),
            cores_per_worker=1e-6,  # the site file gives the number of workers, not the number of cores
            cpu_affinity=affinity(site, pool, resources),
            **common,
        )
    made.interchange_launch_cmd = interchange_command(launch_file.parent)
    made.address = addresses.bind
    made.all_addresses = set(addresses.listed)
    made.launch_file = launch_file
    made.launch = {"accelerators": accelerators(pool, resources), "gpu_type": pool.gpu_type, "environment": {}}
    return made


def affinity(site: Site, pool: PoolSpec, resources: TrialResources) -> str:
    """How workers are bound to cores, as Parsl's ``cpu_affinity``.

    The site file decides. If it says nothing, each worker on a cluster gets its share of a node's cores, if their
    number is known: Parsl's workers do not start where there are fewer cores than workers.
    """
    workers = trials_per_node(pool, resources)
    if resources.packed:  # the driver says which cores each trial has
        known = site.scheduler != "local" and pool.cores_per_node > 0
        return "block" if known and pool.affinity != "none" else "none"
    own = pool.affinity_for(workers, resources.gpus)
    shares = site.scheduler != "local" and pool.cores_per_node >= workers
    return own or ("block" if shares else "none")


def worker_pool_command(silence: int, *, packed: bool = False) -> str:
    """The command of a node's worker pool, with fields that Parsl fills in.

    Args:
        silence: Seconds without a heartbeat from the driver after which the worker pool exits.
        packed: Each task brings its own GPUs and cores.
    """
    program = f"{shlex.quote(sys.executable)} -P -m pilotune.providers.node.worker_pool"
    return f"{program} {TEMPLATE} --hb_threshold={silence}{' --packed' if packed else ''}"


def host_of(manager: str) -> str:
    """The host of a worker pool, from the id that :mod:`pilotune.providers.node.agent` gave it."""
    return manager.rpartition("-")[0]
