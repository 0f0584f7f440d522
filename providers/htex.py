"""Parsl's HighThroughputExecutor, set up so that nothing outlives the driver and nothing is looked up on PATH."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.launchers import SimpleLauncher

from ..errors import SiteError
from .local import LocalBlocks
from .site import PoolSpec, Site

ANSWER_TIMEOUT = 10.0
"""Seconds that Parsl's interchange has to answer a question."""

HEARTBEAT_PERIOD, HEARTBEAT_THRESHOLD = 5, 20
"""Seconds. A worker pool whose driver died leaves after the threshold; a lost one is noticed after it."""


def workers_per_node(pool: PoolSpec, cores: int, gpus: int) -> int:
    """Workers on a node, each for one trial of ``cores`` cores and ``gpus`` GPUs; no more than the site file allows.

    Raises SiteError where a node cannot hold even one.
    """
    fits = [pool.workers_per_node]
    if pool.cores_per_node and cores > 1:
        fits.append(pool.cores_per_node // cores)
    if gpus:
        fits.append(pool.gpus_per_node // gpus)
    if min(fits) < 1:
        raise SiteError(
            f"pool {pool.name}: a trial of {cores} cores and {gpus} GPUs does not fit on a node of "
            f"{pool.cores_per_node} cores and {pool.gpus_per_node} GPUs; see `trial:` in the study file"
        )
    return min(fits)


def accelerators(pool: PoolSpec, gpus: int) -> list[str]:
    """What each worker is pinned to: ``gpus`` GPUs, as one name (``0,1``). Empty when a trial takes none."""
    if not gpus:
        return []
    return [",".join(map(str, range(at, at + gpus))) for at in range(0, pool.gpus_per_node - gpus + 1, gpus)]


class Executor(HighThroughputExecutor):  # type: ignore[misc]
    """Parsl's executor, which asks a dead interchange nothing: its own way waits for the answer for ever."""

    @property
    def interchange_alive(self) -> bool:
        return self.interchange_proc is not None and self.interchange_proc.poll() is None

    def connected_managers(self) -> list[dict[str, Any]]:
        """The worker pools that are connected. Raises CommandClientTimeoutError when the interchange is mute."""
        if not self.interchange_alive:
            return []
        return list(self.command_client.run("MANAGERS", timeout_s=ANSWER_TIMEOUT))

    def connected_blocks(self) -> list[str]:
        """The blocks whose worker pools are connected. Raises CommandClientTimeoutError likewise."""
        if not self.interchange_alive:
            return []
        return list(self.command_client.run("CONNECTED_BLOCKS", timeout_s=ANSWER_TIMEOUT))

    def scale_in(self, blocks: int, max_idletime: float | None = None) -> list[str]:
        """End ``blocks`` blocks; none for zero, which Parsl's own reads as all that are idle."""
        if blocks <= 0:
            return []
        if not self.interchange_alive:
            return list(BlockProviderExecutor.scale_in(self, blocks))
        return list(super().scale_in(blocks, max_idletime))


def executor(site: Site, pool: PoolSpec, run_dir: Path, cores: int = 1, gpus: int = 0) -> Executor:
    """The executor of one pool, not started. Blocks are scaled by Pilotune, so Parsl starts none by itself.

    Args:
        site: The machine.
        pool: The pool of it.
        run_dir: For the workers' logs.
        cores: Of one trial.
        gpus: Of one trial.
    """
    return Executor(
        label=pool.name,
        provider=provider(site, pool),
        address="127.0.0.1" if site.scheduler == "local" else site.network.address,
        encrypted=True,
        max_workers_per_node=workers_per_node(pool, cores, gpus),
        cores_per_worker=1e-6,  # the number of workers is the site file's, not the machine's number of cores
        cpu_affinity="none",
        available_accelerators=accelerators(pool, gpus),
        heartbeat_period=HEARTBEAT_PERIOD,
        heartbeat_threshold=HEARTBEAT_THRESHOLD,
        prefetch_capacity=0,
        launch_cmd=launch_command(),
        interchange_launch_cmd=interchange_command(),
        block_error_handler=False,  # judged by Pilotune, which keeps the scheduler's words for the user
        worker_logdir_root=str(run_dir / "workers"),
    )


def provider(site: Site, pool: PoolSpec) -> Any:
    """Parsl's provider for the site's scheduler. Raises SiteError for one that is not supported."""
    if site.scheduler != "local":
        raise SiteError(f"site {site.name}: scheduler {site.scheduler!r} is not supported yet; `local` is")
    return LocalBlocks(
        init_blocks=0,
        min_blocks=0,
        max_blocks=max(1, pool.blocks.max),
        nodes_per_block=1,
        launcher=SimpleLauncher(),
        worker_init=worker_init(site, pool),
    )


def worker_init(site: Site, pool: PoolSpec) -> str:
    """Shell lines before the workers: modules, the site's set-up, and where this Pilotune's programs are.

    A block that cannot reach its driver any more gives up sooner than a worker's default.
    """
    lines = [site.worker_init] if site.worker_init else []
    lines.append(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    lines.append(f"export PILOTUNE_DRIVER_TIMEOUT=${{PILOTUNE_DRIVER_TIMEOUT:-{HEARTBEAT_THRESHOLD}}}")
    lines.append(f"export PILOTUNE_POOL={shlex.quote(pool.name)}")
    lines.append("umask 077")
    return "\n".join(lines)


WORKER_POOL = "process_worker_pool.py"


def launch_program() -> str:
    """Parsl's worker pool, by absolute path: it must start also where no environment is activated."""
    return f"exec {shlex.quote(sys.executable)} {shlex.quote(_script(WORKER_POOL))}"


def launch_command() -> str:
    """The worker pool with the options that Parsl fills in."""
    options = str(DEFAULT_LAUNCH_CMD).removeprefix(WORKER_POOL)
    assert options != DEFAULT_LAUNCH_CMD
    return launch_program() + options


def interchange_command() -> list[str]:
    """Parsl's interchange, tied to the driver's life: when the driver is killed, it ends at once.

    In a session of its own: Ctrl-C at the terminal is the driver's to handle.
    """
    command = [sys.executable, _script("interchange.py")]
    setpriv, setsid = shutil.which("setpriv"), shutil.which("setsid")
    if setsid:
        command = [setsid, *command]
    return [setpriv, "--pdeathsig", "TERM", *command] if setpriv else command


def _script(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found: str | None = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise SiteError(f"Parsl's program {name} is neither beside {sys.executable} nor on PATH; install parsl again")
    return str(Path(found).absolute())
