"""A site as data: the contents of a site file, checked and with defaults filled in."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...fields import format_duration
from ...grammar import count, named
from ...yamlfile import YamlFile, dump_yaml, nearest
from .schema import DriverJob

FIND_MODULE = "type module >/dev/null 2>&1 || . /etc/profile"
"""Shell line that defines `module` if it is missing: the shell of a batch script is no login shell. It does not read
the user's own profile."""


@dataclass(frozen=True)
class BlockCounts:
    """How many blocks a pool has.

    Attributes:
        init: Blocks to submit at the start.
        min: Least number of blocks while there is work.
        max: Most blocks at a time; 0 when the pool is off. ``min <= init <= max``.
        idle: Seconds without a trial after which a block is ended.
    """

    init: int = 1
    min: int = 0
    max: int = 1
    idle: float = 60.0


@dataclass(frozen=True)
class Network:
    """How workers reach the driver. At most one of both is set; without one they try all of its addresses.

    Attributes:
        interface: A network interface of the driver's host.
        address: An address of the driver's host.
    """

    interface: str = ""
    address: str = ""


@dataclass(frozen=True)
class Shape:
    """One of several sizes of a pool's blocks.

    Attributes:
        nodes: Nodes of a block.
        walltime: Seconds that it runs.
        launcher: What starts the workers on its nodes: one of LAUNCHERS.
    """

    nodes: int
    walltime: float
    launcher: str = "single"


