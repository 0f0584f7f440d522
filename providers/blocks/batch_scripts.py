"""What the batch scripts of blocks contain, and the scripts that ``pilotune run --dry-run`` prints."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from ..schedulers.batch import BatchBlocks
from ..schedulers.launchers import BlockLauncher
from ..schedulers.registry import provider_class
from ..site import PoolSpec, Site
from .resources import TrialResources, usable_pools

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


def block_provider(site: Site, pool: PoolSpec, resources: TrialResources) -> BatchBlocks:
    """The provider that submits the blocks of one pool. Needs no scheduler to be made."""
    provider = provider_class(site.scheduler).for_pool(site, pool, worker_init(site, pool))
    if resources.nodes > 1:  # its workers run on the block's first node and start ranks on the others
        provider.launcher = BlockLauncher(pool, "single")  # type: ignore[attr-defined]
    return provider


def batch_scripts(site: Site, resources: TrialResources, blocks: Path, label: str) -> list[tuple[str, str]]:
    """The batch script of each pool's first block, as a run would submit it.

    Nothing is started, and no scheduler is needed.

    Args:
        site: The site.
        resources: What one trial takes.
        blocks: The run directory's folder for blocks.
        label: The campaign's part of job names.

    Returns:
        Pairs of pool name and script, for the pools that can run such trials.

    Raises:
        SiteError: No pool can run such trials.
    """
    scripts = []
    for pool in usable_pools(site, resources):
        home = site.home(pool.name)
        provider = block_provider(home, pool, resources)
        provider.place(blocks, label)
        command = node_command(provider.files("0").launch, "0")
        scripts.append((pool.name, provider.render("0", command, worker_init(home, pool))))
    return scripts
