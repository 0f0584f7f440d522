"""The nodes of a simulated pool whose trials take different shares of a node, packed by the rules of a real pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...pipeline.campaign.events import Capacity
from ...pipeline.trial.protocol import AttemptSpec
from ..blocks.block import Block
from ..blocks.packed_node import Need, NodeRoom, Placement
from ..blocks.packing import Packer
from ..schedulers.jobs import Phase
from .blocks import SimulatedBlocks, accepts
from .faults import Witness


class PackedNodes:
    """Attempts that wait for room, and nodes that come and go with their blocks.

    Args:
        rooms: The nodes; with blocks those of each block, whose names then begin with its number.
        blocks: The pool's blocks; None where the nodes are there for ever.
        witness: Is told what begins and ends on which node.
    """

    def __init__(self, rooms: Sequence[NodeRoom], blocks: SimulatedBlocks | None, witness: Witness):
        self._rooms, self._blocks, self._witness, self._packer = rooms, blocks, witness, Packer()
        self._specs: dict[str, AttemptSpec] = {}  # those that wait, by token
        self._homes: dict[str, Block | None] = {}  # node -> its block
        if blocks is None:
            for room in rooms:
                self._packer.node_up(room)
                self._homes[room.name] = None

    def submit(self, spec: AttemptSpec, pool: str = "") -> None:
        """An attempt waits from now on; with ``pool`` for a node there."""
        self._specs[spec.token] = spec
        self._packer.put(spec.token, Need.of(spec, pool), spec.avoid)
        self._witness.waits(spec)

    def ready(self) -> list[tuple[AttemptSpec, Placement, Block | None]]:
        """The attempts that begin now, and where."""
        self._follow_blocks()
        found = []
        for placement in self._packer.place():
            spec = self._specs.pop(placement.token)
            self._witness.placed(spec, placement)
            found.append((spec, placement, self._homes[placement.node]))
        return found

    def end(self, token: str) -> None:
        """An attempt is over."""
        self._packer.end(token)
        self._witness.freed(token)

    def withdraw(self, token: str) -> bool:
        """Let an attempt wait no more; returns whether it did."""
        if self._specs.pop(token, None) is None:
            return False
        self.end(token)
        return True

    def forget_waiting(self) -> None:
        """Nothing that waits will begin."""
        for token in self._specs:
            self._packer.end(token)
        self._specs.clear()

    def begin_block(self, block: Block) -> None:
        """A block has started."""
        for room in self._rooms:
            own = replace(room, name=f"{block.number}.{room.name}", host=f"{room.host}b{block.number}")
            self._homes[own.name] = block
            self._packer.node_up(own)
            self._witness.came(own)

    def end_block(self, block: Block) -> None:
        """A block has ended."""
        for name, home in self._homes.items():
            if home is block:
                self._packer.node_down(name)
                self._witness.went(name)

    def _follow_blocks(self) -> None:
        """Blocks that are suspended or near their end accept nothing."""
        for room, home in self._packer.rooms():
            block = self._homes[room.name]
            if block is None:
                continue
            if block.end is None and block.phase == Phase.RUNNING and accepts(block):
                if not home:
                    self._packer.node_up(room)
                    self._witness.came(room)
            elif home:
                self._packer.hold(room.name)
                self._witness.went(room.name)

    def capacity(self, latency: float) -> Capacity:
        """What can run now."""
        self._follow_blocks()
        packer = self._packer
        hosts = frozenset(room.host for room, accepting in packer.rooms() if accepting)
        slots = max(round(sum(packer.slots.values())), 1) if hosts else 0
        return Capacity(slots, latency, hosts, packer.capacity, packer.busy)