@dataclass(frozen=True)
class PoolSpec:
    """One class of hardware at a site, as its blocks are submitted. One Parsl executor runs its trials.

    It has the keys of :class:`.schema.PoolSchema`, with defaults filled in.

    Attributes:
        name: The pool's name in the site file.
        queue: The queue, or the partition on Slurm; empty for the scheduler's default.
        walltime: Seconds that a block runs; None on ``local``, whose blocks end with the campaign. With several shapes
            the longest.
        blocks: How many blocks there are, of all shapes together.
        nodes_per_block: Nodes of one block; with several shapes the most.
        workers_per_node: Most trials at a time on a node.
        cores_per_node: Cores of a node; 0 when unknown.
        gpus_per_node: GPUs of a node.
        memory_per_node: Bytes of a node; None when unknown.
        launcher: What starts the workers on a block's nodes: one of LAUNCHERS.
        launcher_options: Further options of the launcher, as on a command line.
        options: Further lines for the batch script (``#SBATCH --constraint=gpu``).
        exclusive: Whether a block has its nodes to itself; for Slurm.
        affinity: The cores that each worker is bound to, as Parsl's ``cpu_affinity``. Empty when the site file does not
            say: then ``block`` on clusters where the number of cores is known, else ``none``.
        gpu_type: The maker of the GPUs, which decides the variable that selects them: one of GPU_TYPES.
        shapes: The sizes of blocks; empty where all blocks are alike.

    >>> pool = PoolSpec("gpu", walltime=3600, nodes_per_block=2, workers_per_node=4, blocks=BlockCounts(max=3))
    >>> pool.workers_per_block, node_hours(pool)
    (8, 6.0)
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
    shapes: tuple[Shape, ...] = ()

    @property
    def by_shape(self) -> tuple[PoolSpec, ...]:
        """The pool with the blocks of each of its shapes alone; itself where all blocks are alike.

        >>> pool = PoolSpec("cpu", nodes_per_block=8, walltime=7200, shapes=(Shape(1, 1800), Shape(8, 7200, "srun")))
        >>> [(each.nodes_per_block, each.walltime, each.launcher) for each in pool.by_shape]
        [(1, 1800, 'single'), (8, 7200, 'srun')]
        """
        return tuple(
            dataclasses.replace(
                self, nodes_per_block=shape.nodes, walltime=shape.walltime, launcher=shape.launcher, shapes=()
            )
            for shape in self.shapes
        ) or (self,)

    @property
    def workers_per_block(self) -> int:
        """Most trials at a time in a block."""
        return self.nodes_per_block * self.workers_per_node

    def affinity_for(self, workers: int, gpus: float = 0) -> str:
        """``affinity`` for workers that get more than one part of a list: Parsl needs exactly one part for each worker.

        Part i of the list belongs to GPU i.

        Args:
            workers: Workers on a node.
            gpus: GPUs of each worker; workers that share a GPU share its part.

        >>> PoolSpec("gpu", gpus_per_node=4, affinity="list:0:1:2:3").affinity_for(workers=2, gpus=2)
        'list:0,1:2,3'
        """
        parts = self.affinity.split(":")[1:]
        if not parts:
            return self.affinity
        if 0 < gpus < 1 and self.gpus_per_node:
            return ":".join(["list", *(parts[worker * len(parts) // workers] for worker in range(workers))])
        share = len(parts) * int(gpus) // self.gpus_per_node if gpus and self.gpus_per_node else len(parts) // workers
        each = max(1, share)
        return ":".join(["list", *(",".join(parts[at : at + each]) for at in range(0, workers * each, each))])

    @property
    def is_on(self) -> bool:
        """Whether the pool may have blocks."""
        return self.blocks.max > 0


@dataclass(frozen=True)
class Site:
    """A computer: its scheduler, its pools of workers, and what its batch jobs need.

    :func:`~pilotune.providers.site.load_site` makes it from a site file, with defaults and environment variables filled
    in.

    Attributes:
        name: The site's name in messages.
        scheduler: One of SCHEDULERS.
        pools: All pools, also those that are off.
        runs: Folder for run directories; absolute.
        account: The project that is charged; empty for none.
        modules: Modules to load in every block.
        setup: Bash lines that every block runs after the modules.
        network: How workers reach the driver.
        poll: Least seconds between two queries of the scheduler.
        patience: Seconds for which a scheduler that does not answer is asked again while there is no block.
        driver: The batch job of ``pilotune run --in-job``.
        path: The site file.
        source: Its contents with line numbers, for errors.
        parts: The sites that this one stands for, where a campaign uses several, see :func:`.several.joined`.

    >>> from pilotune.providers.site import load_site
    >>> site = load_site("local", ["pools.local.workers_per_node=2"])
    >>> site.scheduler, [(pool.name, pool.workers_per_node) for pool in site.pools]
    ('local', [('local', 2)])
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
    patience: float = 600.0
    driver: DriverJob = field(default_factory=DriverJob)
    path: Path | None = None
    source: YamlFile | None = field(default=None, repr=False, compare=False)
    parts: tuple[Site, ...] = ()

    @property
    def each(self) -> tuple[Site, ...]:
        """The sites that it stands for; itself where it is one."""
        return self.parts or (self,)

    def lacks(self, what: str) -> str:
        """The beginning of a sentence on what is not there: ``site theta has no GPUs``."""
        return f"{named('site', [each.name for each in self.each])} {'have' if self.parts else 'has'} no {what}"

    def home(self, pool: str) -> Site:
        """The one of its sites that has the pool with this name."""
        return next((each for each in self.parts if any(own.name == pool for own in each.pools)), self)

    def with_pools(self, change: Callable[[PoolSpec], PoolSpec]) -> Site:
        """The site with changed pools."""
        parts = tuple(each.with_pools(change) for each in self.parts)
        pools = tuple(pool for each in parts for pool in each.pools) if parts else tuple(map(change, self.pools))
        return dataclasses.replace(self, pools=pools, parts=parts)

    def pool(self, name: str) -> PoolSpec:
        """The pool with this name. Raises UserError when there is none."""
        for pool in self.pools:
            if pool.name == name:
                return pool
        known = [pool.name for pool in self.pools]
        raise self.error(f"there is no pool '{name}'{nearest(name, known)}", "pools")

    def error(self, message: str, key: str = "") -> UserError:
        """An error at the line of ``key`` in the site file; keys are dotted."""
        return self.source.error(message, key) if self.source else UserError(message, key=key)

    @property
    def worker_init(self) -> str:
        """Shell lines that every block runs first: those for modules, then ``setup``.

        A module that fails to load ends the block. An item of ``modules`` that begins with ``use`` names folders of
        modules (``use /soft/modulefiles``).
        """
        lines = [FIND_MODULE] if self.modules else []
        for item in self.modules:
            words = item.split()
            command = "use" if words[0] == "use" and len(words) > 1 else "load"
            names = words[1:] if command == "use" else words
            lines.append(f"module {command} {shlex.join(names)} || exit")
        return "\n".join([*lines, *([self.setup.rstrip()] if self.setup.strip() else [])])

    def data(self) -> dict[str, Any]:
        """The site as the data of a site file, with all defaults written out. Unknown values are None."""
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
            "patience": format_duration(self.patience),
            "driver": _driver_data(self.driver) if clusters else None,
            "pools": {pool.name: _pool_data(pool, self.scheduler) for pool in self.pools},
        }

    def resolved(self) -> str:
        """:meth:`data` as YAML."""
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
    size: dict[str, Any] = {
        "walltime": format_duration(pool.walltime) if pool.walltime else None,
        "nodes_per_block": pool.nodes_per_block,
    }
    if pool.shapes:
        size = {"shapes": [{"nodes": each.nodes, "walltime": format_duration(each.walltime)} for each in pool.shapes]}
    return {
        "queue": pool.queue or None,
        **size,
        "blocks": {**vars(pool.blocks), "idle": format_duration(pool.blocks.idle)},
        "workers_per_node": pool.workers_per_node,
        "cores_per_node": pool.cores_per_node or None,
        "gpus_per_node": pool.gpus_per_node,
        "gpu_type": pool.gpu_type,
        "memory_per_node": pool.memory_per_node,
        "affinity": pool.affinity or None,
        "exclusive": pool.exclusive if scheduler == "slurm" else None,
        "launcher": None
        if any(shape.launcher != pool.launcher for shape in pool.shapes)
        else {"name": pool.launcher, "options": pool.launcher_options or None},
        "options": list(pool.options),
    }


