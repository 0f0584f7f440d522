"""Attempts of different sizes in a real pool: the driver says on which node each begins, on which GPUs and cores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...pipeline.campaign.events import Capacity, PoolCapacity
from ...pipeline.trial.protocol import AttemptSpec
from ..blocks.block import WorkerPoolSeen
from ..blocks.packed_node import Need, Placement
from ..blocks.packing import Packer
from ..blocks.resources import TrialResources, room_of, trials_per_node, typical_need
from ..site import PoolSpec


class PackedAttempts:
    """Attempts that wait for room on a node, and the nodes of all pools.

    Args:
        resources: What trials take.
        pools: The pools that the study uses.
    """

    def __init__(self, resources: TrialResources, pools: Sequence[PoolSpec]):
        self._packer = Packer(typical_need(resources))
        self._rooms = {pool.name: replace(room_of(pool), trials=trials_per_node(pool, resources)) for pool in pools}
        self._specs: dict[str, AttemptSpec] = {}  # those that wait, by token
        self._needs: dict[str, Need] = {}  # what each of them takes
        self._homes: dict[str, str] = {}  # token -> the only pool that can run it
        self._nodes: dict[str, str] = {}  # token -> node, of those that were sent to one

    def submit(self, spec: AttemptSpec, pool: str = "") -> None:
        """An attempt waits from now on; with ``pool`` for a node there."""
        need = Need.of(spec, pool)
        self._needs[spec.token] = need
        self._specs[spec.token] = spec
        self._packer.put(spec.token, need, spec.avoid)
        homes = [name for name, room in self._rooms.items() if room.holds(need)]
        if len(homes) == 1:
            self._homes[spec.token] = homes[0]

    def follow(self, seen: Mapping[str, Sequence[WorkerPoolSeen]]) -> None:
        """Take over which nodes are there. ``seen``: the worker pools by the site's pool."""
        known = {room.name: accepts for room, accepts in self._packer.rooms()}
        for pool, nodes in seen.items():
            for node in nodes:
                if node.accepts:
                    self._packer.node_up(replace(self._rooms[pool], name=node.name, host=node.host))
                elif known.get(node.name):
                    self._packer.hold(node.name)
        there = {node.name for nodes in seen.values() for node in nodes}
        for name in known.keys() - there:
            self._packer.node_down(name)

    def withdraw(self, token: str) -> bool:
        """Let an attempt wait no more; returns whether it did."""
        waits = token in self._specs
        if waits:
            self.end(token)
        return waits

    def stranded(self, pools: Collection[str]) -> list[str]:
        """The tokens of waiting attempts that none of these pools can run; they wait no more.

        Args:
            pools: Those that have not been given up.
        """
        rooms = [room for name, room in self._rooms.items() if name in pools]
        found = [token for token, need in self._needs.items() if not any(room.holds(need) for room in rooms)]
        for token in found:
            self.end(token)
        return found

    def ready(self) -> list[tuple[AttemptSpec, Placement]]:
        """The attempts that begin now, and where."""
        found = [(self._specs.pop(each.token), each) for each in self._packer.place()]
        for spec, _ in found:
            del self._needs[spec.token]
        self._nodes.update((spec.token, placement.node) for spec, placement in found)
        return found

    def end(self, token: str) -> None:
        """An attempt is over."""
        self._specs.pop(token, None)
        self._needs.pop(token, None)
        self._homes.pop(token, None)
        self._nodes.pop(token, None)
        self._packer.end(token)

    def refused(self, token: str) -> None:
        """An attempt was not begun, because its node takes none: it gets no other before it is seen again."""
        self._packer.hold(self._nodes.get(token, ""))
        self.end(token)

    def capacity(self, latency: float, hosts: frozenset[str]) -> Capacity:
        """What can run now. ``hosts``: those whose workers accept trials."""
        packer = self._packer
        slots = max(round(sum(packer.slots.values())), 1) if hosts else 0
        return Capacity(slots, latency, hosts, packer.capacity, round(packer.busy, 6))

    def pool_capacities(self, hosts: Mapping[str, frozenset[str]]) -> tuple[PoolCapacity, ...]:
        """What each pool can run now. ``hosts``: by pool those whose workers accept trials."""
        slots, room = self._packer.slots, self._packer.room_in
        return tuple(
            PoolCapacity(pool, max(round(slots.get(pool, 0)), 1) if names else 0, names, room(pool))
            for pool, names in hosts.items()
        )

    def trials_per_block(self, pool: str, nodes: int) -> int:
        """How many trials of the typical size a block of so many nodes of the pool runs at a time."""
        return max(1, int(nodes / min(1.0, self._rooms[pool].part(self._packer.typical))))

    def only_in(self, pool: str) -> int:
        """How many attempts in flight can run in this pool only."""
        return sum(home == pool for home in self._homes.values())


def specification(placement: Placement) -> dict[str, Any]:
    """What the interchange and the node's worker pool are told of a placement, as Parsl's resource specification."""
    return {"manager": placement.node, "gpus": list(placement.gpus), "cores": list(placement.cores)}
