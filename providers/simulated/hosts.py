"""The hosts of pretended workers: which of them run attempts, which fail whatever they run, which are quarantined."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from .blocks import SimulatedBlocks


@dataclass(frozen=True)
class Nodes:
    """The hosts that workers are on, in turns; a block is on one of them.

    Attributes:
        count: How many: ``node0``, ``node1``, ...
        bad: Those on which every attempt fails, as soon as it has begun.
    """

    count: int
    bad: frozenset[int] = frozenset()

    @property
    def names(self) -> list[str]:
        return [f"node{number}" for number in range(self.count)]


class SimulatedHosts:
    """Keeps count of what runs where.

    Args:
        nodes: What there is.
        workers: Of all hosts together, where there are no blocks.
        blocks: Where workers are in blocks.
        draw: Of the hosts that blocks and attempts come to.
    """

    def __init__(self, nodes: Nodes, workers: int, blocks: SimulatedBlocks | None, draw: random.Random):
        self.nodes, self.blocks, self._random = nodes, blocks, draw
        self.quarantined: set[str] = set()
        self._workers = {name: len(range(at, workers, nodes.count)) for at, name in enumerate(nodes.names)}
        self._busy: Counter[str] = Counter()
        self._homes: dict[str, str] = {}  # block -> its host

    def fails(self, host: str) -> bool:
        return host in self.nodes.names and self.nodes.names.index(host) in self.nodes.bad

    def taking(self) -> frozenset[str]:
        """The hosts whose workers take attempts."""
        if self.blocks:
            return frozenset(self._homes[block.number] for block in self.blocks.taking())
        return frozenset(host for host, workers in self._workers.items() if workers) - self.quarantined

    def capacity(self) -> int:
        """Attempts that can run at once, without blocks; on a quarantined host, those that do."""
        return sum(self._busy[h] if h in self.quarantined else workers for h, workers in self._workers.items())

    def free(self) -> str:
        """A host with a worker that takes the next attempt, without blocks; empty where there is none."""
        free = [host for host in sorted(self.taking()) if self._busy[host] < self._workers[host]]
        return self._random.choice(free) if free else ""

    def occupy(self, host: str, attempts: int) -> None:
        """So many attempts more, or fewer, run there."""
        self._busy[host] += attempts

    def home(self, block: str) -> str:
        """Where a block is. A scheduler that is told to leaves out the quarantined hosts."""
        if block not in self._homes:
            self._homes[block] = self._random.choice(sorted({*self.nodes.names} - self.quarantined))
        return self._homes[block]

    def quarantine(self, host: str) -> None:
        self.quarantined.add(host)
        if self.blocks:
            self.blocks.hold([number for number, home in self._homes.items() if home == host])
