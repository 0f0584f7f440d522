"""What one trial takes of a machine, how many trials fit on a pool's nodes, and which pools a study uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import UserError
from ...grammar import listed, named
from ...pipeline.campaign.events import shape_key
from ...yamlfile import nearest
from ..site import PoolSpec, Site
from .packed_node import WHOLE, Need, NodeRoom


@dataclass(frozen=True)
class TrialResources:
    """What one trial takes, from ``trial:`` of the study file.

    Attributes:
        cores: CPU cores on each of its nodes.
        gpus: GPUs on each of its nodes; a fraction below 1 is a share of one GPU.
        nodes: Nodes. A trial on more than one has them to itself and starts its ranks there.
        ranks_per_node: Ranks on each of its nodes.
        launcher: What starts the ranks of a trial on several nodes; empty for the pool's own.
        memory: Bytes on each node; None when the study file gives none.
        yield_before: Seconds before the end of its block at which it is asked to yield; None for the default.
        pools: The only pools that may run a trial; empty for all.
        sizes: What different trials take, where that depends on their parameters: each without ``sizes``. Cores, GPUs,
            memory and ranks above are then those of one of them.
    """

    cores: int = 1
    gpus: float = 0
    nodes: int = 1
    ranks_per_node: int = 1
    launcher: str = ""
    memory: int | None = None
    yield_before: float | None = None
    pools: tuple[str, ...] = ()
    sizes: tuple[TrialResources, ...] = ()

    @property
    def packed(self) -> bool:
        """Whether trials have no slots of one size, so that the driver places each on a node."""
        return bool(self.sizes) and self.nodes == 1

    @property
    def need(self) -> Need:
        """What a trial takes of a node."""
        return Need(self.cores, self.gpus, self.memory or 0)


def room_of(pool: PoolSpec, name: str = "", host: str = "") -> NodeRoom:
    """What a node of the pool has for trials."""
    memory = pool.memory_per_node or 0
    return NodeRoom(name, host, pool.name, pool.cores_per_node, pool.gpus_per_node, memory, pool.workers_per_node)


def typical_need(resources: TrialResources) -> Need:
    """What trials take on average, if all their sizes are equally frequent.

    >>> typical_need(TrialResources(sizes=(TrialResources(gpus=1), TrialResources(gpus=4))))
    Need(cores=1.0, gpus=2.5, memory=0.0, pool='')
    """
    needs = [each.need for each in resources.sizes or (resources,)]
    total = len(needs)
    return Need(*(sum(getattr(each, name) for each in needs) / total for name in ("cores", "gpus", "memory")))


def trials_per_block(pool: PoolSpec, resources: TrialResources) -> int:
    """How many trials a block of the pool runs at a time, of its largest shape; 0 when not even one fits.

    Of trials of different sizes, the number in which each size is equally frequent among those that fit.

    >>> pool = PoolSpec("gpu", nodes_per_block=2, workers_per_node=4, gpus_per_node=4)
    >>> trials_per_block(pool, TrialResources(gpus=2))
    4
    """
    if resources.nodes > 1:
        return pool.nodes_per_block // resources.nodes if trials_per_node(pool, resources) else 0
    if resources.sizes:
        room = room_of(pool)
        parts = [room.part(each.need) for each in resources.sizes if trials_per_node(pool, each)]
        return max(1, int(pool.nodes_per_block * len(parts) / sum(parts))) if parts else 0
    return pool.nodes_per_block * trials_per_node(pool, resources)


def keyed_shapes(pool: PoolSpec, resources: TrialResources) -> dict[str, PoolSpec]:
    """The shapes of a pool whose blocks can run such trials, each as the pool with such blocks alone, by their keys."""
    usable = [each for each in pool.by_shape if trials_per_block(each, resources)]
    several = len(usable) > 1
    return {shape_key(pool.name, shape) if several else pool.name: each for shape, each in enumerate(usable)}


def trials_per_node(pool: PoolSpec, resources: TrialResources) -> int:
    """How many trials fit on a node side by side; never more than the site file's ``workers_per_node``.

    Of trials of different sizes, how many of the smallest.

    >>> trials_per_node(PoolSpec("gpu", workers_per_node=8, gpus_per_node=2), TrialResources(gpus=0.3))
    6
    """
    if resources.sizes:
        return max(trials_per_node(pool, each) for each in resources.sizes)
    fits = [pool.workers_per_node]
    if pool.cores_per_node and resources.cores > 1:
        fits.append(pool.cores_per_node // resources.cores)
    if resources.gpus:
        fits.append(len(gpu_sets(pool.gpus_per_node, resources.gpus)))
    if resources.memory and pool.memory_per_node:
        fits.append(pool.memory_per_node // resources.memory)
    return max(0, min(fits))


def node_share(pool: PoolSpec, resources: TrialResources) -> float:
    """How many nodes of the pool one trial takes, a fraction where others run beside it.

    It is the largest of its shares of the node's workers, cores, GPUs and memory.

    >>> node_share(PoolSpec("gpu", workers_per_node=4, gpus_per_node=4), TrialResources(gpus=2))
    0.5
    >>> node_share(PoolSpec("cpu"), TrialResources(nodes=3))
    3.0
    """
    return float(resources.nodes) if resources.nodes > 1 else min(1.0, room_of(pool).part(resources.need))


@dataclass(frozen=True)
class PoolUse:
    """Whether a study uses a pool.

    Attributes:
        pool: The pool.
        trials: How many trials a block of it runs at a time, the largest of its shapes.
        why_not: Why the study does not use it, in words; empty where it does.
        by_shape: How many a block of each of its shapes runs at a time; 0 where not even one fits.
    """

    pool: PoolSpec
    trials: int = 0
    why_not: str = ""
    by_shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, pool: PoolSpec, resources: TrialResources) -> PoolUse:
        """The use of a pool by such trials."""
        by_shape = tuple(trials_per_block(each, resources) for each in pool.by_shape)
        return cls(pool, max(by_shape), by_shape=by_shape)


def pool_uses(site: Site, resources: TrialResources) -> list[PoolUse]:
    """All pools of a site, and which of them a study with such trials uses. This is the only place of the rule.

    A study uses every pool that is on and whose blocks can hold one of its trials. But if its trials take no GPU, and a
    pool without GPUs can run them, then the pools with GPUs are left to other work. Trials of different sizes use the
    pools that one of the sizes would use. Where ``trial.pools`` names pools, it uses these and no others.
    """
    if resources.sizes:
        by_size = [pool_uses(site, each) for each in resources.sizes]
        uses = []
        for index, pool in enumerate(site.pools):
            found = [each[index] for each in by_size]
            used = any(not each.why_not for each in found)
            uses.append(PoolUse.of(pool, resources) if used else found[0])
        return uses
    fitting = {pool.name for pool in site.pools if pool.is_on and trials_per_block(pool, resources)}
    without_gpus = [pool.name for pool in site.pools if pool.name in fitting and not pool.gpus_per_node]
    without_gpus = [] if resources.pools else without_gpus
    uses = []
    for pool in site.pools:
        if resources.pools and pool.name not in resources.pools:
            uses.append(PoolUse(pool, why_not="trial.pools does not name it"))
        elif not pool.is_on:
            uses.append(PoolUse(pool, why_not="it is off (blocks.max is 0)"))
        elif pool.name not in fitting:
            offer = _offer_in_words(pool, resources)
            uses.append(PoolUse(pool, why_not=f"a trial needs {_trial_in_words(resources)}; it offers {offer}"))
        elif without_gpus and pool.gpus_per_node and not resources.gpus:
            uses.append(
                PoolUse(pool, why_not=f"left to trials that need GPUs; pool {without_gpus[0]} has none, and runs these")
            )
        else:
            uses.append(PoolUse.of(pool, resources))
    return uses


def usable_pools(site: Site, resources: TrialResources) -> list[PoolSpec]:
    """The pools that a study with such trials uses, by the rule of :func:`pool_uses`.

    Raises:
        UserError: There is none. The message says what a trial needs and what the pools offer; the key is the one of
            the study file that asks for too much. Or ``trial.pools`` names a pool that the site does not have.
    """
    smallest = resources.sizes[0] if resources.sizes else resources
    _check_named(site, smallest.pools)
    used = [use.pool for use in pool_uses(site, resources) if not use.why_not]
    if used:
        return used
    raise fits_no_pool(site, smallest)


def _check_named(site: Site, pools: Sequence[str]) -> None:
    """Raise UserError if the study file names a pool that the site does not have, or none that is on."""
    known = {pool.name: pool for pool in site.pools}
    for name in pools:
        if name not in known:
            raise UserError(f"{site.lacks('pool')} '{name}'{nearest(name, known)}", key="trial.pools")
    if pools and not any(known[name].is_on for name in pools):
        which = f"{named('pool', pools)} {'is' if len(pools) == 1 else 'are'} off"
        raise UserError(f"{which} (blocks.max is 0)", key="trial.pools")


def fits_no_pool(site: Site, resources: TrialResources, which: str = "a trial") -> UserError:
    """The error that no pool can run a trial, which ``which`` names."""
    pools = [pool for pool in site.pools if pool.is_on and (not resources.pools or pool.name in resources.pools)]
    pools = pools or list(site.pools)
    if site.scheduler == "local" and len(site.pools) == 1 and not resources.pools:
        offers = f"this machine offers {_offer_in_words(pools[0], resources)}"
    else:
        offers = "; ".join(f"pool {pool.name} offers {_offer_in_words(pool, resources)}" for pool in pools)
    message = f"{which} needs {_trial_in_words(resources)}; {offers}"
    return UserError(message, key=f"trial.{_excessive(pools, resources)}")


def _excessive(pools: Sequence[PoolSpec], resources: TrialResources) -> str:
    """The key below ``trial:`` that no pool can meet alone; else the first that some pool cannot meet."""
    alone = {
        "nodes": TrialResources(nodes=resources.nodes),
        "gpus": TrialResources(gpus=resources.gpus),
        "cores": TrialResources(cores=resources.cores),
        "memory": TrialResources(memory=resources.memory),
    }
    for enough in (any, all):
        for key, part in alone.items():
            if not enough(trials_per_block(pool, part) for pool in pools):
                return "ranks" if key == "cores" and _is_for_ranks(resources) else key
    return "gpus" if resources.gpus else "cores"


def _is_for_ranks(resources: TrialResources) -> bool:
    """Whether the cores of a trial are one for each of its ranks."""
    return resources.nodes == 1 and resources.ranks_per_node == resources.cores > 1


def accelerators(pool: PoolSpec, resources: TrialResources) -> list[str]:
    """The GPUs of each worker of a node, as one name each (``0,1``). Empty when a trial takes none.

    A trial on several nodes has all GPUs of its nodes, so no worker is bound to GPUs then. Trials of different sizes
    get theirs one by one: here are all GPUs of a node, one by one. A trial that asks for none, and may run in a pool
    with GPUs because ``trial.pools`` names it, gets its worker's share of them there.

    >>> accelerators(PoolSpec("gpu", gpus_per_node=4), TrialResources(gpus=2))
    ['0,1', '2,3']
    """
    if resources.nodes > 1:
        return []
    if resources.sizes:
        return gpu_sets(pool.gpus_per_node, 1)
    if resources.pools and not resources.gpus:
        share = pool.gpus_per_node / pool.workers_per_node
        return gpu_sets(pool.gpus_per_node, int(share) if share >= 1 else share)
    return gpu_sets(pool.gpus_per_node, resources.gpus)


def gpu_sets(available: int, gpus: float) -> list[str]:
    """The GPUs of each trial of a node that has ``available`` ones, where each trial takes ``gpus``.

    >>> gpu_sets(4, 3), gpu_sets(2, 0.5), gpu_sets(1, 0)
    (['0,1,2'], ['0', '0', '1', '1'], [])
    """
    if not gpus:
        return []
    if gpus < 1:
        return [str(gpu) for gpu in range(available) for _ in range(WHOLE // int(gpus * WHOLE))]
    each = int(gpus)
    return [",".join(map(str, range(at, at + each))) for at in range(0, available - each + 1, each)]


def pool_in_words(pool: PoolSpec, resources: TrialResources) -> str:
    """The pool's blocks in one line: how many, of how many nodes, and how many trials each runs at a time."""
    counts, nodes, each = pool.blocks, pool.nodes_per_block, trials_per_block(pool, resources)
    many, which = (f"{counts.min} to {counts.max} blocks", "each") if counts.max > 1 else ("1 block", "it")
    of = f" of {nodes} nodes" if nodes > 1 else ""
    return f"pool {pool.name}: {many}{of}, {each} trial{'s' * (each > 1)} at a time in {which}"


