"""Trials of different sizes: the nodes and the needs of a case."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pilotune.providers.blocks.packed_node import Need, NodeRoom
from tests.support.packing import MACHINES, NEEDS


@dataclass(frozen=True)
class Sizes:
    """What trials take in a case.

    Attributes:
        rooms: Its nodes.
        needs: What a trial takes, by its parameter ``n``, from 1.
    """

    rooms: tuple[NodeRoom, ...]
    needs: tuple[Need, ...]

    def need(self, params: dict) -> Need:
        return self.needs[params["n"] - 1]

    def fits(self, need: Need) -> bool:
        return any(room.holds(need) for room in self.rooms)

    @property
    def most(self) -> int:
        """Trials that can run at once."""
        return sum(room.trials for room in self.rooms)


def draw_sizes(seed: int) -> Sizes | None:
    """The sizes of a seed; None for workers that are all alike. One need in ten may fit nowhere."""
    draw = random.Random(f"sizes {seed}")
    if draw.random() < 0.75:
        return None
    rooms = draw.choice(MACHINES)
    fitting = [need for need in NEEDS if any(room.holds(need) for room in rooms)]
    return Sizes(rooms, tuple(draw.choice(NEEDS if draw.random() < 0.1 else fitting) for _ in range(8)))
