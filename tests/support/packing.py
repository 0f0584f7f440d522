"""Nodes and trials of different sizes, and a ledger of what runs where, kept apart from the packer's own books."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from pilotune.pipeline.trial.protocol import AttemptSpec
from pilotune.providers.blocks.packed_node import Need, NodeRoom, Placement
from pilotune.providers.blocks.packing import MOST_OVERTAKEN

MACHINES = (
    (NodeRoom("n0", "n0", "gpu", cores=16, gpus=8, trials=8),),
    (NodeRoom("n0", "n0", "gpu", cores=8, gpus=4, trials=4), NodeRoom("n1", "n1", "gpu", cores=8, gpus=4, trials=8)),
    (
        NodeRoom("n0", "n0", "gpu", cores=4, gpus=2, memory=10**9, trials=6),
        NodeRoom("n1", "n1", "cpu", cores=4, memory=10**9, trials=4),
        NodeRoom("n2", "n2", "cpu", trials=2),
    ),
    (NodeRoom("n0", "n0", "cpu", cores=3, trials=3),),
)
"""The nodes of a driver, or of each of its blocks."""

NEEDS = (
    *(Need(1, gpus) for gpus in (0, 1, 2, 4, 8, 0.5, 0.3)),
    *(Need(cores) for cores in (1, 2, 3, 4, 16)),
    Need(2, 1, 4 * 10**8),
    Need(1, 0, 9 * 10**8),
)


@dataclass(eq=False)
class Waiter:
    """An attempt that waits.

    Attributes:
        overtaken: How many later ones began on nodes that could have run it.
        quiet: Once that are MOST_OVERTAKEN: nodes on which none has begun since. One of them must be reserved for it.
    """

    spec: AttemptSpec
    need: Need
    turn: int
    overtaken: int = 0
    quiet: set[str] | None = None


@dataclass(eq=False)
class Ledger:
    """What runs on the nodes of one pool, and who was overtaken."""

    rooms: dict[str, NodeRoom] = field(default_factory=dict)  # those that accept attempts
    running: dict[str, tuple[NodeRoom, Need, Placement]] = field(default_factory=dict)
    waiting: dict[str, Waiter] = field(default_factory=dict)
    turns: int = 0

    def came(self, room: NodeRoom) -> None:
        self.rooms[room.name] = room
        for waiter in self.waiting.values():
            if waiter.quiet is not None and room.holds(waiter.need):  # the one that is reserved for it, perhaps
                waiter.quiet.add(room.name)

    def went(self, name: str) -> None:
        self.rooms.pop(name, None)
        for waiter in self.waiting.values():
            if waiter.quiet is not None and name in waiter.quiet:
                waiter.quiet = self._candidates(waiter)  # another one is reserved for it

    def waits(self, spec: AttemptSpec) -> None:
        self.turns += 1
        self.waiting[spec.token] = Waiter(spec, Need.of(spec), self.turns)

    def freed(self, token: str) -> None:
        self.running.pop(token, None)
        self.waiting.pop(token, None)

    def placed(self, spec: AttemptSpec, placement: Placement) -> int:
        """Returns how often the attempt was overtaken. Raises AssertionError."""
        own, room = self.waiting.pop(spec.token), self.rooms.get(placement.node)
        assert room is not None, f"{spec.token} begins on {placement.node}, which accepts nothing"
        assert room.holds(own.need), f"{spec.token} takes {own.need} of {room}"
        self.running[spec.token] = room, own.need, placement
        self._check_node(room)
        for waiter in self.waiting.values():
            if own.overtaken < MOST_OVERTAKEN and waiter.turn < own.turn and room.holds(waiter.need):
                self._overtake(waiter, room)
        return own.overtaken

    def _check_node(self, room: NodeRoom) -> None:
        there = [(need, placement) for _, need, placement in self.running.values() if placement.node == room.name]
        assert len(there) <= room.trials, f"{len(there)} attempts run on {room}"
        for key, whole in (("cores", room.cores), ("memory", room.memory)):
            taken = sum(getattr(need, key) for need, _ in there)
            assert not whole or taken <= whole, f"{taken} {key} are taken of {room}"
        cores = [core for _, placement in there for core in placement.cores]
        assert len(set(cores)) == len(cores), f"two attempts have one core of {room}: {sorted(cores)}"
        parts: dict[int, Fraction] = {}
        for need, placement in there:
            assert len(placement.gpus) == (1 if 0 < need.gpus < 1 else need.gpus), f"{need} got {placement.gpus}"
            for gpu in placement.gpus:
                parts[gpu] = parts.get(gpu, Fraction(0)) + (Fraction(need.gpus) if need.gpus < 1 else 1)
        shared = {gpu: float(part) for gpu, part in parts.items() if part > 1 or gpu >= room.gpus}
        assert not shared, f"more than one GPU is taken of each of {shared} of {room}"

    def _overtake(self, waiter: Waiter, room: NodeRoom) -> None:
        waiter.overtaken += 1
        if waiter.quiet is not None:
            waiter.quiet.discard(room.name)
            starved = waiter.spec.avoid or waiter.quiet
            assert starved, f"{waiter.spec.token} was overtaken {waiter.overtaken} times: it is starved"
        elif waiter.overtaken == MOST_OVERTAKEN:
            waiter.quiet = self._candidates(waiter)

    def _candidates(self, waiter: Waiter) -> set[str]:
        return {name for name, room in self.rooms.items() if room.holds(waiter.need)}
