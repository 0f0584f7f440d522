"""What one trial takes of a machine, and what of it fits on a pool's nodes."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import SiteError
from ..site import PoolSpec, Site


@dataclass(frozen=True)
class TrialNeeds:
    """What one trial takes.

    Attributes:
        cores: On each of its nodes.
        gpus: On each of its nodes.
        nodes: With more than one it has them for itself, and starts its ranks there.
        ranks_per_node: Ranks on each node of a trial with several.
        memory: Bytes on each node; None where the study file does not say.
        yield_before: Seconds before its block's end at which it yields; None for the default.
    """

    cores: int = 1
    gpus: int = 0
    nodes: int = 1
    ranks_per_node: int = 1
    memory: int | None = None
    yield_before: float | None = None


def slots(pool: PoolSpec, needs: TrialNeeds) -> int:
    """Trials that a block of the pool runs at a time; 0 where not even one fits."""
    if needs.nodes > 1:
        return pool.nodes_per_block // needs.nodes if per_node(pool, needs) else 0
    return pool.nodes_per_block * per_node(pool, needs)


def per_node(pool: PoolSpec, needs: TrialNeeds) -> int:
    """Trials that fit on a node side by side, no more than the site file's workers."""
    fits = [pool.workers_per_node]
    if pool.cores_per_node and needs.cores > 1:
        fits.append(pool.cores_per_node // needs.cores)
    if needs.gpus:
        fits.append(pool.gpus_per_node // needs.gpus)
    if needs.memory and pool.memory_per_node:
        fits.append(pool.memory_per_node // needs.memory)
    return max(0, min(fits))


def usable_pools(site: Site, needs: TrialNeeds) -> list[PoolSpec]:
    """The pools that are on and can run such a trial; nodes with GPUs only where it takes some, or there are no others.

    Raises SiteError, with what each pool has, where there is none.
    """
    pools = [pool for pool in site.pools if pool.blocks.max > 0]
    fitting = [pool for pool in pools if slots(pool, needs)]
    if not fitting:
        reasons = "; ".join(f"pool {pool.name} {_offers(pool)}" for pool in pools)
        raise SiteError(
            f"site {site.name}: no pool can run a trial of {_wants(needs)} ({reasons}); see `trial:` in the study file"
        )
    plain = [pool for pool in fitting if not pool.gpus_per_node]
    return plain if plain and not needs.gpus else fitting


def accelerators(pool: PoolSpec, needs: TrialNeeds) -> list[str]:
    """What each worker of a node is pinned to: its GPUs as one name (``0,1``). Empty when a trial takes none.

    A trial on several nodes has all GPUs of its nodes, so its worker is not pinned.
    """
    gpus = needs.gpus
    if not gpus or needs.nodes > 1:
        return []
    return [",".join(map(str, range(at, at + gpus))) for at in range(0, pool.gpus_per_node - gpus + 1, gpus)]


def outline(pool: PoolSpec, needs: TrialNeeds) -> str:
    """The pool's blocks in a line: how many, of how many nodes, and how many trials each runs at a time."""
    counts, nodes, each = pool.blocks, pool.nodes_per_block, slots(pool, needs)
    many, which = (f"{counts.min} to {counts.max} blocks", "each") if counts.max > 1 else ("1 block", "it")
    of = f" of {nodes} nodes" if nodes > 1 else ""
    return f"pool {pool.name}: {many}{of}, {each} trial{'s' * (each > 1)} at a time in {which}"


def _wants(needs: TrialNeeds) -> str:
    parts = [f"{needs.nodes} nodes"] if needs.nodes > 1 else []
    parts += [f"{needs.cores} cores", f"{needs.gpus} GPUs"]
    if needs.memory:
        parts.append(f"{needs.memory / 1e9:.3g} GB")
    return ", ".join(parts[:-1]) + f" and {parts[-1]}"


def _offers(pool: PoolSpec) -> str:
    cores = f"{pool.cores_per_node} cores, " if pool.cores_per_node else ""
    memory = f", {pool.memory_per_node / 1e9:.3g} GB" if pool.memory_per_node else ""
    return f"has {pool.nodes_per_block} node(s) a block of {cores}{pool.gpus_per_node} GPUs{memory}"
