"""What the batch scripts of blocks contain, and the scripts that ``pilotune run --dry-run`` prints."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from ...pipeline.trial.block_env import BLOCK_TRIALS
from ..schedulers.batch import BatchBlocks
from ..schedulers.launchers import BlockLauncher
from ..schedulers.registry import provider_class
from ..site import PoolSpec, Site
from .block_shape import BlockShape
from .resources import TrialResources, keyed_shapes, trials_per_block, usable_pools

DRIVER_TIMEOUTS = {"local": 20}
OTHER_DRIVER_TIMEOUT = 30
"""Seconds by scheduler without a heartbeat after which driver and worker pool count each other as lost. A starting
block that cannot reach its driver gives up after as many."""


def driver_timeout(scheduler: str) -> int:
    """Seconds without a heartbeat after which driver and worker pool count each other as lost."""
    return DRIVER_TIMEOUTS.get(scheduler, OTHER_DRIVER_TIMEOUT)


def worker_init(site: Site, pool: PoolSpec) -> str:
    """Shell lines that a block runs before its workers start.

    They load the site's modules, run its set-up, put this installation's programs on PATH, and set the environment that
    the block's agents and workers read.
    """
    lines = [site.worker_init] if site.worker_init else []
    lines.append(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    lines.append(f"export PILOTUNE_DRIVER_TIMEOUT=${{PILOTUNE_DRIVER_TIMEOUT:-{driver_timeout(site.scheduler)}}}")
    lines.append(f"export PILOTUNE_POOL={shlex.quote(pool.name)}")
    lines.append(f"export PILOTUNE_GPU_TYPE={pool.gpu_type}")
    lines.append("umask 077")
    return "\n".join(lines)


def node_command(launch_file: Path, block: str) -> str:
    """The command that a block runs on each of its nodes.

    Args:
        launch_file: What to start there, see :mod:`pilotune.providers.node.agent`.
        block: The block's number.
    """
    return shlex.join([sys.executable, "-m", "pilotune.providers.node.agent", str(launch_file), block])


def block_provider(site: Site, pool: PoolSpec, resources: TrialResources, several: bool = False) -> BatchBlocks:
    """The provider that submits the blocks of one pool. Needs no scheduler to be made.

    Args:
        site: The site.
        pool: The pool, whose blocks are all alike.
        resources: What one trial takes.
        several: Whether they are of one of several shapes, whose blocks run different numbers of trials.
    """
    init = worker_init(site, pool)
    if several and resources.nodes > 1:
        init += f"\nexport {BLOCK_TRIALS}={trials_per_block(pool, resources)}"
    provider = provider_class(site.scheduler).for_pool(site, pool, init)
    if resources.nodes > 1:  # its workers run on the block's first node and start ranks on the others
        provider.launcher = BlockLauncher(pool, "single")  # type: ignore[attr-defined]
    return provider


def shapes_of(site: Site, pool: PoolSpec, resources: TrialResources, metered: bool = False) -> list[BlockShape]:
    """The shapes of a pool whose blocks can run such trials. Needs no scheduler.

    Args:
        site: The site.
        pool: The pool.
        resources: What one trial takes.
        metered: A budget in node-hours limits its blocks: none is submitted before it is allowed.
    """
    return [
        BlockShape(
            each,
            block_provider(site, each, resources, several=key != pool.name),
            trials_per_block(each, resources),
            key,
            resources.yield_before,
            allowed=0 if metered else None,
        )
        for key, each in keyed_shapes(pool, resources).items()
    ]


def batch_scripts(site: Site, resources: TrialResources, blocks: Path, label: str) -> list[tuple[PoolSpec, str]]:
    """The batch script of each pool's first block, as a run would submit it; of several shapes one for each.

    Nothing is started, and no scheduler is needed.

    Args:
        site: The site.
        resources: What one trial takes.
        blocks: The run directory's folder for blocks.
        label: The campaign's part of job names.

    Returns:
        Pairs of the pool, with blocks of one shape, and the script; for the pools that can run such trials.

    Raises:
        SiteError: No pool can run such trials.
    """
    scripts = []
    for pool in usable_pools(site, resources):
        home, shapes = site.home(pool.name), keyed_shapes(pool, resources)
        for shape in shapes.values():
            provider = block_provider(home, shape, resources, several=len(shapes) > 1)
            provider.place(blocks, label)
            command = node_command(provider.files("0").launch, "0")
            scripts.append((shape, provider.render("0", command, provider.worker_init)))  # type: ignore[attr-defined]
    return scripts
