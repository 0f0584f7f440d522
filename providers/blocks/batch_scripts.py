"""The batch scripts of a run, as ``pilotune run --dry-run`` prints them."""

from __future__ import annotations

from pathlib import Path

from ..htex import executors as htex
from ..site import Site
from .resources import TrialNeeds, usable_pools


def batch_scripts(site: Site, needs: TrialNeeds, blocks: Path, label: str) -> list[tuple[str, str]]:
    """The script of each pool's first block as a run would submit it. Nothing is started, and no scheduler is needed.

    Args:
        site: The machine.
        needs: What one trial takes.
        blocks: The run directory's folder for blocks.
        label: The campaign's part of job names.

    Raises:
        SiteError: No pool can run such trials.
    """
    scripts = []
    for pool in usable_pools(site, needs):
        provider = htex.provider(site, pool, needs)
        provider.place(blocks, label)
        command = htex.node_command(provider.files("0").launch, "0")
        text = provider.render("0", command, htex.worker_init(site, pool))
        scripts.append((pool.name, text))
    return scripts
