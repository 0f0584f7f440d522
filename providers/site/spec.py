"""A site as data: what a site file says once it is checked and its defaults are filled in."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...fields import format_duration
from ...yamlfile import YamlFile, dump_yaml, nearest

FIND_MODULE = "type module >/dev/null 2>&1 || . /etc/profile"
"""A batch script's shell is no login shell, so that `module` may be missing; the user's own profile stays out of it."""


@dataclass(frozen=True)
class BlockCounts:
    """Blocks at the start, at least, at most (0: the pool is off), and the seconds that one stays without work."""

    init: int = 1
    min: int = 0
    max: int = 1
    idle: float = 60.0


@dataclass(frozen=True)
class Network:
    """How workers reach the driver: by an interface of its host, or an address; both empty: they probe."""

    interface: str = ""
    address: str = ""


@dataclass(frozen=True)
class DriverJob:
    """The batch job that ``pilotune run --in-job`` runs the driver in.

    Attributes:
        queue: The queue, or the partition on Slurm; empty for the scheduler's default.
        walltime: In seconds; a successor goes on before it ends.
        cores: Of the job.
        memory: Bytes, or None for the queue's default.
        options: Lines for its batch script.
    """

    queue: str = ""
    walltime: float = 86_400.0
    cores: int = 1
    memory: int | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class PoolSpec:
    """One class of hardware: one Parsl executor.

    Attributes:
        name: Its name in the site file.
        queue: The queue, or the partition on Slurm; empty for the scheduler's default.
        walltime: Of a block, in seconds; None on ``local``, whose blocks end with the campaign.
        blocks: How many.
        nodes_per_block, workers_per_node: Counts.
        cores_per_node, gpus_per_node: What a node has; 0 cores: unknown.
        memory_per_node: Bytes, or None when unknown.
        launcher: What starts the workers on a block's nodes: one of LAUNCHERS.
        launcher_options: Its further options, as on a command line.
        options: Lines for the batch script (``#SBATCH --constraint=gpu``).
        exclusive: Whether a block has its nodes to itself; for Slurm.
        affinity: Which cores each worker is bound to, as Parsl's ``cpu_affinity``; empty: ``block`` where the cores of
            a trial are known, else ``none``.
        gpu_type: Who made the GPUs, which decides the variable they are chosen by: one of GPU_TYPES.
    """

    name: str
    queue: str = ""
    walltime: float | None = None
    blocks: BlockCounts = BlockCounts()
    nodes_per_block: int = 1
    workers_per_node: int = 1
    cores_per_node: int = 0
    gpus_per_node: int = 0
    memory_per_node: int | None = None
    launcher: str = "single"
    launcher_options: str = ""
    options: tuple[str, ...] = ()
    exclusive: bool = True
    affinity: str = ""
    gpu_type: str = "nvidia"

    @property
    def workers_per_block(self) -> int:
        return self.nodes_per_block * self.workers_per_node

    def affinity_for(self, workers: int, gpus: int = 0) -> str:
        """``affinity`` where a node has ``workers`` workers of ``gpus`` GPUs each: the parts of a list are joined.

        Parsl wants one part a worker, and part i belongs to GPU i.
        """
        parts = self.affinity.split(":")[1:]
        if not parts:
            return self.affinity
        share = len(parts) * gpus // self.gpus_per_node if gpus and self.gpus_per_node else len(parts) // workers
        each = max(1, share)
        return ":".join(["list", *(",".join(parts[at : at + each]) for at in range(0, workers * each, each))])

    @property
    def is_on(self) -> bool:
        """Whether the pool may have blocks."""
        return self.blocks.max > 0


@dataclass(frozen=True)
class Site:
    """A site file, checked, with defaults and environment variables filled in.

    ``runs`` is absolute. ``poll``: seconds that lie between two questions to the scheduler at least. ``pools`` holds
    those that are switched off too.
    """

    name: str
    scheduler: str
    pools: tuple[PoolSpec, ...]
    runs: Path
    account: str = ""
    modules: tuple[str, ...] = ()
    setup: str = ""
    network: Network = Network()
    poll: float = 60.0
    driver: DriverJob = DriverJob()
    path: Path | None = None
    source: YamlFile | None = field(default=None, repr=False, compare=False)

    def pool(self, name: str) -> PoolSpec:
        """The pool ``name``. Raises UserError when there is none."""
        for pool in self.pools:
            if pool.name == name:
                return pool
        known = [pool.name for pool in self.pools]
        raise self.error(f"there is no pool '{name}'{nearest(name, known)}", "pools")

    def error(self, message: str, key: str = "") -> UserError:
        """The error ``message`` at the line where ``key`` (dotted) stands."""
        return self.source.error(message, key) if self.source else UserError(message, key=key)

    @property
    def worker_init(self) -> str:
        """Shell lines for every block: modules, then setup. A module that does not load ends the block.

        An item of ``modules`` that begins with ``use`` names folders of modules (``use /soft/modulefiles``).
        """
        lines = [FIND_MODULE] if self.modules else []
        for item in self.modules:
            words = item.split()
            command = "use" if words[0] == "use" and len(words) > 1 else "load"
            names = words[1:] if command == "use" else words
            lines.append(f"module {command} {shlex.join(names)} || exit")
        return "\n".join([*lines, *([self.setup.rstrip()] if self.setup.strip() else [])])

    def data(self) -> dict[str, Any]:
        """The whole site as a site file's data, every default written out; what is not known is None."""
        network = {key: value for key, value in vars(self.network).items() if value}
        clusters = self.scheduler != "local"
        return {
            "name": self.name,
            "scheduler": self.scheduler,
            "account": self.account or None,
            "modules": list(self.modules),
            "setup": self.setup or None,
            "network": network or None,
            "runs": str(self.runs),
            "poll": format_duration(self.poll),
            "driver": _driver_data(self.driver) if clusters else None,
            "pools": {pool.name: _pool_data(pool, self.scheduler) for pool in self.pools},
        }

    def resolved(self) -> str:
        """As :meth:`data`, as YAML."""
        return dump_yaml(self.data())


def _driver_data(driver: DriverJob) -> Mapping[str, Any]:
    return {
        "queue": driver.queue or None,
        "walltime": format_duration(driver.walltime),
        "cores": driver.cores,
        "memory": driver.memory,
        "options": list(driver.options),
    }


def _pool_data(pool: PoolSpec, scheduler: str) -> Mapping[str, Any]:
    return {
        "queue": pool.queue or None,
        "walltime": format_duration(pool.walltime) if pool.walltime else None,
        "blocks": {**vars(pool.blocks), "idle": format_duration(pool.blocks.idle)},
        "nodes_per_block": pool.nodes_per_block,
        "workers_per_node": pool.workers_per_node,
        "cores_per_node": pool.cores_per_node or None,
        "gpus_per_node": pool.gpus_per_node,
        "gpu_type": pool.gpu_type,
        "memory_per_node": pool.memory_per_node,
        "affinity": pool.affinity or None,
        "exclusive": pool.exclusive if scheduler == "slurm" else None,
        "launcher": {"name": pool.launcher, "options": pool.launcher_options or None},
        "options": list(pool.options),
    }


def node_hours(pool: PoolSpec) -> float:
    """The most node hours that all blocks of a pool can use at once; ``math.inf`` without a walltime."""
    if pool.walltime is None:
        return math.inf
    return pool.blocks.max * pool.nodes_per_block * pool.walltime / 3600


def site_json(site: Site) -> dict[str, Any]:
    """The site for ``--json``: times in seconds, sizes in bytes, ``node_hours`` of a pool at most (null: no limit)."""
    pools = []
    for pool in site.pools:
        hours = node_hours(pool)
        pools.append({**dataclasses.asdict(pool), "node_hours": None if hours == math.inf else hours})
    return {
        "name": site.name,
        "scheduler": site.scheduler,
        "path": None if site.path is None else str(site.path),
        "account": site.account,
        "modules": list(site.modules),
        "setup": site.setup,
        "network": dataclasses.asdict(site.network),
        "runs": str(site.runs),
        "poll": site.poll,
        "driver": None if site.scheduler == "local" else dataclasses.asdict(site.driver),
        "pools": pools,
    }


def render_site(site: Site) -> str:
    """A site's pools as plain text: blocks, workers, node hours at most."""
    lines = [f"site       {site.name} ({site.scheduler}), runs in {site.runs}"]
    for pool in site.pools:
        if not pool.is_on:
            lines.append(f"pool       {pool.name}: off (blocks.max is 0)")
            continue
        nodes = f"{pool.nodes_per_block} node{'s' if pool.nodes_per_block > 1 else ''}"
        cost = ""
        if pool.walltime is not None:
            cost = f", {format_duration(pool.walltime)} each, {node_hours(pool):,.4g} node hours at most"
        lines.append(
            f"pool       {pool.name}: {pool.blocks.min} to {pool.blocks.max} blocks of {nodes} "
            f"x {pool.workers_per_node} workers{cost}"
        )
    return "\n".join(lines)