def with_affinity(site: Site) -> Site:
    """The site with the affinity that its pools have by default, as far as that does not depend on the trials."""
    return site.with_pools(lambda pool: _with_affinity(pool, site.home(pool.name).scheduler))


def _with_affinity(pool: PoolSpec, scheduler: str) -> PoolSpec:
    if pool.affinity:
        return pool
    if scheduler == "local" or not pool.cores_per_node:
        return dataclasses.replace(pool, affinity="none")
    shares = pool.cores_per_node >= pool.workers_per_node
    return dataclasses.replace(pool, affinity="block") if shares else pool


def node_hours(pool: PoolSpec) -> float:
    """Most node hours that one set of a pool's blocks can use; ``math.inf`` without a walltime."""
    if pool.walltime is None:
        return math.inf
    return pool.blocks.max * max(each.nodes_per_block * (each.walltime or 0.0) for each in pool.by_shape) / 3600


def site_json(site: Site) -> dict[str, Any]:
    """The site for ``--json``: times in seconds, sizes in bytes, and ``node_hours`` for each pool (None: no limit)."""
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
        "patience": site.patience,
        "driver": None if site.scheduler == "local" else site.driver.model_dump(),
        "pools": pools,
    }


def at_most(hours: float) -> str:
    """An amount of node hours as a limit.

    >>> at_most(1.0), at_most(0.25), at_most(12000.0), at_most(1e30)
    ('1 node hour at most', '0.25 node hours at most', '12,000 node hours at most', '1e+30 node hours at most')
    """
    amount = f"{hours:,.0f}" if 1000 <= hours <= 1e12 else f"{hours:.4g}"
    return f"{amount} node hour{'' if hours == 1 else 's'} at most"


def shapes_in_words(pool: PoolSpec) -> str:
    """The sizes of a pool's blocks.

    >>> shapes_in_words(PoolSpec("cpu", shapes=(Shape(1, 1800), Shape(8, 7200))))
    '1 node for 30m or 8 nodes for 2h'
    """
    sizes = [(each.nodes_per_block, each.walltime) for each in pool.by_shape]
    words = [f"{count(nodes, 'node')} for {format_duration(walltime or 0.0)}" for nodes, walltime in sizes]
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _blocks(counts: BlockCounts) -> str:
    if counts.min == counts.max:
        return count(counts.max, "block")
    return f"{counts.min} to {count(counts.max, 'block')}"


def render_site(site: Site, uses: Mapping[str, str] | None = None) -> str:
    """A site's pools as plain text: blocks, workers, and most node hours.

    Args:
        site: The site.
        uses: By pool, a line on whether a study uses it.
    """
    if site.parts:
        return "\n".join(render_site(each, uses) for each in site.parts)
    lines = [f"site       {site.name} ({site.scheduler}), runs in {site.runs}"]
    for pool in site.pools:
        if not pool.is_on:
            lines.append(f"pool       {pool.name}: off (blocks.max is 0)")
            continue
        nodes, workers = count(pool.nodes_per_block, "node"), count(pool.workers_per_node, "worker")
        cost = ""
        if pool.shapes:
            nodes, cost = f"({shapes_in_words(pool)})", f", {at_most(node_hours(pool))}"
        elif pool.walltime is not None:
            cost = f", {format_duration(pool.walltime)} each, {at_most(node_hours(pool))}"
        lines.append(f"pool       {pool.name}: {_blocks(pool.blocks)} of {nodes} x {workers}{cost}")
        if uses and pool.name in uses:
            lines.append(f"           {uses[pool.name]}")
    return "\n".join(lines)
