"""What one trial takes of a machine, and how many trials fit on a pool's nodes."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import SiteError
from ..site import PoolSpec, Site


@dataclass(frozen=True)
class TrialResources:
    """What one trial takes, from ``trial:`` of the study file.

    Attributes:
        cores: CPU cores on each of its nodes.
        gpus: GPUs on each of its nodes.
        nodes: Nodes. A trial on more than one has them to itself and starts its ranks there.
        ranks_per_node: Ranks on each node of a trial on several nodes.
        memory: Bytes on each node; None when the study file gives none.
        yield_before: Seconds before the end of its block at which it is asked to yield; None for the default.
    """

    cores: int = 1
    gpus: int = 0
    nodes: int = 1
    ranks_per_node: int = 1
    memory: int | None = None
    yield_before: float | None = None


def trials_per_block(pool: PoolSpec, resources: TrialResources) -> int:
    """How many trials a block of the pool runs at a time; 0 when not even one fits.

    >>> pool = PoolSpec("gpu", nodes_per_block=2, workers_per_node=4, gpus_per_node=4)
    >>> trials_per_block(pool, TrialResources(gpus=2))
    4
    """
    if resources.nodes > 1:
        return pool.nodes_per_block // resources.nodes if trials_per_node(pool, resources) else 0
    return pool.nodes_per_block * trials_per_node(pool, resources)


def trials_per_node(pool: PoolSpec, resources: TrialResources) -> int:
    """How many trials fit on a node side by side; never more than the site file's ``workers_per_node``."""
    fits = [pool.workers_per_node]
    if pool.cores_per_node and resources.cores > 1:
        fits.append(pool.cores_per_node // resources.cores)
    if resources.gpus:
        fits.append(pool.gpus_per_node // resources.gpus)
    if resources.memory and pool.memory_per_node:
        fits.append(pool.memory_per_node // resources.memory)
    return max(0, min(fits))


def usable_pools(site: Site, resources: TrialResources) -> list[PoolSpec]:
    """The pools that are on and can run such trials.

    Pools with GPUs are left to other work when the trials take none and another pool can run them.

    Raises:
        SiteError: There is no such pool. The message says what each pool has.
    """
    pools = [pool for pool in site.pools if pool.is_on]
    fitting = [pool for pool in pools if trials_per_block(pool, resources)]
    if not fitting:
        reasons = "; ".join(f"pool {pool.name} {_offer_in_words(pool)}" for pool in pools)
        trial = _trial_in_words(resources)
        raise SiteError(
            f"site {site.name}: no pool can run a trial of {trial} ({reasons}); see `trial:` in the study file"
        )
    without_gpus = [pool for pool in fitting if not pool.gpus_per_node]
    return without_gpus if without_gpus and not resources.gpus else fitting


def accelerators(pool: PoolSpec, resources: TrialResources) -> list[str]:
    """The GPUs of each worker of a node, as one name each (``0,1``). Empty when a trial takes none.

    A trial on several nodes has all GPUs of its nodes, so no worker is bound to GPUs then.

    >>> accelerators(PoolSpec("gpu", gpus_per_node=4), TrialResources(gpus=2))
    ['0,1', '2,3']
    """
    gpus = resources.gpus
    if not gpus or resources.nodes > 1:
        return []
    return [",".join(map(str, range(at, at + gpus))) for at in range(0, pool.gpus_per_node - gpus + 1, gpus)]


def pool_in_words(pool: PoolSpec, resources: TrialResources) -> str:
    """The pool's blocks in one line: how many, of how many nodes, and how many trials each runs at a time."""
    counts, nodes, each = pool.blocks, pool.nodes_per_block, trials_per_block(pool, resources)
    many, which = (f"{counts.min} to {counts.max} blocks", "each") if counts.max > 1 else ("1 block", "it")
    of = f" of {nodes} nodes" if nodes > 1 else ""
    return f"pool {pool.name}: {many}{of}, {each} trial{'s' * (each > 1)} at a time in {which}"


def _trial_in_words(resources: TrialResources) -> str:
    parts = [f"{resources.nodes} nodes"] if resources.nodes > 1 else []
    parts += [f"{resources.cores} cores", f"{resources.gpus} GPUs"]
    if resources.memory:
        parts.append(f"{resources.memory / 1e9:.3g} GB")
    return ", ".join(parts[:-1]) + f" and {parts[-1]}"


def _offer_in_words(pool: PoolSpec) -> str:
    cores = f"{pool.cores_per_node} cores, " if pool.cores_per_node else ""
    memory = f", {pool.memory_per_node / 1e9:.3g} GB" if pool.memory_per_node else ""
    return f"has {pool.nodes_per_block} node(s) a block of {cores}{pool.gpus_per_node} GPUs{memory}"
