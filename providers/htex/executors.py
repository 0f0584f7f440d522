"""Parsl's executors, set up so that nothing outlives the driver and nothing is looked up on PATH."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from parsl.executors import HighThroughputExecutor, MPIExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD

from ...errors import SiteError
from ..blocks.resources import TrialNeeds, accelerators, per_node, slots
from ..schedulers.batch import BatchBlocks
from ..schedulers.launchers import launcher_of_trials
from ..schedulers.network import Addresses
from ..schedulers.registry import provider_class
from ..site import PoolSpec, Site
from .message_limits import limit_messages

ANSWER_TIMEOUT = 10.0
"""Seconds that Parsl's interchange has to answer a question."""

HEARTBEATS = {"local": (5, 20)}
OTHER_HEARTBEATS = (10, 30)
"""Seconds by scheduler: between two heartbeats, and without one after which a worker pool is taken for lost."""

SILENCES = {"local": 60}
OTHER_SILENCE = 90
"""Seconds by scheduler without a word from the driver after which a worker pool leaves. Its workers give up sooner, so
that there is time for their trials to yield: Parsl's pool kills them when it leaves."""

POLLS = {"local": 100}
OTHER_POLL = 250
"""Milliseconds between the timeouts of Parsl's loops: results do not wait for them, an idle login node does."""


class GuardedExecutor:
    """Mixed into Parsl's executors: a dead interchange is asked nothing, since Parsl would wait for ever."""

    launch_file: Path
    launch: dict[str, Any]
    interchange_proc: Any
    command_client: Any
    launch_cmd: str
    cert_dir: str
    worker_logdir: str

    @property
    def interchange_alive(self) -> bool:
        return self.interchange_proc is not None and self.interchange_proc.poll() is None

    def connected_managers(self) -> list[dict[str, Any]]:
        """The worker pools that are connected, with their hosts. Raises CommandClientTimeoutError when the interchange
        is mute."""
        if not self.interchange_alive:
            return []
        managers = self.command_client.run("MANAGERS", timeout_s=ANSWER_TIMEOUT)
        return [{**each, "host": host_of(each["manager"])} for each in managers]

    def hold(self, manager: str) -> None:
        """Give no more tasks to a worker pool. Raises CommandClientTimeoutError likewise."""
        if self.interchange_alive:
            self.command_client.run(["HOLD_MANAGER", manager], timeout_s=ANSWER_TIMEOUT)

    def initialize_scaling(self) -> None:
        """Write down what the blocks start, now that the interchange's ports are known; no block is started here."""
        for field, path in (("{cert_dir}", self.cert_dir), ("{logdir}", self.worker_logdir)):
            quoted = shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")  # Parsl fills in the others
            self.launch_cmd = self.launch_cmd.replace(field, quoted)
        super().initialize_scaling()  # type: ignore[misc]
        self.launch_file.write_text(json.dumps({**self.launch, "command": self.launch_cmd}, indent=1))
        self.launch_file.chmod(0o600)


class Executor(GuardedExecutor, HighThroughputExecutor):  # type: ignore[misc]
    """For trials on one node."""


class NodesExecutor(GuardedExecutor, MPIExecutor):  # type: ignore[misc]
    """For trials on several nodes: its workers are on a block's first node, and know which nodes they have."""