def _trial_in_words(resources: TrialResources) -> str:
    """What a trial needs, as in ``1 core and 2 GPUs``."""
    parts = [_count(resources.cores, "core") + (" for as many ranks" if _is_for_ranks(resources) else "")]
    if resources.gpus:
        parts.append(_count(resources.gpus, "GPU"))
    if resources.memory:
        parts.append(f"{resources.memory / 1e9:.3g} GB of memory")
    each = listed(parts)
    return f"{resources.nodes} nodes, each with {each}" if resources.nodes > 1 else each


def _offer_in_words(pool: PoolSpec, resources: TrialResources) -> str:
    """What a pool has of what such trials take, as in ``2 cores and no GPU``."""
    parts = [_count(pool.cores_per_node, "core")] if pool.cores_per_node else []
    if resources.gpus:
        parts.append(_count(pool.gpus_per_node, "GPU"))
    if resources.memory and pool.memory_per_node:
        parts.append(f"{pool.memory_per_node / 1e9:.3g} GB of memory")
    each = listed(parts) or "an unknown number of cores"
    if resources.nodes == 1:
        return each
    return (
        f"{_count(pool.nodes_per_block, 'node')} in a block, {'each ' if pool.nodes_per_block > 1 else ''}with {each}"
    )


def _count(number: float, word: str) -> str:
    return f"{number or 'no'} {word}{'s' if number > 1 else ''}"