def executor(
    site: Site,
    pool: PoolSpec,
    provider: BatchBlocks,
    needs: TrialNeeds,
    addresses: Addresses,
    launch_file: Path,
    run_dir: Path,
    label: str,
) -> Executor | NodesExecutor:
    """The executor of one pool, not started. Blocks are scaled by Pilotune, so Parsl starts none by itself.

    Args:
        site: The machine.
        pool: The pool of it.
        provider: Of the pool's blocks.
        needs: What one trial takes.
        addresses: Where workers find the driver.
        launch_file: Where to write what blocks start.
        run_dir: For the workers' logs.
        label: The executor's name, new for each.
    """
    limit_messages()
    period, threshold = HEARTBEATS.get(site.scheduler, OTHER_HEARTBEATS)
    common: dict[str, Any] = {
        "label": label,
        "provider": provider,
        "address": addresses.listed[0],
        "encrypted": True,
        "heartbeat_period": period,
        "heartbeat_threshold": threshold,
        "poll_period": POLLS.get(site.scheduler, OTHER_POLL),
        "prefetch_capacity": 0,
        "launch_cmd": worker_pool_command(SILENCES.get(site.scheduler, OTHER_SILENCE)),
        "block_error_handler": False,  # judged by Pilotune, which keeps the scheduler's words for the user
        "worker_logdir_root": str(run_dir / "workers"),
    }
    made: Executor | NodesExecutor
    if needs.nodes > 1:
        trial_launcher = launcher_of_trials(site.scheduler, pool)
        made = NodesExecutor(max_workers_per_block=slots(pool, needs), mpi_launcher=trial_launcher, **common)
    else:
        made = Executor(
            max_workers_per_node=per_node(pool, needs),
            cores_per_worker=1e-6,  # the number of workers is the site file's, not the machine's number of cores
            cpu_affinity=affinity(site, pool, needs),
            **common,
        )
    made.interchange_launch_cmd = interchange_command()
    made.address = addresses.bind
    made.all_addresses = set(addresses.listed)
    made.launch_file = launch_file
    made.launch = {"accelerators": accelerators(pool, needs), "gpu_type": pool.gpu_type, "environment": {}}
    return made


def affinity(site: Site, pool: PoolSpec, needs: TrialNeeds) -> str:
    """How workers are bound to cores: as the site file says; else on a cluster each to its share of a node's cores.

    Parsl's workers do not start where there are fewer cores than workers, so that the cores have to be known.
    """
    workers = per_node(pool, needs)
    own = pool.affinity_for(workers, needs.gpus)
    shares = site.scheduler != "local" and pool.cores_per_node >= workers
    return own or ("block" if shares else "none")


def provider(site: Site, pool: PoolSpec, needs: TrialNeeds) -> BatchBlocks:
    """The provider of one pool's blocks. Needs no scheduler."""
    made = provider_class(site.scheduler).for_pool(site, pool, worker_init(site, pool))
    if needs.nodes > 1:
        from ..schedulers.launchers import BlockLauncher

        made.launcher = BlockLauncher(pool, "single")  # type: ignore[attr-defined]
    return made


def worker_init(site: Site, pool: PoolSpec) -> str:
    """Shell lines before the workers: modules, the site's set-up, and where this Pilotune's programs are.

    A block that cannot reach its driver any more gives up sooner than a worker's default.
    """
    threshold = HEARTBEATS.get(site.scheduler, OTHER_HEARTBEATS)[1]
    lines = [site.worker_init] if site.worker_init else []
    lines.append(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    lines.append(f"export PILOTUNE_DRIVER_TIMEOUT=${{PILOTUNE_DRIVER_TIMEOUT:-{threshold}}}")
    lines.append(f"export PILOTUNE_POOL={shlex.quote(pool.name)}")
    lines.append(f"export PILOTUNE_GPU_TYPE={pool.gpu_type}")
    lines.append("umask 077")
    return "\n".join(lines)


def node_command(launch_file: Path, block: str) -> str:
    """What a block starts on each of its nodes."""
    return shlex.join([sys.executable, "-m", "pilotune.providers.node.agent", str(launch_file), block])


WORKER_POOL = "process_worker_pool.py"


def worker_pool_command(silence: int) -> str:
    """Parsl's worker pool, by absolute path, with the options that Parsl fills in.

    ``silence``: seconds without a word from the driver after which it leaves.
    """
    options = str(DEFAULT_LAUNCH_CMD).removeprefix(WORKER_POOL).replace("{heartbeat_threshold}", str(silence))
    assert not options.startswith(WORKER_POOL)
    assert f"--hb_threshold={silence} " in options
    return f"{shlex.quote(sys.executable)} {shlex.quote(_script(WORKER_POOL))}{options} --uid={{{{uid}}}}"


def host_of(manager: str) -> str:
    """The host of a worker pool, from the name that ``providers/node/agent.py`` gave it."""
    return manager.rpartition("-")[0]


def interchange_command() -> list[str]:
    """Parsl's interchange, tied to the life of this process."""
    program = [sys.executable, "-P", "-m", "pilotune.providers.htex.interchange"]
    return [*program, str(os.getpid()), _script("interchange.py")]


def _script(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found: str | None = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise SiteError(f"Parsl's program {name} is neither beside {sys.executable} nor on PATH; install parsl again")
    return str(Path(found).absolute())
